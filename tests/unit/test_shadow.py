from __future__ import annotations

import json

import pytest

from abstractruntime.errors import InvalidValue
from abstractruntime.storage._store.fold import fold
from abstractruntime.storage._store.shadow import shadow_of

LONG = "x" * 300


def set_path(*path):
    def change(state):
        *parents, last, value = path
        for key in parents:
            state = state[key]
        state[last] = value

    return change


def reorder(state):
    state["b"] = state.pop("b")
    state["c"] = 1
    state["a"] = state.pop("a")


CASES = {
    "nothing": ({"a": 1}, lambda s: None, {}),
    "a new key": ({"a": 1}, set_path("b", 2), {"set": {"/b": 2}}),
    "true is not one": ({"a": 1}, set_path("a", True), {"set": {"/a": True}}),
    "a float is not an int": ({"a": 1}, set_path("a", 1.0), {"set": {"/a": 1.0}}),
    "inside a large dict": (
        {"a": {"b": LONG, "c": 1}},
        set_path("a", "c", 2),
        {"set": {"/a/c": 2}},
    ),
    "inside a small dict": ({"a": {"c": 1}}, set_path("a", "c", 2), {"set": {"/a": {"c": 2}}}),
    "escaped pointer": ({"a/~": 1}, set_path("a/~", 2), {"set": {"/a~1~0": 2}}),
    "an append": ({"a": [1]}, lambda s: s["a"].append(2), {"app": {"/a": [2]}}),
    "an append to nothing": ({"a": []}, lambda s: s["a"].append(2), {"app": {"/a": [2]}}),
    "12 is no append to 1": ({"a": [1]}, set_path("a", [12]), {"set": {"/a": [12]}}),
    "one item of a large list": (
        {"a": [LONG, {"k": 1}, 3]},
        set_path("a", 1, "k", 2),
        {"set": {"/a/1": {"k": 2}}},
    ),
    "a huge integer becomes a float": (
        {"a": [LONG, 2**70, 10**400]},
        set_path("a", 1, float(2**70)),
        {"set": {"/a/1": float(2**70), "/a/2": 10**400}},
    ),
    "a deletion": ({"a": 1, "b": 2}, lambda s: s.pop("a"), {"del": ["/a"]}),
    "another order": ({"a": 1, "b": 2}, reorder, {"set": {"/c": 1}, "ord": {"": ["b", "c", "a"]}}),
    "a big integer": ({"a": 1}, set_path("a", 2**70), {"set": {"/a": 2**70}}),
    "a tuple": ({"a": 1}, set_path("a", (1, 2)), {"set": {"/a": [1, 2]}}),
    "an integer key": ({"a": 1}, set_path(7, 2), {"set": {"/7": 2}}),
}


@pytest.mark.parametrize("before, change, expected", CASES.values(), ids=CASES)
def test_delta(before, change, expected):
    live, rebuilt = before, json.loads(json.dumps(before))
    shadow = shadow_of(live)
    change(live)

    commit: dict = {}
    shadow.compare(live).write_into(commit)
    fold(rebuilt, commit)

    assert commit == expected
    assert json.dumps(commit) == json.dumps(expected)
    assert json.dumps(rebuilt) == json.dumps(live)


PUTS = {
    "at the top": ({}, "/out", {"put": "/out"}),
    "replacing": ({"out": 1}, "/out", {"put": "/out"}),
    "below new parents": ({}, "/a/b/out", {"put": "/a/b/out"}),
    "in a large dict": ({"a": {"x": LONG}}, "/a/out", {"put": "/a/out"}),
    "in a small dict": ({"a": {}}, "/a/out", {"put": "/a/out"}),
}


@pytest.mark.parametrize("scan", [True, False], ids=["scanned", "only what was written"])
@pytest.mark.parametrize("before, pointer, expected", PUTS.values(), ids=PUTS)
def test_a_result_is_not_repeated(before, pointer, expected, scan):
    live, rebuilt = json.loads(json.dumps(before)), json.loads(json.dumps(before))
    shadow = shadow_of(live)
    result = {"text": LONG}
    fold(live, {"put": pointer}, result)

    commit: dict = {}
    delta = shadow.compare(live, wrote=pointer, source=result, scan=scan)
    delta.write_into(commit)
    shadow.accept(delta)
    fold(rebuilt, commit, json.loads(json.dumps(result)))

    assert commit == expected
    assert json.dumps(rebuilt) == json.dumps(live) == json.dumps(shadow.state())


def test_another_value_than_the_result_is_stored():
    live = {"out": {"changed": True}}
    delta = shadow_of({}).compare(live, wrote="/out", source={"text": 1})

    assert (delta.put, delta.sets) == (None, {"/out": {"changed": True}})


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), "\ud800", object(), {1, 2}],
    ids=["nan", "inf", "surrogate", "object", "set"],
)
def test_an_invalid_value_leaves_the_shadow_as_it_was(value):
    live = {"a": {"b": LONG}, "n": 1}
    shadow = shadow_of(live)
    live["n"], live["a"]["bad"] = 2, value

    with pytest.raises(InvalidValue) as caught:
        shadow.compare(live)
    assert caught.value.details["path"] == "/a/bad"
    assert shadow.state() == {"a": {"b": LONG}, "n": 1}


def test_normalised_values_reach_the_live_state():
    live = {"a": {"b": LONG, "t": (1,)}, "_runtime": {"node_traces": [object()], "u": {1: 2}}}
    shadow = shadow_of(live)

    assert live["a"]["t"] == [1]
    assert live["_runtime"]["u"] == {"1": 2}
    assert shadow.state() == {"a": {"b": LONG, "t": [1]}, "_runtime": {"u": {"1": 2}}}
