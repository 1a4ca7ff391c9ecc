"""Driving a tree of runs in the foreground: the root, its children, their timers.

One pass asks the store for the tree and does what can be done now:
1. apply commands that were posted while a run was owned;
2. advance running runs, newest first, and runs whose deadline has passed;
3. hand the results of finished children to parents that wait for them.
Passes repeat until nothing moves; what is left are waits.

A pass goes from a run that moved to the child that it waits for now, and from a run that
ended to its listeners and its parent, without asking for the tree again. Asking costs in line with the runs of the
tree, so a pass makes as many moves as it found runs, and no more: others want to go on, too.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from abstractruntime._runtime.listeners import Listeners
from abstractruntime._runtime.readiness import CHILD, COMMAND, INTERRUPTED, TIMER, Readiness
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import RunState, RunStatus, WaitReason, parse_moment
from abstractruntime.core.ports import Clock, RunHeader
from abstractruntime.core.run_tree import Decision, OpenWait, RunTree
from abstractruntime.core.vars import is_paused
from abstractruntime.errors import Busy, IntegrityError, NotFound, Quarantined

Until = Literal["idle", "waiting", "done"]

_STEPS_PER_TICK = 1000
_LONGEST_SLEEP_S = 1.0
_LEAST_MOVES = 4
# Commands come first. Whoever drives a tree drives every running run in it.
_CAUSES = (CHILD, TIMER, INTERRUPTED)


class Driver:
    """Drives trees of runs with one runtime, whose registry knows their workflows."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        clock: Clock | None = None,
        stop: Callable[[], bool] | None = None,
        listeners: Listeners | None = None,
    ) -> None:
        self._runtime = runtime
        self._listeners = listeners or Listeners(runtime, ())
        self._engine = runtime.engine
        self._clock = clock or runtime.clock
        self._readiness = Readiness(self._engine, self._clock)
        self._stop = stop or (lambda: False)

    def drive(self, run_id: str, *, until: Until = "idle") -> RunState:
        """Drive the whole tree that `run_id` belongs to, and give the state of its root.

        `idle` stops when nothing can run now; `waiting` sleeps through timers; `done` waits
        for whatever else may come, until the root has ended. All stop at a limit. A root that has ended takes its idle
        listeners with it, unless they are kept.
        """
        tree = RunTree(self._engine, run_id).from_root()
        try:
            self._listeners.start(tree.run_id)
            while not self._stop():
                tree = self._after_commands(tree)
                moved = self._pass(tree)
                if moved is None and not self._rest(tree, until):
                    break
                tree = moved or RunTree(self._engine, tree.run_id)
            return tree.state()
        finally:
            self._runtime.trees.release(tree.run_id)

    def _after_commands(self, tree: RunTree) -> RunTree:
        """Apply what was posted to a tree, and give a look at what came of it."""
        posted = {run.run_id for run in self._engine.find(COMMAND.query(""))}
        asked = [run.run_id for run in tree.members() if run.run_id in posted] if posted else ()
        for run_id in asked:
            with contextlib.suppress(Busy):  # whoever owns it applies them
                self._runtime.apply_commands(run_id)
        return RunTree(self._engine, tree.run_id) if asked else tree

    def _pass(self, tree: RunTree) -> RunTree | None:
        """Do what can be done now, and give a look at what came of it; None when nothing moved."""
        live = tree.members(live_only=True)
        if moved := self._advance(tree, live):
            return moved
        # Rare: something goes on below a run that has ended already.
        known = {run.run_id for run in live}
        return self._advance(tree, [run for run in tree.members() if run.run_id not in known])

    def _advance(self, tree: RunTree, runs: list[RunHeader]) -> RunTree | None:
        moves, most, blocked = 0, max(_LEAST_MOVES, len(runs)), None
        todo = deque(runs)
        listeners = [run.run_id for run in runs if run.wait_reason is WaitReason.EVENT]
        while todo and moves < most and not self._stop():
            run = todo.pop()
            try:
                if self._go_on(tree, run):
                    moves, tree = moves + 1, RunTree(self._engine, tree.run_id)
                    if _note_next(todo, run, tree):
                        # What the run told before it ended is heard before its parent goes on.
                        todo.extend(RunHeader.of(tree.state(run_id)) for run_id in listeners)
            except (Busy, IntegrityError, Quarantined) as error:
                blocked = error  # concerns that run alone; the others go on first
        if blocked is not None and not moves:
            raise blocked
        return tree if moves else None

    def _go_on(self, tree: RunTree, run: RunHeader) -> bool:
        cause = next((c for c in _CAUSES if self._readiness.is_ready(c, run, tree)), None)
        if cause is None or not tree.is_member(run):
            return False
        state = tree.state(run.run_id)
        if cause.prepare is not None:
            return cause.prepare(self._runtime, state)
        self._runtime.advance(
            workflow=self._workflow(state.workflow_id),
            run_id=run.run_id,
            max_steps=_STEPS_PER_TICK,
            stop=self._stop,
        )
        return True

    def _workflow(self, workflow_id: str) -> Any:
        spec = self._runtime.find_workflow(workflow_id)
        if spec is None:
            raise NotFound(
                f"workflow {workflow_id!r} is not loaded",
                hint="name the bundle that holds it",
                kind="workflow",
                id=workflow_id,
            )
        return spec

    def _rest(self, tree: RunTree, until: Until) -> bool:
        """Close or wait, as nothing can be done now; False when driving is over."""
        root = tree.state()
        if root.status.is_terminal:
            return self._listeners.close(root.run_id)
        if until == "idle" or is_paused(root.vars) or tree.limited():
            return False
        return self._sleep(tree, until)

    def _sleep(self, tree: RunTree, until: Until) -> bool:
        """Sleep towards the next deadline; False when only people or events can go on."""
        deadlines = [
            parse_moment(wait.until)
            for wait in tree.open_waits()
            if wait.until and not is_paused(tree.state(wait.run_id).vars)
        ]
        if not deadlines and until == "waiting":
            return False
        left = (
            (min(deadlines) - self._clock.now()).total_seconds() if deadlines else _LONGEST_SLEEP_S
        )
        self._clock.sleep(max(0.0, min(left, _LONGEST_SLEEP_S)))
        return True

    def answer(
        self,
        run_id: str,
        payload: Any,
        *,
        wait_key: str | None = None,
        actor: str | None = None,
        force: bool = False,
    ) -> OpenWait:
        """Store the answer to the one open wait at or below `run_id`; nothing is executed yet.

        Args:
            payload: The answer, or a `Decision`, which the choices of the wait give its word.
            force: Whether anything counts as an answer.

        Raises:
            WaitMismatch: nothing waits there, the key names no open wait, or the answer is
                none of the choices, or none at all.
            UsageError: several questions, or without one several waits, are open and no key
                was given.
        """
        tree = RunTree(self._engine, run_id)
        wait = tree.choose_wait(wait_key, force=force)
        if isinstance(payload, Decision):
            payload = wait.decided(payload)
        if not force:
            payload = wait.meant(payload)
            wait.check_answer(payload)
        # Nobody could go on with the answer to a run whose workflow is not loaded.
        self._workflow(tree.state(wait.run_id).workflow_id)
        self._runtime.answer(
            wait.run_id,
            payload,
            wait_key=wait.wait_key,
            actor=actor,
            occurrence=wait.occurrence,
        )
        return wait


def _note_next(todo: deque[RunHeader], moved: RunHeader, tree: RunTree) -> bool:
    """Note what can go on because a run moved, behind all others; True when a parent can."""
    run = RunHeader.of(tree.state(moved.run_id))
    child = tree.awaited_by(run)
    is_woken = run.status is RunStatus.RUNNING and moved.status is not RunStatus.RUNNING
    if child is not None and not child.status.is_terminal:
        todo.appendleft(child)
    elif child is not None or is_woken:
        todo.appendleft(run)
    elif run.status.is_terminal and (parent := tree.parent_waiting_for(run)):
        todo.appendleft(parent)
        return True
    return False
