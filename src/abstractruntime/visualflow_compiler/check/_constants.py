"""What a document says outright: constants at pins, and the keys of `data` that a schema describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from abstractruntime._json import JsonObject, JsonValue, escape_pointer
from abstractruntime.nodes.base import Element, Pin
from abstractruntime.visualflow_compiler.check._rules import edge_pointer, node_pointer
from abstractruntime.visualflow_compiler.graph import FlowGraph


def constants_at(graph: FlowGraph, element: Element, pin: Pin) -> Iterator[tuple[JsonValue, str]]:
    """Give the values that a pin always has, each with where it stands: defaults and literals."""
    names = (pin.id, *pin.aliases)
    for name in names:
        if name in element.pin_defaults and name not in element.wired:
            key = f"/data/pinDefaults/{escape_pointer(name)}"
            yield element.pin_defaults[name], node_pointer(graph, element.id, key)
    for edge in graph.data_in.get(element.id, ()):
        source = graph.elements[edge.source]
        if edge.pin in names and graph.facts(edge.source).is_constant:
            yield source.data.get("literalValue"), edge_pointer(edge.index, "targetHandle")


def described(
    data: Mapping[str, JsonValue], schema: JsonObject
) -> Iterator[tuple[str, JsonObject, JsonValue]]:
    """Give each key of `data`, and of the blocks in it, that its schema describes."""
    for key, value in data.items():
        one = schema.get(key)
        if one is not None:
            yield key, one, value
            inner = one.get("properties", {})
            for name, item in value.items() if isinstance(value, dict) else ():
                if name in inner:
                    yield f"{key}/{name}", inner[name], item
