"""Memory effects: notes and archived conversation, found, tagged, compacted and brought back.

A span is an entry in `vars._runtime.memory_spans` of the run that owns a scope; what it
stands for is an artifact. Places in an index count from 1, newest first, in every effect.
"""

from __future__ import annotations

from abstractruntime.effects.memory._owners import MemoryHost, owner_run_id
from abstractruntime.effects.memory._summary import CompactHost
from abstractruntime.effects.memory.compact import MemoryCompact
from abstractruntime.effects.memory.compact_workflow import COMPACT_WORKFLOW_ID, compact_workflow
from abstractruntime.effects.memory.note import MemoryNote
from abstractruntime.effects.memory.query import MemoryQuery
from abstractruntime.effects.memory.rehydrate import MemoryRehydrate
from abstractruntime.effects.memory.tag import MemoryTag

__all__ = [
    "COMPACT_WORKFLOW_ID",
    "CompactHost",
    "MemoryCompact",
    "MemoryHost",
    "MemoryNote",
    "MemoryQuery",
    "MemoryRehydrate",
    "MemoryTag",
    "compact_workflow",
    "owner_run_id",
]
