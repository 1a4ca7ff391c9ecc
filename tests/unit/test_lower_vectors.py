"""The conformance vectors of the language description, with their target results."""

from __future__ import annotations

from typing import Any

import pytest
from flow_builder import START, end, flow, node, run, start


def code(body: str, outs: str = "exec-out output", ins: str = "exec-in") -> Any:
    return node("c", "code", ins, outs, code=f"def transform(_input):\n    {body}\n")


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ("return 'x'", {"response": "x", "success": True}),
        ("return {'success': 'no'}", {"success": "no"}),
        ("return None", {"response": None, "success": True}),
    ],
)
def test_terminal_code(body, output):
    assert run(flow(START, code(body), edges="s > c")) == output


def test_error_in_the_body_of_a_loop():
    document = flow(
        start("items"),
        node("l", "loop", "exec-in items", "loop done item"),
        code("return {'v': 10 / _input['item']}", "exec-out v", "exec-in item"),
        end("v"),
        edges="s > l; s.items > l.items; l.loop > c; l.item > c.item; l.done > e; c.v > e.v",
    )

    output = run(document, {"items": [1, 2, 0, 4]})

    assert output["success"] is False
    assert output["node"] == "c"
    assert "division by zero" in output["error"]


@pytest.mark.parametrize(
    ("outs", "body", "output"),
    [
        (
            "true false",
            "return {'branch': 'true', 'v': 1}",
            {"branch": "true", "v": 1, "success": True},
        ),
        ("true false", "return 5", "Branching node did not return a string 'branch' value"),
        ("true false", "return {'branch': 'maybe'}", "Unknown branch 'maybe'"),
    ],
    ids=["unwired branch ends", "no branch", "unknown branch"],
)
def test_branching_code(outs, body, output):
    document = flow(START, code(body, outs), end("never"), edges="s > c; c.false > e")

    found = run(document)

    assert found == output or found["error"] == output


@pytest.mark.parametrize("kind", ["make_object", "merge"])
@pytest.mark.parametrize("handle", ["result", "output"])
def test_object_with_a_key_named_result_stays_whole(kind, handle):
    value = {"result": 5, "k": 1}
    defaults = value if kind == "make_object" else {"a": value}
    document = flow(
        START,
        node("o", kind, " ".join(defaults), "result", pinDefaults=defaults),
        end("v"),
        edges=f"s > e; o.{handle} > e.v",
    )

    assert run(document) == {"v": value, "success": True}


@pytest.mark.parametrize(
    ("handle", "value"), [("a", 1), ("result", 2), ("output", {"a": 1, "result": 2}), ("x", None)]
)
def test_keys_of_code_results_are_pins(handle, value):
    document = flow(
        START,
        code("return {'a': 1, 'result': 2}"),
        end("v"),
        edges=f"s > c; c > e; c.{handle} > e.v",
    )

    assert run(document) == {"v": value, "success": True}


def test_code_gets_a_bare_ambient_value_itself():
    document = flow(
        START,
        node(
            "c", "code", "exec-in", "exec-out", code="def transform(_input):\n    return [_input]\n"
        ),
        edges="c > c0",
    )
    document["nodes"] = document["nodes"][1:]

    assert run(document, {"_last_output": 7}) == {"response": [7], "success": True}


def test_code_sees_the_whole_bus():
    document = flow(start("a", "b"), code("return sorted(_input)"), edges="s > c")

    assert run(document, {"a": 1, "b": 2, "c": 3})["response"] == ["a", "b"]
