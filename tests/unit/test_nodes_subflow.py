from __future__ import annotations

import pytest
from node_scope import FakeScope, element, pins, plan

from abstractruntime.nodes.registry import find_node_type


@pytest.mark.parametrize(
    ("ins", "inputs", "variables"),
    [
        ("q", {"q": 1}, {"q": 1}),
        ("q", {}, {}),
        ("q", {"q": None}, {"q": None}),
        ("vars q", {"vars": {"a": 1, "q": 0}, "q": 1}, {"a": 1, "q": 1}),
        ("input q", {"input": {"a": 1}, "q": 1}, {"a": 1, "q": 1}),
        ("input", {"input": "text"}, {"input": "text"}),
        ("", {"a": 1, "input": 2}, {"a": 1, "input": 2}),
        ("", {"a": 1, "vars": {"b": 1}}, {"b": 1}),
        ("q session_id", {"q": 1, "session_id": "S"}, {"q": 1}),
    ],
)
def test_child_variables(ins, inputs, variables):
    assert plan("subflow", inputs, ins=ins, subflowId="c")["vars"] == variables


@pytest.mark.parametrize("key", ["subflowId", "flowId", "workflowId", "workflow_id"])
def test_request(key):
    payload = plan("subflow", {"session_id": " S "}, ins="q", **{key: " child "})

    assert payload == {
        "workflow_id": "child",
        "vars": {},
        "async": True,
        "wait": True,
        "session_id": "S",
    }


def test_bare_ambient_value_is_the_only_parameter():
    node_type = find_node_type("subflow")

    planned = node_type.plan(
        element("subflow", ins="q", subflowId="c"), {"input": 7}, FakeScope(ambient=7)
    )

    assert planned.payload["vars"] == {"q": 7}


@pytest.mark.parametrize(
    ("output", "outs", "expected"),
    [
        (
            {"answer": 1, "success": True},
            "answer",
            {"answer": 1, "output": {"answer": 1, "success": True}},
        ),
        ({"result": {"a": 1}, "meta": 2}, "meta a", {"meta": 2, "a": 1, "output": {"a": 1}}),
        ({"result": 5, "meta": 2}, "result meta", {"result": 5, "meta": 2, "output": 5}),
        ("text", "only", {"only": "text", "output": "text"}),
        (
            {"sub_run_id": "x", "output": "y"},
            "sub_run_id",
            {"output": {"sub_run_id": "x", "output": "y"}},
        ),
    ],
    ids=["by name", "siblings of result", "scalar result", "single pin", "reserved names"],
)
def test_pins(output, outs, expected):
    found = pins("subflow", {"sub_run_id": "C1", "output": output}, outs=outs)

    assert expected.items() <= found.items()
    assert found["sub_run_id"] == "C1"
    assert found["child_output"] == output


def _message(role: str, content: str, message_id: str) -> dict:
    return {"role": role, "content": content, "metadata": {"message_id": message_id}}


@pytest.mark.parametrize("config", [{"inherit_context": True}, {"inheritContext": "yes"}])
def test_inherited_context(config):
    own = [_message("user", "own", "1"), _message("system", "own system", "2")]
    parents = [
        _message("user", "parent", "3"),
        _message("system", "parent system", "4"),
        _message("user", "own", "1"),
    ]
    parent = {"context": {"messages": parents, "attachments": ["f"]}}
    inputs = {"context": {"messages": own}}

    found = plan("subflow", inputs, parent, ins="context", subflowId="c", effectConfig=config)[
        "vars"
    ]["context"]

    assert [m["content"] for m in found["messages"]] == [
        "own system",
        "parent system",
        "parent",
        "own",
    ]
    assert found["attachments"] == ["f"]


@pytest.mark.parametrize("parent", [{}, {"context": {"messages": []}}])
def test_nothing_is_inherited_from_an_empty_conversation(parent):
    found = plan("subflow", {"inherit_context": "true"}, parent, ins="q", subflowId="c")

    assert found["vars"] == {}


def test_subflow_without_id_is_a_problem():
    assert [p.code for p in find_node_type("subflow").check(element("subflow"))] == ["VF204"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"effectConfig": {"on_child_failure": "continue"}}, "continue"),
        ({"on_child_failure": "continue"}, "continue"),
        ({"effectConfig": {"on_child_failure": "fail"}}, None),
        ({}, None),
    ],
    ids=["config", "data", "fail", "none"],
)
def test_going_on_after_a_failed_child_is_asked_for(data, expected):
    payload = plan("subflow", {}, ins="q", subflowId="c", **data)

    assert payload.get("on_child_failure") == expected


def test_another_policy_for_failed_children_is_a_problem():
    config = {"on_child_failure": "ignore"}

    found = list(
        find_node_type("subflow").check(element("subflow", subflowId="c", effectConfig=config))
    )

    assert [(p.code, p.pointer) for p in found] == [
        ("VF203", "/data/effectConfig/on_child_failure")
    ]


def test_pins_of_a_failed_child():
    output = {"success": False, "error": "it broke"}

    found = pins("subflow", {"sub_run_id": "C1", "output": output}, outs="success error answer")

    assert (found["success"], found["error"], found.get("answer")) == (False, "it broke", None)


def test_variables_of_the_runtime_are_no_parameters():
    given = {
        "a": 1,
        "_limits": {"max_iterations": 3},
        "_temp": {"effects": {}},
        "_runtime": {},
        "_x": 1,
    }

    planned = find_node_type("subflow").plan(
        element("subflow", subflowId="c"), {"vars": given}, FakeScope()
    )

    assert planned.payload["vars"] == {"a": 1, "_limits": {"max_iterations": 3}}
