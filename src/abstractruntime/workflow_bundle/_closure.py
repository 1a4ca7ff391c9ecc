"""Which other flows a flow document can start.

Only nodes that execution can reach count, as far as the document has execution at all. Every
trigger starts something here, as does every first step where no trigger and no entry is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from abstractruntime.visualflow_compiler.document import FlowDocument
    from abstractruntime.visualflow_compiler.graph import FlowGraph


def subflow_ids(document: FlowDocument) -> list[tuple[str, str]]:
    """Give `(node id, child flow id)` of every reachable node that runs a flow, in node order."""
    graph = document.graph
    reachable = _reachable(graph)
    found = [(e.id, graph.facts(e.id).subflow(e)) for e in graph.elements.values()]
    return [
        (node_id, child) for node_id, child in found if child is not None and node_id in reachable
    ]


def _reachable(graph: FlowGraph) -> Collection[str]:
    executable = [node_id for node_id in graph.steps if _takes_part(graph, node_id)]
    if not executable:
        return graph.elements
    entry = graph.flow.entry_node
    starts = [n for n in executable if n == entry or graph.facts(n).is_trigger]
    starts = starts or [n for n in executable if not graph.exec_in.get(n)] or executable
    return graph.reachable_from(*starts)


def _takes_part(graph: FlowGraph, node_id: str) -> bool:
    element = graph.elements[node_id]
    has_pins = element.exec_inputs or element.exec_outputs
    return bool(has_pins or graph.exec_in.get(node_id) or graph.exec_out.get(node_id))
