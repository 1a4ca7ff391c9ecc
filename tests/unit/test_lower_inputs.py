from __future__ import annotations

import copy

import pytest
from flow_builder import END, START, Host, end, flow, node, run, start
from node_scope import FakeScope, element

from abstractruntime.nodes.base import ValueNode
from abstractruntime.nodes.registry import node_types
from abstractruntime.visualflow_compiler import Services

ASK = "ask_user"


def ask_flow(edges: str = "", *, start_pins: str = "prompt", **data):
    return flow(
        start(*start_pins.split()),
        node("q", ASK, "exec-in prompt choices", "exec-out response", **data),
        end("r"),
        edges=f"s > q; q > e; q.response > e.r; {edges}",
    )


@pytest.mark.parametrize(
    ("edges", "data", "inputs", "prompt"),
    [
        ("s.prompt > q.prompt", {"pinDefaults": {"prompt": "pin"}}, {"prompt": "edge"}, "edge"),
        ("", {"pinDefaults": {"prompt": "pin"}}, {"prompt": "ambient"}, "pin"),
        ("", {}, {"prompt": "ambient"}, "ambient"),
        ("", {}, {}, "Please respond:"),
        (
            "nowhere.x > q.prompt",
            {"pinDefaults": {"prompt": "pin"}},
            {"prompt": "a"},
            "Please respond:",
        ),
    ],
    ids=["edge", "pin default", "ambient", "type default", "connected but unresolved is absent"],
)
def test_precedence_of_inputs(edges, data, inputs, prompt):
    host = Host(ask_flow(edges, **data), inputs).go()

    assert host.effects[0].payload["prompt"] == prompt


def test_unresolved_pin_never_takes_the_ambient_value():
    document = flow(
        start("v"),
        node("k", "if", "exec-in condition", "true false"),
        node("late", "set_var", "exec-in name value", "exec-out value", pinDefaults={"name": "x"}),
        end("v"),
        edges="s > e; late.value > e.v; s > k",
    )
    del document["edges"][2]

    assert run(document, {"v": "ambient"}) == {"v": None, "success": True}


def test_control_plane_inputs_never_come_from_the_ambient_value():
    document = flow(
        start("session_id", "q"),
        node("c", "subflow", "exec-in q", "exec-out", subflowId="child"),
        END,
        edges="s > c; c > e",
    )

    payload = Host(document, {"session_id": "stolen", "q": 1}).go().effects[0].payload

    assert "session_id" not in payload
    assert payload["vars"] == {"q": 1}


@pytest.mark.parametrize("pin", ["include_context", "use_context"])
@pytest.mark.parametrize("by_edge", [True, False], ids=["edge", "default"])
def test_aliases_are_the_same_pin(pin, by_edge):
    defaults = {} if by_edge else {"pinDefaults": {pin: "yes"}}
    document = flow(
        start("flag"),
        node("a", "llm_call", f"exec-in prompt {pin}", "exec-out response", **defaults),
        end("r"),
        edges=f"s > a; a > e; a.response > e.r; {f's.flag > a.{pin}' if by_edge else ''}",
    )

    assert Host(document, {"flag": True}).go().effects[0].payload["include_context"] is True


@pytest.mark.parametrize(
    ("kind", "ambient", "payload"),
    [
        ("ask_user", "text", {"prompt": "text"}),
        ("answer_user", "text", {"message": "text"}),
        ("llm_call", "text", {"prompt": "text"}),
        ("wait_event", "key", {"wait_key": "key"}),
        ("memory_note", "text", {"note": "text"}),
    ],
)
def test_bare_ambient_value_goes_to_the_main_pin(kind, ambient, payload):
    document = flow(node("n", kind, "exec-in", "exec-out"), END, edges="n > e")

    host = Host(document, {"_last_output": ambient}).go()

    assert payload.items() <= host.effects[0].payload.items()


def test_function_sees_the_variables_without_reserved_names_first():
    document = flow(node("e", "on_flow_end", "exec-in"), edges="")

    assert run(document, {"a": 1, "_limits": {}}) == {"a": 1, "success": True}


def test_pure_node_is_fresh_in_every_step():
    document = flow(
        start("n"),
        node("one", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "n"}),
        node("two", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "n"}),
        node("n", "get_var", "name", "value", pinDefaults={"name": "n"}),
        node("add", "add", "a b", "result", pinDefaults={"b": 1}),
        end("n"),
        edges="s > one; one > two; two > e; n.value > add.a; add.result > one.value; "
        "add.result > two.value; n.value > e.n",
    )

    assert run(document, {"n": 1}) == {"n": 3.0, "success": True}


def test_pure_node_is_evaluated_once_for_all_pins_of_a_step():
    document = flow(
        START,
        node("r", "random_float", "min max", "result"),
        end("a", "b"),
        edges="s > e; r.result > e.a; r.result > e.b",
    )

    output = run(document)

    assert output["a"] == output["b"]


@pytest.mark.parametrize("rebuild", [False, True], ids=["live", "rebuilt"])
def test_draw_is_kept_across_steps_and_dropped_by_an_iteration(rebuild):
    document = flow(
        START,
        node("r", "random_float", "min max", "result"),
        node("a", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "a"}),
        node("q", ASK, "exec-in prompt", "exec-out response"),
        node("b", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "b"}),
        node("l", "loop", "exec-in items", "loop done", pinDefaults={"items": [1]}),
        node("c", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "c"}),
        END,
        edges="s > a; a > q; q > b; b > l; l.loop > c; l.done > e; "
        "r.result > a.value; r.result > b.value; r.result > c.value",
    )

    found = Host(document, rebuild=rebuild).go().run.vars

    assert found["a"] == found["b"]
    assert found["a"] != found["c"]


def test_literal_is_not_shared_between_runs():
    document = flow(
        START,
        node("l", "literal_json", "", "value", literalValue={"inner": {"n": 1}}),
        node("a", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "v"}),
        node(
            "b",
            "set_var",
            "exec-in name value",
            "exec-out",
            pinDefaults={"name": "v.inner.n", "value": 2},
        ),
        node("l2", "get", "object key", "value", pinDefaults={"key": "inner.n"}),
        end("n"),
        edges="s > a; a > b; b > e; l.value > a.value; l.value > l2.object; l2.value > e.n",
    )
    spec = Host(document).spec

    assert [Host(spec).go().output["n"] for _ in range(2)] == [1, 1]


def test_variable_is_not_shared_with_the_outputs_of_nodes():
    document = flow(
        start("v"),
        node(
            "b",
            "set_var",
            "exec-in name value",
            "exec-out",
            pinDefaults={"name": "v.n", "value": 2},
        ),
        end("v"),
        edges="s > b; b > e; s.v > e.v",
    )

    host = Host(document, {"v": {"n": 1}}).go()

    assert host.output["v"] == {"n": 1}
    assert host.run.vars["v"] == {"n": 2}


def test_pin_default_is_not_shared_between_runs():
    first = {"name": "v", "value": {"n": 1}}
    document = flow(
        START,
        node("a", "set_var", "exec-in name value", "exec-out", pinDefaults=first),
        node("cur", "get_var", "name", "value", pinDefaults={"name": "v.n"}),
        node("b", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "seen"}),
        node(
            "c",
            "set_var",
            "exec-in name value",
            "exec-out",
            pinDefaults={"name": "v.n", "value": 2},
        ),
        END,
        edges="s > a; a > b; b > c; c > e; cur.value > b.value",
    )
    spec = Host(document).spec

    assert [Host(spec).go().run.vars["seen"] for _ in range(2)] == [1, 1]


class CountingRunner:
    def __init__(self):
        self.calls = 0

    def call(self, source, function, value):
        self.calls += 1
        return self.calls


def test_pure_value_is_computed_once_per_step():
    runner = CountingRunner()
    document = flow(
        START,
        node("c", "code", "x", "output", code="def transform(_input):\n    return 1\n"),
        node("a", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "first"}),
        node("n", "add", "a b", "result"),
        end("a", "b", "sum"),
        edges="s > a; a > e; c.output > a.value; c.output > e.a; c.output > e.b; "
        "c.output > n.a; c.output > n.b; n.result > e.sum",
    )

    host = Host(document, services=Services(code=runner)).go()

    assert host.run.vars["first"] == 1
    assert host.output == {"a": 2, "b": 2, "sum": 4.0, "success": True}


def test_loop_exposes_the_ambient_value_it_merged():
    document = flow(
        start("items", "a"),
        node("l", "loop", "exec-in items", "loop done item"),
        end("a"),
        edges="s > l; s.items > l.items; l.loop > e; l.a > e.a",
    )

    assert run(document, {"items": [1], "a": 5}) == {"a": 5, "success": True}


@pytest.mark.parametrize(
    "node_type",
    [t for t in node_types().values() if isinstance(t, ValueNode)],
    ids=lambda t: t.type,
)
def test_pure_types_leave_their_inputs_alone(node_type):
    for example in node_type.examples:
        before = copy.deepcopy(example.inputs)
        node_type.evaluate(element(node_type.type, **example.data), example.inputs, FakeScope())
        assert example.inputs == before


def test_cycle_of_pure_nodes_does_not_run():
    nodes = (node("a", "not", "value", "result"), node("b", "not", "value", "result"))
    document = flow(
        START,
        *nodes,
        end("v"),
        edges="s > e; a.result > b.value; b.result > a.value; a.result > e.v",
    )

    with pytest.raises(ValueError, match="depend on themselves"):
        Host(document)
