from __future__ import annotations

import pytest
from flow_builder import END, START, Host, end, flow, node

from abstractruntime.core.models import RunState
from abstractruntime.visualflow_compiler import compile_visualflow

ASK = node("q", "ask_user", "exec-in prompt", "exec-out response", pinDefaults={"prompt": "p"})


@pytest.mark.parametrize(
    ("node_id", "key"),
    [("q", "_temp.effects.q"), ("a.b", "/_temp/effects/a.b"), ("a./~b", "/_temp/effects/a.~1~0b")],
)
@pytest.mark.parametrize("rebuild", [False, True], ids=["live", "rebuilt"])
def test_result_is_found_whatever_the_node_id(node_id, key, rebuild):
    document = flow(START, ASK, end("r"), edges="s > q; q > e; q.response > e.r")
    text = {"q": node_id}
    for item in document["nodes"]:
        item["id"] = text.get(item["id"], item["id"])
    for edge in document["edges"]:
        edge["source"], edge["target"] = (text.get(edge[k], edge[k]) for k in ("source", "target"))

    host = Host(document, answers=({"response": 1},), rebuild=rebuild).go()

    assert host.effects[0].result_key == key
    assert host.output == {"r": 1, "success": True}


def test_last_effect_of_a_branch_resumes_at_its_control_node():
    document = flow(
        START,
        node("l", "loop", "exec-in items", "loop done", pinDefaults={"items": [1]}),
        ASK,
        END,
        edges="s > l; l.loop > q; l.done > e",
    )

    host = Host(document, answers=({},)).go()

    assert host.effects[0].payload["resume_to_node"] == "l"
    assert host.path == ["s", "l", "q", "l", "e"]


def test_effect_leaves_the_ambient_value_alone():
    document = flow(START, ASK, END, edges="s > q; q > e")

    host = Host(document, {"a": 1}, answers=({"response": "x"},)).go()

    assert host.output == {"a": 1, "success": True}


@pytest.mark.parametrize("rebuild", [False, True], ids=["live", "rebuilt"])
def test_output_key_stores_the_mapped_value_once(rebuild):
    asking = node("q", "ask_user", "exec-in prompt", "exec-out response", outputKey="answers.first")
    change = node(
        "v",
        "set_var",
        "exec-in name value",
        "exec-out",
        pinDefaults={"name": "answers.first", "value": 2},
    )
    document = flow(START, asking, change, END, edges="s > q; q > v; v > e")

    host = Host(document, answers=({"response": "x"},), rebuild=rebuild)
    while host.path[-1:] != ["q"]:
        host.step()
    host.run.vars.pop("answers", None)
    host.step()
    changed = host.run.vars["answers"]
    host.go()

    assert changed == {"first": 2}
    assert host.run.vars["answers"] == {"first": 2}


def test_output_key_is_stored_before_the_next_node_runs():
    asking = node("q", "ask_user", "exec-in prompt", "exec-out response", outputKey="answer")
    current = node("cur", "get_var", "name", "value", pinDefaults={"name": "answer"})
    document = flow(START, asking, current, end("v"), edges="s > q; q > e; cur.value > e.v")

    assert Host(document, answers=({"response": "x"},)).go().output["v"] == "x"


def test_output_key_may_set_limits_and_nothing_else_reserved():
    def function(key):
        return node("c", "concat", "exec-in a", "exec-out", outputKey=key, pinDefaults={"a": "x"})

    allowed = Host(flow(START, function("_limits.max_iterations"), END, edges="s > c; c > e")).go()
    refused = Host(flow(START, function("_temp.x"), END, edges="s > c; c > e")).go()

    assert allowed.run.vars["_limits"] == {"max_iterations": "x"}
    assert "_temp.x" in refused.output["error"]


@pytest.mark.parametrize("rebuild", [False, True], ids=["live", "rebuilt"])
def test_echo_pins_survive(rebuild):
    document = flow(START, ASK, end("p"), edges="s > q; q > e; q.prompt > e.p")

    assert Host(document, answers=({"response": 1},), rebuild=rebuild).go().output["p"] == "p"


@pytest.mark.parametrize("pin", ["result", "output"])
def test_effect_record_is_never_taken_as_a_whole(pin):
    document = flow(START, ASK, end("v"), edges=f"s > q; q > e; q.{pin} > e.v")

    assert Host(document, answers=({"response": 1},)).go().output["v"] is None


def test_handlers_work_with_a_bare_run_state():
    spec = compile_visualflow(flow(START, ASK, END, edges="s > q; q > e"))
    bare = RunState.new(workflow_id="f", entry_node="q")

    plan = spec.nodes["q"](bare, None)

    assert plan.effect is not None
    assert plan.next_node == "e"


def test_node_table_is_a_plain_dict_that_hosts_may_wrap():
    spec = compile_visualflow(flow(START, END, edges="s > e"))

    spec.nodes["s"] = spec.nodes["e"]

    assert spec.get_node("s") is spec.nodes["e"]
