"""The one registry of node types; families register themselves when first asked for.

Every module of this package whose name has no leading underscore is loaded, so a new family is
found by its file.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from abstractruntime import nodes
from abstractruntime._json import JsonObject
from abstractruntime._near import close_names
from abstractruntime.nodes.base import (
    _REGISTRY,
    UNKNOWN,
    NodeType,
)
from abstractruntime.nodes.keys import COMMON_DATA
from abstractruntime.nodes.refused import REFUSED_TYPES

__all__ = [
    "REFUSED_TYPES",
    "config_schema",
    "facts_of",
    "find_node_type",
    "node_types",
    "pin_types",
    "similar_types",
]


@cache
def node_types() -> dict[str, NodeType]:
    """Give every node type by name."""
    for module in iter_modules(nodes.__path__, f"{nodes.__name__}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            import_module(module.name)
    return dict(sorted(_REGISTRY.items()))


def find_node_type(name: str) -> NodeType | None:
    return node_types().get(name)


def facts_of(name: str) -> NodeType:
    """Give the type of this name, `UNKNOWN` when there is none."""
    return node_types().get(name, UNKNOWN)


@cache
def config_schema(node_type: NodeType) -> JsonObject:
    """Give the JSON Schema properties of `data` for a node type, by key.

    The keys of the type come first, then those that every node may have. A configuration block is
    an object whose `properties` are the keys in it; without `properties` any key is fine. Older
    spellings are `deprecated`. What only says how a node is drawn is not among them. The object is
    shared.
    """
    return {**node_type.data_schema, **COMMON_DATA}


@cache
def pin_types() -> tuple[str, ...]:
    """Give every type that a data pin of a node type has, sorted."""
    pins = (pin for kind in node_types().values() for pin in (*kind.inputs, *kind.outputs))
    return tuple(sorted({pin.type for pin in pins}))


def similar_types(name: str) -> list[str]:
    """Give registered names close to `name`, best first."""
    return close_names(name, node_types(), n=3)
