# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.kg.handlers import (
    graph_handlers,
    no_graph,
)
from abstractruntime.kg.port import (
    GraphQuery,
    GraphStore,
)

__all__ = [
    "GraphQuery",
    "GraphStore",
    "graph_handlers",
    "no_graph",
]
