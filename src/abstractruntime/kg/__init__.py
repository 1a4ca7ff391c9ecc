"""The knowledge graph: the port of a graph store, and the effect handlers over one.

`Runtime(..., effect_handlers=graph_handlers(store))` gives a runtime its graph. Names load on
first use.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes({"handlers": "graph_handlers no_graph", "port": "GraphQuery GraphStore"})

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
