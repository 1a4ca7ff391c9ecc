"""`art tick`: go on with what can go on, for cron and after an interruption."""

from __future__ import annotations

from typing import Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime._ports_system import SystemClock
from abstractruntime.cli._damage import damage_of
from abstractruntime.cli._errors import as_known_error, error_document, error_lines
from abstractruntime.cli._host import StopFlag, make_driver, program_of_run, stop_on_signals
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import HostKeyOption, LLMStubOption, WaitingOkOption
from abstractruntime.cli._outcome import Until, UntilOption, conclude
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import header_row, resolve_run, started_facts, writing
from abstractruntime.cli.run import set_flags
from abstractruntime.core.ports import RunHeader
from abstractruntime.errors import AbstractRuntimeError, ExitCode, UsageError
from abstractruntime.rendering._records import mapping
from abstractruntime.scheduler.driver import root_of, runnable_roots
from abstractruntime.storage.directory import DirectoryEngine


@uses_store
def tick(
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
) -> int:
    """Go on with one run, or with all that are due.

    With --due, runs that still wait are no failure; a run that cannot go on is reported, the
    others go on, and the exit code is that of the first failure.
    """
    set_flags(session, host_key=host_key, llm_stub=llm_stub)
    if due == (run is not None):
        raise UsageError("name one run, or --due", hint="art tick @last, or art tick --due")
    with writing(session) as engine, stop_on_signals() as stop:
        if run is None:
            return _tick_due(session, engine, stop, limit)
        run_id = resolve_run(engine, run)
        program = program_of_run(session, engine, run_id)
        _, driver = make_driver(session, engine, program, stop)
        driver.drive(run_id, until=until.value)
        root = root_of(engine, run_id)
        return conclude(
            session, engine, root, labels=program.labels, waiting_ok=waiting_ok, stop=stop
        )


def _tick_due(session: Session, engine: DirectoryEngine, stop: StopFlag, limit: int) -> int:
    rows, failures = [], []
    for root in runnable_roots(engine, now_iso=SystemClock().now_iso(), limit=limit):
        if stop():
            break
        try:
            rows.append(_tick_one(session, engine, root, stop))
        except (AbstractRuntimeError, OSError) as found:
            cause = as_known_error(found)
            if cause is None:
                raise
            failures.append(cause)
            session.out.complain(error_lines(cause))
    document = {
        "format": "art-runs/1",
        "runs": rows,
        "errors": [error_document(cause)["error"] for cause in failures],
    }

    def text() -> list[str]:
        return session.out.table(
            ("run", "status", "workflow"),
            [(row["run_id"], row["status"], row["workflow_id"]) for row in rows],
        )

    session.out.emit(document, text=text, items="runs")
    session.out.note(f"{len(rows)} runs went on, {len(failures)} could not")
    if stop.code is not None:
        return int(stop.code)
    return int(failures[0].exit_code if failures else ExitCode.OK)


def _tick_one(session: Session, engine: DirectoryEngine, root: str, stop: StopFlag) -> JsonObject:
    if cause := damage_of(engine, root):
        raise cause
    _, driver = make_driver(session, engine, program_of_run(session, engine, root), stop)
    state = driver.drive(root)
    return header_row(RunHeader.of(state), mapping(started_facts(engine, root).get("labels")))
