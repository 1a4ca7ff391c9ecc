from __future__ import annotations

import pytest
from node_scope import evaluate


@pytest.mark.parametrize(
    ("outs", "defaults", "variables", "record", "after"),
    [
        ("a b", {"b": 3}, {"a": 1, "z": 9}, {"a": 1, "b": 3}, {"a": 1, "z": 9, "b": 3}),
        ("a", {"a": 3}, {"a": None}, {"a": None}, {"a": None}),
        ("a", {}, {}, {"a": None}, {}),
        ("_x", {"_x": 1}, {}, {"_x": None}, {}),
        ("", {"b": 3}, {"a": 1, "_temp": {}}, {"a": 1, "b": 3}, {"a": 1, "_temp": {}, "b": 3}),
    ],
    ids=[
        "defaults are stored",
        "null counts",
        "missing is null",
        "reserved",
        "no pins: everything",
    ],
)
def test_flow_start(outs, defaults, variables, record, after):
    found = evaluate("on_flow_start", {}, variables, outs=outs, pinDefaults=defaults)

    assert found == record
    assert variables == after


@pytest.mark.parametrize(
    ("ins", "inputs", "record"),
    [
        ("a b", {"a": 1, "c": 2}, {"a": 1, "b": None}),
        ("", {"a": 1}, {"a": 1}),
        ("success", {"success": None}, {}),
        ("success", {"success": False}, {"success": False}),
        ("a", "bare", {"a": "bare"}),
        ("a b", "bare", {"response": "bare"}),
        ("", "bare", "bare"),
    ],
)
def test_flow_end(ins, inputs, record):
    assert evaluate("on_flow_end", inputs, ins=ins) == record


@pytest.mark.parametrize(
    ("kind", "inputs", "record"),
    [
        ("on_user_request", {}, {"message": "", "context": {}}),
        (
            "on_user_request",
            {"message": "m", "context": {"a": 1}},
            {"message": "m", "context": {"a": 1}},
        ),
        ("on_agent_message", {}, {"sender": "unknown", "message": "", "channel": "c"}),
        (
            "on_agent_message",
            {"sender": "s", "message": "m"},
            {"sender": "s", "message": "m", "channel": "c"},
        ),
    ],
)
def test_other_triggers(kind, inputs, record):
    assert evaluate(kind, inputs, eventConfig={"channel": "c"}) == record
