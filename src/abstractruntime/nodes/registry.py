"""The one registry of node types; families register themselves when first asked for."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module

from abstractruntime.nodes.base import _REGISTRY, NodeType
from abstractruntime.nodes.refused import REFUSED_TYPES

__all__ = ["FAMILIES", "REFUSED_TYPES", "find_node_type", "node_types", "similar_types"]

FAMILIES = (
    "triggers",
    "control",
    "variables",
    "literals",
    "math",
    "text",
    "logic",
    "data",
    "arrays",
    "json",
    "code",
    "interaction",
    "events",
    "schedule",
    "llm",
    "agent",
    "tools",
    "memory",
    "graph",
    "files",
    "catalogs",
    "subflow",
    "reports",
)


@cache
def node_types() -> dict[str, NodeType]:
    """Give every node type by name."""
    for family in FAMILIES:
        import_module(f"abstractruntime.nodes.{family}")
    return dict(sorted(_REGISTRY.items()))


def find_node_type(name: str) -> NodeType | None:
    return node_types().get(name)


def similar_types(name: str) -> list[str]:
    """Give registered names close to `name`, best first."""
    return difflib.get_close_matches(name, node_types(), n=3)
