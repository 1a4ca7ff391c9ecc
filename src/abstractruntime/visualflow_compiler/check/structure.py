"""Rules about the shape of a flow: ids, entry, reach and order."""

from __future__ import annotations

from collections.abc import Iterator

from abstractruntime.nodes.base import ValueNode
from abstractruntime.visualflow_compiler.check._examples import END, PASS, START, flow, node
from abstractruntime.visualflow_compiler.check._rules import (
    Finding,
    node_pointer,
    rule,
)
from abstractruntime.visualflow_compiler.graph import FlowGraph

_ROUTES = ("entryRoutes", "inputRouteOverrides")
_UPPER = node("upper", "uppercase", "text", "result")
_LOWER = node("lower", "lowercase", "text", "result")


@rule(
    "VF101",
    "error",
    "the flow has no step to start with",
    explanation="A run needs at least one node with execution pins, usually on_flow_start. A "
    "flow of pure nodes computes nothing, because nobody pulls their values.",
    bad=flow(),
    good=PASS,
)
def no_entry(graph: FlowGraph) -> Iterator[Finding]:
    if graph.entry is None:
        yield Finding(
            # Compat: the text of 0.4.2, which hosts match.
            "Invalid flow: Flow must have an entry node",
            "/nodes",
            notes=() if graph.flow.raw.get("nodes") else ("the document has no nodes",),
            hint="add an on_flow_start node and connect its exec-out",
        )


@rule(
    "VF102",
    "warning",
    "entryNode is ignored",
    explanation="entryNode names a node that does not exist or that is not a step, so the run "
    "starts at the first step without an incoming execution edge instead.",
    bad={**PASS, "entryNode": "gone"},
    good={**PASS, "entryNode": "start"},
)
def ignored_entry(graph: FlowGraph) -> Iterator[Finding]:
    named = graph.flow.entry_node
    if named is None or graph.entry is None or graph.is_step(named):
        return
    what = "is not a step" if named in graph.elements else "does not exist"
    yield Finding(
        f"entryNode {named!r} {what}, the run starts at {graph.entry.node_id!r}",
        "/entryNode",
        hint=f"set entryNode to {graph.entry.node_id!r}, or remove it",
    )


@rule(
    "VF103",
    "warning",
    "entryNode leads nowhere",
    explanation="entryNode names a node that can be entered but not left, such as an end node. "
    "The flow has exactly one trigger, so the run starts there.",
    bad={**PASS, "entryNode": "end"},
    good={**PASS, "entryNode": "start"},
)
def replaced_entry(graph: FlowGraph) -> Iterator[Finding]:
    if graph.entry is not None and graph.entry.reason == "trigger":
        yield Finding(
            f"entryNode {graph.flow.entry_node!r} leads nowhere, "
            f"the run starts at {graph.entry.node_id!r}",
            "/entryNode",
            hint=f"set entryNode to {graph.entry.node_id!r}",
        )


@rule(
    "VF104",
    "error",
    "two nodes have the same id",
    explanation="Edges, outputs and waits refer to nodes by id. With two nodes of one id it is "
    "unclear which of them is meant.",
    bad=flow(START, END, END, edges=("start > end",)),
    good=PASS,
    spares_dead_nodes=False,
)
def duplicate_id(graph: FlowGraph) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for element, index in graph.placed:
        first = seen.setdefault(element.id, index)
        if first != index:
            yield Finding(
                f"node {index} has the id {element.id!r}, which node {first} has already",
                f"/nodes/{index}/id",
                node_id=element.id,
                hint="give one of them another id and correct its edges",
            )


@rule(
    "VF105",
    "warning",
    "a step cannot be reached",
    explanation="No chain of execution edges leads from the entry to this node, so no run "
    "visits it. Listeners (on_event) and what follows them are not reported.",
    bad=flow(
        START,
        END,
        node("save", "set_var", "exec-in name value", "exec-out value"),
        edges=("start > end",),
    ),
    good=PASS,
)
def unreachable(graph: FlowGraph) -> Iterator[Finding]:
    if graph.entry is None:
        return
    for node_id in graph.steps:
        if node_id not in graph.served:
            yield Finding(
                f"node {node_id!r} cannot be reached from the entry {graph.entry.node_id!r}",
                node_pointer(graph, node_id),
                node_id=node_id,
                hint="connect its exec-in, or delete it",
            )


@rule(
    "VF106",
    "error",
    "pure nodes depend on themselves",
    explanation="Each node of the cycle needs the value of the next one first. Break the "
    "cycle with a variable (set_var and get_var), which a step writes between two readings.",
    bad=flow(
        START,
        END,
        _UPPER,
        _LOWER,
        edges=(
            "start > end",
            "upper.result > lower.text",
            "lower.result > upper.text",
            "lower.result > end.answer",
        ),
    ),
    good=PASS,
)
def pure_cycle(graph: FlowGraph) -> Iterator[Finding]:
    for cycle in graph.pure_cycles():
        path = " <- ".join(repr(node_id) for node_id in (*cycle, cycle[0]))
        yield Finding(
            f"pure nodes depend on themselves: {path}",
            node_pointer(graph, cycle[0]),
            node_id=cycle[0],
            hint="remove one of the edges, or store the value with set_var",
        )


@rule(
    "VF107",
    "warning",
    "the declared pins contradict the node type",
    explanation="Whether a known type is a step is fixed. A step declared without execution "
    "pins is still a step, and a constant declared with them is still a constant.",
    bad=flow(START, node("end", "on_flow_end", "answer"), edges=("start > end",)),
    good=PASS,
)
def kind_mismatch(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, element in graph.elements.items():
        has_exec = bool(element.exec_inputs or element.exec_outputs)
        if graph.types[node_id] is None or not element.declares_pins:
            continue
        if graph.facts(node_id).is_constant and has_exec:
            message = f"node {node_id!r} is a constant; its execution pins are ignored"
        elif graph.is_step(node_id) and not has_exec:
            message = f"node {node_id!r} of type {element.type} declares no execution pin"
        else:
            continue
        yield Finding(
            message,
            node_pointer(graph, node_id, "/data"),
            node_id=node_id,
            hint="place the node again in the editor",
        )


@rule(
    "VF108",
    "warning",
    "an end node is followed by another step",
    explanation="An on_flow_end with an outgoing execution edge does not end the run; control "
    "continues, and the run's output comes from where it ends later.",
    bad=flow(
        START,
        node("end", "on_flow_end", "exec-in answer", "exec-out"),
        node("later", "on_flow_end", "exec-in answer"),
        edges=("start > end", "end > later"),
    ),
    good=PASS,
)
def end_continues(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, edges in graph.exec_out.items():
        if graph.facts(node_id).ends_run:
            yield Finding(
                f"end node {node_id!r} is followed by {edges[0].target!r} and does not end the run",
                edges[0].at(),
                node_id=node_id,
                hint="delete the edge, or replace the end node",
            )


@rule(
    "VF109",
    "warning",
    "the entry is not connected",
    explanation="The flow has further steps, but no execution edge leaves the entry, so a run "
    "ends right after it.",
    bad=flow(START, END),
    good=PASS,
)
def loose_entry(graph: FlowGraph) -> Iterator[Finding]:
    if graph.entry is None or len(graph.steps) == 1:
        return
    node_id = graph.entry.node_id
    if not graph.exec_out.get(node_id):
        yield Finding(
            f"no execution edge leaves the entry {node_id!r}",
            node_pointer(graph, node_id),
            node_id=node_id,
            hint="connect its exec-out to the first step",
        )


@rule(
    "VF110",
    "error",
    "an execution edge touches a pure node",
    explanation="A pure node is computed when its value is pulled; control can neither enter "
    "nor leave it, so the chain ends before it.",
    bad=flow(START, _UPPER, edges=("start > upper", "start.text > upper.text")),
    good=PASS,
    spares_dead_nodes=False,
)
def control_at_pure_node(graph: FlowGraph) -> Iterator[Finding]:
    for edge in graph.flow.exec_edges:
        for key, node_id in (("source", edge.source), ("target", edge.target)):
            if not graph.is_step(node_id):
                yield Finding(
                    f"edge {edge.index} carries control, but node {node_id!r} is pure",
                    edge.at(key),
                    node_id=node_id,
                    hint=_pure_hint(graph, node_id),
                )


def _pure_hint(graph: FlowGraph, node_id: str) -> str:
    node_type = graph.types[node_id]
    if node_type is not None and not isinstance(node_type, ValueNode):
        return "give the node its exec-in and exec-out pins"
    return "connect control to the step that uses its value"


@rule(
    "VF111",
    "error",
    "a node has other inputs for each way in",
    explanation="data.entryRoutes and data.inputRouteOverrides let the values of a node depend on "
    "the edge through which control came. Here a node has one set of inputs, so its values would be "
    "wrong for all ways but one. Several execution edges into one node are fine without them.",
    bad=flow(
        START,
        node("say", "answer_user", "exec-in message", "exec-out", entryRoutes=[{"id": "again"}]),
        END,
        edges=("start > say", "say > end"),
    ),
    good=flow(
        START,
        node("say", "answer_user", "exec-in message", "exec-out", entryRoutes=[]),
        END,
        edges=("start > say", "say > end"),
    ),
)
def routed_inputs(graph: FlowGraph) -> Iterator[Finding]:
    for node_id, element in graph.elements.items():
        for key in _ROUTES:
            if element.data.get(key):
                yield Finding(
                    f"node {node_id!r} has {key}, which this version does not support",
                    node_pointer(graph, node_id, f"/data/{key}"),
                    node_id=node_id,
                    hint="give each way a node of its own, or set a variable on each way and read "
                    "it with get_var",
                )
