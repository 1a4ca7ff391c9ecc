from __future__ import annotations

import pytest
from node_scope import pins, plan


@pytest.mark.parametrize(
    ("inputs", "config", "payload"),
    [
        ({}, {}, {"note": "", "tags": {}}),
        (
            {"content": 5, "tags": "x", "scope": " run ", "location": " "},
            {},
            {"note": "5", "tags": {}, "scope": "run"},
        ),
        (
            {
                "content": "n",
                "tags": {"a": "b"},
                "sources": {"run_id": "r"},
                "keep_in_context": "yes",
            },
            {},
            {"note": "n", "tags": {"a": "b"}, "sources": {"run_id": "r"}, "keep_in_context": True},
        ),
        (
            {"content": "n", "keep_in_context": False},
            {"keepInContext": True},
            {"note": "n", "tags": {}},
        ),
        (
            {"content": "n"},
            {"keep_in_context": True},
            {"note": "n", "tags": {}, "keep_in_context": True},
        ),
    ],
)
def test_note(inputs, config, payload):
    assert plan("memory_note", inputs, effectConfig=config) == payload


@pytest.mark.parametrize(
    ("inputs", "changes"),
    [
        ({}, {}),
        ({"query": 5, "limit": "3"}, {"query": "5", "limit_spans": 3}),
        ({"limit": "x", "tags": {}, "tags_mode": "most", "usernames": "u"}, {}),
        (
            {
                "tags": {"a": "b"},
                "tags_mode": "ANY",
                "usernames": ["u"],
                "locations": [],
                "since": "2030",
                "scope": "all",
                "recall_level": " deep ",
            },
            {
                "tags": {"a": "b"},
                "tags_mode": "any",
                "usernames": ["u"],
                "locations": [],
                "since": "2030",
                "scope": "all",
                "recall_level": "deep",
            },
        ),
    ],
)
def test_query(inputs, changes):
    assert plan("memory_query", inputs) == {
        "query": "",
        "limit_spans": 10,
        "return": "both",
        **changes,
    }


def test_pins_come_from_the_first_result():
    meta = {"span_id": "s", "matches": [{"span_id": "s"}], "span_ids": ["s"]}
    result = {"mode": "executed", "results": [{"output": "text", "meta": meta}]}

    assert pins("memory_note", result) == {"note_id": "s", "raw": result}
    assert pins("memory_query", result) == {
        "results": [{"span_id": "s"}],
        "rendered": "text",
        "span_ids": ["s"],
        "raw": result,
    }


@pytest.mark.parametrize("result", [None, {}, {"results": []}, {"results": [None]}])
def test_pins_of_an_odd_result_are_empty(result):
    assert pins("memory_note", result)["note_id"] is None
    assert pins("memory_query", result)["results"] == []
