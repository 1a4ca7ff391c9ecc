"""Starting a child run.

The child's id derives from the effect occurrence, so a repeated attempt after a crash
finds the child that the first one created, and drives it on instead of starting another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from abstractruntime._json import mapping
from abstractruntime.core.answers import stored_answer, tool_result
from abstractruntime.core.commands import Command, Deliver, FailWait
from abstractruntime.core.derived_ids import child_run_id
from abstractruntime.core.failures import CONTINUE, ON_CHILD_FAILURE
from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import (
    Effect,
    JsonObject,
    RunState,
    RunStatus,
    WaitReason,
    WaitState,
)
from abstractruntime.core.outcome import Outcome, child_failure, outcome_of
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.effects.waits import continuation, truthy

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

    def node_traces(self, run_id: str) -> JsonObject:
        """Give the traces of a run's nodes, as `core.vars.get_node_traces` describes them."""
        ...


class StartSubworkflow:
    """Handler of `start_subworkflow`: async, async and wait, or in place.

    With `wrap_as_tool_result` the child counts as a tool: what it comes to is a tool result,
    and so is its failure. With `on_child_failure: "continue"` a child that ended badly gives
    its output with `success: false` and `error`, where it otherwise fails its parent.
    """

    def __init__(self, host: ChildHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        payload = effect.payload
        workflow_id = str(payload.get("workflow_id") or "").strip()
        if not workflow_id:
            return _failed(payload, "start_subworkflow requires payload.workflow_id")
        if not self._host.has_workflow(workflow_id):
            return _failed(payload, f"Workflow not found: {workflow_id!r} is not registered")
        child = self._host.ensure_child(
            run_id=child_run_id(ctx.run.run_id, ctx.occurrence_id, ctx.attempt),
            workflow_id=workflow_id,
            vars=_child_vars(ctx.run, payload),
            parent=ctx.run,
            session_id=payload.get("session_id") or payload.get("sessionId"),
        )
        if truthy(payload.get("async")):
            return self._detached(ctx, effect, child)
        return self._in_place(ctx, effect, child)

    def _detached(self, ctx: EffectContext, effect: Effect, child: RunState) -> EffectOutcome:
        payload = effect.payload
        if truthy(payload.get("wait")):
            return EffectOutcome.waiting(_child_wait(ctx, effect, child, **{"async": True}))
        started: JsonObject = {"sub_run_id": child.run_id, "async": True}
        if _is_wrapped(payload):
            started = {"rendered": f"Started subworkflow {child.run_id}", **started}
            return EffectOutcome.completed(_tool_result(payload, output=started))
        return EffectOutcome.completed(started)

    def _in_place(self, ctx: EffectContext, effect: Effect, child: RunState) -> EffectOutcome:
        child = self._host.drive_child(child.run_id)
        if child.status is RunStatus.WAITING and child.waiting:
            blocked_by = {"reason": child.waiting.reason.value, "wait_key": child.waiting.wait_key}
            return EffectOutcome.waiting(_child_wait(ctx, effect, child, sub_waiting=blocked_by))
        wait = _child_wait(ctx, effect, child)
        if child.status is RunStatus.RUNNING:
            return EffectOutcome.waiting(wait)
        if outcome_of(child) is not Outcome.SUCCEEDED and not _goes_on(wait):
            return _failed(effect.payload, child_failure(child))
        return EffectOutcome.completed(
            stored_answer(wait, child_answer(wait, child, self._host.node_traces))
        )


def child_answer(
    wait: WaitState, child: RunState, traces: Callable[[str], JsonObject]
) -> JsonObject:
    """Give what a finished child hands to the parent that waits for it.

    A child that ended badly can only answer a parent that called it as a tool, or goes on
    without it.
    """
    details = wait.details or {}
    is_well = outcome_of(child) is Outcome.SUCCEEDED
    if not is_well and details.get("wrap_as_tool_result"):
        name, call_id = details.get("tool_name"), details.get("call_id")
        return tool_result(name=name, call_id=call_id, error=child_failure(child))
    output = child.output if is_well else _failed_output(child)
    answer: JsonObject = {"sub_run_id": child.run_id, "output": output}
    if details.get("include_traces"):
        answer["node_traces"] = traces(child.run_id)
    return answer


def hand_over(
    parent: RunState, wait: WaitState, child: RunState, traces: Callable[[str], JsonObject]
) -> Command:
    """Give the command that ends the wait of a parent whose child has ended.

    Its id names the child and the state of the parent, so that it counts once, whoever posts
    it how often; a parent that was put back to the wait gets another one.
    """
    command_id = hand_over_id(parent, child.run_id)
    is_tool = bool((wait.details or {}).get("wrap_as_tool_result"))
    if outcome_of(child) is Outcome.SUCCEEDED or is_tool or _goes_on(wait):
        answer = child_answer(wait, child, traces)
        return Command(command_id, Deliver(wait.wait_key, answer))
    return Command(command_id, FailWait(wait.wait_key, child_failure(child)))


def hand_over_id(parent: RunState, child_id: str) -> str:
    """Give the id under which the end of a child counts once for a parent in its present state."""
    return f"child:{child_id}:{parent.updated_at}"


def _failed_output(child: RunState) -> JsonObject:
    cancelled = {"cancelled": True} if child.status is RunStatus.CANCELLED else {}
    return {**mapping(child.output), "success": False, **cancelled, "error": child_failure(child)}


def _goes_on(wait: WaitState) -> bool:
    """Tell whether the parent goes on after a child that ended badly."""
    return (wait.details or {}).get(ON_CHILD_FAILURE) == CONTINUE


def _is_wrapped(payload: JsonObject) -> bool:
    return truthy(payload.get("wrap_as_tool_result"))


def _tool_names(payload: JsonObject) -> JsonObject:
    return {
        "tool_name": payload.get("tool_name") or payload.get("toolName"),
        "call_id": payload.get("call_id") or payload.get("callId"),
    }


def _tool_result(payload: JsonObject, **facts: Any) -> JsonObject:
    names = _tool_names(payload)
    return tool_result(name=names["tool_name"], call_id=names["call_id"], **facts)


def _failed(payload: JsonObject, error: str) -> EffectOutcome:
    """Fail the effect, or give a failed tool call where the child stands for a tool."""
    if _is_wrapped(payload):
        return EffectOutcome.completed(_tool_result(payload, error=error))
    return EffectOutcome.failed(error)


def _child_vars(parent: RunState, payload: JsonObject) -> JsonObject:
    child: JsonObject = dict(mapping(payload.get("vars")))
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
    if effect.payload.get(ON_CHILD_FAILURE) == CONTINUE:
        details[ON_CHILD_FAILURE] = CONTINUE
    if _is_wrapped(effect.payload):
        details.update({"wrap_as_tool_result": True, **_tool_names(effect.payload)})
    return WaitState(
        reason=WaitReason.SUBWORKFLOW,
        wait_key=f"subworkflow:{child.run_id}",
        details=details,
        **continuation(ctx, effect),
    )
