"""Keys of the document, of nodes, of their `data`, of pins and of edges that nothing reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from abstractruntime._json import JsonObject, escape_pointer
from abstractruntime._near import close_names
from abstractruntime.nodes.base import EffectNode, Element, FunctionNode, NodeType
from abstractruntime.nodes.keys import DRAWING_KEYS
from abstractruntime.nodes.registry import config_schema
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.check._parts import edge_entries, node_entries, pin_entries
from abstractruntime.visualflow_compiler.check._rules import (
    Finding,
    did_you_mean,
    node_pointer,
    rule,
)
from abstractruntime.visualflow_compiler.check.settings import ABSORBS, UNBUILT
from abstractruntime.visualflow_compiler.graph import FlowGraph

_CHAIN = ("start > middle", "middle > end")
_DOCUMENT: Final = frozenset(
    {
        "$schema", "format", "id", "flow_id", "workflow_id", "name", "description", "version",
        "interfaces", "nodes", "edges", "entryNode", "functions", "created_at", "updated_at",
        "createdAt", "updatedAt", "author", "tags", "notes", "comment", "icon", "meta", "metadata",
        "viewport",
    }
)  # fmt: skip
# Editors repeat the pins of a node beside `data`.
_PIN_LISTS: Final = ("inputs", "outputs")
_NODE: Final = DRAWING_KEYS | {
    "id", "type", "label", "data", *_PIN_LISTS, "positionAbsolute", "measured", "dragging",
    "draggable", "selectable", "deletable", "connectable", "hidden", "className", "parentId",
    "parentNode", "extent", "expandParent", "sourcePosition", "targetPosition", "meta", "metadata",
}  # fmt: skip
_EDGE: Final = frozenset(
    {
        "id", "source", "sourceHandle", "target", "targetHandle", "type", "data", "label", "animated",
        "hidden", "selected", "selectable", "deletable", "focusable", "reconnectable", "updatable",
        "style", "className", "color", "zIndex", "interactionWidth", "markerStart", "markerEnd",
        "labelStyle", "labelShowBg", "labelBgStyle", "labelBgPadding", "labelBgBorderRadius",
        "pathOptions", "sourceX", "sourceY", "targetX", "targetY", "comment", "notes", "meta",
        "metadata",
    }
)  # fmt: skip
"""Keys that are read, and those of editors, which say how something is drawn."""
_PIN_KEYS: Final = frozenset({"id", "type", "label", "description"})


@rule(
    "VF211",
    "warning",
    "a key means nothing",
    explanation="Nothing reads a key of this name there, so what it says has no effect: in the data of a node of "
    "this type, in a node beside its data, in an edge, or at the top of the document. Values of pins "
    "belong into data.pinDefaults; what a person or a tool notes for itself may have a key that starts "
    "with an underscore.",
    bad=flow(
        START,
        node(
            "middle", "answer_user", "exec-in message", "exec-out", pinDefalts={"message": "hello"}
        ),
        END,
        edges=_CHAIN,
    ),
    good=flow(
        START,
        node(
            "middle", "answer_user", "exec-in message", "exec-out", pinDefaults={"message": "hello"}
        ),
        END,
        edges=_CHAIN,
    ),
)
def unknown_key(graph: FlowGraph) -> Iterator[Finding]:
    yield from _of_document(graph)
    yield from _beside_data(graph)
    yield from _of_edges(graph)
    for node_id, element in graph.elements.items():
        node_type = graph.types[node_id]
        if node_type is None:
            continue
        schema = config_schema(node_type)
        for key in _useless_keys(graph, element, node_type):
            yield Finding(
                f"{key} of {element.type} node {node_id!r} means nothing",
                node_pointer(graph, node_id, f"/data/{key}"),
                node_id=node_id,
                hint="connect an edge, or name the variable in set_var or get_var",
            )
        for path, names in _strange_keys(element, schema):
            yield Finding(
                f"{path.replace('/', '.')} of {element.type} node {node_id!r} means nothing",
                node_pointer(graph, node_id, f"/data/{path}"),
                node_id=node_id,
                hint=_key_hint(path, names, schema, node_type),
            )


def _useless_keys(graph: FlowGraph, element: Element, node_type: NodeType) -> Iterator[str]:
    """Give the keys that name a variable which a node of this kind neither reads nor writes."""
    is_step = graph.is_step(element.id)
    kinds = {"inputKey": (FunctionNode,), "outputKey": (FunctionNode, EffectNode)}
    for key, used in kinds.items():
        if element.data.get(key) and not (is_step and isinstance(node_type, used)):
            yield key


def _unknown(entry: Iterable[str], known: Collection[str]) -> list[str]:
    return [key for key in entry if key not in known and key[:1] != "_"]


def _of_document(graph: FlowGraph) -> Iterator[Finding]:
    for key in _unknown(graph.flow.raw, _DOCUMENT):
        yield Finding(
            f"{key} of the document means nothing",
            f"/{escape_pointer(key)}",
            hint=_meant(key, _DOCUMENT) or "delete it",
        )


def _of_edges(graph: FlowGraph) -> Iterator[Finding]:
    for name, edge, pointer in edge_entries(graph):
        for key in _unknown(edge, _EDGE):
            yield Finding(
                f"{key} of {name} means nothing",
                f"{pointer}/{escape_pointer(key)}",
                hint=_meant(key, _EDGE) or "delete it",
            )


def _beside_data(graph: FlowGraph) -> Iterator[Finding]:
    for element, entry, pointer in node_entries(graph):
        schema = config_schema(graph.facts(element.id))
        for key in (*_unknown(entry, _NODE), *_lost_pins(element, entry)):
            belongs = f"write it as data.{key}" if key in schema else None
            yield Finding(
                f"{key} of node {element.id!r} means nothing beside data",
                f"{pointer}/{escape_pointer(key)}",
                node_id=element.id,
                hint=belongs or _meant(key, _NODE) or _in_data(key, schema) or "delete it",
            )


def _lost_pins(element: Element, entry: JsonObject) -> list[str]:
    """Give the lists of pins that stand beside `data` alone, where nothing reads them."""
    return [key for key in _PIN_LISTS if entry.get(key) and key not in element.data]


def _in_data(key: str, schema: JsonObject) -> str | None:
    near = close_names(key, schema)
    return f"did you mean data.{near[0]}?" if near else None


def _meant(key: str, known: Iterable[str]) -> str | None:
    return did_you_mean(close_names(key, sorted(known)))


def _strange_keys(element: Element, schema: JsonObject) -> Iterator[tuple[str, list[str]]]:
    """Give the path of each key that nothing reads, with the names that there are in its place."""
    for key, value in element.data.items():
        if (
            key not in schema
            and key not in DRAWING_KEYS
            and key not in (*UNBUILT, *ABSORBS)
            and key[:1] != "_"
        ):
            yield escape_pointer(key), [*schema]
        inner = schema.get(key, {}).get("properties")
        if inner is not None and isinstance(value, dict):
            known = [name for name in inner if not inner[name].get("deprecated")]
            for name in value.keys() - inner.keys():
                if name not in ABSORBS and name[:1] != "_":
                    yield f"{key}/{escape_pointer(name)}", known
    for side, index, pin in pin_entries(element):
        for name in pin.keys() - _PIN_KEYS if isinstance(pin, dict) else ():
            yield f"{side}/{index}/{escape_pointer(name)}", [*_PIN_KEYS]


def _key_hint(path: str, names: list[str], schema: JsonObject, node_type: NodeType) -> str:
    block, _, name = path.rpartition("/")
    if block.startswith(("inputs", "outputs")) and name == "default":
        return "write the value into data.pinDefaults, under the name of the pin"
    near = _meant(name, names)
    blocks = [key for key, value in schema.items() if name in value.get("properties", ())]
    if any(pin.id == name for pin in node_type.inputs):
        return f"write it as data.pinDefaults.{name}"
    if not near and blocks:
        return f"write it as data.{blocks[0]}.{name}"
    return near or "delete it"
