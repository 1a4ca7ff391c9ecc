"""Tool calls: names that stay the same across a restart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from abstractruntime.core.models import Effect, EffectType, JsonObject


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
