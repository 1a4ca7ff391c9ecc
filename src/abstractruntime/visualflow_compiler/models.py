"""The flow document as plain values, in the shape 0.4.x gave to editors and hosts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from abstractruntime.visualflow_compiler._fields import (
    document_id,
    document_mapping,
    document_texts,
    entry_name,
    text_of,
)
from abstractruntime.visualflow_compiler._load import read_edges, read_nodes

__all__ = ["VisualEdge", "VisualFlow", "VisualNode", "load_visualflow_json"]


@dataclass(frozen=True)
class VisualNode:
    """One node: trimmed id, normalised type, and its `data` object."""

    id: str
    type: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VisualEdge:
    """One edge with four trimmed, non-empty ends."""

    source: str
    target: str
    sourceHandle: str  # noqa: N815 - the document's own key
    targetHandle: str  # noqa: N815 - the document's own key


@dataclass(frozen=True)
class VisualFlow:
    """A flow document without the entries that a loader skips."""

    id: str
    name: str = ""
    description: str = ""
    interfaces: list[str] = field(default_factory=list)
    nodes: list[VisualNode] = field(default_factory=list)
    edges: list[VisualEdge] = field(default_factory=list)
    entryNode: str | None = None  # noqa: N815 - the document's own key


def load_visualflow_json(raw: Any) -> VisualFlow:
    """Read a flow document given as a dict or as an object with `model_dump()` or `dict()`.

    Entries that a loader skips (nodes without id, edges without four ends) are left out;
    `check_document` reports them.

    Raises:
        TypeError: `raw` is none of these.
        ValueError: the document has no id.
    """
    document = document_mapping(raw)
    nodes, _ = read_nodes(document)
    edges, _ = read_edges(document)
    return VisualFlow(
        id=document_id(document),
        name=text_of(document, "name"),
        description=text_of(document, "description"),
        interfaces=document_texts(document, "interfaces"),
        nodes=[VisualNode(node.id, node.type, dict(node.data)) for node in nodes],
        edges=[VisualEdge(e.source, e.target, e.handle, e.pin) for e in edges],
        entryNode=entry_name(document),
    )
