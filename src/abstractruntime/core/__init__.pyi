# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.core.config import (
    RuntimeConfig,
)
from abstractruntime.core.models import (
    Effect,
    EffectType,
    LimitWarning,
    RunState,
    RunStatus,
    StepPlan,
    WaitReason,
    WaitState,
)
from abstractruntime.core.runtime import (
    Runtime,
)
from abstractruntime.core.spec import (
    WorkflowSpec,
)
from abstractruntime.core.vars import (
    LIMITS,
    ensure_limits,
    get_limits,
)

__all__ = [
    "LIMITS",
    "Effect",
    "EffectType",
    "LimitWarning",
    "RunState",
    "RunStatus",
    "Runtime",
    "RuntimeConfig",
    "StepPlan",
    "WaitReason",
    "WaitState",
    "WorkflowSpec",
    "ensure_limits",
    "get_limits",
]
