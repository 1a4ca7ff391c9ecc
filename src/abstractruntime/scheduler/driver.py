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

from abstractruntime._runtime import Runtime
from abstractruntime.core.models import JsonObject, RunState, RunStatus, WaitReason, parse_moment
from abstractruntime.core.ports import Clock, Engine, RunHeader, RunQuery
from abstractruntime.core.vars import is_paused
from abstractruntime.effects.subworkflow import child_failure
from abstractruntime.errors import (
    Busy,
    IntegrityError,
    NotFound,
    StoreError,
    UsageError,
    WaitMismatch,
)

Until = Literal["idle", "waiting", "done"]

_TREE_LIMIT = 5000
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
        )


def run_tree(engine: Engine, run_id: str, *, live_only: bool = False) -> list[RunHeader | RunState]:
    """Give a run and all its descendants, parents before children.

    With `live_only`, descendants that have ended, and what is below them, are left out.
    """
    found: list[RunHeader | RunState] = [engine.peek(run_id)]
    for parent in found:
        if len(found) >= _TREE_LIMIT:
            break
        children = engine.find(
            RunQuery(parent_run_id=parent.run_id, live_only=live_only, limit=_TREE_LIMIT)
        )
        found.extend(sorted(children, key=lambda child: child.created_at))
    return found


def runnable_roots(engine: Engine, *, now_iso: str, limit: int = 100) -> list[str]:
    """Give the roots of the trees in which something can go on now.

    A run can go on when it is running (its process died), due, has commands, or waits for
    a child that has ended.
    """
    waiting = RunQuery(wait_reason=WaitReason.SUBWORKFLOW, status=RunStatus.WAITING, limit=limit)
    found = [
        *engine.find(RunQuery(due_at=now_iso, limit=limit)),
        *engine.find(RunQuery(status=RunStatus.RUNNING, limit=limit)),
        *engine.find(RunQuery(has_commands=True, limit=limit)),
        *(header for header in engine.find(waiting) if _child_has_ended(engine, header)),
    ]
    return list(dict.fromkeys(_root_or_self(engine, run.run_id) for run in found))[:limit]


def _child_has_ended(engine: Engine, parent: RunHeader) -> bool:
    child_id = (parent.wait_key or "").removeprefix("subworkflow:")
    try:
        return engine.peek(child_id).status.is_terminal
    except (NotFound, IntegrityError, StoreError, UsageError):
        return False


def _root_or_self(engine: Engine, run_id: str) -> str:
    try:
        return root_of(engine, run_id)
    except (IntegrityError, NotFound, StoreError):
        # A damaged run stops nobody else; driving it says what is wrong with it.
        return run_id


def root_of(engine: Engine, run_id: str) -> str:
    """Give the id of the run at the top of the tree."""
    run = engine.peek(run_id)
    while run.parent_run_id is not None:
        try:
            run = engine.peek(run.parent_run_id)
        except NotFound:
            break
    return run.run_id


def open_waits(engine: Engine, run_id: str) -> list[OpenWait]:
    """Give the leaf waits of a run and its descendants, oldest run first."""
    waits = []
    for header in run_tree(engine, run_id):
        if header.status is not RunStatus.WAITING:
            continue
        run = engine.peek(header.run_id)
        if run.waiting and run.waiting.reason is not WaitReason.SUBWORKFLOW:
            waits.append(OpenWait.of(run))
    return waits


class Driver:
    """Drives trees of runs with one runtime, whose registry knows their workflows."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        clock: Clock | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self._runtime = runtime
        self._engine = runtime.engine
        self._clock = clock or runtime.clock
        self._stop = stop or (lambda: False)

    def drive(self, run_id: str, *, until: Until = "idle") -> RunState:
        """Drive the whole tree that `run_id` belongs to, and give the state of its root.

        `idle` stops when nothing can run now; `waiting` sleeps through timers; `done` waits
        for whatever else may come, until the root has ended.
        """
        root = root_of(self._engine, run_id)
        while not self._stop():
            if self._pass(root):
                continue
            state = self._engine.peek(root)
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
        for run in self._engine.find(RunQuery(has_commands=True, limit=_TREE_LIMIT)):
            with contextlib.suppress(Busy):  # whoever owns it applies them
                if _root_or_self(self._engine, run.run_id) == root:
                    self._runtime.apply_commands(run.run_id)

    def _advance(self, runs: list[RunHeader | RunState]) -> bool:
        moved = False
        for run in reversed(runs):
            if self._stop():
                return False
            if run.status is RunStatus.RUNNING:
                if not is_paused(self._engine.peek(run.run_id).vars):
                    self._tick(run)
                    moved = True
            elif run.status is RunStatus.WAITING:
                moved = self._wake(run) or moved
        return moved

    def _tick(self, run: RunHeader | RunState) -> RunState:
        return self._runtime.tick(
            workflow=self._workflow(run.workflow_id),
            run_id=run.run_id,
            max_steps=_STEPS_PER_TICK,
            stop=self._stop,
        )

    def _workflow(self, workflow_id: str) -> Any:
        registry = self._runtime.workflow_registry
        spec = registry.get(workflow_id) if registry is not None else None
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
            return self._hand_over(run)
        if wait.until is not None and parse_moment(wait.until) <= self._clock.now():
            self._tick(run)
            return True
        return False

    def _hand_over(self, parent: RunState) -> bool:
        """Give a finished child's result to the parent that waits for it."""
        wait = parent.waiting
        details = (wait.details if wait else None) or {}
        try:
            child = self._engine.peek(str(details.get("sub_run_id")))
        except NotFound:
            return False
        if wait is None or not child.status.is_terminal:
            return False
        if child.status is not RunStatus.COMPLETED:
            key = wait.wait_key or ""
            self._runtime.fail_wait(parent.run_id, error=child_failure(child), wait_key=key)
            return True
        payload: JsonObject = {"sub_run_id": child.run_id, "output": child.output}
        self._runtime.resume(
            workflow=self._workflow(parent.workflow_id),
            run_id=parent.run_id,
            wait_key=wait.wait_key,
            payload=payload,
            max_steps=0,
        )
        return True

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
            UsageError: several waits are open and no key was given.
        """
        wait = self._choose(run_id, wait_key, force=force)
        if not force:
            _check_choice(wait, payload)
        self._runtime.resume(
            workflow=self._workflow(self._engine.peek(wait.run_id).workflow_id),
            run_id=wait.run_id,
            wait_key=wait.wait_key,
            payload=payload,
            max_steps=0,
            actor=actor,
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
        matching = [w for w in waits if wait_key is None or w.wait_key == wait_key]
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
