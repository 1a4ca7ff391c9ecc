"""Small values of the core: limits, event keys, paths into variables, transitions."""

from __future__ import annotations

import pytest

from abstractruntime.core._kernel.transitions import Hopped, Woken, transition
from abstractruntime.core.config import RuntimeConfig
from abstractruntime.core.event_keys import build_event_wait_key
from abstractruntime.core.models import RunState, RunStatus
from abstractruntime.core.vars import parse_vars_path, resolve_vars_path, set_result
from abstractruntime.errors import WaitMismatch


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({"max_tokens": 1000, "max_output_tokens": 200, "max_input_tokens": 900}, 544),
        ({"max_tokens": 1000, "max_output_tokens": 200, "max_input_tokens": 100}, 100),
        ({"max_input_tokens": 900}, 900),
        ({}, None),
    ],
    ids=["clamped", "fits", "unknown-output", "unset"],
)
def test_input_tokens_leave_room_for_the_output(options, limit):
    assert RuntimeConfig(**options).to_limits_dict()["max_input_tokens"] == limit


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ({"scope": "session", "name": "ping", "session_id": "S"}, "evt:session:S:ping"),
        ({"scope": " GLOBAL ", "name": "ping"}, "evt:global:global:ping"),
        ({"scope": "", "name": " ping ", "session_id": "S"}, "evt:session:S:ping"),
    ],
)
def test_event_keys(parts, key):
    assert build_event_wait_key(**parts) == key


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"scope": "run", "name": "ping"}, "missing scope id"),
        ({"scope": "town", "name": "ping"}, "unknown event scope"),
        ({"scope": "global", "name": " "}, "name is required"),
    ],
)
def test_event_keys_refuse(parts, message):
    with pytest.raises(ValueError, match=message):
        build_event_wait_key(**parts)


@pytest.mark.parametrize(
    ("path", "tokens"),
    [
        ("a.b[2].3", ["a", "b", 2, 3]),
        ("/a~1b/0", ["a/b", 0]),
        ("a..b", ["a", "b"]),
        ("", []),
        ("a[-1].\u00b2", ["a", "-1", "\u00b2"]),
    ],
)
def test_paths_into_variables(path, tokens):
    assert parse_vars_path(path) == tokens


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a.x", "Missing key"),
        ("a[0]", "Expected list"),
        ("l[9]", "out of range"),
        ("l.x", "Expected object"),
    ],
)
def test_missing_places_are_named(path, message):
    with pytest.raises(ValueError, match=message):
        resolve_vars_path({"a": {}, "l": [1]}, parse_vars_path(path))


@pytest.mark.parametrize(
    ("key", "pointer", "state"),
    [("a.b", "/a/b", {"a": {"b": 1}}), ("/a.b/c", "/a.b/c", {"a.b": {"c": 1}})],
)
def test_result_keys_are_paths_or_pointers(key, pointer, state):
    found: dict = {}

    assert set_result(found, key, 1) == pointer
    assert found == state


@pytest.mark.parametrize("status", [s for s in RunStatus if s.is_terminal])
@pytest.mark.parametrize("event", [Hopped("n"), Woken({})], ids=["hop", "wake"])
def test_nothing_changes_a_finished_run(status, event):
    with pytest.raises(WaitMismatch, match=status.value):
        transition(RunState("r", "w", status, "n"), event)
