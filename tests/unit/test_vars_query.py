"""`vars_query`: a place in the variables as text, and errors that do not fail a run."""

from __future__ import annotations

import json

import pytest
from memory_host import FakeHost, a_run, answer, call

from abstractruntime.effects.vars_query import VarsQuery

VARS = {"scratchpad": {"b": 1, "a": ["é", {"k": None}]}, "x": {"y/z": "text"}, "n": 5}


def ask(payload, run=None, **options):
    host = FakeHost(run or a_run(vars=VARS), **options)
    host.runs["other"] = a_run("other", vars={"scratchpad": {"theirs": True}})
    return answer(call(VarsQuery(host), host.runs["r"], **payload))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({}, {"path": "scratchpad", "type": "dict", "value": VARS["scratchpad"]}),
        ({"path": "scratchpad.a[1].k"}, {"type": "NoneType", "value": None}),
        ({"var_path": "scratchpad.a.0"}, {"path": "scratchpad.a.0", "type": "str", "value": "é"}),
        ({"path": "/x/y~1z"}, {"type": "str", "value": "text"}),
        ({"path": "context"}, {"type": "dict", "value": {}}),
        ({"keys_only": True}, {"path": "scratchpad", "type": "dict", "keys": ["a", "b"]}),
        ({"path": "scratchpad.a", "keys_only": "yes"}, {"type": "list", "length": 2}),
        ({"path": "x/y", "keys_only": False}, None),
        ({"path": "n", "keys_only": True}, {"type": "int", "value": 5}),
        ({"target_run_id": "other"}, {"value": {"theirs": True}}),
        ({"target_run_id": "r", "path": "n"}, {"value": 5}),
    ],
    ids=str,
)
def test_a_place_reads_as_json_text(payload, expected):
    told = ask(payload)

    if expected is None:
        assert told["success"] is False
        return
    assert (told["name"], told["call_id"], told["success"]) == ("inspect_vars", "vars", True)
    assert expected.items() <= json.loads(told["output"]).items()
    assert ("value" in json.loads(told["output"])) == ("value" in expected)


def test_the_text_is_indented_sorted_and_keeps_letters():
    told = ask({"path": "scratchpad.a", "tool_name": "look", "call_id": 7})

    assert (told["name"], told["call_id"]) == ("look", "7")
    assert told["output"].splitlines()[:2] == ["{", '  "path": "scratchpad.a",']
    assert '"é"' in told["output"]


def test_the_root_shows_everything_with_its_namespaces():
    shown = json.loads(ask({"path": "/", "keys_only": True})["output"])

    assert shown["keys"] == ["_runtime", "_temp", "context", "n", "scratchpad", "x"]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"path": "nowhere.x"}, "Missing key 'nowhere'"),
        ({"path": "scratchpad.a[9]"}, "Index 9 out of range"),
        ({"path": "n.m"}, "Expected object at key 'm'"),
        ({"path": "scratchpad.b[0]"}, "Expected list at index 0"),
        ({"target_run_id": "nobody"}, "Unknown target_run_id: nobody"),
        ({"target_run_id": "other"}, "run 'other' is out of reach of run 'r'"),
    ],
    ids=["missing", "range", "object", "list", "unknown-run", "stranger"],
)
def test_an_error_is_a_result_without_success(payload, error):
    told = ask(payload, strangers=("other",))

    assert told == {
        "call_id": "vars",
        "name": "inspect_vars",
        "success": False,
        "output": None,
        "error": error,
    }


def test_looking_changes_nothing():
    run = a_run(vars={"n": 1})

    ask({"path": "context"}, run)

    assert run.vars == {"n": 1}
