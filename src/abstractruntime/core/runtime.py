"""Compat: the 0.4.x import path of the runtime; the code is in `abstractruntime._runtime`."""

from __future__ import annotations

from abstractruntime._runtime import DefaultRunContext, Runtime, utc_now_iso
from abstractruntime.core.ports import EffectHandler, EffectOutcome

__all__ = ["DefaultRunContext", "EffectHandler", "EffectOutcome", "Runtime", "utc_now_iso"]
