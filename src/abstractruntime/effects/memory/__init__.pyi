# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.effects.memory._owners import (
    MemoryHost,
    owner_run_id,
)
from abstractruntime.effects.memory._summary import (
    CompactHost,
)
from abstractruntime.effects.memory.compact import (
    MemoryCompact,
)
from abstractruntime.effects.memory.note import (
    MemoryNote,
)
from abstractruntime.effects.memory.query import (
    MemoryQuery,
)
from abstractruntime.effects.memory.rehydrate import (
    MemoryRehydrate,
)
from abstractruntime.effects.memory.tag import (
    MemoryTag,
)

__all__ = [
    "CompactHost",
    "MemoryCompact",
    "MemoryHost",
    "MemoryNote",
    "MemoryQuery",
    "MemoryRehydrate",
    "MemoryTag",
    "owner_run_id",
]
