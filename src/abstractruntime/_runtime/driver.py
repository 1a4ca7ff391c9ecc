"""Driving a tree of runs in the foreground: the root, its children, their timers.

One pass asks the store for the tree and does everything that can be done now:
1. apply commands that were posted while a run was owned;
2. advance running runs, newest first, and runs whose deadline has passed;
3. hand the results of finished children to parents that wait for them.
Passes repeat until nothing moves; what is left are waits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from abstractruntime._runtime.listeners import Listeners
from abstractruntime._runtime.reads import with_large_values
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import RunState, RunStatus, WaitReason, parse_moment
from abstractruntime.core.ports import Clock, Engine, RunHeader, RunQuery
from abstractruntime.core.vars import is_paused
from abstractruntime.effects.subworkflow import hand_over
from abstractruntime.errors import (
    AbstractRuntimeError,
    Busy,
    IntegrityError,
    NotFound,
    UsageError,
    WaitMismatch,
)

Until = Literal["idle", "waiting", "done"]

_STEPS_PER_TICK = 1000
_LONGEST_SLEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class OpenWait:
    """A wait that someone or something outside must end."""

    run_id: str
    node_id: str
    reason: WaitReason
    wait_key: str | None
    prompt: str | None
    choices: tuple[str, ...] | None
    allow_free_text: bool
    until: str | None
    occurrence: int | None
    listens: bool = False

    @classmethod
    def of(cls, run: RunState) -> OpenWait:
        wait = run.waiting
        assert wait is not None  # noqa: S101 - callers pass waiting runs
        return cls(
            run_id=run.run_id,
            node_id=run.current_node,
            reason=wait.reason,
            wait_key=wait.wait_key,
            prompt=wait.prompt,
            choices=tuple(wait.choices) if wait.choices is not None else None,
            allow_free_text=wait.allow_free_text,
            until=wait.until,
            occurrence=wait.occurrence,
            listens=wait.listens,
        )


def run_tree(engine: Engine, run_id: str, *, live_only: bool = False) -> list[RunHeader | RunState]:
    """Give a run and all its descendants, parents before children.

    With `live_only`, descendants that have ended, and what is below them, are left out.
    """
    found: list[RunHeader | RunState] = [engine.peek(run_id)]
    known = {run_id}
    for parent in found:
        query = RunQuery(parent_run_id=parent.run_id, live_only=live_only, limit=0)
        children = [child for child in engine.find(query) if child.run_id not in known]
        known.update(child.run_id for child in children)
        found.extend(sorted(children, key=lambda child: child.created_at))
    return found


def cancel_tree(runtime: Runtime, run_id: str, *, reason: str | None = None) -> list[RunState]:
    """Cancel a run and all its live descendants, leaves first, and give those that are cancelled.

    The root comes first in what is given. Descendants below a run that has ended are reached
    too. A run that someone else drives is cancelled by its owner, at its next step; what such
    a run started meanwhile is found by looking again until nothing new appears.

    Raises:
        NotFound: there is no such run.
        AbstractRuntimeError: a run could not be cancelled; all the others are.
    """
    seen: dict[str, RunHeader | RunState] = {}
    failure: AbstractRuntimeError | None = None
    while True:
        tree = run_tree(runtime.engine, run_id)
        fresh = [run for run in tree if run.run_id not in seen]
        if not fresh:
            break
        seen.update((run.run_id, run) for run in fresh)
        for run in reversed(fresh):
            if not run.status.is_terminal:
                try:
                    runtime.cancel_run(run.run_id, reason=reason)
                except AbstractRuntimeError as error:
                    failure = failure or error
    if failure is not None:
        raise failure
    states = [runtime.get_state(found) for found in seen]
    return [state for state in states if state.status is RunStatus.CANCELLED]


def root_or_self(engine: Engine, run_id: str) -> str:
    """Give the id of the run at the top of the tree, or that of the run when it cannot be found."""
    try:
        return root_of(engine, run_id)
    except AbstractRuntimeError:
        # A damaged run stops nobody else; driving it says what is wrong with it.
        return run_id


def root_of(engine: Engine, run_id: str) -> str:
    """Give the id of the run at the top of the tree."""
    run, seen = engine.peek(run_id), {run_id}
    while run.parent_run_id is not None and run.parent_run_id not in seen:
        try:
            run = engine.peek(run.parent_run_id)
        except NotFound:
            break
        seen.add(run.run_id)
    return run.run_id


def open_waits(engine: Engine, run_id: str) -> list[OpenWait]:
    """Give the leaf waits of a run and its descendants, oldest run first, listeners last."""
    waits = []
    for header in run_tree(engine, run_id):
        if header.status is not RunStatus.WAITING:
            continue
        run = engine.peek(header.run_id)
        if run.waiting and run.waiting.reason is not WaitReason.SUBWORKFLOW:
            waits.append(OpenWait.of(run))
    return sorted(waits, key=lambda wait: wait.listens)


def hand_over_child(runtime: Runtime, parent: RunState) -> bool:
    """Give a parent what the child that it waits for came to; True when its wait ended.

    A child that still lives, or a parent that waits for something else, changes nothing.
    """
    wait = parent.waiting
    if wait is None or wait.reason is not WaitReason.SUBWORKFLOW:
        return False
    try:
        child = runtime.get_state(str((wait.details or {}).get("sub_run_id")))
    except NotFound:
        return False
    if not child.status.is_terminal:
        return False
    child = with_large_values(runtime.engine, child)
    # By command, not by answer: whoever drives the parent just now takes it up.
    command = hand_over(parent, wait, child, runtime.get_node_traces)
    after = runtime.post(parent.run_id, command)
    return after.waiting is None or after.waiting.wait_key != wait.wait_key


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
        self._stop = stop or (lambda: False)

    def drive(self, run_id: str, *, until: Until = "idle") -> RunState:
        """Drive the whole tree that `run_id` belongs to, and give the state of its root.

        `idle` stops when nothing can run now; `waiting` sleeps through timers; `done` waits
        for whatever else may come, until the root has ended. A root that has ended takes its idle
        listeners with it, unless they are kept.
        """
        root = root_of(self._engine, run_id)
        self._listeners.start(root)
        while not self._stop():
            if self._pass(root):
                continue
            state = self._engine.peek(root)
            if state.status.is_terminal and self._listeners.close(root):
                continue
            if state.status.is_terminal or until == "idle" or is_paused(state.vars):
                return state
            if not self._sleep(root, until):
                return state
        return self._engine.peek(root)

    def _pass(self, root: str) -> bool:
        """Do what can be done now; True when something moved."""
        self._apply_commands(root)
        live = run_tree(self._engine, root, live_only=True)
        if self._advance(live):
            return True
        # Rare: something goes on below a run that has ended already.
        known = {run.run_id for run in live}
        return self._advance([r for r in run_tree(self._engine, root) if r.run_id not in known])

    def _apply_commands(self, root: str) -> None:
        posted = {run.run_id for run in self._engine.find(RunQuery(has_commands=True, limit=0))}
        for run in run_tree(self._engine, root) if posted else ():
            if run.run_id in posted:
                with contextlib.suppress(Busy):  # whoever owns it applies them
                    self._runtime.apply_commands(run.run_id)

    def _advance(self, runs: list[RunHeader | RunState]) -> bool:
        moved, blocked = False, None
        for run in reversed(runs):
            if self._stop():
                return False
            try:
                moved = self._go_on(run) or moved
            except (Busy, IntegrityError) as error:
                blocked = error  # concerns that run alone; the others go on first
        if blocked is not None and not moved:
            raise blocked
        return moved

    def _go_on(self, run: RunHeader | RunState) -> bool:
        if run.status is RunStatus.WAITING:
            return self._wake(run)
        if run.status is not RunStatus.RUNNING or is_paused(self._engine.peek(run.run_id).vars):
            return False
        self._tick(run)
        return True

    def _tick(self, run: RunHeader | RunState) -> RunState:
        return self._runtime.tick(
            workflow=self._workflow(run.workflow_id),
            run_id=run.run_id,
            max_steps=_STEPS_PER_TICK,
            stop=self._stop,
        )

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

    def _wake(self, header: RunHeader | RunState) -> bool:
        run = self._engine.peek(header.run_id)
        wait = run.waiting
        if wait is None or is_paused(run.vars):
            return False
        if wait.reason is WaitReason.SUBWORKFLOW:
            return hand_over_child(self._runtime, run)
        if wait.until is not None and parse_moment(wait.until) <= self._clock.now():
            self._tick(run)
            return True
        return False

    def _sleep(self, root: str, until: Until) -> bool:
        """Sleep towards the next deadline; False when only people or events can go on."""
        deadlines = [
            parse_moment(wait.until)
            for wait in open_waits(self._engine, root)
            if wait.until and not is_paused(self._engine.peek(wait.run_id).vars)
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

        Raises:
            WaitMismatch: nothing waits there, the key names no open wait, or the answer is
                none of the choices.
            UsageError: several questions, or without one several waits, are open and no key
                was given.
        """
        wait = self._choose(run_id, wait_key, force=force)
        if not force:
            _check_choice(wait, payload)
        # Nobody could go on with the answer to a run whose workflow is not loaded.
        self._workflow(self._engine.peek(wait.run_id).workflow_id)
        self._runtime.answer(
            wait.run_id,
            payload,
            wait_key=wait.wait_key,
            actor=actor,
            occurrence=wait.occurrence,
        )
        return wait

    def _answered(self, run_id: str) -> str:
        """Say who gave the last answer, for whoever comes second."""
        answers = [
            stored.record
            for stored in self._engine.records(run_id)
            if (stored.record.get("effect") or {}).get("type") == "resume"
        ]
        if not answers:
            return ""
        actor = (answers[-1].get("result") or {}).get("actor") or "somebody"
        return f"; {actor} answered at {answers[-1]['ended_at']}"

    def _choose(self, run_id: str, wait_key: str | None, *, force: bool) -> OpenWait:
        parked = open_waits(self._engine, run_id)
        # A timer is no question: only `force` cuts it short.
        waits = [w for w in parked if force or w.reason is not WaitReason.UNTIL]
        questions = [w for w in waits if w.reason is WaitReason.USER]
        # Listeners often stay open beside a question; without a key the question is meant.
        unnamed = questions or [w for w in waits if not w.listens] or waits
        matching = [w for w in waits if w.wait_key == wait_key] if wait_key else unnamed
        if len(matching) == 1:
            return matching[0]
        keys = [w.wait_key for w in waits]
        if not waits and parked:
            raise WaitMismatch(
                f"run {run_id!r} waits until {parked[0].until}, not for an answer",
                hint="art tick goes on with it when it is due; --force ends the wait now",
                run_id=run_id,
                until=parked[0].until,
            )
        if not waits:
            status = self._engine.peek(run_id).status.value
            raise WaitMismatch(
                f"run {run_id!r} is {status}, not waiting for an answer{self._answered(run_id)}",
                hint=f"see what happened: art inspect {run_id}",
                run_id=run_id,
                status=status,
            )
        if not matching:
            raise WaitMismatch(
                f"wait_key mismatch: run {run_id!r} does not wait for {wait_key!r}",
                hint="open wait keys: " + ", ".join(map(str, keys)),
                run_id=run_id,
                given=wait_key,
                open=keys,
            )
        raise UsageError(
            f"run {run_id!r} has {len(waits)} open waits",
            hint="name one with --wait-key: " + ", ".join(map(str, keys)),
            run_id=run_id,
            open=keys,
        )


def _check_choice(wait: OpenWait, payload: Any) -> None:
    if wait.reason is not WaitReason.USER or not wait.choices or wait.allow_free_text:
        return
    answer = payload.get("response") if isinstance(payload, dict) else payload
    if answer not in wait.choices:
        raise WaitMismatch(
            f"answer {answer!r} is none of the choices of {wait.wait_key!r}",
            hint="choose one of: " + ", ".join(wait.choices) + "; or add --force",
            run_id=wait.run_id,
            given=answer,
            choices=list(wait.choices),
        )
