"""What a run remembers: spans of archived conversation, notes, and what a model sees of them.

Names load on first use.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes({"active_context": "ActiveContextPolicy TimeRange"})

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
