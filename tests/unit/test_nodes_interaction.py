from __future__ import annotations

import re

import pytest
from node_scope import element, pins, plan

from abstractruntime.nodes.base import NodeError
from abstractruntime.nodes.registry import find_node_type


@pytest.mark.parametrize(
    ("inputs", "config", "payload"),
    [
        ({}, {}, {"prompt": "Please respond:", "choices": [], "allow_free_text": True}),
        (
            {"prompt": None},
            {},
            {"prompt": "Please respond:", "choices": [], "allow_free_text": True},
        ),
        (
            {"prompt": "P", "choices": ["a"]},
            {"allowFreeText": None},
            {"prompt": "P", "choices": ["a"], "allow_free_text": True},
        ),
        (
            {"prompt": "P", "choices": ["a"]},
            {"allowFreeText": False},
            {"prompt": "P", "choices": ["a"], "allow_free_text": False},
        ),
        (
            {"prompt": "P", "choices": "a"},
            {"allowFreeText": "no"},
            {"prompt": "P", "choices": None, "allow_free_text": False},
        ),
    ],
    ids=["nothing", "null prompt", "null free text", "closed choices", "text choices"],
)
def test_ask_user(inputs, config, payload):
    assert plan("ask_user", inputs, effectConfig=config) == payload


@pytest.mark.parametrize(
    ("result", "record"),
    [
        ({"response": "a", "by": "b"}, {"response": "a", "by": "b"}),
        ({"x": 1}, {"response": None, "x": 1}),
        ("a", {"response": "a"}),
    ],
)
def test_ask_user_pins(result, record):
    assert pins("ask_user", result) == record


@pytest.mark.parametrize(
    ("inputs", "payload"),
    [
        ({}, {"message": "", "level": "message"}),
        ({"message": None, "level": "warn"}, {"message": "", "level": "warning"}),
        ({"message": {"a": 1}, "level": " ERROR "}, {"message": {"a": 1}, "level": "error"}),
        ({"message": "m", "level": "info"}, {"message": "m", "level": "message"}),
        ({"message": "m", "level": 5}, {"message": "m", "level": "message"}),
    ],
)
def test_answer_user(inputs, payload):
    assert plan("answer_user", inputs) == payload


@pytest.mark.parametrize(
    ("duration", "unit", "until"),
    [
        (30, None, "2030-01-01T12:00:30.000000+00:00"),
        ("1.5", "minutes", "2030-01-01T12:01:30.000000+00:00"),
        (1, "", "2030-01-01T12:00:01.000000+00:00"),
        (-60, "seconds", "2030-01-01T11:59:00.000000+00:00"),
        ("2031-01-01T00:00:00Z", "timestamp", "2031-01-01T00:00:00Z"),
        ("2031-01-01 00:00", "timestamp", "2031-01-01 00:00"),
        ("", "timestamp", ""),
    ],
)
def test_wait_until(duration, unit, until):
    assert plan("wait_until", {"duration": duration}, effectConfig={"durationType": unit}) == {
        "until": until
    }


@pytest.mark.parametrize(
    ("duration", "unit", "message"),
    [
        ("soon", "timestamp", "'soon' is not a moment"),
        (1e300, "hours", "beyond the calendar"),
        ("5m", "seconds", 'cannot wait for "5m": expected a number of seconds'),
        ("abc", "hours", 'cannot wait for "abc": expected a number of hours'),
        ("inf", "minutes", 'cannot wait for "inf"'),
        ("nan", None, 'cannot wait for "nan": expected a number of seconds'),
        ([5], "seconds", r"cannot wait for \[5\]"),
        (None, "seconds", "cannot wait for nothing"),
        (True, "hours", "cannot wait for true: expected a number of hours"),
        ("1_0", "seconds", 'cannot wait for "1_0"'),
        (5, "days", 'durationType is "days", expected seconds, minutes, hours or timestamp'),
        (5, "second", 'durationType is "second"'),
        (5, 7, "durationType is 7"),
        (5, ["seconds"], "durationType is"),
    ],
)
def test_wait_until_refuses(duration, unit, message):
    config = {"durationType": unit}
    with pytest.raises(NodeError, match=message):
        plan("wait_until", {"duration": duration}, effectConfig=config)
    if duration is not None and duration != 1e300:
        node = element("wait_until", effectConfig=config, pinDefaults={"duration": duration})
        (problem,) = find_node_type("wait_until").check(node)
        assert re.search(message, problem.message)


@pytest.mark.parametrize(("duration", "unit"), [(5, None), ("5", "hours"), (0, "")])
def test_what_wait_until_can_read_is_not_reported(duration, unit):
    data = {"effectConfig": {"durationType": unit}, "pinDefaults": {"duration": duration}}

    assert [*find_node_type("wait_until").check(element("wait_until", **data))] == []


@pytest.mark.parametrize(
    ("inputs", "payload"),
    [
        ({}, {"wait_key": "default", "allow_free_text": True}),
        ({"allow_free_text": None}, {"wait_key": "default", "allow_free_text": True}),
        (
            {"event_key": 5, "prompt": " ", "choices": "x"},
            {"wait_key": "5", "allow_free_text": True},
        ),
        ({"event_key": None}, {"wait_key": None, "allow_free_text": True}),
        (
            {"event_key": "k", "prompt": "P", "choices": ["a", "", 3], "allow_free_text": "no"},
            {"wait_key": "k", "prompt": "P", "choices": ["a"], "allow_free_text": False},
        ),
    ],
)
def test_wait_event(inputs, payload):
    assert plan("wait_event", inputs) == payload
