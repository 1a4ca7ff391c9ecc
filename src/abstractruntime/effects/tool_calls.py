"""`tool_calls`: what a flow or an agent asks of tools.

A runtime has no tools unless its host brings an executor. Without one, as on the command
line, the run waits and shows the calls in `waiting.details.tool_calls`; the host makes them,
or has someone approve them first, and resumes with `{"mode": "executed", "results":
[{"success", "output", "error"}, ...]}`, one result per call shown. Any answer without results,
such as a denial, makes the node's `success` false.

Rules:
1. A call that cannot be made is a failed result; the effect itself fails only when its
   payload is no list of calls, or the executor breaks its word.
2. A call outside the allowlist never reaches the executor, nor do its arguments reach what
   the host is shown.
3. Results are in the order of the calls, one for each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from abstractruntime._json import JsonObject, JsonValue, mapping
from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, WaitReason, WaitState
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.effects.waits import continuation
from abstractruntime.tools.port import Delegated, Passthrough, ToolContext, ToolExecutor, failed

_REASONS: Final = {reason.value: reason for reason in WaitReason}
_DELEGATED: Final = "delegated"
_APPROVAL: Final = "approval_required"
_TOLD_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class _Plan:
    """The calls of a batch: which may be made, and the results of those that may not, by index."""

    calls: list[JsonValue]
    open: dict[int, JsonObject]
    blocked: dict[int, JsonObject]


class ToolCalls:
    """Handler of `tool_calls`; without an executor every batch waits for the host."""

    def __init__(self, executor: ToolExecutor | None = None) -> None:
        self._executor: ToolExecutor = executor if executor is not None else Passthrough(_APPROVAL)

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        calls = effect.payload.get("tool_calls")
        if not isinstance(calls, list):
            return EffectOutcome.failed("tool_calls requires payload.tool_calls, a list of calls")
        plan = _plan(calls, effect.payload.get("allowed_tools"))
        if not plan.open:
            return _completed(plan, ())
        context = ToolContext(ctx.run.run_id, ctx.node_id, ctx.occurrence_id, ctx.attempt)
        answer = self._executor.execute(list(plan.open.values()), context)
        if isinstance(answer, Delegated):
            return EffectOutcome.waiting(_wait(ctx, effect, plan, answer))
        return _completed(plan, answer)


def _plan(calls: list[JsonValue], allowed: JsonValue) -> _Plan:
    names = set(allowed) if isinstance(allowed, list) else None
    plan = _Plan(calls, {}, {})
    for index, call in enumerate(calls):
        problem = _problem(call, names)
        if problem is None:
            plan.open[index] = call
        else:
            plan.blocked[index] = _result(call, failed(problem))
    return plan


def _problem(call: JsonValue, allowed: set[Any] | None) -> str | None:
    """Say why a call is not made, None when it is."""
    if not isinstance(call, dict):
        return f"Tool call is {type(call).__name__}, expected an object"
    name = call.get("name")
    if not isinstance(name, str) or not name.strip():
        return "Tool call has no name"
    if allowed is not None and name not in allowed:
        return f"Tool {name!r} is not allowed"
    return None


def _completed(plan: _Plan, answer: Sequence[JsonObject]) -> EffectOutcome:
    given = dict(zip(plan.open, answer, strict=False))
    results = [
        plan.blocked[index]
        if index in plan.blocked
        else _result(call, given.get(index) or failed("Missing tool result"))
        for index, call in enumerate(plan.calls)
    ]
    return EffectOutcome.completed({"mode": "executed", "results": results})


def _result(call: JsonValue, facts: JsonObject) -> JsonObject:
    """Give the envelope of one call's result."""
    known = mapping(call)
    return {
        "call_id": known.get("call_id"),
        "runtime_call_id": known.get("runtime_call_id"),
        "name": known.get("name"),
        "success": facts.get("success") is True,
        "output": facts.get("output"),
        "error": facts.get("error"),
    }


def _wait(ctx: EffectContext, effect: Effect, plan: _Plan, answer: Delegated) -> WaitState:
    payload = effect.payload
    default = WaitReason.JOB if answer.mode == _DELEGATED else WaitReason.EVENT
    shown = answer.calls if answer.calls is not None else list(plan.open.values())
    details: JsonObject = {"mode": answer.mode, "tool_calls": shown}
    if answer.details:
        details["executor"] = answer.details
    if plan.blocked:
        details["original_call_count"] = len(plan.calls)
        details["blocked_by_index"] = {str(i): result for i, result in plan.blocked.items()}
        details["tool_calls_for_evidence"] = [
            plan.open.get(i) or _without_arguments(call) for i, call in enumerate(plan.calls)
        ]
    given_key = payload.get("wait_key") or answer.wait_key
    return WaitState(
        reason=_REASONS.get(answer.wait_reason or "", default),
        wait_key=str(given_key or f"tool_calls:{ctx.run.run_id}:{ctx.node_id}"),
        prompt=f"give the results of {', '.join(map(_told, shown))}",
        details=details,
        **continuation(ctx, effect),
    )


def _told(call: JsonObject) -> str:
    """Give a call in short, for people."""
    arguments = json.dumps(call.get("arguments") or {}, ensure_ascii=False)
    short = arguments if len(arguments) <= _TOLD_CHARS else f"{arguments[:_TOLD_CHARS]}…"
    return f"{call.get('name')}({short})"


def _without_arguments(call: JsonValue) -> JsonObject:
    known = mapping(call)
    return {name: known[name] for name in ("name", "call_id", "runtime_call_id") if name in known}
