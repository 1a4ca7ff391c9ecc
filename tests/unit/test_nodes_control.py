"""Frames are durable: their keys and the turns they give."""

from __future__ import annotations

import json

import pytest
from node_scope import element, evaluate

from abstractruntime.nodes.registry import find_node_type

CASES = {
    "loop": (
        {"items": ["a", "b"]},
        ("loop", "done"),
        {"kind": "loop", "idx": 0, "items": ["a", "b"]},
        [
            ("loop", {"item": "a", "index": 0, "total": 2}),
            ("loop", {"item": "b", "index": 1, "total": 2}),
        ],
    ),
    "for": (
        {"start": 1, "end": 5, "step": 2},
        ("loop", "done"),
        {"kind": "for", "start": 1, "end": 5, "step": 2, "i": 1, "index": 0, "total": 2},
        [("loop", {"i": 1, "index": 0, "total": 2}), ("loop", {"i": 3, "index": 1, "total": 2})],
    ),
    "sequence": (
        {},
        ("then:2", "then:x", "then:0"),
        {"kind": "sequence", "idx": 0, "then": ["then:0", "then:2", "then:x"]},
        [("then:0", None), ("then:2", None), ("then:x", None)],
    ),
    "parallel": (
        {},
        ("completed", "then:1", "then:0"),
        {"kind": "parallel", "phase": "branches", "idx": 0, "then": ["then:0", "then:1"]},
        [("then:0", None), ("then:1", None)],
    ),
}


@pytest.mark.parametrize(("kind", "case"), CASES.items(), ids=CASES)
def test_frame_gives_its_turns_across_restarts(kind, case):
    inputs, handles, opened, expected = case
    control = find_node_type(kind)
    frame = control.open_frame(element(kind), inputs, handles)

    assert frame == opened
    turns = []
    while (turn := control.next_turn(element(kind), frame, {}, None)) is not None:
        turns.append((turn.handle, turn.record))
        frame = json.loads(json.dumps(frame))
    assert turns == expected


@pytest.mark.parametrize(
    ("ambient", "item"),
    [({"item": 5, "a": 1}, 5), ({"a": 1}, {"a": 1}), ("text", "text")],
    ids=["ambient item", "whole ambient", "bare ambient"],
)
def test_while_takes_its_item_from_the_ambient_value(ambient, item):
    control = find_node_type("while")
    frame = control.open_frame(element("while"), {}, ("loop",))

    turn = control.next_turn(element("while"), frame, {"condition": "yes"}, ambient)

    assert turn.record == {"item": item, "index": 0}
    assert control.next_turn(element("while"), frame, {"condition": ""}, ambient) is None


@pytest.mark.parametrize(
    ("condition", "branch"),
    [
        (True, "true"),
        ("false", "true"),
        ("0", "true"),
        ([0], "true"),
        ("", "false"),
        (0, "false"),
        ({}, "false"),
        (None, "false"),
    ],
    ids=repr,
)
def test_if_goes_by_truthiness(condition, branch):
    assert evaluate("if", {"condition": condition}) == {"branch": branch, "condition": condition}
