"""`art tick`: go on with what can go on, for cron and after an interruption."""

from __future__ import annotations

from typing import Annotated

import typer

from abstractruntime._ports_system import SystemClock
from abstractruntime._runtime.serve import ServeEvent, ServeLoop, ServeOptions
from abstractruntime.cli._errors import error_document, error_lines
from abstractruntime.cli._events import error_of
from abstractruntime.cli._host import (
    Drivers,
    make_driver,
    program_of_run,
)
from abstractruntime.cli._interrupts import StopFlag, stop_on_signals
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import (
    AcceptOriginOption,
    HostKeyOption,
    LLMStubOption,
    WaitingOkOption,
    set_flags,
)
from abstractruntime.cli._outcome import Until, UntilOption, conclude
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import check_index, resolve_run, row_of, writing
from abstractruntime.cli._watched import watched
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.store import Store
from abstractruntime.errors import ExitCode, UsageError
from abstractruntime.rendering.terminal import plural

_SHOWN = ("run_id", "outcome", "workflow_id")


@uses_store
def tick(  # noqa: PLR0917 - the options of the command
    session: Session,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="One run; else name --due.")
    ] = None,
    due: Annotated[
        bool, typer.Option("--due", help="Every run that is due, interrupted, or has commands.")
    ] = False,
    limit: Annotated[
        int,
        typer.Option("--max-runs", metavar="N", min=1, max=1_000_000, help="At most so many runs."),
    ] = 1000,
    until: UntilOption = Until.IDLE,
    waiting_ok: WaitingOkOption = False,
    host_key: HostKeyOption = None,
    llm_stub: LLMStubOption = None,
    accept_origin: AcceptOriginOption = False,
) -> int:
    """Go on with one run, or with all that are due.

    With --due this is one pass of `art serve`, without a grace period: runs that still wait
    are no failure, those that others drive are left to them; a run that cannot go on is
    reported, the others go on, and the exit code is that of the first failure.
    """
    set_flags(session, host_key=host_key, llm_stub=llm_stub, accept_origin=accept_origin)
    if due == (run is not None):
        raise UsageError("name one run, or --due", hint="art tick @last, or art tick --due")
    with writing(session) as engine, stop_on_signals() as stop:
        if run is None:
            return _tick_due(session, engine, stop, limit)
        run_id = resolve_run(engine, run)
        tree = RunTree(engine, run_id)
        program = program_of_run(session, engine, tree)
        root = tree.root()
        keep = engine.origin(root).keep_listeners
        runtime, driver = make_driver(session, engine, program, stop, keep_listeners=keep)
        with watched(session, engine, runtime, program, run_id, stop):
            driver.drive(run_id, until=until.value)
        return conclude(
            session, engine, root, labels=program.labels, waiting_ok=waiting_ok, stop=stop
        )


def _tick_due(session: Session, engine: Store, stop: StopFlag, limit: int) -> int:
    events: list[ServeEvent] = []
    check_index(session, engine)
    loop = ServeLoop(
        engine,
        find_driver=Drivers(session, engine, stop).find,
        clock=SystemClock(),
        report=events.append,
        stop=stop,
        options=ServeOptions(max_runs=limit, grace_s=0.0),
    )
    loop.run_pass()
    failures = [cause for event in events if (cause := error_of(event))]
    rows = [row_of(engine, event.run_id) for event in events if event.error is None]
    document = {
        "format": "art-runs/1",
        "total": len(rows),
        "runs": rows,
        "errors": [error_document(cause)["error"] for cause in failures],
    }

    def text() -> list[str]:
        return session.out.table(
            ("run", "outcome", "workflow", "error"),
            [
                (*(row[name] for name in _SHOWN), (row["error"] or "").partition("\n")[0])
                for row in rows
            ],
        )

    for cause in failures:
        session.out.complain(error_lines(cause))
    session.out.emit(document, text=text, items="runs")
    session.out.note(f"{plural(len(rows), 'run')} went on, {len(failures)} could not")
    if stop.code is not None:
        return int(stop.code)
    return int(failures[0].exit_code if failures else ExitCode.OK)
