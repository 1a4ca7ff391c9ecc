"""The durable kernel and its data model; names load on first use."""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "models": "Effect EffectType LimitWarning RunState RunStatus StepPlan WaitReason WaitState",
        "vars": "LIMITS ensure_limits get_limits",
        "config": "RuntimeConfig",
        "spec": "WorkflowSpec",
        "runtime": "Runtime",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
