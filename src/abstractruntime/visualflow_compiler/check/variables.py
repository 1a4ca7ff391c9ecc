"""Rules about run variables: what is read but never set, and set but never read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field

from abstractruntime.nodes.base import Element
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.check._rules import (
    Finding,
    did_you_mean,
    node_pointer,
    rule,
)
from abstractruntime.visualflow_compiler.graph import FlowGraph

# Names that hosts, agents and files read without a node that says so.
_HOST_NAMES = ("_", "context", "scratchpad", "workspace", "audio_policy", "stt_language")
_SETS = node(
    "keep", "set_var", "exec-in name value", "exec-out value", pinDefaults={"name": "total"}
)


def _reads(name: str) -> dict[str, object]:
    return node("load", "get_var", "name", "value", pinDefaults={"name": name})


_EDGES = ("start > keep", "keep > end", "start.text > keep.value", "load.value > end.answer")


@dataclass
class _Uses:
    """Where variables are set and read: first node by name, roots of dotted paths only.

    `sets_any` and `reads_any` say that a name is computed, so that it can be any.
    """

    set_at: dict[str, str] = field(default_factory=dict)
    read_at: dict[str, str] = field(default_factory=dict)
    sets_any: bool = False
    reads_any: bool = False


def _uses(graph: FlowGraph) -> _Uses:
    uses = _Uses()
    for node_id, element in graph.elements.items():
        if node_id in graph.served:
            _note(graph, element, uses)
    return uses


def _note(graph: FlowGraph, element: Element, uses: _Uses) -> None:
    node_type = graph.types[element.id]
    if node_type is not None and node_type.is_trigger:
        _put(uses.set_at, element, *element.output_ids)
    for key, place in (("inputKey", uses.read_at), ("outputKey", uses.set_at)):
        value = element.data.get(key)
        if isinstance(value, str):
            _put(place, element, value)
    if element.type == "get_var":
        name = _constant(graph, element, "name")
        uses.reads_any |= name is None
        _put(uses.read_at, element, name or "")
    elif element.type in ("set_var", "set_var_property"):
        name = _constant(graph, element, "name")
        uses.sets_any |= name is None
        _put(uses.set_at, element, name or "")
    elif element.type == "set_vars":
        updates = element.pin_defaults.get("updates")
        uses.sets_any |= "updates" in element.wired
        _put(uses.set_at, element, *(updates if isinstance(updates, dict) else ()))
    elif element.type in ("var_decl", "bool_var"):
        declared = element.data.get("literalValue")
        name = declared.get("name") if isinstance(declared, dict) else None
        _put(uses.set_at, element, name if isinstance(name, str) else "")
        _put(uses.read_at, element, name if isinstance(name, str) else "")


def _put(place: dict[str, str], element: Element, *names: str) -> None:
    for name in names:
        root = name.strip().partition(".")[0].partition("[")[0]
        if root and not root.startswith(_HOST_NAMES):
            place.setdefault(root, element.id)


def _constant(graph: FlowGraph, element: Element, pin: str) -> str | None:
    """Give the text that a pin always has; None when it is computed."""
    value = element.pin_defaults.get(pin, "")
    for edge in graph.data_in.get(element.id, ()):
        if edge.pin == pin:
            source = graph.elements[edge.source]
            is_literal = source.type == "literal_string"
            value = source.data.get("literalValue") if is_literal else None
    return value if isinstance(value, str) else None


def _similar(name: str, known: dict[str, str]) -> list[str]:
    return difflib.get_close_matches(name, [k for k in known if k != name], n=2, cutoff=0.75)


@rule(
    "VF501",
    "warning",
    "a variable is read but never set",
    explanation="No node of the flow sets this variable, and it is no parameter of the flow. It is null, "
    "unless the host gives it when the run starts. Parameters are the output pins of on_flow_start.",
    bad=flow(START, _SETS, _reads("totl"), END, edges=_EDGES),
    good=flow(START, _SETS, _reads("total"), END, edges=_EDGES),
)
def never_set(graph: FlowGraph) -> Iterator[Finding]:
    uses = _uses(graph)
    if uses.sets_any:
        return
    for name, node_id in uses.read_at.items():
        if name not in uses.set_at:
            yield Finding(
                f"node {node_id!r} reads the variable {name!r}, which nothing sets",
                node_pointer(graph, node_id),
                node_id=node_id,
                pin="name",
                hint=did_you_mean(_similar(name, uses.set_at))
                or f"add {name!r} to the pins of on_flow_start, or set it first",
            )


@rule(
    "VF502",
    "info",
    "a variable is set but never read",
    explanation="No node of the flow reads this variable. It stays in the state of the run, where a host "
    "can see it; child runs and listeners do not.",
    bad=flow(START, _SETS, END, edges=("start > keep", "keep > end", "start.text > end.answer")),
    good=flow(START, _SETS, _reads("total"), END, edges=_EDGES),
)
def never_read(graph: FlowGraph) -> Iterator[Finding]:
    uses = _uses(graph)
    if uses.reads_any:
        return
    for name, node_id in uses.set_at.items():
        element, node_type = graph.elements[node_id], graph.types[node_id]
        is_parameter = node_type is not None and node_type.is_trigger
        if name in uses.read_at or is_parameter or element.type in ("var_decl", "bool_var"):
            continue
        yield Finding(
            f"node {node_id!r} sets the variable {name!r}, which nothing reads",
            node_pointer(graph, node_id),
            node_id=node_id,
            pin="name" if element.type == "set_var" else None,
            hint=did_you_mean(_similar(name, uses.read_at)),
        )
