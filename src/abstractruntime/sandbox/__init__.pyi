# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.sandbox.limits import (
    Limits,
)
from abstractruntime.sandbox.pool import (
    WorkerPool,
    default_pool,
)
from abstractruntime.sandbox.runner import (
    CodeFailed,
    InProcessRunner,
    WorkerRunner,
    default_runner,
    is_confined,
)

__all__ = [
    "CodeFailed",
    "InProcessRunner",
    "Limits",
    "WorkerPool",
    "WorkerRunner",
    "default_pool",
    "default_runner",
    "is_confined",
]
