"""`art cancel`, `art pause`, `art unpause`: stop runs from outside, and let them go on.

Nothing is executed here, and no bundle is needed. A run that somebody else drives is asked:
the request is durable, and its owner follows it at the next step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from abstractruntime._runtime.runtime import Runtime
from abstractruntime._runtime.trees import cancel_tree
from abstractruntime._text import shell_word
from abstractruntime.cli._confirm import YesOption, require_consent
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import AcceptOriginOption, RunArgument
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import check_index, resolve_run, run_document, writing
from abstractruntime.core.models import RunState, RunStatus, WaitReason
from abstractruntime.core.outcome import outcome_of
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.store import Store
from abstractruntime.core.vars import is_paused
from abstractruntime.errors import ExitCode

ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")
]
OnlyOption = Annotated[
    bool, typer.Option("--only", help="Just this run, not what it started below it.")
]


@uses_store
def cancel(
    session: Session,
    run: RunArgument,
    reason: ReasonOption = None,
    only: OnlyOption = False,
    yes: YesOption = False,
    accept_origin: AcceptOriginOption = False,
) -> int:
    """Cancel a run and everything below it, leaves first.

    Exit code 0 when it is cancelled, when its owner was asked to cancel it, and when it has
    ended already; `outcome` in the document tells which.
    """
    session.accepts_origin = accept_origin
    with writing(session) as engine:
        run_id = _chosen(session, engine, run)
        before = _tree(engine, run_id, only=only)
        live = sum(not state.status.is_terminal for state in before)
        if live:
            more = f" and {live - 1} below it" if live > 1 else ""
            require_consent(f"Cancel run {run_id}{more}?", yes=yes)
        runtime = control_runtime(engine)
        if only:
            runtime.cancel_run(run_id, reason=reason)
        else:
            cancel_tree(runtime, run_id, reason=reason)
        after = _tree(engine, run_id, only=only)
        _conclude(session, engine, run_id, after)
        ended = {state.run_id for state in before if state.status.is_terminal}
        if len(ended) == len(after):
            found = outcome_of(engine.peek(run_id)).value
            session.out.note(f"note: run {run_id} is {found} already; nothing to cancel")
        _note_asked(session, (s for s in after if not s.status.is_terminal), "cancel")
        return int(ExitCode.OK)


@uses_store
def pause(
    session: Session,
    run: RunArgument,
    reason: ReasonOption = None,
    only: OnlyOption = False,
    accept_origin: AcceptOriginOption = False,
) -> int:
    """Let a run and everything below it rest until `art unpause`.

    Timers, events and ended children wait meanwhile. A run that asks a person is left alone:
    it rests anyway. Exit code 0 also when there was nothing to pause.
    """
    session.accepts_origin = accept_origin
    with writing(session) as engine:
        run_id = _chosen(session, engine, run)
        runtime = control_runtime(engine)
        for state in _live(engine, run_id, only=only):
            runtime.pause_run(state.run_id, reason=reason)
        after = _live(engine, run_id, only=only)
        _conclude(session, engine, run_id, after)
        if not after:
            found = outcome_of(engine.peek(run_id)).value
            session.out.note(f"note: run {run_id} is {found} already; nothing to pause")
        running = [state for state in after if not is_paused(state.vars)]
        for state in filter(_asks, running):
            session.out.note(f"note: run {state.run_id} asks a person, and rests until the answer")
        _note_asked(session, (state for state in running if not _asks(state)), "pause")
        return int(ExitCode.OK)


@uses_store
def unpause(
    session: Session,
    run: RunArgument,
    only: OnlyOption = False,
    accept_origin: AcceptOriginOption = False,
) -> int:
    """Let a paused run and everything below it go on; nothing is executed yet.

    `art serve` takes it up, or `art tick RUN`. Exit code 0 also when it was not paused.
    """
    session.accepts_origin = accept_origin
    with writing(session) as engine:
        run_id = _chosen(session, engine, run)
        runtime = control_runtime(engine)
        paused = [s for s in _live(engine, run_id, only=only) if is_paused(s.vars)]
        for state in paused:
            runtime.resume_run(state.run_id)
        after = [engine.peek(state.run_id) for state in paused]
        _conclude(session, engine, run_id, after)
        if paused:
            session.out.note(f"  = hint: go on with it: art tick {shell_word(run_id)}")
        else:
            session.out.note(f"note: run {run_id} is not paused; nothing to do")
        _note_asked(session, (state for state in after if is_paused(state.vars)), "go on")
        return int(ExitCode.OK)


def _chosen(session: Session, engine: Store, run: str) -> str:
    """Give the id of the run that is meant, when no row of the index hides one below it."""
    check_index(session, engine)
    return resolve_run(engine, run)


def control_runtime(engine: Store) -> Runtime:
    """Give a runtime that stops, pauses and tells runs of any bundle; it executes nothing."""
    return Runtime.on_engine(engine, trace_records=0)


def _tree(engine: Store, run_id: str, *, only: bool) -> list[RunState]:
    tree = RunTree(engine, run_id)
    return [tree.state()] if only else tree.states()


def _live(engine: Store, run_id: str, *, only: bool) -> list[RunState]:
    return [s for s in _tree(engine, run_id, only=only) if not s.status.is_terminal]


def _asks(state: RunState) -> bool:
    wait = state.waiting
    return state.status is RunStatus.WAITING and wait is not None and wait.reason is WaitReason.USER


def _conclude(session: Session, engine: Store, run_id: str, states: Iterable[RunState]) -> None:
    """Print the run document; for people, each run of the tree with its outcome."""
    rows = [(state.run_id, outcome_of(state).value) for state in states]

    def text() -> list[str]:
        return session.out.table(("run", "outcome"), rows)

    session.out.emit(run_document(engine, RunTree(engine, run_id)), text=text)


def _note_asked(session: Session, states: Iterable[RunState], what: str) -> None:
    for state in states:
        session.out.note(
            f"asked to {what}: run {state.run_id} is driven by another process,"
            " which follows at its next step"
        )
