"""`art limits`: what a run may use, and how to let it use more."""

from __future__ import annotations

from typing import Annotated

import typer

from abstractruntime._text import shell_word
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._limits import parse_limits
from abstractruntime.cli._options import AcceptOriginOption, RunArgument
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import check_index, reading, resolve_run, writing
from abstractruntime.core.outcome import outcome_of
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.store import Store
from abstractruntime.core.tree_limits import nearest_uses
from abstractruntime.errors import ExitCode


@uses_store
def limits(
    session: Session,
    run: RunArgument,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=NUMBER]...", help="What it may use from now on; 0: no limit."
        ),
    ] = None,
    accept_origin: AcceptOriginOption = False,
) -> int:
    """Show what a run and everything below it uses of its limits, or change them.

    Shown is, for each limit, the run that is nearest to it, and every run that rests.
    Limits are the run's own, as they were when it started. A run that rests at one goes on when
    the limit is above what it has used; nothing is executed yet.
    """
    session.accepts_origin = accept_origin
    wanted = parse_limits(changes or ())
    if not wanted:
        with reading(session) as engine:
            return _show(session, engine, resolve_run(engine, run))
    with writing(session) as engine:
        check_index(session, engine)
        run_id = resolve_run(engine, run)
        _change(session, engine, run_id, wanted)
        return _show(session, engine, run_id)


def _change(session: Session, engine: Store, run_id: str, wanted: dict[str, int]) -> None:
    from abstractruntime._runtime.runtime import Runtime

    runtime, tree = Runtime.on_engine(engine, trace_records=0), RunTree(engine, run_id)
    live = [state.run_id for state in tree.states() if not state.status.is_terminal]
    rested = {state.run_id for state in tree.limited()}
    for member in live:
        runtime.update_limits(member, wanted)
    if not live:
        session.out.note(
            f"note: run {run_id} is {outcome_of(tree.state()).value}; nothing to change"
        )
    still = {state.run_id for state in RunTree(engine, run_id).limited()}
    for member in sorted(rested & still):
        session.out.note(f"note: run {member} still rests at its limit")
    if rested - still:
        session.out.note(f"  = hint: go on with it: art tick {shell_word(run_id)}")


def _show(session: Session, engine: Store, run_id: str) -> int:
    tree = RunTree(engine, run_id)
    uses = nearest_uses(tree, lambda run: engine.head(run).all_bytes)
    document = {"format": "art-limits/1", "run_id": run_id, "limits": uses}

    def text() -> list[str]:
        rows = [
            (use["limit"], use["used"], use["max"], use["run_id"], "rests" if use["rests"] else "")
            for use in uses
        ]
        return session.out.table(("limit", "used", "max", "run", ""), rows)

    session.out.emit(document, text=text, items="limits")
    if not uses:
        session.out.note(f"note: run {run_id} has no limits, or has ended")
    return int(ExitCode.OK)
