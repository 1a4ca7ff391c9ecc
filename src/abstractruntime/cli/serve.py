"""`art serve`: drive whatever can go on in a store, until told to stop."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime._ports_system import SystemClock
from abstractruntime._runtime.serve import ServeEvent, ServeLoop, ServeOptions
from abstractruntime.cli._events import complain_of, error_of, event_document, event_line
from abstractruntime.cli._host import Drivers
from abstractruntime.cli._interrupts import StopFlag, stop_on_signals
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import (
    AcceptOriginOption,
    DurabilityOption,
    HostKeyOption,
    LLMStubOption,
    set_flags,
)
from abstractruntime.cli._progress import showing_progress
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import check_index, writing
from abstractruntime.core.outcome import Outcome
from abstractruntime.core.store import Store
from abstractruntime.errors import ExitCode

if TYPE_CHECKING:
    from abstractruntime._runtime.driver import Driver
    from abstractruntime.cli._progress import Progress
    from abstractruntime.core.models import RunState

SERVE_FORMAT = "art-serve/1"
_EVENTS_KEPT = 1000
# How long a stop waits for the effect in flight.
_PATIENCE_S = 10.0


@uses_store
def serve(  # noqa: PLR0917 - the options of the command
    session: Session,
    poll: Annotated[
        float,
        typer.Option(
            "--poll",
            metavar="SECONDS",
            min=0.01,
            max=86_400,
            help="Longest sleep between two looks.",
        ),
    ] = 1.0,
    limit: Annotated[
        int,
        typer.Option(
            "--max-runs", metavar="N", min=1, max=1_000_000, help="At most so many at once."
        ),
    ] = 1000,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            metavar="SECONDS",
            min=0,
            max=31_536_000,
            help="Take up running runs that nobody drives after so long.",
        ),
    ] = 30.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, then end.")] = False,
    durability: DurabilityOption = None,
    host_key: HostKeyOption = None,
    llm_stub: LLMStubOption = None,
    accept_origin: AcceptOriginOption = False,
) -> int:
    """Drive timers, listeners, posted commands, ended children and interrupted runs of a store.

    Listeners of a run that ends here live on, and hear events as long as the store is served.

    Says one line for each run that went on or could not; with --jsonl an object each. Ends
    with SIGINT (130) or SIGTERM (143), after the effect in flight or 10 seconds; a second
    signal ends it at once. A run that fails is left alone for 1 second, then 2, up to 300; one
    whose bundle is missing is named once. A second `art serve` of one store is refused (75).
    With --once the exit code is that of the first run that could not go on.
    """
    set_flags(
        session,
        durability=durability,
        host_key=host_key,
        llm_stub=llm_stub,
        accept_origin=accept_origin,
    )
    options = ServeOptions(poll_s=poll, max_runs=limit, grace_s=grace)
    with writing(session) as engine, engine.serving():
        with (
            stop_on_signals(patience_s=_PATIENCE_S) as stop,
            showing_progress(session, SystemClock(), stop) as progress,
        ):
            diary = Diary(session)
            loop = make_loop(session, engine, stop, diary, options, progress)
            check_index(session, engine)
            session.out.note(f"serves {engine.address}, process {os.getpid()}")
            loop.run_pass() if once else loop.run()
            stop.poll()
        document = diary.document()
        if not session.out.is_stream:
            session.out.emit(document, text=list)
        session.out.note(diary.summary())
        if stop.code is not None:
            return int(stop.code)
        return int(diary.first_failure)


def make_loop(
    session: Session,
    engine: Store,
    stop: StopFlag,
    diary: Diary,
    options: ServeOptions,
    progress: Progress | None = None,
) -> ServeLoop:
    """Put the loop of `scheduler.serve` over a store and the bundles in it."""
    drivers = Drivers(session, engine, stop, keep_listeners=True, progress=progress)
    find = drivers.find
    return ServeLoop(
        engine,
        find_driver=find if progress is None else lambda root: Resting(find(root), progress),
        clock=SystemClock(),
        report=diary.note,
        stop=stop,
        options=options,
    )


@dataclass(frozen=True, slots=True)
class Resting:
    """Drives trees, and takes the line of progress back before anything else is said."""

    driver: Driver
    progress: Progress

    def drive(self, run_id: str) -> RunState:
        try:
            return self.driver.drive(run_id)
        finally:
            self.progress.rest()


class Diary:
    """Says what happens as it happens, and keeps the latest of it for the end."""

    def __init__(self, session: Session) -> None:
        self._out = session.out
        self._latest: deque[ServeEvent] = deque(maxlen=_EVENTS_KEPT)
        self.moved = self.failed = self.ended_badly = 0
        self.first_failure = ExitCode.OK

    def note(self, event: ServeEvent) -> None:
        self._latest.append(event)
        self._out.stream(event_document(event), text=event_line(self._out, event))
        error = error_of(event)
        if error is None:
            self.moved += 1
            self.ended_badly += event.outcome is Outcome.FAILED
            return
        self.failed += 1
        self.first_failure = self.first_failure or error.exit_code
        complain_of(self._out, event)

    def summary(self) -> str:
        """Give the last line for people."""
        if not self.moved and not self.failed:
            return "nothing was due"
        counts = {"went on": self.moved, "failed": self.ended_badly, "could not": self.failed}
        return ", ".join(f"{what}: {n}" for what, n in counts.items() if n)

    def document(self) -> JsonObject:
        """Give the `art-serve/1` document."""
        return {
            "format": SERVE_FORMAT,
            "advanced": self.moved,
            "failed": self.failed,
            "events": [event_document(event) for event in self._latest],
        }
