"""Rules about pins: the names at both ends of an edge, defaults, and what a node cannot do without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from abstractruntime._json import JsonValue, escape_pointer
from abstractruntime._near import close_names
from abstractruntime.nodes.base import ControlNode, EffectNode, Element, NodeType, Pin
from abstractruntime.nodes.shape import Shape, missing_name, shape_of
from abstractruntime.visualflow_compiler._model import DataEdge
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.check._order import AmbientKeys
from abstractruntime.visualflow_compiler.check._rules import (
    Finding,
    did_you_mean,
    node_pointer,
    rule,
)
from abstractruntime.visualflow_compiler.graph import FlowGraph

_BARE_HANDLES = frozenset({"result", "output"})
_OUTCOME_PINS = frozenset({"success", "error"})

_UPPER = node("upper", "uppercase", "text", "result")
_USED = ("start > end", "start.text > upper.text", "upper.result > end.answer")
_GOOD = flow(START, _UPPER, END, edges=_USED)


def inputs_of(element: Element, node_type: NodeType) -> frozenset[str] | None:
    """Give the names of a node's inputs, those of its defaults included; None for any name."""
    if node_type.declares_parameters and element.outputs:
        return frozenset(element.output_ids)
    if node_type.declares_parameters:
        return None
    return node_type.input_names(element)


@rule(
    "VF304",
    "error",
    "a data edge enters a pin that does not exist",
    explanation="Nodes of this type do not read this pin, whether or not the document declares it, so the "
    "value is not used. Types with open pins, such as on_flow_end, have those that the document declares.",
    bad=flow(
        START,
        _UPPER,
        END,
        edges=("start > end", "start.text > upper.txet", "upper.result > end.answer"),
    ),
    good=_GOOD,
)
def unknown_input(graph: FlowGraph) -> Iterator[Finding]:
    for edge in graph.flow.data_edges:
        element, node_type = graph.elements[edge.target], graph.types[edge.target]
        known = node_type.input_names(element) if node_type is not None else None
        if node_type is None or known is None or edge.pin in known:
            continue
        if edge.pin not in node_type.unread:
            free = known - element.wired - element.pin_defaults.keys()
            yield _no_input(edge, node_type, known, free)


def _no_input(
    edge: DataEdge, node_type: NodeType, known: frozenset[str], free: frozenset[str]
) -> Finding:
    return Finding(
        f"edge {edge.index} enters {node_type.type} node {edge.target!r} "
        f"at pin {edge.pin!r}, which does not exist",
        edge.at("targetHandle"),
        node_id=edge.target,
        pin=edge.pin,
        notes=(_pin_note("input", known),),
        hint=did_you_mean(_near(edge.pin, free) or _near(edge.pin, known)),
    )


@rule(
    "VF305",
    "error",
    "a data edge leaves a pin that does not exist",
    explanation="Nodes of this type do not give this pin, whether or not the document declares it, so nothing "
    "arrives at the other end. The handles result and output give the bare value of every node that is no effect.",
    bad=flow(
        START,
        _UPPER,
        END,
        edges=("start > end", "start.text > upper.text", "upper.resutl > end.answer"),
    ),
    good=_GOOD,
)
def unknown_output(graph: FlowGraph) -> Iterator[Finding]:
    for edge in graph.flow.data_edges:
        element, node_type = graph.elements[edge.source], graph.types[edge.source]
        known = node_type.output_names(element) if node_type is not None else None
        if node_type is None or known is None or edge.handle in known:
            continue
        if not _is_common(element, node_type, edge.handle):
            yield Finding(
                f"edge {edge.index} leaves {node_type.type} node {edge.source!r} "
                f"at pin {edge.handle!r}, which does not exist",
                edge.at("sourceHandle"),
                node_id=edge.source,
                pin=edge.handle,
                notes=(_pin_note("output", known),),
                hint=did_you_mean(_near(edge.handle, known)),
            )


def _is_common(element: Element, node_type: NodeType, handle: str) -> bool:
    """Tell whether every node of this kind has the output pin."""
    if element.goes_on and handle in _OUTCOME_PINS:
        return True
    has_whole = node_type.has_whole and not isinstance(node_type, EffectNode)
    return has_whole and handle in _BARE_HANDLES


def _pin_note(side: str, known: Iterable[str]) -> str:
    names = ", ".join(sorted(known))
    return f"its {side} pins are: {names}" if names else f"it has no {side} pins"


def _near(name: str, names: Iterable[str]) -> list[str]:
    return close_names(name, sorted(names), n=1)


@rule(
    "VF313",
    "warning",
    "an edge meets a pin that is not declared",
    explanation="Nodes of this type may have pins of any name, and the document declares those of this node. "
    "The edge names another one, which looks like a typing mistake.",
    bad=flow(
        START,
        node("pack", "make_object", "name size", "result"),
        END,
        edges=("start > end", "start.text > pack.nmae", "pack.result > end.answer"),
    ),
    good=flow(
        START,
        node("pack", "make_object", "name size", "result"),
        END,
        edges=("start > end", "start.text > pack.name", "pack.result > end.answer"),
    ),
)
def undeclared_pin(graph: FlowGraph) -> Iterator[Finding]:
    for edge in graph.flow.data_edges:
        target, source = graph.elements[edge.target], graph.elements[edge.source]
        into, out_of = graph.types[edge.target], graph.types[edge.source]
        if into is not None and into.input_names(target) is None:
            names = {*target.input_ids, *_typed(into.inputs)}
            is_foreign = _is_foreign(edge.pin, names, declared=bool(target.input_ids))
            if is_foreign and not into.mentions(target, edge.pin):
                yield _undeclared(edge, "targetHandle", edge.target, edge.pin, names)
        if out_of is not None and out_of.output_names(source) is None:
            names = {*_meant(source, out_of), *_typed(out_of.outputs), *_BARE_HANDLES}
            names |= _OUTCOME_PINS if source.goes_on else set()
            is_foreign = _is_foreign(edge.handle, names, declared=bool(source.output_ids))
            if is_foreign and not out_of.mentions(source, edge.handle):
                yield _undeclared(edge, "sourceHandle", edge.source, edge.handle, names)


def _typed(pins: tuple[Pin, ...]) -> set[str]:
    return {name for pin in pins if not pin.dynamic for name in (pin.id, *pin.aliases)}


def _meant(element: Element, node_type: NodeType) -> set[str]:
    """Give the declared outputs, without those that look like one of the type that is not declared."""
    declared = set(element.output_ids)
    if node_type.subflow(element) is not None:
        return declared  # What they are called is compared with the child.
    missing = _typed(node_type.outputs) - declared
    return {name for name in declared if not close_names(name, missing, 1, 0.85)}


def _is_foreign(name: str, names: set[str], *, declared: bool) -> bool:
    """Tell whether a name is none of those known; without a declaration it must be close to one."""
    return name not in names and (declared or bool(_near(name, names)))


def _undeclared(edge: DataEdge, key: str, node_id: str, pin: str, names: set[str]) -> Finding:
    return Finding(
        f"edge {edge.index} meets pin {pin!r} of node {node_id!r}, which does not declare it",
        edge.at(key),
        node_id=node_id,
        pin=pin,
        hint=did_you_mean(_near(pin, names)) or f"declare {pin!r}, or correct the edge",
    )


@rule(
    "VF314",
    "warning",
    "a default belongs to no pin",
    explanation="data.pinDefaults has a value for a pin that nodes of this type do not read, or that the node "
    "does not declare. The value is not used.",
    bad=flow(
        START,
        node("upper", "uppercase", "text", "result", pinDefaults={"txet": "hello"}),
        END,
        edges=("start > end", "upper.result > end.answer"),
    ),
    good=flow(
        START,
        node("upper", "uppercase", "text", "result", pinDefaults={"text": "hello"}),
        END,
        edges=("start > end", "upper.result > end.answer"),
    ),
)
def useless_default(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, element in graph.elements.items():
        node_type = graph.types[node_id]
        if node_type is None or not element.pin_defaults:
            continue
        known = inputs_of(element, node_type)
        if known is None:
            known = frozenset({*element.input_ids, *_typed(node_type.inputs)})
            if not element.input_ids:
                continue
        for pin in element.pin_defaults:
            if pin not in known and pin not in node_type.unread:
                yield Finding(
                    f"{element.type} node {node_id!r} has a default for {pin!r}, which is no pin of it",
                    node_pointer(graph, node_id, f"/data/pinDefaults/{escape_pointer(pin)}"),
                    node_id=node_id,
                    pin=pin,
                    notes=(
                        _pin_note("output" if node_type.declares_parameters else "input", known),
                    ),
                    hint=did_you_mean(_near(pin, known)) or "delete it",
                )


_CHECK = node("check", "if", "exec-in condition", "true false")


@rule(
    "VF315",
    "warning",
    "nothing feeds a pin that the node needs",
    explanation="No edge enters the pin, it has no default, and no step before it gives a value of its name. "
    "A condition is then always false, a comparison always compares with null, and a person or a model is "
    "asked nothing.",
    bad=flow(START, _CHECK, END, edges=("start > check", "check.true > end")),
    good=flow(
        START,
        _CHECK,
        END,
        edges=("start > check", "start.text > check.condition", "check.true > end"),
    ),
)
def unfed_pin(graph: FlowGraph) -> Iterator[Finding]:
    carried = AmbientKeys(graph)
    for node_id, element in graph.elements.items():
        facts = graph.facts(node_id)
        for pin in facts.inputs if facts.needs and node_id in graph.served else ():
            names = {pin.id, *pin.aliases}
            fed = names & {*element.wired, *element.pin_defaults}
            if (
                pin.id in facts.needs
                and not fed
                and not _comes_along(graph, element, names, carried)
            ):
                yield Finding(
                    f"nothing feeds pin {pin.id!r} of {element.type} node {node_id!r}",
                    node_pointer(graph, node_id),
                    node_id=node_id,
                    pin=pin.id,
                    hint=f"connect it, or give it a default in pinDefaults.{pin.id}",
                )


def _comes_along(graph: FlowGraph, element: Element, names: set[str], carried: AmbientKeys) -> bool:
    """Tell whether the ambient value may have one of these names, or be the value itself."""
    if not graph.is_step(element.id):
        return False
    if element.data.get("inputKey"):
        return True
    given = carried.of(element.id)
    return given is None or not given.isdisjoint(names)


_FILLED = {"pinDefaults": {"template": "Dear {{name}}"}}


def _letter(name: str) -> dict[str, object]:
    return flow(
        START,
        node("pack", "make_object", name, "result"),
        node("letter", "string_template", "template vars", "result", **_FILLED),
        END,
        edges=(
            "start > end",
            f"start.text > pack.{name}",
            "pack.result > letter.vars",
            "letter.result > end.answer",
        ),
    )


@rule(
    "VF316",
    "warning",
    "a path names what is not there",
    explanation="The object in which the node looks is put together in this flow, and it has no such key. A "
    "template then has a gap, or fails; a path gives null.",
    bad=_letter("nmae"),
    good=_letter("name"),
)
def missing_key(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, element in graph.elements.items():
        if node_id not in graph.served:
            continue
        for pin, path in graph.facts(node_id).lookups(element, partial(_constant, graph, element)):
            missing = missing_name(_incoming(graph, element, pin, frozenset()), path)
            if missing is not None:
                name, there = missing
                yield Finding(
                    f"node {node_id!r} looks for {path!r}, and there is no {name!r} in what comes in at {pin!r}",
                    node_pointer(graph, node_id),
                    node_id=node_id,
                    pin=pin,
                    notes=(f"there is: {', '.join(sorted(there)) or 'nothing'}",),
                    hint=did_you_mean(_near(name, there)),
                )


def _constant(graph: FlowGraph, element: Element, pin: str) -> JsonValue:
    if pin not in element.wired:
        return element.pin_defaults.get(pin)
    edges = graph.entering(element.id, pin)
    return next((graph.literal(edge.source, "string") for edge in edges), None)


def _incoming(graph: FlowGraph, element: Element, pin: str, seen: frozenset[str]) -> Shape:
    """Give what is known of the object at a pin; pure nodes may be in a circle."""
    for edge in graph.entering(element.id, pin):
        return None if edge.source in seen else _outgoing(graph, edge, seen)
    if pin in element.pin_defaults:
        return shape_of(element.pin_defaults[pin])
    return None if graph.is_step(element.id) else {}


def _outgoing(graph: FlowGraph, edge: DataEdge, seen: frozenset[str]) -> Shape:
    source, facts = graph.elements[edge.source], graph.facts(edge.source)
    if isinstance(facts, ControlNode | EffectNode) or graph.is_step(edge.source):
        return None
    return facts.shape(
        source, lambda pin: _incoming(graph, source, pin, seen | {edge.source, edge.target})
    )
