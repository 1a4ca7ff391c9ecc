"""The knowledge graph: the port of a graph store, and the effect handlers over one.

`Runtime(..., effect_handlers=graph_handlers(store))` gives a runtime its graph.
"""

from __future__ import annotations

from abstractruntime.kg.handlers import graph_handlers, no_graph
from abstractruntime.kg.port import GraphQuery, GraphStore

__all__ = ["GraphQuery", "GraphStore", "graph_handlers", "no_graph"]
