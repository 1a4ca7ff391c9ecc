"""`art emit`: hand an event to the runs that wait for it, whatever bundle they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime.cli._errors import as_known_error, error_document, error_lines
from abstractruntime.cli._host import Drivers
from abstractruntime.cli._inputs import parse_payload
from abstractruntime.cli._interrupts import stop_on_signals
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import DurabilityOption, HostKeyOption, LLMStubOption, set_flags
from abstractruntime.cli._outcome import Until
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import check_index, resolve_run, row_of, writing
from abstractruntime.cli.control import control_runtime
from abstractruntime.core.outcome import outcome_of
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.store import Store
from abstractruntime.errors import AbstractRuntimeError, Busy, ExitCode, UsageError

EMIT_FORMAT = "art-emit/1"


class EventScope(str, Enum):
    SESSION = "session"
    WORKFLOW = "workflow"
    RUN = "run"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True)
class Address:
    """Whom an event is for; exactly one of the three is given."""

    run: str | None
    session: str | None
    everyone: bool
    scope: EventScope | None

    def check(self) -> None:
        """Refuse what names nobody, or several.

        Raises:
            UsageError: not exactly one address, or a scope that it cannot have.
        """
        if sum((self.run is not None, self.session is not None, self.everyone)) != 1:
            raise UsageError(
                "an event needs one address",
                hint="name it with --run RUN, --session ID or --global",
            )
        if self.session is not None and not self.session.strip():
            raise UsageError(
                "the id of the session is blank",
                hint="see the sessions of runs: art runs --json",
                argument="--session",
            )
        own = EventScope.GLOBAL if self.everyone else EventScope.SESSION
        if self.run is None and self.scope is not None and self.scope is not own:
            raise UsageError(
                f"scope {self.scope.value!r} needs a run",
                hint="add --run RUN, or leave --scope out",
                argument="--scope",
            )
        if self.run is not None and self.scope is EventScope.GLOBAL:
            raise UsageError(
                "a global event is for no run in particular",
                hint="use --global in the place of --run",
                argument="--scope",
            )

    def resolve(self, engine: Store) -> JsonObject:
        """Give `{scope, session_id | workflow_id | run_id}`."""
        if self.everyone:
            return {"scope": "global"}
        if self.run is None:
            return {"scope": "session", "session_id": self.session}
        run_id = resolve_run(engine, self.run)
        if self.scope is EventScope.RUN:
            return {"scope": "run", "run_id": run_id}
        if self.scope is EventScope.WORKFLOW:
            return {"scope": "workflow", "workflow_id": engine.peek(run_id).workflow_id}
        root = RunTree(engine, run_id).from_root().state()
        return {"scope": "session", "session_id": root.session_id or root.run_id}


@uses_store
def emit(  # noqa: PLR0917 - the options of the command
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the event.")],
    payload: Annotated[
        str | None, typer.Option("--payload", metavar="JSON|@FILE|-", help="What comes with it.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="To the session of this run's tree.")
    ] = None,
    session_id: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="To this session.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--global", help="To the global scope.")] = False,
    scope: Annotated[
        EventScope | None, typer.Option("--scope", help="With --run: to this run, or its workflow.")
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option(
            "--event-id", metavar="ID", help="A repetition soon after delivers nothing twice."
        ),
    ] = None,
    drive: Annotated[bool, typer.Option("--drive", help="Drive who got it, too.")] = False,
    until: Annotated[
        Until | None, typer.Option("--until", help="Drive so far; implies --drive.")
    ] = None,
    durability: DurabilityOption = None,
    host_key: HostKeyOption = None,
    llm_stub: LLMStubOption = None,
) -> int:
    """Hand an event to the runs that wait for it, durably; says who got it.

    Nothing is executed: `art serve` takes the listeners up, or --drive. Exit code 0 also when
    nobody listens, or when a listener that was driven waits again; else that of the first
    listener that could not be reached or driven.
    """
    set_flags(session, durability=durability, host_key=host_key, llm_stub=llm_stub)
    address = Address(run, session_id, everyone, scope)
    address.check()
    if not name.strip():
        raise UsageError("the event has no name", hint="art emit NAME --run RUN", argument="NAME")
    value = parse_payload(payload) if payload is not None else None
    with writing(session) as engine, stop_on_signals() as stop:
        check_index(session, engine)
        told = control_runtime(engine).emit_event(
            name=name, payload=value, event_id=event_id, **address.resolve(engine)
        )
        driven = Driven()
        if drive or until is not None:
            driver = Drivers(session, engine, stop)
            driven.drive(engine, driver, told["delivered_to"], until or Until.IDLE)
        document = _document(told, event_id, driven)
        session.out.emit(document, text=lambda: _lines(session, document))
        _notes(session, document, driven)
        if address.run is not None and not document["listeners"]:
            _note_ended(session, engine, resolve_run(engine, address.run))
        return int(stop.code if stop.code is not None else _exit_code(document, driven))


@dataclass(slots=True)
class Driven:
    """The trees that went on with an event, and why others could not."""

    rows: list[JsonObject] = field(default_factory=list)
    failures: list[AbstractRuntimeError] = field(default_factory=list)

    def drive(self, engine: Store, drivers: Drivers, run_ids: Iterable[str], until: Until) -> None:
        for root in dict.fromkeys(RunTree(engine, run_id).root_or_self() for run_id in run_ids):
            try:
                drivers.find(root).drive(root, until=until.value)
                self.rows.append(row_of(engine, root))
            except Busy:
                self.rows.append(row_of(engine, root))  # whoever drives it goes on with it
            except (AbstractRuntimeError, OSError) as found:
                cause = as_known_error(found)
                if cause is None:
                    raise
                self.failures.append(cause)


def _document(told: JsonObject, event_id: str | None, driven: Driven) -> JsonObject:
    return {
        "format": EMIT_FORMAT,
        "name": told["name"],
        "scope": told["scope"],
        "wait_key": told["wait_key"],
        "event_id": event_id,
        "delivered": told["delivered"],
        "listeners": [
            {
                "run_id": to["run_id"],
                "reached": to["run_id"] in told["delivered_to"],
                "error": to.get("error"),
            }
            for to in told["resumed"]
        ],
        "waited_for": told.get("available_listeners_in_session", []),
        "runs": driven.rows,
        "errors": [error_document(cause)["error"] for cause in driven.failures],
    }


def _lines(session: Session, document: JsonObject) -> list[str]:
    outcomes = {row["run_id"]: row["outcome"] for row in document["runs"]}
    rows = [
        (to["run_id"], "got it" if to["reached"] else to["error"], outcomes.get(to["run_id"], ""))
        for to in document["listeners"]
    ]
    return session.out.table(("run", "event", "outcome"), rows)


def _notes(session: Session, document: JsonObject, driven: Driven) -> None:
    if not document["listeners"]:
        names = ", ".join(document["waited_for"])
        others = f"; waited for in this scope: {names}" if names else ""
        session.out.note(f"note: nobody waits for {document['wait_key']}{others}")
    elif not driven.rows and not driven.failures:
        session.out.note("  = hint: let them go on: art serve, or art tick --due")
    for cause in driven.failures:
        session.out.complain(error_lines(cause))


def _note_ended(session: Session, engine: Store, run_id: str) -> None:
    """Tell why nobody listens, where it is so because the run that was named has ended."""
    run = engine.peek(run_id)
    if run.status.is_terminal:
        found = outcome_of(run).value
        session.out.note(f"note: run {run_id} has ended ({found}) and hears nothing more")


def _exit_code(document: JsonObject, driven: Driven) -> ExitCode:
    if any(not to["reached"] for to in document["listeners"]):
        return ExitCode.FAILED
    return driven.failures[0].exit_code if driven.failures else ExitCode.OK
