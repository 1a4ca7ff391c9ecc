"""A runtime, a scheduler and a registry in one object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.config import RuntimeConfig
from abstractruntime.core.models import (
    EffectType,
    JsonObject,
    RunState,
    RunStatus,
    WaitReason,
)
from abstractruntime.core.policy import EffectPolicy
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.errors import NotFound, WaitMismatch
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.scheduler.scheduler import Scheduler, SchedulerStats


@dataclass
class ScheduledRuntime:
    """Starts and answers runs whose timers a scheduler looks after."""

    runtime: Runtime
    scheduler: Scheduler
    registry: WorkflowRegistry

    def run(
        self,
        workflow: WorkflowSpec,
        *,
        vars: JsonObject | None = None,  # noqa: A002 - the 0.4.x name
        actor_id: str | None = None,
        session_id: str | None = None,
        max_steps: int = 100,
    ) -> tuple[str, RunState]:
        """Start a run and advance it; an unknown workflow is registered."""
        run_id = self.start(workflow=workflow, vars=vars, actor_id=actor_id, session_id=session_id)
        return run_id, self.tick(run_id, max_steps=max_steps)

    def start(
        self,
        *,
        workflow: WorkflowSpec,
        vars: JsonObject | None = None,  # noqa: A002 - the 0.4.x name
        actor_id: str | None = None,
        session_id: str | None = None,
    ) -> str:
        """Start a run without executing anything; an unknown workflow is registered."""
        if workflow.workflow_id not in self.registry:
            self.registry.register(workflow)
        return self.runtime.start(
            workflow=workflow, vars=vars, actor_id=actor_id, session_id=session_id
        )

    def tick(self, run_id: str, *, max_steps: int = 100) -> RunState:
        """Advance a run.

        Raises:
            KeyError: no such run, or its workflow is not registered.
        """
        workflow = self.registry.get_or_raise(self.runtime.get_state(run_id).workflow_id)
        return self.runtime.tick(workflow=workflow, run_id=run_id, max_steps=max_steps)

    def respond(self, run_id: str, payload: Any, *, force: bool = False) -> RunState:
        """Answer whatever a run waits for, and advance it.

        Args:
            payload: The answer.
            force: Answer in the place of a child that has not ended.

        Raises:
            KeyError: no such run.
            ValueError: it does not wait, waits for no key, or waits for a child that lives.
        """
        run = self.runtime.get_state(run_id)
        wait = run.waiting
        if run.status is not RunStatus.WAITING or wait is None:
            raise WaitMismatch(f"run {run_id!r} is {run.status.value}, not waiting", run_id=run_id)
        if wait.wait_key is None:
            raise WaitMismatch(f"the wait of run {run_id!r} has no wait_key", run_id=run_id)
        if wait.reason is WaitReason.SUBWORKFLOW and not force and self._child_lives(wait.details):
            raise WaitMismatch(
                f"run {run_id!r} waits for a child that has not ended",
                hint="answer the child, or pass force=True",
                run_id=run_id,
            )
        return self.resume_event(run_id=run_id, wait_key=wait.wait_key, payload=payload)

    def _child_lives(self, details: JsonObject | None) -> bool:
        try:
            child = self.runtime.get_state(str((details or {}).get("sub_run_id")))
        except NotFound:
            return False
        return not child.status.is_terminal

    def resume_event(self, *, run_id: str, wait_key: str | None, payload: Any) -> RunState:
        """See `Scheduler.resume_event`."""
        return self.scheduler.resume_event(run_id=run_id, wait_key=wait_key, payload=payload)

    def get_state(self, run_id: str) -> RunState:
        """See `Runtime.get_state`."""
        return self.runtime.get_state(run_id)

    def get_ledger(self, run_id: str) -> list[dict[str, Any]]:
        """See `Runtime.get_ledger`."""
        return self.runtime.get_ledger(run_id)

    def find_waiting_runs(
        self,
        *,
        wait_reason: WaitReason | None = None,
        workflow_id: str | None = None,
        limit: int = 100,
    ) -> list[RunState]:
        """See `Scheduler.find_waiting_runs`."""
        return self.scheduler.find_waiting_runs(
            wait_reason=wait_reason, workflow_id=workflow_id, limit=limit
        )

    def resume_subworkflow_parent(self, *, child_run_id: str, child_output: Any) -> RunState | None:
        """See `Scheduler.resume_subworkflow_parent`."""
        return self.scheduler.resume_subworkflow_parent(
            child_run_id=child_run_id, child_output=child_output
        )

    def cancel_run(self, run_id: str, *, reason: str | None = None) -> RunState:
        """See `Runtime.cancel_run`."""
        return self.runtime.cancel_run(run_id, reason=reason)

    def cancel_with_children(self, run_id: str, *, reason: str | None = None) -> list[RunState]:
        """See `Scheduler.cancel_with_children`."""
        return self.scheduler.cancel_with_children(run_id, reason=reason)

    @property
    def stats(self) -> SchedulerStats:
        return self.scheduler.stats

    @property
    def is_running(self) -> bool:
        return self.scheduler.is_running

    def start_scheduler(self) -> None:
        """Start the polling thread unless it runs."""
        if not self.scheduler.is_running:
            self.scheduler.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop the polling thread."""
        self.scheduler.stop(timeout)


def create_scheduled_runtime(  # noqa: PLR0913 - the 0.4.x signature, keyword-only
    *,
    run_store: Any = None,
    ledger_store: Any = None,
    artifact_store: Any = None,
    effect_policy: EffectPolicy | None = None,
    workflows: Iterable[WorkflowSpec] | None = None,
    effect_handlers: Mapping[EffectType, Callable[..., EffectOutcome]] | None = None,
    poll_interval_s: float = 1.0,
    auto_start: bool = True,
    on_run_resumed: Callable[[RunState], None] | None = None,
    on_run_failed: Callable[[str, Exception], None] | None = None,
    config: RuntimeConfig | None = None,
    chat_summarizer: Any = None,
) -> ScheduledRuntime:
    """Build a runtime with its scheduler; stores that are not given live in memory."""
    from abstractruntime.storage.in_memory import (  # noqa: PLC0415 - only without stores
        InMemoryLedgerStore,
        InMemoryRunStore,
    )

    registry = WorkflowRegistry()
    for workflow in workflows or ():
        registry.register(workflow)
    runtime = Runtime(
        run_store=InMemoryRunStore() if run_store is None else run_store,
        ledger_store=InMemoryLedgerStore() if ledger_store is None else ledger_store,
        effect_handlers=effect_handlers,
        workflow_registry=registry,
        artifact_store=artifact_store,
        effect_policy=effect_policy,
        config=config,
        chat_summarizer=chat_summarizer,
    )
    scheduler = Scheduler(
        runtime=runtime,
        registry=registry,
        poll_interval_s=poll_interval_s,
        on_run_resumed=on_run_resumed,
        on_run_failed=on_run_failed,
    )
    scheduled = ScheduledRuntime(runtime=runtime, scheduler=scheduler, registry=registry)
    if auto_start:
        scheduled.start_scheduler()
    return scheduled
