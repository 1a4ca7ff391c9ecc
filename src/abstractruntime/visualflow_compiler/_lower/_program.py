"""The lowered form of a flow: one immutable unit per node, shared by all runs.

Rules:
1. Aliases of pins are replaced here, so that a step only knows canonical pin ids.
2. A unit lists everything its step reads; a step never searches the flow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes.base import MISSING, EffectNode, Element, NodeType
from abstractruntime.nodes.paths import why_closed
from abstractruntime.visualflow_compiler._ambient import ambient_names, canonical_names
from abstractruntime.visualflow_compiler._model import EXEC_OUT
from abstractruntime.visualflow_compiler.graph import FlowGraph

_WHOLE = ("result", "output")


@dataclass(frozen=True, slots=True)
class Wire:
    """A data edge into a canonical pin."""

    source: str
    handle: str
    pin: str


@dataclass(frozen=True, slots=True)
class Unit:
    """One node, with all that evaluating it needs.

    `known` are the ambient keys it may take, by canonical name; None means every key.
    `defaults` belong to declared pins and beat the ambient value, `spare` ones do not.
    `pulls` are the pure nodes it needs, sources first. `targets` maps execution handles.
    `closed_key` says why the node fails for what it would read or write, if it does.
    `exposes_ambient` means that edges leave it for more than its type's own pins.
    """

    element: Element
    type: NodeType
    targets: Mapping[str, str]
    input_key: str | None = None
    output_key: str | None = None
    wires: tuple[Wire, ...] = ()
    wired: frozenset[str] = frozenset()
    defaults: Mapping[str, JsonValue] = field(default_factory=dict)
    spare: Mapping[str, JsonValue] = field(default_factory=dict)
    known: Mapping[str, str] | None = None
    pulls: tuple[str, ...] = ()
    exposes_ambient: bool = False
    closed_key: str = ""

    @property
    def id(self) -> str:
        return self.element.id

    @property
    def branches(self) -> bool:
        """True when the node's output chooses among its execution edges."""
        return any(handle != EXEC_OUT for handle in self.targets)

    def output(self, record: JsonValue, handle: str) -> JsonValue:
        """Give what leaves a handle when the node made `record`, not copied; MISSING when nothing does."""
        is_whole = handle in _WHOLE
        if is_whole and self.type.bare:
            return record
        if isinstance(record, dict) and handle in record:
            return record[handle]
        return record if is_whole and not isinstance(self.type, EffectNode) else MISSING


def _ending(value: JsonValue) -> JsonObject:
    return {"success": True, "result": value}


@dataclass(frozen=True, slots=True)
class Program:
    """All units of a flow by node id, and the nodes whose values depend on themselves.

    `ending` gives the output of a run that ends at a control node.
    """

    flow_id: str
    source_id: str
    entry: str
    units: Mapping[str, Unit]
    steps: tuple[str, ...]
    cyclic: frozenset[str] = frozenset()
    ending: Callable[[JsonValue], JsonObject] = _ending


def build_program(graph: FlowGraph) -> Program:
    """Prepare every node that control can reach and every pure node it pulls.

    The flow must have passed its checks: it has an entry and only known node types.
    """
    entry = graph.entry
    if entry is None:
        raise AssertionError("a flow without steps passed the checks")
    units = {}
    for node_id in graph.live:
        node_type = graph.types[node_id]
        if node_type is None:
            raise AssertionError(f"unknown type of node {node_id!r} passed the checks")
        units[node_id] = make_unit(graph, node_id, node_type)
    return Program(
        flow_id=graph.flow.id,
        source_id=graph.flow.source_id,
        entry=entry.node_id,
        units=units,
        steps=tuple(node_id for node_id in graph.steps if node_id in graph.reachable),
        cyclic=frozenset(node_id for cycle in graph.pure_cycles() for node_id in cycle),
    )


def make_unit(graph: FlowGraph, node_id: str, node_type: NodeType) -> Unit:
    """Prepare one node."""
    element = graph.elements[node_id]
    names = canonical_names(node_type)
    wired = frozenset(names.get(pin, pin) for pin in element.wired)
    defaults, spare = _defaults(element, names)
    input_key, output_key = _key(element, "inputKey"), _key(element, "outputKey")
    return Unit(
        element=element,
        type=node_type,
        wires=_wires(graph, node_id, names),
        wired=wired,
        defaults=defaults,
        spare=spare,
        known=ambient_names(element, node_type),
        pulls=graph.pure_ancestors(node_id) if graph.is_step(node_id) else (),
        targets=_targets(graph, node_id, node_type),
        exposes_ambient=_exposes_ambient(graph, node_id, node_type),
        input_key=input_key,
        output_key=output_key,
        closed_key=why_closed("inputKey", input_key) or why_closed("outputKey", output_key),
    )


def _wires(graph: FlowGraph, node_id: str, names: Mapping[str, str]) -> tuple[Wire, ...]:
    """Give one wire per pin: a canonical spelling beats its aliases, a later edge an earlier one."""
    edges = graph.data_in.get(node_id, ())
    chosen: dict[str, Wire] = {}
    exact: set[str] = set()
    for edge in edges:
        pin = names.get(edge.pin, edge.pin)
        if pin == edge.pin:
            exact.add(pin)
        elif pin in exact:
            continue
        chosen[pin] = Wire(edge.source, edge.handle, pin)
    return tuple(chosen.values())


def _defaults(
    element: Element, names: Mapping[str, str]
) -> tuple[Mapping[str, JsonValue], Mapping[str, JsonValue]]:
    declared = {names.get(pin, pin) for pin in element.input_ids}
    own: dict[str, JsonValue] = {}
    spare: dict[str, JsonValue] = {}
    for name, value in element.pin_defaults.items():
        pin = names.get(name, name)
        chosen = own if pin in declared or not element.declares_pins else spare
        if name == pin or pin not in chosen:
            chosen[pin] = value
    return MappingProxyType(own), MappingProxyType(spare)


def _targets(graph: FlowGraph, node_id: str, node_type: NodeType) -> Mapping[str, str]:
    if not graph.is_step(node_id):
        return MappingProxyType({})
    targets = {
        edge.handle: edge.target
        for edge in graph.exec_out.get(node_id, ())
        if graph.is_step(edge.target)
    }
    if isinstance(node_type, EffectNode):
        targets = {handle: target for handle, target in targets.items() if handle == EXEC_OUT}
    return MappingProxyType(targets)


def _exposes_ambient(graph: FlowGraph, node_id: str, node_type: NodeType) -> bool:
    edges = graph.data_out.get(node_id, ())
    own = {pin.id for pin in node_type.outputs} if edges else frozenset()
    return any(edge.handle not in own for edge in edges)


def _key(element: Element, name: str) -> str | None:
    value = element.data.get(name)
    return value.strip() or None if isinstance(value, str) else None
