"""Listeners: the part of a flow that hears events, as workflows of their own.

An `on_event` node that control cannot reach from the entry waits beside the flow. A host
derives a document for each, compiles and registers it, and starts it as a child of every root
run of the flow; see `abstractruntime._runtime.listeners`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from abstractruntime._json import JsonObject
from abstractruntime.nodes.names import agent_workflow_id, node_workflow_id
from abstractruntime.nodes.registry import facts_of
from abstractruntime.visualflow_compiler._model import SOURCE_KEY
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.graph import FlowGraph

__all__ = ["LISTENER_PREFIX", "Listener", "flow_listeners", "listener_documents"]

LISTENER_PREFIX: Final = "visual_event_listener"


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener of a flow: its workflow id, its `on_event` node, its document."""

    workflow_id: str
    node_id: str
    document: JsonObject


def listener_documents(raw: Any) -> tuple[Listener, ...]:
    """Give the listeners of a flow document, in document order.

    A document is a copy of the flow's with an id of its own and the node as entry. Its agents
    keep the workflows they have in the flow.

    Args:
        raw: The document, as a dict, or as an object with `model_dump()` or `dict()`.

    Raises:
        TypeError: `raw` is none of these.
        FlowError: the document has no id.
    """
    return flow_listeners(FlowDocument.of(raw).require_loaded())


def flow_listeners(document: FlowDocument) -> tuple[Listener, ...]:
    """Give the listeners of a flow, whatever had to be left out of it; see `listener_documents`."""
    graph = document.graph
    taken: set[str] = set()
    return tuple(_listener(graph, node_id, taken) for node_id in graph.listeners)


def _listener(graph: FlowGraph, node_id: str, taken: set[str]) -> Listener:
    flow = graph.flow
    wanted = node_workflow_id(LISTENER_PREFIX, flow.id, node_id)
    workflow_id, number = wanted, 1
    while workflow_id in taken:
        # Node ids that differ only in unfit characters; neither listener may get lost.
        number += 1
        workflow_id = f"{wanted}_{number}"
    taken.add(workflow_id)
    agents = {place for element, place in graph.placed if facts_of(element.type).runs_agent}
    nodes = [
        _with_agent_of(flow.id, node) if place in agents else node
        for place, node in enumerate(_entries(flow.raw))
    ]
    facts = {"id": workflow_id, "entryNode": node_id, SOURCE_KEY: flow.id, "nodes": nodes}
    return Listener(workflow_id, node_id, {**flow.raw, **facts})


def _entries(raw: Mapping[str, Any]) -> list[Any]:
    nodes = raw.get("nodes")
    return nodes if isinstance(nodes, list) else []


def _with_agent_of(flow_id: str, node: Any) -> Any:
    data = node.get("data") if isinstance(node, dict) else None
    if not isinstance(data, dict):
        return node
    given = data.get("agentConfig")
    config = given if isinstance(given, dict) else {}
    agent_id = agent_workflow_id(flow_id, str(node.get("id")), config)
    config = {**config, "_react_workflow_id": agent_id}
    return {**node, "data": {**data, "agentConfig": config}}
