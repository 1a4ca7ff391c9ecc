"""The scheduler of 0.4.x: a thread that advances due runs of one runtime.

A poll cycle does what nobody else will do:
1. it wakes runs whose deadline has passed, all of them, earliest first;
2. it applies commands that were posted while a run was owned, and goes on with the run;
3. it hands the end of a child to the parent that waits for it, and goes on with the parent;
4. when asked to, it takes up running runs that nobody has advanced for a while.
A run that fails to advance is left alone for a while, twice as long each time; a run whose
workflow is not registered is left alone until it is. Neither holds up the others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from abstractruntime._runtime.readiness import (
    CHILD,
    COMMAND,
    INTERRUPTED,
    TIMER,
    Backoff,
    Cause,
    Readiness,
)
from abstractruntime._runtime.runtime import Runtime
from abstractruntime._runtime.trees import cancel_tree
from abstractruntime.core.models import RunState, RunStatus, WaitReason
from abstractruntime.core.ports import RunHeader
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.core.vars import is_paused
from abstractruntime.errors import AbstractRuntimeError, Busy, NotFound, WaitMismatch
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage.base import QueryableRunStore

_LOG = logging.getLogger("abstractruntime.scheduler")
_PATIENCE_S, _PAUSE_S = 5.0, 0.01


@dataclass
class SchedulerStats:
    """What a scheduler did so far; `errors` are `"<moment>: <text>"`, the newest last."""

    runs_resumed: int = 0
    runs_failed: int = 0
    poll_cycles: int = 0
    last_poll_at: str | None = None
    errors: list[str] = field(default_factory=list)


class Scheduler:
    """Advances the due runs of a runtime, in a thread or cycle by cycle."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        registry: WorkflowRegistry,
        poll_interval_s: float = 1.0,
        max_errors_kept: int = 100,
        on_run_resumed: Callable[[RunState], None] | None = None,
        on_run_failed: Callable[[str, Exception], None] | None = None,
        on_run_terminal: Callable[[RunState], None] | None = None,
        take_up_after_s: float | None = None,
    ) -> None:
        """Put a scheduler over a runtime.

        Args:
            runtime: Its run store must be queryable.
            registry: The workflows of the runs.
            poll_interval_s: Seconds between two cycles of the thread.
            max_errors_kept: How many errors the statistics keep.
            on_run_resumed: Called after a run was advanced, however that ended.
            on_run_failed: Called when advancing a run raised.
            on_run_terminal: Called after a run was advanced to its end.
            take_up_after_s: Take up running runs that are this many seconds old; default never.

        Raises:
            TypeError: the run store cannot be queried.
        """
        if not isinstance(runtime.run_store, QueryableRunStore):
            raise TypeError(
                f"a scheduler needs a QueryableRunStore, got {type(runtime.run_store).__name__}"
            )
        self._runtime = runtime
        self._engine = runtime.engine
        self._clock = runtime.clock
        self._registry = registry
        self._poll_interval_s = poll_interval_s
        self._max_errors_kept = max_errors_kept
        self._on_run_resumed = on_run_resumed
        self._on_run_failed = on_run_failed
        self._on_run_terminal = on_run_terminal
        self._stats = SchedulerStats()
        self._readiness = Readiness(self._engine, self._clock, grace_s=take_up_after_s or 0.0)
        interrupted = () if take_up_after_s is None else (INTERRUPTED,)
        self._causes = (COMMAND, TIMER, *interrupted, CHILD)
        self._backoff = Backoff(self._clock)
        self._parked: set[str] = set()
        self._thread: threading.Thread | None = None
        self._stop_event = threading.Event()

    # -- the thread ------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def stats(self) -> SchedulerStats:
        return self._stats

    def start(self) -> None:
        """Start the polling thread.

        Raises:
            RuntimeError: it is running already.
        """
        if self.is_running:
            raise RuntimeError("the scheduler is already running")
        # One event per thread: a thread that outlived its stop cannot be revived.
        self._stop_event = threading.Event()
        self._thread = threading.Thread(
            target=self._loop,
            args=(self._stop_event,),
            name="abstractruntime-scheduler",
            daemon=True,
        )
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop the thread after the step that it is in; does nothing when it is not running."""
        thread, self._thread = self._thread, None
        self._stop_event.set()
        if thread is None or thread is threading.current_thread():
            return
        thread.join(timeout)
        if thread.is_alive():
            _LOG.warning("the scheduler thread did not stop within %s s", timeout)

    def _loop(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._cycle(stop.is_set)
            except Exception as error:  # noqa: BLE001 - a cycle that fails is noted, and the next one tries again
                self._note_error(f"poll cycle failed: {type(error).__name__}: {error}")
                _LOG.exception("poll cycle failed")
            stop.wait(self._poll_interval_s)

    # -- one cycle ---------------------------------------------------------------

    def poll_once(self) -> int:
        """Do one cycle in this thread, and give how many runs were advanced."""
        return self._cycle(lambda: False)

    def _cycle(self, stop: Callable[[], bool]) -> int:
        self._stats.poll_cycles += 1
        self._stats.last_poll_at = self._clock.now_iso()
        advanced = 0
        for cause, header in self._readiness.candidates(self._causes):
            if stop():
                break
            advanced += self._advance(cause, header, stop)
        return advanced

    def _advance(self, cause: Cause, header: RunHeader, stop: Callable[[], bool]) -> int:
        """Advance one run; 1 when it was, 0 when there was nothing to do or someone else does it."""
        run_id = header.run_id
        workflow = self._workflow(header.workflow_id)
        if workflow is None:
            self._park(header)
            return 0
        if self._is_left_alone(run_id):
            return 0
        self._stats.runs_resumed += 1
        try:
            if self._is_ready(cause, header):
                state = self._runtime.tick(
                    workflow=workflow, run_id=run_id, max_steps=None, stop=stop
                )
                self._backoff.solved(run_id)
                self._tell(state)
                return 1
        except Busy:
            pass
        except Exception as error:  # noqa: BLE001 - one run that fails holds up no other
            self._note_failure(header, error)
        self._stats.runs_resumed -= 1
        return 0

    def _is_ready(self, cause: Cause, header: RunHeader) -> bool:
        tree = RunTree(self._engine, header.run_id)
        if not self._readiness.is_ready(cause, header, tree):
            return False
        return cause.prepare is None or cause.prepare(self._runtime, tree.state())

    def _park(self, header: RunHeader) -> None:
        """Leave a run alone until its workflow is registered; that is said once."""
        if header.run_id in self._parked:
            return
        self._parked.add(header.run_id)
        error = NotFound(
            f"workflow {header.workflow_id!r} of run {header.run_id!r} is not registered",
            kind="workflow",
            id=header.workflow_id,
        )
        self._note_failure(header, error)

    def _is_left_alone(self, run_id: str) -> bool:
        if run_id in self._parked:
            self._parked.discard(run_id)
            self._backoff.solved(run_id)
        return self._backoff.is_waiting(run_id)

    def _workflow(self, workflow_id: str) -> WorkflowSpec | None:
        """Give a registered workflow, or one of the runtime's own, such as summarising a chat."""
        return self._registry.get(workflow_id) or self._runtime.find_workflow(workflow_id)

    def _tell(self, state: RunState) -> None:
        self._call(self._on_run_resumed, state)
        if state.status.is_terminal:
            self._call(self._on_run_terminal, state)

    def _note_failure(self, header: RunHeader, error: Exception) -> None:
        self._backoff.failed(header.run_id)
        self._stats.runs_failed += 1
        self._note_error(f"run {header.run_id}: {type(error).__name__}: {error}")
        self._call(self._on_run_failed, header.run_id, error)

    def _note_error(self, text: str) -> None:
        errors = self._stats.errors
        errors.append(f"{self._clock.now_iso()}: {text}")
        del errors[: max(0, len(errors) - self._max_errors_kept)]

    def _call(self, callback: Callable[..., None] | None, *args: Any) -> None:
        if callback is None:
            return
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001 - a host's callback must not stop the cycle
            self._note_error(f"callback failed: {type(error).__name__}: {error}")

    # -- what hosts ask ----------------------------------------------------------

    def resume_event(self, *, run_id: str, wait_key: str | None, payload: Any) -> RunState:
        """Answer a waiting run and advance it.

        Raises:
            KeyError: no such run, or its workflow is not registered.
            ValueError: it is paused, not waiting, or waiting for another key.
        """
        run = self._runtime.get_state(run_id)
        workflow = self._registry.get_or_raise(run.workflow_id)
        return self._patiently(
            lambda: self._runtime.resume(
                workflow=workflow, run_id=run_id, wait_key=wait_key, payload=payload
            )
        )

    def emit_event(
        self,
        *,
        name: str,
        payload: Any,
        scope: str = "session",
        session_id: str | None = None,
        workflow_id: str | None = None,
        run_id: str | None = None,
        max_steps: int = 100,
        limit: int = 10_000,
    ) -> list[RunState]:
        """Hand an event to everyone who waits for it, and give the runs that got it.

        Raises:
            ValueError: blank name, unknown scope, or no id for the scope.
            KeyError: the workflow of a listener is not registered; the others got the event.
            AbstractRuntimeError: a listener could not be reached; the others got the event.
        """
        told = self._runtime.emit_event(
            name=name,
            payload=payload,
            scope=scope,
            session_id=session_id,
            workflow_id=workflow_id,
            run_id=run_id,
            max_steps=max_steps,
            limit=limit,
        )
        _raise_for(told["resumed"])
        return [self._runtime.get_state(found) for found in told["delivered_to"]]

    def find_waiting_runs(
        self,
        *,
        wait_reason: WaitReason | None = None,
        workflow_id: str | None = None,
        limit: int = 100,
    ) -> list[RunState]:
        """Give waiting runs, newest first."""
        found: list[RunState] = self._runtime.run_store.list_runs(
            status=RunStatus.WAITING, wait_reason=wait_reason, workflow_id=workflow_id, limit=limit
        )
        return found

    def resume_subworkflow_parent(self, *, child_run_id: str, child_output: Any) -> RunState | None:
        """Answer the parent that waits for a child, and advance it; None when there is none.

        A parent that a poll cycle has already answered is given as it is.
        """
        try:
            child = self._runtime.get_state(child_run_id)
            parent = self._runtime.get_state(child.parent_run_id or "")
        except NotFound:
            return None
        wait = parent.waiting
        if wait is None or (wait.details or {}).get("sub_run_id") != child_run_id:
            return parent if child.status.is_terminal else None
        if is_paused(parent.vars):
            return None
        try:
            return self.resume_event(
                run_id=parent.run_id,
                wait_key=wait.wait_key,
                payload={"sub_run_id": child_run_id, "output": child_output},
            )
        except WaitMismatch:
            return self._runtime.get_state(parent.run_id)

    def cancel_with_children(self, run_id: str, *, reason: str | None = None) -> list[RunState]:
        """Cancel a run and all its live descendants, and give those that are cancelled now.

        An unknown run has none.
        """
        try:
            return cancel_tree(self._runtime, run_id, reason=reason)
        except NotFound:
            return []

    def _patiently(self, action: Callable[[], RunState]) -> RunState:
        """Do something with a run that the polling thread may just be advancing."""
        deadline = self._clock.monotonic() + _PATIENCE_S
        while True:
            try:
                return action()
            except Busy:
                if not self.is_running or self._clock.monotonic() >= deadline:
                    raise
                self._clock.sleep(_PAUSE_S)


def _raise_for(resumed: list[dict[str, Any]]) -> None:
    """Raise for the first listener that was not reached."""
    for to in resumed:
        if to["status"] == "skipped":
            raise NotFound(
                f"the workflow of run {to['run_id']!r} is not registered",
                kind="workflow",
                id=to["run_id"],
            )
        if to["status"] == "error":
            raise AbstractRuntimeError(f"run {to['run_id']!r} did not get the event: {to['error']}")
