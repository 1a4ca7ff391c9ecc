"""Which run variables a flow can mean, and so which names an input of it may have."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

from abstractruntime.nodes.base import ControlNode, Element, FunctionNode, NodeType
from abstractruntime.visualflow_compiler._ambient import ambient_names
from abstractruntime.visualflow_compiler._model import DataEdge
from abstractruntime.visualflow_compiler.check._order import ambient_reach, replaces_ambient
from abstractruntime.visualflow_compiler.graph import FlowGraph

ANY: None = None
_WHOLE = ("result", "output")
_ROOT = re.compile(r"[.\[]")


def names_read(graph: FlowGraph) -> frozenset[str] | None:
    """Give the names of the variables that a flow reads: its parameters, and what its nodes name.

    None means any: a name is computed when the flow runs, or a node takes all variables as they are,
    as code does that stands first.
    """
    found = [*_named(graph), *_seen(graph)]
    if ANY in found:
        return None
    return frozenset(filter(None, found))


def _named(graph: FlowGraph) -> Iterator[str | None]:
    """Give the names that nodes and their settings say outright, None for one that is computed."""
    for node_id, element in graph.elements.items():
        facts = graph.facts(node_id)
        yield from element.output_ids if facts.declares_parameters else ()
        yield from element.pin_defaults if facts.declares_parameters else ()
        yield _root(facts.variable(element))
        yield _root(element.data.get("inputKey"))
        for role in ("reads", "changes"):
            pin = facts.pins_by_role.get(role)
            if pin is not None:
                yield _name_at(graph, element, pin.id, pin.type)


def _root(name: object) -> str:
    return _ROOT.split(name.strip())[0] if isinstance(name, str) else ""


def _name_at(graph: FlowGraph, element: Element, pin: str, pin_type: str) -> str | None:
    for edge in graph.entering(element.id, pin):
        literal = graph.literal(edge.source, pin_type)
        return _root(literal) if isinstance(literal, str) else ANY
    default = element.pin_defaults.get(pin)
    if default is None and graph.is_step(element.id):
        return ANY  # The ambient value may have it.
    return _root(default)


def _seen(graph: FlowGraph) -> Iterator[str | None]:
    """Give the names that steps take from all variables, as long as no step has given a value yet."""
    for node_id in _first(graph):
        element, facts = graph.elements[node_id], graph.facts(node_id)
        if isinstance(facts, FunctionNode) and not _root(element.data.get("inputKey")):
            yield from _taken(element, facts)
            if facts.declares_parameters and not element.output_ids:
                yield from _passed_on(graph, node_id)


def _first(graph: FlowGraph) -> Iterator[str]:
    """Give the steps that a run comes to before a step has put its result into the ambient value."""
    todo = deque([graph.entry.node_id] if graph.entry else [])
    seen = set(todo)
    while todo:
        node_id = todo.popleft()
        yield node_id
        if not replaces_ambient(graph, node_id):
            new = [e.target for e in graph.exec_out.get(node_id, ()) if e.target not in seen]
            todo.extend(new)
            seen.update(new)


def _taken(element: Element, facts: NodeType) -> Iterable[str | None]:
    names = ambient_names(element, facts)
    return (ANY,) if names is None else names


def _passed_on(graph: FlowGraph, node_id: str) -> Iterator[str | None]:
    """Give what is taken from the output of a step whose output is all variables."""
    yield from _handles(graph.data_out.get(node_id, ()))
    for later in ambient_reach(graph, node_id):
        element, facts = graph.elements[later], graph.facts(later)
        yield from _taken(element, facts)
        if isinstance(facts, ControlNode):
            # What runs branches may give the ambient value, with its own pins in it; `while` as its item.
            edges = graph.data_out.get(later, ())
            yield from _handles(edges)
            if facts.rereads_inputs and any(edge.handle == "item" for edge in edges):
                yield ANY


def _handles(edges: Iterable[DataEdge]) -> Iterator[str | None]:
    return (ANY if edge.handle in _WHOLE else edge.handle for edge in edges)
