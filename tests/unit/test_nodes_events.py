"""emit_event and on_event: what they ask for, what their pins hold, and how a listener turns."""

from __future__ import annotations

import pytest
from flow_builder import START, Host, end, flow, node
from node_scope import element, pins, plan

from abstractruntime.nodes.base import NodeError
from abstractruntime.nodes.registry import find_node_type
from abstractruntime.visualflow_compiler import Services

EVENT = {"event_id": "e1", "name": "ping", "payload": {"n": 1}, "scope": "session"}


@pytest.mark.parametrize(
    ("inputs", "config", "payload"),
    [
        ({"name": "a"}, {}, {"scope": "session", "name": "a", "payload": {}}),
        ({}, {"name": " a ", "scope": " Global "}, {"scope": "global", "name": "a", "payload": {}}),
        ({"name": "p", "scope": ""}, {"name": "c", "scope": "run"}, {"scope": "run", "name": "p", "payload": {}, "of_root": True}),
        ({"name": "a", "scope": "galaxy"}, {}, {"scope": "session", "name": "a", "payload": {}}),
        ({"name": "a", "scope": "workflow"}, {}, {"scope": "workflow", "name": "a", "payload": {}, "workflow_id": "f"}),
        ({"name": "a", "payload": "x"}, {}, {"scope": "session", "name": "a", "payload": {"value": "x"}}),
        ({"name": "a", "payload": {"x": 1}}, {"sessionId": "s"}, {"scope": "session", "name": "a", "payload": {"x": 1}, "session_id": "s"}),
        ({"name": "a", "session_id": "p"}, {"session_id": "c"}, {"scope": "session", "name": "a", "payload": {}, "session_id": "p"}),
    ],
    ids=["name", "config", "pin over config", "unknown scope", "workflow", "bare payload", "config session", "pin session"],
)  # fmt: skip
def test_emit_event(inputs, config, payload):
    assert plan("emit_event", inputs, effectConfig=config) == {**payload, "max_steps": 0}


@pytest.mark.parametrize("inputs", [{}, {"name": None}, {"name": "  "}, {"name": 5}])
def test_an_event_needs_a_name(inputs):
    with pytest.raises(NodeError, match="emit_event node 'n' missing event name"):
        plan("emit_event", inputs)


@pytest.mark.parametrize(
    ("inputs", "config", "payload"),
    [
        ({}, {}, {"scope": "session", "name": "*"}),
        ({}, {"name": "ping", "scope": "RUN"}, {"scope": "run", "name": "ping", "of_root": True}),
        ({"name": " p ", "scope": "global"}, {"name": "c"}, {"scope": "global", "name": "p"}),
        ({"name": " "}, {"name": "c", "scope": "workflow"}, {"scope": "workflow", "name": "c", "workflow_id": "f"}),
    ],
    ids=["any event", "config", "pins", "blank pin"],
)  # fmt: skip
def test_on_event(inputs, config, payload):
    assert plan("on_event", inputs, eventConfig=config) == {**payload, "details": {"listen": True}}


@pytest.mark.parametrize(
    ("result", "record"),
    [
        (EVENT, {"event": EVENT, "payload": {"n": 1}, "event_id": "e1", "name": "ping"}),
        ("yes", {"event": {"payload": "yes"}, "payload": "yes", "event_id": None, "name": None}),
    ],
    ids=["envelope", "bare answer"],
)
def test_pins_of_on_event(result, record):
    assert pins("on_event", result) == record


def test_pins_of_emit_event():
    assert pins("emit_event", {"delivered": 0, "wait_key": "k"}) == {
        "delivered": 0,
        "wait_key": "k",
    }


@pytest.mark.parametrize(
    ("kind", "data", "messages"),
    [
        ("emit_event", {"effectConfig": {"name": "a"}}, []),
        ("emit_event", {"pinDefaults": {"event_name": "a"}}, []),
        ("emit_event", {}, ["the event has no name"]),
        ("emit_event", {"effectConfig": {"name": "a", "scope": "all"}}, ["effectConfig.scope 'all' does not exist; session is used"]),
        ("on_event", {}, []),
        ("on_event", {"eventConfig": {"scope": "all"}}, ["eventConfig.scope 'all' does not exist; session is used"]),
    ],
)  # fmt: skip
def test_what_is_odd_about_an_event_node(kind, data, messages):
    found = list(find_node_type(kind).check(element(kind, **data)))

    assert [problem.message for problem in found] == messages
    assert {problem.severity for problem in found} <= {"warning"}


# -- in a flow ----------------------------------------------------------------------


def listener(*nodes, edges, **config):
    on = node("on", "on_event", "", "exec-out event payload name", eventConfig=config)
    return flow(on, *nodes, edges=edges, entryNode="on")


SAY = node("say", "answer_user", "exec-in message", "exec-out")


def test_each_event_runs_the_branch_and_the_node_waits_again():
    document = listener(SAY, edges="on > say; on.payload > say.message", name="ping")
    host = Host(document, answers=(EVENT, {}, {**EVENT, "payload": "two"}, {}), rebuild=True)

    for _ in range(4):
        host.step()

    assert host.path == ["on", "say", "on", "say"]
    said = [effect.payload["message"] for effect in host.effects if effect.type == "answer_user"]
    assert said == [{"n": 1}, "two"]
    assert host.run.current_node == "on"


def test_what_a_branch_puts_out_does_not_subscribe_to_something_else():
    code = "def f(inputs):\n    return {'name': 'other', 'scope': 'global'}"
    made = node("c", "code", "exec-in", "exec-out", code=code, functionName="f")
    document = listener(made, edges="on > c", name="ping", scope="session")

    class Runner:
        def call(self, source, function, value):
            return {"name": "other", "scope": "global"}

    host = Host(document, answers=(EVENT, EVENT), services=Services(code=Runner()))
    for _ in range(3):
        host.step()

    asked = [(effect.payload["name"], effect.payload["scope"]) for effect in host.effects]
    assert asked == [("ping", "session")] * 2


def test_a_listener_without_a_branch_waits_again():
    host = Host(listener(edges=""), answers=(EVENT, EVENT))
    for _ in range(3):
        host.step()

    assert host.path == ["on"] * 3


def test_a_listener_ends_at_an_end_node():
    document = listener(end("got"), edges="on > e; on.name > e.got")
    host = Host(document, answers=(EVENT,)).go()

    assert host.output == {"got": "ping", "success": True}


def test_a_loop_in_a_branch_ends_in_the_listener():
    loop = node("L", "loop", "exec-in items", "loop done item", pinDefaults={"items": [1, 2]})
    document = listener(loop, SAY, edges="on > L; L.loop > say; L.item > say.message")
    host = Host(document, answers=(EVENT, {}, {}, EVENT))
    for _ in range(7):
        host.step()

    assert host.path == ["on", "L", "say", "L", "say", "L", "on"]
    assert host.run.vars["_temp"]["_control"]["stack"] == ["on"]


def test_emit_event_gives_its_pins_and_no_ambient_value():
    emit = node(
        "m", "emit_event", "exec-in name scope", "exec-out delivered", effectConfig={"name": "cfg"}
    )
    s = node("s", "on_flow_start", "", "exec-out name scope")
    document = flow(s, emit, end("n"), edges="s > m; m > e; m.delivered > e.n")
    host = Host(document, {"name": "hijack", "scope": "global"}, answers=({"delivered": 3},)).go()

    assert host.output == {"n": 3, "success": True}
    payload = host.effects[0].payload
    assert (payload["name"], payload["scope"], "type" in payload) == ("cfg", "session", False)


def test_a_plain_effect_node_keeps_no_frame():
    host = Host(flow(START, SAY, edges="s > say"), answers=({},)).go()

    assert "_control" not in host.run.vars["_temp"]
