"""Compat: the 0.4.x import path of the runtime; the code is in `abstractruntime._runtime.runtime`."""

from __future__ import annotations

from abstractruntime._ports_system import DefaultRunContext, utc_now_iso
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core._kernel.tool_calls import with_call_ids
from abstractruntime.core.models import Effect
from abstractruntime.core.ports import EffectHandler, EffectOutcome

__all__ = ["DefaultRunContext", "EffectHandler", "EffectOutcome", "Runtime", "utc_now_iso"]


def _ensure_tool_calls_have_runtime_ids(*, effect: Effect, idempotency_key: str) -> Effect:
    """Give the effect with an id on every tool call; integrations of 0.4.x import this name."""
    return with_call_ids(effect, idempotency_key)
