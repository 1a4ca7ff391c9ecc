"""What a document says outright, each part with its place: entries, pins, settings, constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from abstractruntime._json import JsonObject, JsonValue, escape_pointer
from abstractruntime.nodes.base import Element, Pin
from abstractruntime.visualflow_compiler.check._rules import node_pointer
from abstractruntime.visualflow_compiler.graph import FlowGraph


def edge_entries(graph: FlowGraph) -> Iterator[tuple[str, JsonObject, str]]:
    """Give each object in `edges` as it is written: what it is called, the object, its pointer."""
    for index, entry in enumerate(_list_at(graph.flow.raw, "edges")):
        if isinstance(entry, dict):
            yield f"edge {index}", entry, f"/edges/{index}"


def node_entries(graph: FlowGraph) -> Iterator[tuple[Element, JsonObject, str]]:
    """Give each node that has an id, the object in `nodes` that it is read from, and its pointer."""
    entries = _list_at(graph.flow.raw, "nodes")
    for element, index in graph.placed:
        yield element, entries[index], f"/nodes/{index}"


def pin_entries(element: Element) -> Iterator[tuple[str, int, JsonValue]]:
    """Give what stands in `data.inputs` and `data.outputs`, with list and place."""
    for side in ("inputs", "outputs"):
        for place, pin in enumerate(_list_at(element.data, side)):
            yield side, place, pin


def _list_at(holder: Mapping[str, JsonValue], key: str) -> list[JsonValue]:
    value = holder.get(key)
    return value if isinstance(value, list) else []


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


def constants_at(graph: FlowGraph, element: Element, pin: Pin) -> Iterator[tuple[JsonValue, str]]:
    """Give the values that a pin always has, each with where it stands: defaults and literals."""
    names = (pin.id, *pin.aliases)
    for name in names:
        if name in element.pin_defaults and name not in element.wired:
            key = f"/data/pinDefaults/{escape_pointer(name)}"
            yield element.pin_defaults[name], node_pointer(graph, element.id, key)
    for edge in graph.entering(element.id, *names):
        if graph.facts(edge.source).is_constant:
            literal = graph.elements[edge.source].data.get("literalValue")
            yield literal, edge.at("targetHandle")
