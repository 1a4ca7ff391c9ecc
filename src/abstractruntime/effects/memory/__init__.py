"""Memory effects: notes and archived conversation, found, tagged, compacted and brought back.

A span is an entry in `vars._runtime.memory_spans` of the run that owns a scope; what it
stands for is an artifact. Places in an index count from 1, newest first, in every effect.
Names load on first use.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "_owners": "MemoryHost owner_run_id",
        "_summary": "CompactHost",
        "compact": "MemoryCompact",
        "note": "MemoryNote",
        "query": "MemoryQuery",
        "rehydrate": "MemoryRehydrate",
        "tag": "MemoryTag",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
