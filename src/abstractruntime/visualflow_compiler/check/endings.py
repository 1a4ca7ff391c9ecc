"""Rules about what never ends, and about waits that nothing can end."""

from __future__ import annotations

from collections.abc import Container, Iterator

from abstractruntime.nodes.base import ControlNode, Pin
from abstractruntime.visualflow_compiler._model import EXEC_OUT
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.check._order import returns_here
from abstractruntime.visualflow_compiler.check._rules import (
    Finding,
    Rule,
    declare,
    node_pointer,
    rule,
)
from abstractruntime.visualflow_compiler.graph import FlowGraph

_ASKS = node("ask", "ask_user", "exec-in prompt choices", "exec-out response")
_AGAIN = node("again", "subflow", "exec-in", "exec-out", subflowId="example")
_CLOSED = {"effectConfig": {"allowFreeText": False}}
_WAITS_FOR = {"pinDefaults": {"event_key": "done"}}


@rule(
    "VF112",
    "warning",
    "control goes round for ever",
    explanation="No way leads out of this loop, and no node in it waits for anything. The run never ends; "
    "it stops only when somebody cancels it. A while whose condition is always true fails after "
    "10,000 turns.",
    bad=flow(
        START,
        node("say", "answer_user", "exec-in message", "exec-out"),
        node("count", "set_var", "exec-in name value", "exec-out value"),
        edges=("start > say", "say > count", "count > say"),
    ),
    good=flow(
        START,
        node("say", "answer_user", "exec-in message", "exec-out"),
        node("check", "if", "exec-in condition", "true false"),
        END,
        edges=(
            "start > say",
            "say > check",
            "check.true > say",
            "check.false > end",
            "start.text > check.condition",
        ),
    ),
)
def endless(graph: FlowGraph) -> Iterator[Finding]:
    ending = _ending(graph)
    stuck = [n for n in graph.steps if n in graph.served and n not in ending]
    reported: set[str] = set()
    for node_id in stuck:
        if node_id in reported:
            continue
        following = graph.reachable_from(node_id)
        reported |= following
        if any(graph.facts(n).waits != "never" for n in following):
            continue
        first = next(n for n in stuck if n in following and _comes_back(graph, n))
        yield Finding(
            f"control that reaches node {first!r} never leaves",
            node_pointer(graph, first),
            node_id=first,
            hint="lead one branch of an if out of the loop",
        )
    yield from _constant_loops(graph)


@rule(
    "VF117",
    "warning",
    "the flow always calls itself",
    explanation="Every way through the flow runs the flow again, itself or through others, and none waits for "
    "anything before. Each run starts another one, until somebody stops them.",
    bad=flow(START, _AGAIN, END, edges=("start > again", "again > end")),
    good=flow(
        START,
        node("check", "if", "exec-in condition", "true false"),
        _AGAIN,
        END,
        edges=(
            "start > check",
            "check.true > again",
            "check.false > end",
            "again > end",
            "start.text > check.condition",
        ),
    ),
)
def recursive(graph: FlowGraph) -> Iterator[Finding]:
    calls = always_runs(graph, {graph.flow.id})
    if calls:
        yield recursion(graph, calls[0], "it again")


def recursion(graph: FlowGraph, node_id: str, what: str) -> Finding:
    return Finding(
        f"every way through flow {graph.flow.id!r} runs {what}",
        node_pointer(graph, node_id),
        node_id=node_id,
        hint="run it on one branch of an if only",
    )


def always_runs(graph: FlowGraph, flow_ids: Container[str]) -> list[str]:
    """Give the nodes that run one of these flows, if no way through the flow passes all of them by.

    Empty when a way ends, or waits, before it comes to one of them.
    """
    calls = [n for n in graph.steps if (_called(graph, n) or None) in flow_ids]
    if not calls or graph.entry is None:
        return []
    before = _before(graph, graph.entry.node_id, frozenset(calls))
    passes = any(_may_end(graph, n) or _may_wait(graph, n) for n in before)
    return [] if passes else calls


def _called(graph: FlowGraph, node_id: str) -> str | None:
    return graph.facts(node_id).subflow(graph.elements[node_id])


def _before(graph: FlowGraph, start: str, calls: frozenset[str]) -> set[str]:
    """Give the steps that control can come to without one of the calls."""
    found = {start} - calls
    todo = list(found)
    while todo:
        for edge in graph.exec_out.get(todo.pop(), ()):
            if edge.target not in found | calls and graph.is_step(edge.target):
                found.add(edge.target)
                todo.append(edge.target)
    return found


def _may_wait(graph: FlowGraph, node_id: str) -> bool:
    """Tell whether control may rest at a step, or leave it in a way that no edge shows."""
    facts = graph.facts(node_id)
    is_open = set(facts.handles) not in ({EXEC_OUT}, {"true", "false"}, set())
    return facts.waits != "never" or is_open


def _comes_back(graph: FlowGraph, node_id: str) -> bool:
    edges = graph.exec_out.get(node_id, ())
    return any(node_id in graph.reachable_from(edge.target) for edge in edges)


def _ending(graph: FlowGraph) -> set[str]:
    """Give the steps from which control can come to an end, or back to a control node."""
    found = {node_id for node_id in graph.steps if _may_end(graph, node_id)}
    todo = list(found)
    while todo:
        for edge in graph.exec_in.get(todo.pop(), ()):
            if edge.source not in found and graph.is_step(edge.source):
                found.add(edge.source)
                todo.append(edge.source)
    return found


def _may_end(graph: FlowGraph, node_id: str) -> bool:
    edges = [e for e in graph.exec_out.get(node_id, ()) if graph.is_step(e.target)]
    if not edges or returns_here(graph, node_id):
        return True
    if graph.types[node_id] is None:
        return True
    # A result may name a branch without an edge; which cases a switch has is not known here.
    is_choice = "true" in graph.facts(node_id).handles
    return is_choice and {edge.handle for edge in edges} not in ({EXEC_OUT}, {"true", "false"})


def _constant_loops(graph: FlowGraph) -> Iterator[Finding]:
    for node_id in graph.steps:
        control = graph.facts(node_id)
        condition = control.pins_by_role.get("condition")
        if not isinstance(control, ControlNode) or not condition or node_id not in graph.served:
            continue
        edges = graph.exec_out.get(node_id, ())
        body = [edge.target for edge in edges if edge.handle != control.exit_handle]
        inside = map(graph.facts, graph.reachable_from(*body) if body else ())
        leaves = any(facts.ends_run or facts.waits != "never" for facts in inside)
        if body and not leaves and _is_always_true(graph, node_id, condition):
            yield Finding(
                f"the condition of node {node_id!r} is always true",
                node_pointer(graph, node_id),
                node_id=node_id,
                pin=condition.id,
                hint="compare something that the body changes, or use for",
            )


def _is_always_true(graph: FlowGraph, node_id: str, condition: Pin) -> bool:
    element = graph.elements[node_id]
    if condition.id not in element.wired:
        return bool(element.pin_defaults.get(condition.id))
    edges = graph.entering(node_id, condition.id)
    return any(graph.literal(edge.source, "boolean") is True for edge in edges)


declare(
    Rule(
        "VF113",
        "warning",
        "a question has no possible answer",
        explanation="Free text is not allowed, and there are no choices: nothing that a person can say is an "
        "answer. The run waits until somebody cancels it.",
        bad=flow(
            START,
            node("ask", "ask_user", "exec-in prompt", "exec-out response", **_CLOSED),
            END,
            edges=("start > ask", "ask > end"),
        ),
        good=flow(
            START,
            node("ask", "ask_user", "exec-in prompt choices", "exec-out response", **_CLOSED),
            node("both", "literal_array", "", "value", literalValue=["yes", "no"]),
            END,
            edges=("start > ask", "ask > end", "both.value > ask.choices"),
        ),
    )
)


@rule(
    "VF114",
    "warning",
    "an event does not wake the node that waits for its name",
    explanation="emit_event wakes listeners (on_event) of its name. wait_event waits for a key that a host "
    "resumes; an event of the same name does not reach it. Use on_event, or write the whole key, "
    "such as evt:session:SESSION:done.",
    bad=flow(
        START,
        node(
            "tell", "emit_event", "exec-in name payload", "exec-out", pinDefaults={"name": "done"}
        ),
        node("wait", "wait_event", "exec-in event_key", "exec-out event_data", **_WAITS_FOR),
        END,
        edges=("start > tell", "tell > wait", "wait > end"),
    ),
    good=flow(
        START,
        node("wait", "wait_event", "exec-in event_key", "exec-out event_data", **_WAITS_FOR),
        END,
        edges=("start > wait", "wait > end"),
    ),
)
def deaf_wait(graph: FlowGraph) -> Iterator[Finding]:
    emitted = {name: node_id for node_id in graph.steps for name in _event_names(graph, node_id)}
    for node_id in graph.steps:
        element, pin = graph.elements[node_id], graph.facts(node_id).pins_by_role.get("awaits")
        if pin is None or pin.id in element.wired:
            continue
        key = element.pin_defaults.get(pin.id)
        if isinstance(key, str) and key in emitted:
            yield Finding(
                f"node {node_id!r} waits for {key!r}, which node {emitted[key]!r} emits as an event: "
                "that does not wake it",
                node_pointer(graph, node_id, f"/data/pinDefaults/{pin.id}"),
                node_id=node_id,
                pin=pin.id,
                hint="use an on_event node for events of this flow",
            )


def _event_names(graph: FlowGraph, node_id: str) -> Iterator[str]:
    element, pin = graph.elements[node_id], graph.facts(node_id).pins_by_role.get("emits")
    if pin is not None:
        for place in (element.pin_defaults, element.config("effectConfig")):
            name = place.get(pin.id)
            if isinstance(name, str) and name:
                yield name


@rule(
    "VF115",
    "info",
    "nothing follows a wait",
    explanation="When the wait ends, so does the run, and its output is what the wait gave. The time or the "
    "answer has no other effect.",
    bad=flow(START, _ASKS, edges=("start > ask",)),
    good=flow(START, _ASKS, END, edges=("start > ask", "ask > end")),
)
def last_wait(graph: FlowGraph) -> Iterator[Finding]:
    inside: set[str] = set()
    for node_id in graph.steps:
        if returns_here(graph, node_id):
            targets = (e.target for e in graph.exec_out.get(node_id, ()))
            inside |= graph.reachable_from(*(t for t in targets if graph.is_step(t)))
    for node_id in graph.steps:
        is_last = graph.facts(node_id).waits == "always" and not returns_here(graph, node_id)
        if (
            is_last
            and node_id in graph.served
            and not (graph.exec_out.get(node_id) or node_id in inside)
        ):
            yield Finding(
                f"the run ends when the wait of node {node_id!r} ends",
                node_pointer(graph, node_id),
                node_id=node_id,
                hint="connect its exec-out to what should happen then",
            )


declare(
    Rule(
        "VF116",
        "warning",
        "a schedule is shorter than a turn",
        explanation="A schedule repeats every 100 ms at most, or it would leave no time for anything else. A "
        "shorter interval is taken as 100 ms.",
        bad=flow(
            node("start", "on_schedule", "", "exec-out", eventConfig={"schedule": "5ms"}),
            END,
            edges=("start > end",),
        ),
        good=flow(
            node("start", "on_schedule", "", "exec-out", eventConfig={"schedule": "5s"}),
            END,
            edges=("start > end",),
        ),
    )
)
