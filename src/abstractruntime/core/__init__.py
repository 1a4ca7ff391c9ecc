"""The durable kernel and its data model; names load on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Effect": "models", "EffectType": "models", "LimitWarning": "models", "RunState": "models",
    "RunStatus": "models", "StepPlan": "models", "WaitReason": "models", "WaitState": "models",
    "LIMITS": "vars", "ensure_limits": "vars", "get_limits": "vars",
    "RuntimeConfig": "config", "WorkflowSpec": "spec", "Runtime": "runtime",
}  # fmt: skip

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the list above is the single source


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"abstractruntime.core.{_HOMES[name]}"), name)
