# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.sandbox.limits import (
    Limits,
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
    "WorkerRunner",
    "default_runner",
    "is_confined",
]
