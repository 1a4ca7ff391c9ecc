"""Running author code without giving it the host.

`default_runner()` gives the process-wide runner; `WorkerRunner` is one code worker;
`InProcessRunner` is for code that you would also import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abstractruntime.sandbox.limits import Limits
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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Flows without code need neither process handling nor the worker.
    from abstractruntime.sandbox import limits, runner  # noqa: PLC0415 - loaded on first use

    return getattr(limits if name == "Limits" else runner, name)
