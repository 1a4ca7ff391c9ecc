# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.tools.mapping import (
    MappingTools,
)
from abstractruntime.tools.port import (
    Delegated,
    Passthrough,
    ToolContext,
    ToolExecutor,
)

__all__ = [
    "Delegated",
    "MappingTools",
    "Passthrough",
    "ToolContext",
    "ToolExecutor",
]
