"""`art resume`: answer what a run waits for, and go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from abstractruntime._text import shell_word
from abstractruntime.cli._host import (
    leaves_listeners,
    make_driver,
    program_of_run,
)
from abstractruntime.cli._inputs import parse_answer
from abstractruntime.cli._interrupts import stop_on_signals
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import (
    AcceptOriginOption,
    DurabilityOption,
    HostKeyOption,
    LLMStubOption,
    RunArgument,
    WaitingOkOption,
    set_flags,
)
from abstractruntime.cli._outcome import Until, UntilOption, conclude
from abstractruntime.cli._session import Session, os_user
from abstractruntime.cli._store import reading, resolve_run, writing
from abstractruntime.cli._watched import watched
from abstractruntime.core.models import WaitReason
from abstractruntime.core.run_tree import Decision, OpenWait, RunTree
from abstractruntime.errors import UsageError, WaitMismatch

# What --force would do, by what the details of a refusal name.
_ANY = "add --input ANSWER --wait-key {key}"
# What ends a wait, by its reason.
_STEPS = {
    WaitReason.USER: "add --input ANSWER, --approve or --deny",
    WaitReason.EVENT: "it waits for the event {key}: add --event NAME, or art emit NAME --run {run}",
    WaitReason.UNTIL: "nobody is asked: it waits until {until}; art tick {run} goes on with it then",
}
_FORCED = {"choices": "or add --force", "until": "--force ends the wait now"}


@uses_store
def resume(  # noqa: PLR0917 - the options of the command
    session: Session,
    run: RunArgument,
    answer: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="OBJECT|@FILE|-|TEXT",
            help="The answer: a JSON object as it is, a quoted JSON text without its quotes, all else"
            " as the text that it is.",
        ),
    ] = None,
    wait_key: Annotated[
        str | None,
        typer.Option("--wait-key", metavar="KEY", help="Which wait, if several are open."),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option("--event", metavar="NAME", help="Deliver this event; --input is its payload."),
    ] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Approve what is asked.")] = False,
    deny: Annotated[bool, typer.Option("--deny", help="Deny what is asked.")] = False,
    actor: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Who answers; default: OS user.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Accept an answer that is none of the choices.")
    ] = False,
    until: UntilOption = Until.IDLE,
    waiting_ok: WaitingOkOption = False,
    durability: DurabilityOption = None,
    host_key: HostKeyOption = None,
    llm_stub: LLMStubOption = None,
    accept_origin: AcceptOriginOption = False,
) -> int:
    """Answer what a run waits for, and go on.

    An answer is stored durably before anything runs. A second answer to one question is refused.
    """
    set_flags(
        session,
        durability=durability,
        host_key=host_key,
        llm_stub=llm_stub,
        accept_origin=accept_origin,
    )
    if answer is event is None and not (approve or deny):
        raise _nothing_said(session, run)
    payload = answer_payload(answer, approve=approve, deny=deny)
    with writing(session) as engine, stop_on_signals() as stop:
        run_id = resolve_run(engine, run)
        tree = RunTree(engine, run_id)
        program = program_of_run(session, engine, tree)
        keep = leaves_listeners(engine, tree)
        runtime, driver = make_driver(session, engine, program, stop, keep_listeners=keep)
        if event is not None:
            wait_key = event_key(tree.open_waits(), event, run_id)
        try:
            driver.answer(run_id, payload, wait_key=wait_key, actor=actor or os_user(), force=force)
        except WaitMismatch as refused:
            if aside := engine.set_aside(run_id):
                raise aside from refused
            forced = [words for name, words in _FORCED.items() if name in refused.details]
            refused.hint = "; ".join([refused.hint or "", *forced])
            raise
        with watched(session, engine, runtime, program, run_id, stop):
            driver.drive(run_id, until=until.value)
        return conclude(
            session, engine, tree.root(), labels=program.labels, waiting_ok=waiting_ok, stop=stop
        )


def answer_payload(answer: str | None, *, approve: bool, deny: bool) -> Any:
    """Give the payload that the options of `resume` describe.

    Raises:
        UsageError: several of them say what to answer.
    """
    chosen = [answer is not None, approve, deny]
    if sum(chosen) > 1:
        raise UsageError(
            "--input, --approve and --deny exclude each other", hint="give one of them"
        )
    if approve or deny:
        return Decision(approve)
    if answer is not None:
        return parse_answer(answer)
    return {}


def _nothing_said(session: Session, run: str) -> UsageError:
    """Say what a run waits for, when nobody said what to give it."""
    with reading(session) as engine:
        run_id = resolve_run(engine, run)
        waits = RunTree(engine, run_id).open_waits()
    if not waits:
        return UsageError(
            f"there is no answer, and run {run_id!r} waits for none",
            hint=f"see where it stands: art inspect {shell_word(run_id)}",
            run_id=run_id,
        )
    hints = dict.fromkeys(_step(wait, run_id) for wait in waits)
    return UsageError("there is no answer", hint="; ".join(hints), run_id=run_id)


def _step(wait: OpenWait, run_id: str) -> str:
    key, run = shell_word(wait.wait_key), shell_word(run_id)
    return _STEPS.get(wait.reason, _ANY).format(key=key, until=wait.until, run=run)


def event_key(waits: Sequence[OpenWait], name: str, run_id: str) -> str:
    """Give the key of the one open wait for this event.

    Raises:
        WaitMismatch: no wait, or several, are for it.
    """
    events = [w.wait_key for w in waits if w.reason is WaitReason.EVENT and w.wait_key]
    found = [key for key in events if key == name or key.split(":", 3)[3:] == [name]]
    if len(found) == 1:
        return found[0]
    problem = "does not wait for" if not found else "waits several times for"
    raise WaitMismatch(
        f"run {run_id!r} {problem} the event {name!r}",
        hint="name one with --wait-key: " + ", ".join(map(shell_word, events))
        if events
        else f"it waits for no event; see what it waits for: art inspect {shell_word(run_id)}",
        run_id=run_id,
        given=name,
        open=events,
    )
