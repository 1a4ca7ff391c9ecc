"""What a run remembers: spans of archived conversation, notes, and what a model sees of them."""

from __future__ import annotations

from typing import Any

__all__ = ["ActiveContextPolicy", "TimeRange"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from abstractruntime.memory import active_context  # noqa: PLC0415 - loads on first use

    return getattr(active_context, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
