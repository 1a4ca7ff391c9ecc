from __future__ import annotations

import pytest
from node_scope import element, pins, plan

from abstractruntime.nodes.registry import find_node_type

CALL = {"name": "add", "arguments": {"a": 1}, "call_id": "c9"}


def result(**facts):
    return {"call_id": "c", "name": "t", "success": True, "output": 1, "error": None, **facts}


def executed(*results):
    return {"mode": "executed", "results": list(results)}


@pytest.mark.parametrize(
    ("given", "calls"),
    [
        ([CALL, "x", None], [CALL]),
        (CALL, [CALL]),
        ('{"name": "add"}', [{"name": "add"}]),
        ('[{"name": "add"}, 1]', [{"name": "add"}]),
        ("not JSON", []),
        (None, []),
    ],
    ids=["list", "one", "text of one", "text of a list", "prose", "null"],
)
def test_calls_of_tool_calls(given, calls):
    assert plan("tool_calls", {"tool_calls": given}) == {"tool_calls": calls}


@pytest.mark.parametrize(
    ("given", "calls"),
    [(CALL, [CALL]), ('{"name": "add"}', [{"name": "add"}]), ([CALL], []), (None, [])],
    ids=["one", "text", "list", "null"],
)
def test_calls_of_call_tool(given, calls):
    assert plan("call_tool", {"tool_call": given}) == {"tool_calls": calls}


@pytest.mark.parametrize("kind", ["tool_calls", "call_tool"])
@pytest.mark.parametrize(
    ("inputs", "config", "allowed"),
    [
        ({"allowed_tools": [" a ", "a", "", 5]}, {"allowed_tools": ["z"]}, ["a"]),
        ({"allowed_tools": []}, {"allowed_tools": ["z"]}, []),
        ({"allowed_tools": None}, {"allowed_tools": ["z"]}, []),
        ({"allowed_tools": "a"}, {}, []),
        ({}, {"allowedTools": ["z"]}, ["z"]),
        ({}, {"allowed_tools": []}, []),
        ({}, {"allowed_tools": "z"}, None),
        ({}, {}, None),
    ],
    ids=["pin", "empty", "null", "text", "config", "empty config", "text config", "none"],
)
def test_allowlist(kind, inputs, config, allowed):
    payload = plan(kind, inputs, effectConfig=config)

    assert payload.get("allowed_tools") == allowed
    assert ("allowed_tools" in payload) is (allowed is not None)


@pytest.mark.parametrize(
    ("answer", "results", "success"),
    [
        (executed(result(), result()), 2, True),
        (executed(result(), result(success=False, error="no")), 2, False),
        (executed(), 0, True),
        ({"results": [result()]}, 1, True),
        ({"mode": "passthrough", "results": [result()]}, 1, False),
        ({"approved": False}, 0, False),
        ({"mode": "executed"}, 0, False),
        ("denied", 0, False),
        (None, 0, False),
    ],
    ids=[
        "all",
        "one failed",
        "empty",
        "no mode",
        "other mode",
        "denied",
        "nothing",
        "text",
        "null",
    ],
)
def test_pins_of_tool_calls(answer, results, success):
    record = pins("tool_calls", answer)

    assert (len(record["results"]), record["success"]) == (results, success)
    assert record["raw"] == answer


@pytest.mark.parametrize(
    ("answer", "told", "success"),
    [
        (executed(result(output={"x": 1})), {"x": 1}, True),
        (executed(result(output=None)), None, True),
        (executed(result(success=False, output=None, error="no such file")), "no such file", False),
        (executed(), "Missing tool result", False),
        ({"approved": False}, "Denied by user", False),
        ({"approved": False, "reason": "too risky"}, "too risky", False),
        ({"mode": "delegated"}, "Tool calls were not executed (mode: delegated)", False),
    ],
    ids=["output", "null", "failed", "no call", "denied", "reason", "mode"],
)
def test_pins_of_call_tool(answer, told, success):
    record = pins("call_tool", answer)

    assert (record["result"], record["success"]) == (told, success)


@pytest.mark.parametrize("kind", ["tool_calls", "call_tool"])
@pytest.mark.parametrize(
    ("data", "open_"),
    [
        ({}, True),
        ({"effectConfig": {"allowed_tools": []}}, False),
        ({"pinDefaults": {"allowedTools": ["a"]}}, False),
    ],
    ids=["none", "config", "default"],
)
def test_a_node_without_allowlist_is_a_warning(kind, data, open_):
    found = list(find_node_type(kind).check(element(kind, **data)))

    assert [p.code for p in found] == ["VF207"] * open_
