"""Rules about what a node's `data` says: keys that mean nothing, constants, and what is not built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from abstractruntime._json import JsonValue
from abstractruntime._near import close_names
from abstractruntime.nodes.base import Element, NodeType, Pin
from abstractruntime.nodes.registry import config_schema, pin_types
from abstractruntime.visualflow_compiler._fields import json_kind
from abstractruntime.visualflow_compiler._model import EXECUTION
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.check._parts import (
    constants_at,
    described,
    edge_entries,
    node_entries,
    pin_entries,
)
from abstractruntime.visualflow_compiler.check._rules import (
    Finding,
    did_you_mean,
    node_pointer,
    rule,
)
from abstractruntime.visualflow_compiler.check.kinds import KINDS, is_of_kind
from abstractruntime.visualflow_compiler.graph import FlowGraph

_CHAIN = ("start > middle", "middle > end")
_BLOCKS: Final = ("object", "array")
_ROUTES: Final = ("entryRoutes", "inputRouteOverrides")
UNBUILT: Final = {
    "pinExpressions": "compute the value in a node, and connect it",
    **dict.fromkeys(_ROUTES, ""),
}
"""Keys of `data` that ask for something, with what to do instead; VF111 explains the routes."""
ABSORBS: Final = ("continueOnError", "continue_on_error")
"""Keys of `effectConfig` that ask for what is not built; beside it, in `data`, they mean the same."""


@rule(
    "VF118",
    "error",
    "the document asks for what is not built",
    explanation="Newer editors write pinExpressions, functions, loopLimit and continueOnError, and code nodes "
    "that need the host's full access. This version does not have them, and without them the flow "
    "would compute something else.",
    bad=flow(
        START,
        node(
            "middle", "answer_user", "exec-in message", "exec-out", pinExpressions={"message": "1"}
        ),
        END,
        edges=_CHAIN,
    ),
    good=flow(
        START,
        node("middle", "answer_user", "exec-in message", "exec-out", pinExpressions={}),
        END,
        edges=_CHAIN,
    ),
)
def not_built(graph: FlowGraph) -> Iterator[Finding]:
    if graph.flow.raw.get("functions"):
        yield _unbuilt(
            "the document", "functions", "/functions", "write the functions into the code nodes"
        )
    for node_id, element in graph.elements.items():
        for key, pointer, hint in _unbuilt_keys(element):
            where = node_pointer(graph, node_id, pointer)
            yield _unbuilt(f"node {node_id!r}", key, where, hint, node_id)
    for name, edge, pointer in edge_entries(graph):
        data = edge.get("data")
        if isinstance(data, dict) and data.get("loopLimit") is not None:
            hint = "count the turns with for, or a variable"
            yield _unbuilt(name, "loopLimit", f"{pointer}/data/loopLimit", hint)


def _unbuilt(what: str, key: str, pointer: str, hint: str, node_id: str | None = None) -> Finding:
    message = f"{what} has {key}, which this version does not support"
    return Finding(message, pointer, node_id=node_id, hint=hint)


def _unbuilt_keys(element: Element) -> Iterator[tuple[str, str, str]]:
    for key, hint in UNBUILT.items():
        if hint and element.data.get(key):
            yield key, f"/data/{key}", hint
    blocks = {"/data": element.data, "/data/effectConfig": element.config("effectConfig")}
    for pointer, block in blocks.items():
        for key in ABSORBS:
            if block.get(key):
                yield key, f"{pointer}/{key}", 'set data.onError to "continue"'


@rule(
    "VF210",
    "warning",
    "a constant is none of those that count",
    explanation="The pin or key has a fixed set of values. Any other is taken as the default, or fails when the "
    "node is reached; choices that are no list are left out.",
    bad=flow(
        START,
        node("middle", "answer_user", "exec-in level", "exec-out", pinDefaults={"level": "eror"}),
        END,
        edges=_CHAIN,
    ),
    good=flow(
        START,
        node("middle", "answer_user", "exec-in level", "exec-out", pinDefaults={"level": "error"}),
        END,
        edges=_CHAIN,
    ),
)
def wrong_constant(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, element in graph.elements.items():
        yield from _wrong_pin_types(graph, element)
        node_type = graph.types[node_id]
        if node_type is None:
            continue
        for pin in node_type.inputs:
            for value, pointer in constants_at(graph, element, pin):
                yield from _not_possible(pin, value, pointer, node_id)
        yield from _wrong_settings(graph, element, node_type)


def _wrong_pin_types(graph: FlowGraph, element: Element) -> Iterator[Finding]:
    for side, place, pin in pin_entries(element):
        kind = pin.get("type") if isinstance(pin, dict) else None
        if kind is not None and not _is_pin_type(kind):
            shown = repr(kind) if isinstance(kind, str) else json_kind(kind)
            meant = _near(kind, (*pin_types(), EXECUTION)) if isinstance(kind, str) else []
            yield Finding(
                f"{side}[{place}].type of node {element.id!r} is {shown}, which is no type of a pin",
                node_pointer(graph, element.id, f"/data/{side}/{place}/type"),
                node_id=element.id,
                pin=pin.get("id") if isinstance(pin.get("id"), str) else None,
                hint=did_you_mean(meant) or f"there are: {', '.join(pin_types())}",
            )


def _is_pin_type(kind: JsonValue) -> bool:
    """Tell whether a type is known; editors divide some more finely, such as `provider_text`."""
    if not isinstance(kind, str):
        return False
    return kind in ("", EXECUTION) or _family(kind) in _families()


@cache
def _families() -> frozenset[str]:
    return frozenset(map(_family, pin_types()))


def _family(kind: str) -> str:
    return kind.strip().partition("_")[0].removesuffix("s")


def _not_possible(pin: Pin, value: JsonValue, pointer: str, node_id: str) -> Iterator[Finding]:
    if pin.strict and value not in (None, "") and not isinstance(value, list):
        yield Finding(
            f"pin {pin.id!r} of node {node_id!r} is {json_kind(value)}, expected an array; it is left out",
            pointer,
            node_id=node_id,
            pin=pin.id,
            hint='write a list, such as ["yes", "no"]',
        )
    elif pin.choices and not pin.strict and not _is_possible(pin, value):
        shown = repr(value) if isinstance(value, str) else json_kind(value)
        yield Finding(
            f"pin {pin.id!r} of node {node_id!r} is {shown}, expected {_alternatives(pin.choices)}",
            pointer,
            node_id=node_id,
            pin=pin.id,
            hint=did_you_mean(_near(str(value), pin.choices)),
        )


def _is_possible(pin: Pin, value: JsonValue) -> bool:
    if isinstance(value, str):
        return _is_choice(value, pin.choices) or ("number" in pin.also and _is_whole(value))
    if value is None:
        # Null stands for nothing, unless there is a text that it takes the place of.
        return not isinstance(pin.default, str)
    return bool(pin.also) and is_of_kind(value, pin.also)


def _is_choice(text: str, choices: Iterable[str]) -> bool:
    return text.strip().lower() in choices


def _is_whole(text: str) -> bool:
    return text.strip().lstrip("-").isdecimal()


def _alternatives(choices: Iterable[str]) -> str:
    *most, last = choices
    return f"{', '.join(most)} or {last}" if most else last


def _wrong_settings(graph: FlowGraph, element: Element, node_type: NodeType) -> Iterator[Finding]:
    told = {problem.pointer for problem in graph.problems[element.id]}
    for key, schema, value in described(element.data, config_schema(node_type)):
        choices: list[str] = schema.get("enum", [])
        is_wrong = choices and value is not None and value not in choices
        if not is_wrong or (isinstance(value, str) and _is_choice(value, choices)):
            continue
        pointer = f"/data/{key}"
        if pointer not in told and key != "onError":
            yield Finding(
                f"{key.replace('/', '.')} of node {element.id!r} is {value!r}, expected {_alternatives(choices)}",
                node_pointer(graph, element.id, pointer),
                node_id=element.id,
                hint=did_you_mean(_near(str(value), choices)),
            )


def _near(name: str, names: Iterable[str]) -> list[str]:
    return close_names(name, sorted(names), n=1)


@rule(
    "VF212",
    "error",
    "a part of a node has the wrong type",
    explanation="data, pinDefaults and the configuration blocks are objects, inputs and outputs are arrays of pins, "
    "each of them an object with an id. Anything else would be left out, and the node would do something else.",
    bad=flow(
        START,
        node("middle", "answer_user", "exec-in message", "exec-out", pinDefaults=["hello"]),
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
def wrong_type(graph: FlowGraph) -> Iterator[Finding]:
    for element, entry, pointer in node_entries(graph):
        data = entry.get("data")
        if data is not None and not isinstance(data, dict):
            yield _mistyped(element.id, "data", data, "an object", f"{pointer}/data")
        for key, schema, value in described(element.data, config_schema(graph.facts(element.id))):
            kind = schema.get("type", "")
            is_block = kind in _BLOCKS and "/" not in key and key != "literalValue"
            if is_block and not is_of_kind(value, kind):
                name = KINDS[kind][1]
                yield _mistyped(element.id, key, value, name, f"{pointer}/data/{key}")
        yield from _mistyped_pins(element, pointer)


def _mistyped(node_id: str, key: str, value: JsonValue, kind: str, pointer: str) -> Finding:
    message = f"{key} of node {node_id!r} is {json_kind(value)}, expected {kind}"
    return Finding(message, pointer, node_id=node_id)


def _mistyped_pins(element: Element, pointer: str) -> Iterator[Finding]:
    for side, place, pin in pin_entries(element):
        name = pin.get("id") if isinstance(pin, dict) else None
        if not isinstance(name, str) or not name.strip():
            what = (
                "has no id" if isinstance(pin, dict) else f"is {json_kind(pin)}, expected an object"
            )
            yield Finding(
                f"{side}[{place}] of node {element.id!r} {what}",
                f"{pointer}/data/{side}/{place}",
                node_id=element.id,
            )
