"""Rules about edges: handles, pins, and how many edges may meet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from abstractruntime._json import JsonObject
from abstractruntime._near import close_names
from abstractruntime.nodes.base import ControlNode, Element, NodeType
from abstractruntime.visualflow_compiler._model import EXEC_OUT, DataEdge, ExecEdge
from abstractruntime.visualflow_compiler.check._examples import END, PASS, START, flow, node
from abstractruntime.visualflow_compiler.check._rules import (
    Finding,
    did_you_mean,
    node_pointer,
    rule,
)
from abstractruntime.visualflow_compiler.graph import FlowGraph

_SPEECH = frozenset({"response", "answer", "text"})

_IF = node("check", "if", "exec-in condition", "true false")
_CASES = {"switchConfig": {"cases": [{"id": "yes", "value": "y"}]}}


def _switched(handle: str) -> JsonObject:
    switch = node("check", "switch", "exec-in value", "case:yes case:maybe default", **_CASES)
    edges = ("start > check", "start.text > check.value", f"check.{handle} > end")
    return flow(START, switch, END, edges=edges)


_UPPER = node("upper", "uppercase", "text", "result")
_USED = ("start > end", "start.text > upper.text", "upper.result > end.answer")


@rule(
    "VF301",
    "error",
    "an execution edge leaves through a handle that does not exist",
    explanation="Each node type has fixed execution handles: exec-out for most, true and false "
    "for if, loop and done for loops, then:0, then:1 and so on for sequence and parallel, "
    "case:ID and default for switch. A branch handle on an effect node is never taken.",
    bad=flow(START, _IF, END, edges=("start > check", "check.yes > end")),
    good=flow(START, _IF, END, edges=("start > check", "check.true > end")),
)
def unknown_handle(graph: FlowGraph) -> Iterator[Finding]:
    for edge in graph.flow.exec_edges:
        node_type = graph.types[edge.source]
        if node_type is None or not graph.is_step(edge.source):
            continue
        legal = _legal_handles(graph.elements[edge.source], node_type)
        if not any(_matches(edge.handle, pattern) for pattern in legal):
            yield Finding(
                f"edge {edge.index} leaves {node_type.type} node {edge.source!r} "
                f"through the unknown handle {edge.handle!r}",
                edge.at("sourceHandle"),
                node_id=edge.source,
                pin=edge.handle,
                notes=(f"node type {node_type.type} has {', '.join(legal) or 'no handles'}",),
                hint=did_you_mean(close_names(edge.handle, legal, n=1)),
            )


@rule(
    "VF318",
    "warning",
    "a branch is never taken",
    explanation="A switch goes on through case:ID when the value is that of the case ID in data.switchConfig.cases. "
    "Cases without id or value, with the value of an earlier one, and handles without a case are never taken.",
    bad=_switched("case:maybe"),
    good=_switched("case:yes"),
)
def never_taken(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, edges in graph.exec_out.items():
        element, node_type = graph.elements[node_id], graph.types[node_id]
        branches = node_type.branches_of(element) if node_type is not None else None
        if node_type is None or branches is None:
            continue
        fixed = [handle for handle in node_type.handles if not handle.endswith("*")]
        legal = _legal_handles(element, node_type)
        for edge in edges:
            # VF301 is about handles that there are not at all.
            is_legal = any(_matches(edge.handle, pattern) for pattern in legal)
            if is_legal and edge.handle not in (*branches, *fixed):
                yield Finding(
                    f"edge {edge.index} leaves {node_type.type} node {node_id!r} through "
                    f"{edge.handle!r}, and its configuration has no such case",
                    edge.at("sourceHandle"),
                    node_id=node_id,
                    pin=edge.handle,
                    notes=(f"its cases are: {', '.join(branches) or 'none'}",),
                    hint=did_you_mean(close_names(edge.handle, branches, n=1))
                    or "add the case, or delete the edge",
                )


def _legal_handles(element: Element, node_type: NodeType) -> tuple[str, ...]:
    if node_type.ends_run:
        return (EXEC_OUT,)
    configured = node_type.branches_of(element) or ()
    if not isinstance(node_type, ControlNode) and not configured:
        return node_type.handles
    # Compat: sequences of 0.4.2 had to declare their branches; here the edges do when
    # no branch is declared, and declared branches stay the only legal ones.
    legal: list[str] = []
    for pattern in node_type.handles:
        known = dict.fromkeys((*configured, *element.exec_outputs))
        declared = [handle for handle in known if _matches(handle, pattern)]
        legal += declared if pattern.endswith("*") and declared else [pattern]
    return tuple(legal)


def _matches(handle: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return handle.startswith(pattern[:-1])
    return handle == pattern


@rule(
    "VF302",
    "error",
    "two execution edges leave one handle",
    explanation="Control can go one way only. Use sequence to do one thing after the other, "
    "parallel for independent branches, or if to choose.",
    bad=flow(
        START,
        END,
        node("other", "on_flow_end", "exec-in answer"),
        edges=("start > end", "start > other"),
    ),
    good=PASS,
)
def forked_control(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, edges in graph.exec_out.items():
        by_handle: defaultdict[str, list[ExecEdge]] = defaultdict(list)
        for edge in edges:
            by_handle[edge.handle].append(edge)
        for handle, rivals in by_handle.items():
            if len(rivals) > 1:
                yield Finding(
                    f"{len(rivals)} execution edges leave {handle!r} of node {node_id!r}, "
                    "only one can be followed",
                    rivals[1].at(),
                    node_id=node_id,
                    pin=handle,
                    notes=(f"they lead to {_names(edge.target for edge in rivals)}",),
                    hint="put a sequence or parallel node in between",
                )


@rule(
    "VF303",
    "error",
    "two data edges enter one pin",
    explanation="A pin takes one value. Earlier versions used the edge that came last in the "
    "file; coalesce, concat or an if say which value is meant.",
    bad=flow(START, _UPPER, END, edges=(*_USED, "start.text > end.answer")),
    good=flow(START, _UPPER, END, edges=_USED),
)
def crowded_pin(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, edges in graph.data_in.items():
        by_pin: defaultdict[str, list[DataEdge]] = defaultdict(list)
        for edge in edges:
            by_pin[edge.pin].append(edge)
        for pin, rivals in by_pin.items():
            if len(rivals) > 1:
                yield Finding(
                    f"{len(rivals)} data edges enter pin {pin!r} of node {node_id!r}, "
                    "it takes one value",
                    rivals[1].at(),
                    node_id=node_id,
                    pin=pin,
                    notes=(f"they come from {_names(edge.source for edge in rivals)}",),
                    hint="delete all but one of them",
                )


def _names(node_ids: Iterable[str]) -> str:
    return ", ".join(repr(node_id) for node_id in node_ids)


@rule(
    "VF306",
    "warning",
    "a text decides a condition",
    explanation="Every text but the empty one counts as true, also 'false', 'no' and '0'. "
    "Compare the text with what you expect, or use a boolean.",
    bad=flow(
        START,
        node("check", "if", "exec-in condition", "true false", pinDefaults={"condition": "false"}),
        END,
        edges=("start > check", "check.true > end"),
    ),
    good=flow(
        START,
        node("check", "if", "exec-in condition", "true false", pinDefaults={"condition": False}),
        END,
        edges=("start > check", "check.true > end"),
    ),
)
def text_condition(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, element in graph.elements.items():
        condition = graph.facts(node_id).pins_by_role.get("condition")
        if condition is None:
            continue
        for pointer, text in _condition_texts(graph, element, condition.id):
            if isinstance(text, str) and text:
                yield Finding(
                    f"the condition of node {node_id!r} is the text {text!r}, which counts as true",
                    pointer,
                    node_id=node_id,
                    pin=condition.id,
                    hint="use a boolean, or a compare node",
                )
        for edge in graph.entering(node_id, condition.id):
            if _gives_text(graph, edge):
                yield Finding(
                    f"the condition of node {node_id!r} is the text {edge.handle!r} of node "
                    f"{edge.source!r}: whatever it says, it counts as true",
                    edge.at(),
                    node_id=node_id,
                    pin=condition.id,
                    hint="compare it with the answer you expect, with compare or switch",
                )


def _gives_text(graph: FlowGraph, edge: DataEdge) -> bool:
    """Tell whether an edge carries what a person or a model said.

    Other texts may be meant to be tested for being empty; these are hardly ever empty.
    """
    speech = graph.facts(edge.source).pins_by_role.get("speech")
    return speech is not None and edge.handle in _SPEECH


def _condition_texts(graph: FlowGraph, element: Element, pin: str) -> Iterator[tuple[str, object]]:
    if pin not in element.wired:
        default = element.pin_defaults.get(pin)
        yield node_pointer(graph, element.id, f"/data/pinDefaults/{pin}"), default
    for edge in graph.entering(element.id, pin):
        yield edge.at(), graph.literal(edge.source, "string")
