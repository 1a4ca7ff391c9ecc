"""Rules about run variables: what is read but never set, and set but never read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from abstractruntime._near import close_names
from abstractruntime.nodes.base import Element, Pin
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
    facts = graph.facts(element.id)
    if facts.is_trigger:
        _put(uses.set_at, element, *element.output_ids)
    for key, place in (("inputKey", uses.read_at), ("outputKey", uses.set_at)):
        value = element.data.get(key)
        if isinstance(value, str):
            _put(place, element, value)
    for role, pin in facts.pins_by_role.items():
        if role == "reads":
            names = _names(graph, element, pin)
            uses.reads_any |= names is None
            _put(uses.read_at, element, *(names or ()))
        elif role in ("sets", "changes"):
            names = _names(graph, element, pin)
            uses.sets_any |= names is None
            _put(uses.set_at, element, *(names or ()))
    declared = facts.variable(element)
    if declared:
        _put(uses.set_at, element, declared)
        _put(uses.read_at, element, declared)


def _put(place: dict[str, str], element: Element, *names: str) -> None:
    for name in names:
        root = name.strip().partition(".")[0].partition("[")[0]
        if root and not root.startswith(_HOST_NAMES):
            place.setdefault(root, element.id)


def _names(graph: FlowGraph, element: Element, pin: Pin) -> Iterable[str] | None:
    """Give the names that a pin always has, the keys of an object; None when they are computed."""
    value = element.pin_defaults.get(pin.id, "")
    for edge in graph.entering(element.id, pin.id):
        value = graph.literal(edge.source, "string") if pin.type == "string" else None
    if pin.type == "object" and value is not None:
        return value if isinstance(value, dict) else ()
    return (value,) if isinstance(value, str) else None


def _similar(name: str, known: dict[str, str]) -> list[str]:
    return close_names(name, [k for k in known if k != name], n=2, cutoff=0.75)


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
        if name in uses.read_at or graph.facts(node_id).is_trigger:
            continue
        pin = graph.facts(node_id).pins_by_role.get("sets")
        yield Finding(
            f"node {node_id!r} sets the variable {name!r}, which nothing reads",
            node_pointer(graph, node_id),
            node_id=node_id,
            pin=pin.id if pin else None,
            hint=did_you_mean(_similar(name, uses.read_at)),
        )
