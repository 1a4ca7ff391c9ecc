"""What `run`, `resume` and `tick` say in the end, and with which exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from abstractruntime._text import log_line, shell_word
from abstractruntime.cli._limits import limit_lines
from abstractruntime.cli._store import run_document
from abstractruntime.core.run_tree import RunTree, choice_text
from abstractruntime.errors import ExitCode

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject, JsonValue
    from abstractruntime.cli._interrupts import StopFlag
    from abstractruntime.cli._session import Session
    from abstractruntime.core.store import Store


_MOST_OVERCOME = 3


class Until(str, Enum):
    IDLE = "idle"
    WAITING = "waiting"
    DONE = "done"


UntilOption = Annotated[
    Until,
    typer.Option(
        "--until",
        help="idle: nothing can run now; waiting: sleep through timers; done: wait for whatever may come.",
    ),
]


def conclude(
    session: Session,
    engine: Store,
    run_id: str,
    *,
    labels: Mapping[str, str],
    waiting_ok: bool,
    stop: StopFlag,
) -> int:
    """Print the run document and give the exit code."""
    from abstractruntime.rendering.agent_output import without_traces
    from abstractruntime.rendering.run_document import exit_code_for

    document = run_document(engine, RunTree(engine, run_id), labels=labels)
    shown, agents = without_traces(document["output"])
    session.out.emit(document, text=lambda: output_lines(shown), line=log_line)
    for line in (*talk_lines(document), *trace_lines(agents)):
        session.out.note(line)
    code = exit_code_for(document)
    if stop.code is not None and code in (ExitCode.WAITING, ExitCode.OK):
        unfinished = document["outcome"] in ("running", "interrupted")
        return int(stop.code if unfinished or code is ExitCode.WAITING else code)
    return int(ExitCode.OK if code is ExitCode.WAITING and waiting_ok else code)


def output_lines(output: JsonValue) -> Iterator[str]:
    """Give the output of a run that ended: the data of the command."""
    if output is not None:
        yield from json.dumps(output, indent=2, ensure_ascii=False).split("\n")


def talk_lines(document: JsonObject) -> Iterator[str]:
    """Give what a person wants to know beside the output: status, question, next step."""
    run_id, outcome = document["run_id"], document["outcome"]
    yield f"{outcome}: run {run_id}, {document['ledger']['records']} records"
    if document["error"]:
        yield from failure_lines(document)
    yield from overcome_lines(document)
    if document["paused"]:
        yield "it is paused; timers, events and ended children wait"
        yield f"  = hint: let it go on: art unpause {shell_word(run_id)}"
        return
    yield from limit_lines(document)
    questions = sum(not _listens(wait) for wait in document["waits"])
    for wait in document["waits"]:
        yield from wait_lines(run_id, wait, several=questions > 1)
    if outcome in ("running", "interrupted"):
        yield f"  = hint: go on with it: art tick {shell_word(run_id)}"


def failure_lines(document: JsonObject) -> Iterator[str]:
    """Say why a run ended badly; that somebody cancelled it is no error."""
    from abstractruntime.rendering.failure_text import chain_lines, deepest, failure_text

    if document["outcome"] == "cancelled":
        yield f"reason: {document['error']['message']}"
        return
    yield f"error: {failure_text(deepest(document))}"
    yield from (f"  = note: {line}" for line in chain_lines(document))
    yield f"  = hint: see what happened: art inspect {shell_word(document['run_id'])}"


def overcome_lines(document: JsonObject) -> Iterator[str]:
    """Say which failures a flow went on after; a success hides none."""
    if failures := document["overcome"]:
        from abstractruntime.rendering.failure_text import failure_text

        for failure in failures[:_MOST_OVERCOME]:
            yield f"note: {failure_text(failure)}; the flow went on"
        more = len(failures) - _MOST_OVERCOME
        if more > 0:
            yield f"note: {more} more: art inspect {shell_word(document['run_id'])}"


def trace_lines(agents: Sequence[str]) -> Iterator[str]:
    """Say where the traces of agents are, which the output leaves out."""
    if agents:
        more = f" and {len(agents) - 1} more" if len(agents) > 1 else ""
        yield f"note: what the agent did is not shown: art inspect {shell_word(agents[0])}{more}; --json has all"


def wait_lines(run_id: str, wait: JsonObject, *, several: bool) -> Iterator[str]:
    """Give one open wait and how to end it."""
    if wait["reason"] == "until":
        yield f"waits until {wait['until']}"
        yield "  = hint: when the time has come: art tick --due"
        return
    if _listens(wait):
        yield f"listens for {wait['wait_key']}"
        yield f"  = hint: let it hear something: art emit NAME --run {shell_word(run_id)} --drive"
        return
    first, *more = (wait["prompt"] or wait["wait_key"] or "").splitlines() or [""]
    yield f"waits for {'an answer' if wait['reason'] == 'user' else wait['reason']}: {first}"
    yield from (f"  | {line}" for line in more)
    if wait["reason"] == "event":
        yield f"  = hint: let it hear that: art emit NAME --run {shell_word(run_id)} --drive"
        return
    if wait["choices"]:
        yield f"  choices: {', '.join(map(choice_text, wait['choices']))}"
    key = f" --wait-key {shell_word(wait['wait_key'])}" if several else ""
    yield f"  = hint: art resume {shell_word(run_id)} --input ANSWER{key}"


def _listens(wait: JsonObject) -> bool:
    return (wait["details"] or {}).get("listen") is True
