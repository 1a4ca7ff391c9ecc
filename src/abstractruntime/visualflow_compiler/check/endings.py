"""Rules about what never ends, and about waits that nothing can end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from abstractruntime.nodes.base import Element, NodeError
from abstractruntime.nodes.schedules import SHORTEST, read_schedule
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.check._order import returns_here
from abstractruntime.visualflow_compiler.check._rules import (
    Finding,
    node_pointer,
    rule,
)
from abstractruntime.visualflow_compiler.graph import FlowGraph

_ANY_MOMENT = datetime(2030, 1, 1, tzinfo=timezone.utc)
_WAITS = frozenset({"ask_user", "wait_event", "wait_until", "on_event", "on_schedule"})
_MAY_WAIT = frozenset({*_WAITS, "subflow", "agent", "tool_calls", "call_tool"})
_CHOOSES = frozenset({"if", "switch", "code", "function"})

_ASKS = node("ask", "ask_user", "exec-in prompt choices", "exec-out response")
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
        if any(graph.elements[n].type in _MAY_WAIT for n in following):
            continue
        first = next(n for n in stuck if n in following and _comes_back(graph, n))
        yield Finding(
            f"control that reaches node {first!r} never leaves",
            node_pointer(graph, first),
            node_id=first,
            hint="lead one branch of an if out of the loop",
        )
    yield from _constant_loops(graph)


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
    element, node_type = graph.elements[node_id], graph.types[node_id]
    if node_type is None:
        return True
    if element.type in _CHOOSES:
        handles = {edge.handle for edge in edges}
        return element.type != "switch" and handles not in ({"exec-out"}, {"true", "false"})
    return False


def _constant_loops(graph: FlowGraph) -> Iterator[Finding]:
    for node_id in graph.steps:
        element = graph.elements[node_id]
        if element.type != "while" or node_id not in graph.served:
            continue
        body = [e.target for e in graph.exec_out.get(node_id, ()) if e.handle == "loop"]
        inside = graph.reachable_from(*body) if body else frozenset()
        leaves = any(graph.elements[n].type in {*_MAY_WAIT, "on_flow_end"} for n in inside)
        if body and not leaves and _is_always_true(graph, element):
            yield Finding(
                f"the condition of node {node_id!r} is always true",
                node_pointer(graph, node_id),
                node_id=node_id,
                pin="condition",
                hint="compare something that the body changes, or use for",
            )


def _is_always_true(graph: FlowGraph, element: Element) -> bool:
    if "condition" not in element.wired:
        return bool(element.pin_defaults.get("condition"))
    sources = (e.source for e in graph.data_in.get(element.id, ()) if e.pin == "condition")
    literals = [graph.elements[s] for s in sources if graph.elements[s].type == "literal_boolean"]
    return any(literal.data.get("literalValue") is True for literal in literals)


@rule(
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
def unanswerable(graph: FlowGraph) -> Iterator[Finding]:
    for node_id in graph.steps:
        element = graph.elements[node_id]
        config = element.config("effectConfig")
        is_closed = config.get("allowFreeText", config.get("allow_free_text")) is False
        has_choices = "choices" in element.wired or element.pin_defaults.get("choices")
        if element.type == "ask_user" and is_closed and not has_choices:
            yield Finding(
                f"node {node_id!r} allows no free text and offers no choices",
                node_pointer(graph, node_id, "/data/effectConfig"),
                node_id=node_id,
                pin="choices",
                hint="connect choices, or allow free text",
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
    emitted = {
        name: node_id
        for node_id in graph.steps
        if graph.elements[node_id].type == "emit_event"
        for name in _event_names(graph.elements[node_id])
    }
    for node_id in graph.steps:
        element = graph.elements[node_id]
        key = element.pin_defaults.get("event_key")
        if element.type != "wait_event" or not isinstance(key, str) or "event_key" in element.wired:
            continue
        if key in emitted:
            yield Finding(
                f"node {node_id!r} waits for {key!r}, which node {emitted[key]!r} emits as an event: "
                "that does not wake it",
                node_pointer(graph, node_id, "/data/pinDefaults/event_key"),
                node_id=node_id,
                pin="event_key",
                hint="use an on_event node for events of this flow",
            )


def _event_names(element: Element) -> Iterator[str]:
    for value in (element.pin_defaults.get("name"), element.config("effectConfig").get("name")):
        if isinstance(value, str) and value:
            yield value


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
        element = graph.elements[node_id]
        is_last = element.type in _WAITS and not returns_here(graph, node_id)
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


@rule(
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
def hasty_schedule(graph: FlowGraph) -> Iterator[Finding]:
    for node_id in graph.steps:
        element = graph.elements[node_id]
        if element.type != "on_schedule" or "schedule" in element.wired:
            continue
        is_pin = "schedule" in element.pin_defaults
        text = element.pin_defaults.get("schedule") or element.config("eventConfig").get("schedule")
        if isinstance(text, str) and _is_hasty(text):
            yield Finding(
                f"node {node_id!r} is to repeat every {text!r}; it repeats every 100 ms",
                node_pointer(
                    graph, node_id, f"/data/{'pinDefaults' if is_pin else 'eventConfig'}/schedule"
                ),
                node_id=node_id,
                pin="schedule",
                hint="write an interval of at least 100ms",
            )


def _is_hasty(text: str) -> bool:
    try:
        schedule = read_schedule(text)
    except NodeError:
        return False
    return schedule.repeats and schedule.first(_ANY_MOMENT) - _ANY_MOMENT < SHORTEST
