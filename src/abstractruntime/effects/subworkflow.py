"""Starting a child run.

The child's id derives from the effect occurrence, so a repeated attempt after a crash
finds the child that the first one created, and drives it on instead of starting another.
"""

from __future__ import annotations

import uuid
from typing import Any, Final, Protocol

from abstractruntime.core._kernel.effects import EffectContext
from abstractruntime.core.models import (
    Effect,
    JsonObject,
    RunState,
    RunStatus,
    WaitReason,
    WaitState,
)
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.effects.waits import truthy

_NAMESPACE: Final = uuid.UUID("6f1d0a54-6a1e-5a57-9a5e-0c6b7e3d9f21")
_INHERITED = (
    "workspace_root",
    "workspace_access_mode",
    "workspace_allowed_paths",
    "workspace_ignored_paths",
)


class ChildHost(Protocol):
    """What the handler needs of the runtime."""

    def has_workflow(self, workflow_id: str) -> bool: ...

    def ensure_child(
        self,
        *,
        run_id: str,
        workflow_id: str,
        vars: JsonObject,  # noqa: A002 - the 0.4.x name
        parent: RunState,
        session_id: str | None,
    ) -> RunState:
        """Create the child unless it exists, and give its state."""
        ...

    def drive_child(self, run_id: str) -> RunState:
        """Advance the child until it waits or ends; a child that someone else drives is left to them."""
        ...


class StartSubworkflow:
    """Handler of `start_subworkflow`: async, async and wait, or in place."""

    def __init__(self, host: ChildHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        workflow_id = str(effect.payload.get("workflow_id") or "").strip()
        if not workflow_id:
            return EffectOutcome.failed("start_subworkflow requires payload.workflow_id")
        if not self._host.has_workflow(workflow_id):
            return EffectOutcome.failed(f"Workflow not found: {workflow_id!r} is not registered")
        child = self._host.ensure_child(
            run_id=child_run_id(ctx.run.run_id, ctx.occurrence_id, ctx.attempt),
            workflow_id=workflow_id,
            vars=_child_vars(ctx.run, effect.payload),
            parent=ctx.run,
            session_id=effect.payload.get("session_id") or effect.payload.get("sessionId"),
        )
        if truthy(effect.payload.get("async")):
            return self._detached(ctx, effect, child)
        return self._in_place(ctx, effect, child)

    def _detached(self, ctx: EffectContext, effect: Effect, child: RunState) -> EffectOutcome:
        if not truthy(effect.payload.get("wait")):
            return EffectOutcome.completed({"sub_run_id": child.run_id, "async": True})
        return EffectOutcome.waiting(_child_wait(ctx, effect, child, **{"async": True}))

    def _in_place(self, ctx: EffectContext, effect: Effect, child: RunState) -> EffectOutcome:
        child = self._host.drive_child(child.run_id)
        if child.status is RunStatus.COMPLETED:
            return EffectOutcome.completed({"sub_run_id": child.run_id, "output": child.output})
        if child.status is RunStatus.WAITING and child.waiting:
            blocked_by = {"reason": child.waiting.reason.value, "wait_key": child.waiting.wait_key}
            return EffectOutcome.waiting(_child_wait(ctx, effect, child, sub_waiting=blocked_by))
        if child.status is RunStatus.RUNNING:
            return EffectOutcome.waiting(_child_wait(ctx, effect, child))
        return EffectOutcome.failed(child_failure(child))


def child_failure(child: RunState) -> str:
    """Say why a parent cannot go on after its child ended badly."""
    return f"Subworkflow {child.workflow_id!r} {child.status.value}: {child.error or 'no reason given'}"


def child_run_id(parent_run_id: str, occurrence_id: str, attempt: int = 1) -> str:
    name = f"{parent_run_id}:{occurrence_id}"
    return str(uuid.uuid5(_NAMESPACE, name if attempt == 1 else f"{name}:{attempt}"))


def _child_vars(parent: RunState, payload: JsonObject) -> JsonObject:
    given = payload.get("vars")
    child: JsonObject = dict(given) if isinstance(given, dict) else {}
    for name in _INHERITED:
        if name not in child and parent.vars.get(name) not in (None, "", []):
            child[name] = parent.vars[name]
    return child


def _child_wait(ctx: EffectContext, effect: Effect, child: RunState, **facts: Any) -> WaitState:
    details = {
        "sub_run_id": child.run_id,
        "sub_workflow_id": child.workflow_id,
        **facts,
        "include_traces": truthy(effect.payload.get("include_traces")),
    }
    return WaitState(
        reason=WaitReason.SUBWORKFLOW,
        wait_key=f"subworkflow:{child.run_id}",
        resume_to_node=effect.payload.get("resume_to_node") or ctx.next_node,
        result_key=effect.result_key,
        details=details,
    )
