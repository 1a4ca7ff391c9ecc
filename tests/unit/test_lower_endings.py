from __future__ import annotations

import pytest
from flow_builder import END, START, Host, end, flow, node, run, start

from abstractruntime.visualflow_compiler import Services

SET = node("v", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "x", "value": 5})


@pytest.mark.parametrize(
    ("last", "output"),
    [
        (
            node("v", "set_var", "exec-in name value", "", pinDefaults={"name": "x", "value": 5}),
            {"success": True, "result": {"a": 1}},
        ),
        (
            node("v", "set_vars", "exec-in updates", "", pinDefaults={"updates": {"x": 5}}),
            {"success": True, "updates": {"x": 5}, "result": {"a": 1}},
        ),
        (
            node(
                "v",
                "set_var_property",
                "exec-in name key value",
                "",
                pinDefaults={"name": "o", "key": "k", "value": 5},
            ),
            {"success": True, "value": {"k": 5}, "result": {"a": 1}},
        ),
        (
            node("v", "if", "exec-in condition", "true false"),
            {"branch": "false", "condition": None, "success": True},
        ),
        (
            node("v", "switch", "exec-in value", "default"),
            {"branch": "default", "value": None, "success": True},
        ),
        (node("v", "loop", "exec-in items", "loop done"), {"success": True, "result": {"a": 1}}),
        (node("v", "sequence", "exec-in", "then:0"), {"success": True, "result": {"a": 1}}),
        (node("v", "parallel", "exec-in", "completed"), {"success": True, "result": {"a": 1}}),
        (
            node("v", "answer_user", "exec-in message", ""),
            {"success": True, "result": {"message": ""}},
        ),
        (
            node("v", "concat", "exec-in a b", "result", pinDefaults={"a": "x", "b": "y"}),
            {"response": "x y", "success": True},
        ),
    ],
    ids=lambda value: value.get("type", ""),
)
def test_output_of_a_run_that_ends_at(last, output):
    document = flow(start("a"), last, edges="s > v")

    assert run(document, {"a": 1}, answers=({"message": ""},)) == output


def test_add_message_ends_with_its_message():
    document = flow(
        START,
        node("v", "add_message", "exec-in role content", "", pinDefaults={"content": "hi"}),
        edges="s > v",
    )

    output = run(document)

    assert output["success"] is True
    assert output["message"]["content"] == "hi"


@pytest.mark.parametrize(
    ("pins", "edges", "inputs", "output"),
    [
        ("v", "s.a > e.v", {"a": 1}, {"v": 1, "success": True}),
        ("v w", "s.a > e.v", {"a": 1}, {"v": 1, "w": None, "success": True}),
        ("", "", {"a": 1}, {"a": 1, "success": True}),
        ("a", "", {"a": 1}, {"a": 1, "success": True}),
        ("success", "", {"a": 1}, {"success": True}),
        ("success", "s.a > e.success", {"a": False}, {"success": False}),
    ],
    ids=[
        "wired",
        "unwired is null",
        "no pins: everything",
        "ambient fills",
        "null success",
        "given success",
    ],
)
def test_output_of_the_end_node(pins, edges, inputs, output):
    document = flow(start("a"), end(*pins.split()), edges=f"s > e; {edges}")

    assert run(document, inputs) == output


@pytest.mark.parametrize(
    ("pins", "output"),
    [
        ("", {"response": 7, "success": True}),
        ("v", {"v": 7, "success": True}),
        ("v w", {"v": None, "w": None, "response": 7, "success": True}),
    ],
    ids=["no pins", "one pin", "several pins"],
)
def test_end_node_with_a_bare_ambient_value(pins, output):
    document = flow(end(*pins.split()), edges="")

    found = run(document, {"_last_output": 7})

    assert found == {k: v for k, v in output.items() if v is not None}


def test_end_node_with_an_edge_is_an_ordinary_node():
    document = flow(START, end("v", pinDefaults={"v": 1}), SET, edges="s > e; e > v")

    assert run(document) == {"success": True, "result": {"v": 1}}


def test_end_node_inside_a_loop_ends_the_run():
    document = flow(
        start("items"),
        node("l", "loop", "exec-in items", "loop done item"),
        end("v"),
        edges="s > l; s.items > l.items; l.loop > e; l.item > e.v",
    )

    host = Host(document, {"items": [4, 5]}).go()

    assert host.output == {"v": 4, "success": True}
    assert host.run.vars["_temp"]["_control"]["stack"] == ["l"]


BAD = node("bad", "parse_json", "exec-in text", "exec-out result", pinDefaults={"text": "{nope"})


@pytest.mark.parametrize("rebuild", [False, True], ids=["live", "rebuilt"])
@pytest.mark.parametrize(
    ("nodes", "edges", "at"),
    [
        ((BAD,), "s > bad", "bad"),
        (
            (node("p", "divide", "a b", "result", pinDefaults={"b": 0}), SET),
            "s > v; p.result > v.value",
            "v",
        ),
        (
            (
                node("p", "divide", "a b", "result", pinDefaults={"b": 0}),
                node("q", "ask_user", "exec-in prompt", "exec-out"),
            ),
            "s > q; p.result > q.prompt",
            "q",
        ),
        (
            (
                node("p", "divide", "a b", "result", pinDefaults={"b": 0}),
                node("l", "loop", "exec-in items", "loop done"),
            ),
            "s > l; p.result > l.items",
            "l",
        ),
        (
            (node("v", "set_var", "exec-in name value", "", pinDefaults={"name": "_x"}),),
            "s > v",
            "v",
        ),
        (
            (
                node("l", "loop", "exec-in items", "loop done", pinDefaults={"items": [1, 2]}),
                BAD,
                END,
            ),
            "s > l; l.loop > bad; l.done > e",
            "bad",
        ),
        (
            (node("p", "parallel", "exec-in", "then:0 completed"), BAD, END),
            "s > p; p.then:0 > bad; p.completed > e",
            "bad",
        ),
    ],
    ids=[
        "function",
        "pure for set_var",
        "pure for effect",
        "pure for loop",
        "set_var",
        "in loop",
        "in parallel",
    ],
)
def test_every_error_ends_the_run_with_an_envelope(nodes, edges, at, rebuild):
    host = Host(flow(START, *nodes, edges=edges), rebuild=rebuild).go()

    assert host.output == {"error": host.run.vars["_flow_error"], "success": False, "node": at}
    assert host.run.vars["_flow_error_node"] == at


def test_value_that_json_cannot_hold_is_an_error_that_names_its_place():
    class Infinite:
        def uniform(self, a, b):
            return float("inf")

    document = flow(
        START,
        node("r", "random_float", "min max", "result"),
        end("v"),
        edges="s > e; r.result > e.v",
    )

    output = run(document, services=Services(random=Infinite()))

    assert output["success"] is False
    assert "not JSON" in output["error"] or "not a JSON number" in output["error"]


def test_a_result_that_cannot_be_stored_is_the_failure_of_the_node_that_gave_it():
    asks = node("q", "ask_user", "exec-in prompt", "exec-out response", outputKey="a[3]")
    document = flow(START, asks, END, edges="s > q; q > e")
    host = Host(document, {"a": []}, answers=({"response": "y"},)).go()

    assert host.output["error"] == "3 is no index into a list of 0"
    assert (host.run.vars["_flow_error_source"], host.output["node"]) == ("q", "e")


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("emit_event", {"outputKey": "_runtime"}),
        ("ask_user", {"outputKey": "_temp.x"}),
        ("set_var", {"outputKey": "_runtime"}),
        ("uppercase", {"inputKey": " _runtime"}),
        ("ask_user", {"inputKey": "_runtime"}),
    ],
)
def test_a_node_that_names_a_variable_of_the_runtime_fails_before_it_does_anything(kind, keys):
    defaults = {"name": "n", "value": 1}
    asks = node("q", kind, "exec-in", "exec-out", pinDefaults=defaults, **keys)
    host = Host(flow(START, asks, END, edges="s > q; q > e")).go()

    (setting,) = keys
    assert host.output["error"].startswith(f"{setting} '_")
    assert (host.output["node"], host.effects) == ("q", [])
