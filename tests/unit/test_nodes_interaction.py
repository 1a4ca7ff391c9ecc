from __future__ import annotations

import pytest
from node_scope import pins, plan

from abstractruntime.nodes.base import NodeError


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
            {"allowFreeText": False},
            {"prompt": "P", "choices": ["a"], "allow_free_text": False},
        ),
        (
            {"prompt": "P", "choices": "a"},
            {"allowFreeText": "no"},
            {"prompt": "P", "choices": None, "allow_free_text": False},
        ),
    ],
    ids=["nothing", "null prompt", "closed choices", "text choices"],
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
        (True, "hours", "2030-01-01T13:00:00.000000+00:00"),
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
    ],
)
def test_wait_until_refuses(duration, unit, message):
    with pytest.raises(NodeError, match=message):
        plan("wait_until", {"duration": duration}, effectConfig={"durationType": unit})


@pytest.mark.parametrize(
    ("inputs", "payload"),
    [
        ({}, {"wait_key": "default", "allow_free_text": True}),
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
