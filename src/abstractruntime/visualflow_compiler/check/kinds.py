"""The kinds of values: keys of the document, settings, constants and defaults of another JSON type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from abstractruntime._json import JsonObject, JsonValue, escape_pointer
from abstractruntime.nodes.base import Element, NodeType, Pin
from abstractruntime.nodes.registry import config_schema
from abstractruntime.visualflow_compiler._fields import json_kind
from abstractruntime.visualflow_compiler._model import DataEdge
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.check._parts import constants_at, described, node_entries
from abstractruntime.visualflow_compiler.check._rules import Finding, node_pointer, rule
from abstractruntime.visualflow_compiler.graph import FlowGraph
from abstractruntime.visualflow_compiler.schema import document_schema

KINDS: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "string": ((str,), "text"),
    "number": ((int, float), "a number"),
    "integer": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
    "object": ((dict,), "an object"),
    "array": ((list,), "an array"),
    "null": ((type(None),), "null"),
}
"""What a value of each JSON type is in Python, and what it is called."""
_COUNTED: Final = frozenset({"number", "boolean"})
"""Types of pins whose values nodes take for what they are."""
_PIN_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    **{kind: (kind,) for kind in ("number", "boolean", "object", "array")},
    # Of a number nodes make a text; a list or an object would be Python text.
    "string": ("string", "number", "boolean"),
    **dict.fromkeys(("provider", "model", "workspace_file"), ("string",)),
    "tools": ("array",),
    "json_schema": ("object",),
    "memory": ("object",),
    "artifact": ("string", "object"),
    "assertions": ("array", "object"),
}
"""The JSON types that mean something at a pin of each type; at any other type of pin all do."""
_NAMING: Final = frozenset({"names", "reads", "sets", "changes", "emits", "awaits"})
"""The roles of texts that are looked up, so that a number or a boolean is none."""
_LISTS: Final = ("nodes", "edges")  # VF007
_CHAIN: Final = ("start > middle", "middle > end")


def is_of_kind(value: JsonValue, kinds: str | Iterable[str]) -> bool:
    """Tell whether a value has one of these JSON types, of those that are known; null is always fine."""
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    if value is None or not names or any(name not in KINDS for name in names):
        return True
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, KINDS[name][0]) for name in names)


def is_read_as(value: JsonValue, kinds: str | Iterable[str]) -> bool:
    """Tell the same where a text of a number is read as the number."""
    if is_of_kind(value, kinds):
        return True
    is_number = not {"number", "integer"}.isdisjoint([kinds] if isinstance(kinds, str) else kinds)
    return is_number and isinstance(value, str) and _is_number(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _expected(kinds: str | Iterable[str]) -> str:
    return " or ".join(KINDS[kind][1] for kind in ([kinds] if isinstance(kinds, str) else kinds))


@rule(
    "VF213",
    "warning",
    "a value has another type than it should",
    explanation="The key, setting or pin has a type, and the value another one: it is left out, read as "
    'something else, or makes the node fail. The text "false" is not false: most nodes take it for true.',
    bad=flow(
        START,
        node("middle", "ask_user", "exec-in", "exec-out", effectConfig={"allowFreeText": "false"}),
        END,
        edges=_CHAIN,
    ),
    good=flow(
        START,
        node("middle", "ask_user", "exec-in", "exec-out", effectConfig={"allowFreeText": True}),
        END,
        edges=_CHAIN,
    ),
)
def wrong_kind(graph: FlowGraph) -> Iterator[Finding]:
    yield from _of_document(graph)
    yield from _of_nodes(graph)
    for node_id, element in graph.elements.items():
        node_type = graph.types[node_id]
        if node_type is None:
            continue
        yield from _of_settings(graph, element, node_type)
        yield from _of_pins(graph, element, node_type)
        if node_type.declares_parameters:
            yield from _of_parameters(graph, element)
        if node_type.is_constant:
            yield from _of_literal(graph, element, node_type)


def _found(
    what: str, value: JsonValue, kinds: str | Iterable[str], pointer: str, element: Element | None
) -> Finding:
    is_flag = isinstance(value, str) and "boolean" in kinds and value.lower() in ("true", "false")
    return Finding(
        f"{what} is {json_kind(value)}, expected {_expected(kinds)}",
        pointer,
        node_id=element.id if element else None,
        hint=f"write {str(value).lower()} without quotes" if is_flag else None,
    )


def _of_document(graph: FlowGraph) -> Iterator[Finding]:
    for key, schema in document_schema().items():
        value, kinds = graph.flow.raw.get(key), schema["type"]
        if key in _LISTS:
            continue
        if not is_of_kind(value, kinds):
            yield _found(f"{key} of the document", value, kinds, f"/{escape_pointer(key)}", None)
            continue
        for place, item in enumerate(value if isinstance(value, list) else ()):
            if item is None or not is_of_kind(item, schema["items"]["type"]):
                what, pointer = f"{key}[{place}] of the document", f"/{key}/{place}"
                yield _found(what, item, schema["items"]["type"], pointer, None)


def _of_nodes(graph: FlowGraph) -> Iterator[Finding]:
    for element, entry, pointer in node_entries(graph):
        # Data of any other type is an error (VF212).
        if "data" in entry and entry["data"] is None:
            yield _found(f"data of node {element.id!r}", None, "object", f"{pointer}/data", element)
        position = entry.get("position")
        if not is_of_kind(position, "object"):
            what = f"position of node {element.id!r}"
            yield _found(what, position, "object", f"{pointer}/position", element)


def _of_settings(graph: FlowGraph, element: Element, node_type: NodeType) -> Iterator[Finding]:
    told = {problem.pointer for problem in graph.problems[element.id]}
    for key, schema, value in described(element.data, config_schema(node_type)):
        kinds = schema.get("type", ())
        # What holds pins or settings is an error when it is mistyped (VF212).
        is_block = kinds in ("object", "array") and "/" not in key and key != "literalValue"
        if not is_block and f"/data/{key}" not in told and not is_read_as(value, kinds):
            what = f"{key.replace('/', '.')} of node {element.id!r}"
            yield _found(
                what, value, kinds, node_pointer(graph, element.id, f"/data/{key}"), element
            )


def _of_pins(graph: FlowGraph, element: Element, node_type: NodeType) -> Iterator[Finding]:
    told = {problem.pin for problem in graph.problems[element.id]}
    for pin in node_type.inputs:
        # VF210 is about pins with a set of values, and lists.
        kinds = () if pin.choices or pin.strict or pin.id in told else _meant_at(pin)
        for value, pointer in constants_at(graph, element, pin) if kinds else ():
            if not is_read_as(value, kinds):
                what = f"pin {pin.id!r} of node {element.id!r}"
                named = (*_PIN_KINDS[pin.type][:1], *pin.also)
                yield _found(what, value, named, pointer, element)


def _meant_at(pin: Pin) -> tuple[str, ...]:
    """Give the JSON types of constants that mean something at a pin, none where all do."""
    if pin.role == "condition":
        return ("boolean", "number", "string")  # VF306 is about texts.
    if pin.type == "string" and pin.role in _NAMING:
        return ("string", *pin.also)
    kinds = _PIN_KINDS.get(pin.type, ())
    return (*kinds, *pin.also) if kinds else ()


def _of_parameters(graph: FlowGraph, element: Element) -> Iterator[Finding]:
    types = {pin.id: pin.type for pin in element.outputs}
    for name, value in element.pin_defaults.items():
        kind = types.get(name, "any")
        if not is_of_kind(value, kind):
            pointer = node_pointer(graph, element.id, f"/data/pinDefaults/{escape_pointer(name)}")
            yield _found(f"the default of parameter {name!r}", value, kind, pointer, element)


def _comparison(value: JsonValue) -> JsonObject:
    compare = node("same", "compare", "a b", "result", pinDefaults={"b": value})
    count = node("count", "length", "text", "result")
    edges = (
        "start > end",
        "start.text > count.text",
        "count.result > same.a",
        "same.result > end.answer",
    )
    return flow(START, count, compare, END, edges=edges)


@rule(
    "VF317",
    "warning",
    "a text is compared with a number or a boolean",
    explanation='Values are compared as they are: the text "3" is not the number 3, and "true" is not true. They '
    "are never equal, and neither is less than the other.",
    bad=_comparison("3"),
    good=_comparison(3),
)
def unequal_kinds(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, element in graph.elements.items():
        facts = graph.facts(node_id)
        sides = [_side(graph, element, pin) for pin in facts.inputs if pin.id in facts.compares]
        kinds = {side.kind for side in sides}
        constants = [side for side in sides if side.pointer]
        # What is written at the node itself is what is wrong, rather than a literal node.
        constant = min(constants, key=lambda side: side.pointer.startswith("/edges"), default=None)
        if constant and "string" in kinds and not kinds.isdisjoint(_COUNTED):
            other = next(side for side in sides if side.kind != constant.kind)
            yield Finding(
                f"node {node_id!r} compares {KINDS[constant.kind][1]} at {constant.pin!r} with "
                f"{KINDS[other.kind][1]} at {other.pin!r}: they are never equal",
                constant.pointer,
                node_id=node_id,
                pin=constant.pin,
                hint=_as_other(constant.value, other.kind),
            )


@dataclass(frozen=True, slots=True)
class _Side:
    """What is known of a value that is compared; only a constant has a place."""

    pin: str
    kind: str = ""
    value: JsonValue = None
    pointer: str = ""


def _side(graph: FlowGraph, element: Element, pin: Pin) -> _Side:
    for value, pointer in constants_at(graph, element, pin):
        kind = next((name for name in ("string", *sorted(_COUNTED)) if is_of_kind(value, name)), "")
        return _Side(pin.id, "" if value is None else kind, value, pointer)
    for edge in graph.entering(element.id, pin.id, *pin.aliases):
        kind = _kind_of_output(graph, edge)
        return _Side(pin.id, kind if kind in ("string", *_COUNTED) else "")
    return _Side(pin.id)


def _kind_of_output(graph: FlowGraph, edge: DataEdge) -> str:
    """Give the type of what an edge carries: of a parameter the declared one, else that of the node type."""
    facts = graph.facts(edge.source)
    pins = graph.elements[edge.source].outputs if facts.declares_parameters else facts.outputs
    return next((pin.type for pin in pins if pin.id == edge.handle), "")


def _as_other(value: JsonValue, kind: str) -> str | None:
    """Give the constant as a value of the other type, if it can be one."""
    if kind == "string":
        return (
            f'write "{value}"'
            if isinstance(value, int | float) and not isinstance(value, bool)
            else None
        )
    is_meant = _is_number(str(value)) if kind == "number" else value in ("true", "false")
    return f"write {value} without quotes" if is_meant else None


def _of_literal(graph: FlowGraph, element: Element, node_type: NodeType) -> Iterator[Finding]:
    value, kind = element.data.get("literalValue"), node_type.outputs[0].type
    # A JSON literal gives what it likes.
    if kind != "object" and not is_of_kind(value, kind):
        pointer = node_pointer(graph, element.id, "/data/literalValue")
        yield _found(f"literalValue of node {element.id!r}", value, kind, pointer, element)
