"""Tool calls: names that stay the same across a restart, and answers in the order of the calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from abstractruntime.core.models import Effect, EffectType, JsonObject

_MISSING = "Missing tool result"


def with_call_ids(effect: Effect, prefix: str) -> Effect:
    """Give a `tool_calls` effect whose calls all have ids; other effects come back as they are.

    A call without `runtime_call_id` gets `rtcall_<prefix>_<n>`, n counting from 1, and one
    without `call_id` the model's `id`, or else the runtime's. Allowed tools are sorted names.
    """
    if effect.type is not EffectType.TOOL_CALLS:
        return effect
    calls = effect.payload.get("tool_calls")
    if not isinstance(calls, list):
        return effect
    payload: JsonObject = dict(effect.payload)
    payload["tool_calls"] = [
        _identified(call, f"rtcall_{prefix}_{n}") if isinstance(call, dict) else call
        for n, call in enumerate(calls, start=1)
    ]
    allowed = payload.get("allowed_tools")
    if isinstance(allowed, list):
        names = {name.strip() for name in allowed if isinstance(name, str)}
        payload["allowed_tools"] = sorted(names - {""})
    return replace(effect, payload=payload)


def _identified(call: JsonObject, default: str) -> JsonObject:
    runtime_id = _text(call.get("runtime_call_id")) or default
    call_id = _text(call.get("call_id")) or _text(call.get("id")) or runtime_id
    named = {"name": call["name"].strip()} if isinstance(call.get("name"), str) else {}
    return {**call, **named, "runtime_call_id": runtime_id, "call_id": call_id}


def _text(value: Any) -> str:
    return str(value).strip() if value is not None else ""


def results_in_call_order(details: JsonObject, payload: Any) -> Any:
    """Complete the answer to a tool wait of which some calls were settled beforehand.

    `blocked_by_index` and `pre_results_by_index` hold fixed results under the index of their
    call; the given ones fill the other places in order. An answer that is complete already,
    or is no result list, comes back as it is.
    """
    fixed = _fixed_results(details)
    total = details.get("original_call_count")
    given = payload.get("results") if isinstance(payload, dict) else None
    is_count = isinstance(total, int) and not isinstance(total, bool) and total > 0
    if not fixed or not is_count or not isinstance(given, list) or len(given) == total:
        return payload
    rest = iter(given)
    results = [
        fixed[index] if index in fixed else next(rest, None) or _missing(details, index)
        for index in range(int(total or 0))
    ]
    return {**payload, "mode": payload.get("mode") or "executed", "results": results}


def _fixed_results(details: JsonObject) -> dict[int, Any]:
    fixed: dict[int, Any] = {}
    for name in ("pre_results_by_index", "blocked_by_index"):
        by_index = details.get(name)
        for index, result in by_index.items() if isinstance(by_index, dict) else ():
            if str(index).isdigit():
                fixed[int(index)] = result
    return fixed


def _missing(details: JsonObject, index: int) -> JsonObject:
    calls = details.get("tool_calls")
    call = calls[index] if isinstance(calls, list) and index < len(calls) else {}
    call = call if isinstance(call, dict) else {}
    return {
        "call_id": _text(call.get("call_id")),
        "name": _text(call.get("name")),
        "success": False,
        "output": None,
        "error": _MISSING,
    }
