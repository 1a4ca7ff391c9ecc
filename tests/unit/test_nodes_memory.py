from __future__ import annotations

import pytest
from flow_builder import START, end, flow, node
from node_scope import pins, plan

from abstractruntime import Runtime
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.visualflow_compiler import compile_visualflow


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


@pytest.mark.parametrize(
    ("inputs", "payload"),
    [
        ({}, {"span_id": None, "tags": {}}),
        (
            {"span_id": 1, "tags": {"a": "b"}, "merge": False, "scope": " all "},
            {"span_id": 1, "tags": {"a": "b"}, "merge": False, "scope": "all"},
        ),
        (
            {"span_id": "s", "tags": "x", "merge": "yes"},
            {"span_id": "s", "tags": {}, "merge": True},
        ),
        ({"span_id": "s", "merge": None, "scope": " "}, {"span_id": "s", "tags": {}}),
    ],
)
def test_tag(inputs, payload):
    assert plan("memory_tag", inputs) == payload


@pytest.mark.parametrize(
    ("inputs", "payload"),
    [
        ({}, {}),
        ({"preserve_recent": 0}, {"preserve_recent": 0}),
        (
            {"preserve_recent": "3", "compression_mode": " heavy ", "focus": ""},
            {"preserve_recent": "3", "compression_mode": "heavy"},
        ),
    ],
)
def test_compact(inputs, payload):
    assert plan("memory_compact", inputs) == payload


@pytest.mark.parametrize(
    ("inputs", "changes"),
    [
        ({}, {}),
        ({"span_ids": "one"}, {"span_ids": ["one"]}),
        ({"span_ids": ["a", 2], "placement": " END "}, {"span_ids": ["a", 2], "placement": "end"}),
        ({"placement": "zzz", "max_messages": "80"}, {"max_messages": 80}),
        ({"max_messages": "many", "recall_level": " deep "}, {"recall_level": "deep"}),
    ],
)
def test_rehydrate(inputs, changes):
    assert plan("memory_rehydrate", inputs) == {
        "span_ids": [],
        "placement": "after_summary",
        **changes,
    }


def test_pins_of_tag_compact_and_rehydrate():
    meta = {"span_id": "s"}
    result = {"results": [{"success": True, "output": "text", "meta": meta}]}
    moved = {"inserted": 2, "skipped": 1, "artifacts": [{"span_id": "s"}]}

    assert pins("memory_tag", result) == {
        "success": True,
        "rendered": "text",
        "results": result["results"],
        "raw": result,
    }
    assert pins("memory_compact", result) == {"span_id": "s", "raw": result}
    assert pins("memory_rehydrate", moved) == {**moved, "raw": moved}


def test_nothing_compacted_is_null():
    assert pins("memory_compact", {"results": [{"output": "No messages."}]})["span_id"] is None
    assert pins("memory_rehydrate", None) == {
        "inserted": 0,
        "skipped": 0,
        "artifacts": [],
        "raw": None,
    }


# -- the nodes over the effects ------------------------------------------------------------


class Summarizer:
    def summarize_chat_history(self, *, messages, **_):
        return {"summary": f"{len(messages)} messages", "key_points": [], "confidence": 1.0}


CHAIN = flow(
    START,
    node("n", "memory_note", "exec-in content", "exec-out note_id", pinDefaults={"content": "red"}),
    node(
        "t",
        "memory_tag",
        "exec-in span_id tags",
        "exec-out success",
        pinDefaults={"tags": {"k": "v"}},
    ),
    node(
        "q",
        "memory_query",
        "exec-in tags",
        "exec-out span_ids results",
        pinDefaults={"tags": {"k": "v"}},
    ),
    node(
        "c",
        "memory_compact",
        "exec-in preserve_recent",
        "exec-out span_id",
        pinDefaults={"preserve_recent": 1},
    ),
    node("r", "memory_rehydrate", "exec-in span_ids", "exec-out inserted"),
    end("ok", "found", "inserted"),
    edges="s > n; n > t; t > q; q > c; c > r; r > e; n.note_id > t.span_id; t.success > e.ok;"
    "q.results > e.found; c.span_id > r.span_ids; r.inserted > e.inserted",
)


def test_note_tag_query_compact_rehydrate():
    runtime = Runtime(
        run_store=InMemoryRunStore(),
        ledger_store=InMemoryLedgerStore(),
        artifact_store=InMemoryArtifactStore(),
        chat_summarizer=Summarizer(),
    )
    spec = compile_visualflow(CHAIN)
    messages = [{"role": "user", "content": f"m{i}"} for i in range(3)]

    run_id = runtime.start(workflow=spec, vars={"context": {"messages": messages}})
    output = runtime.tick(workflow=spec, run_id=run_id).output

    assert (output["ok"], output["inserted"]) == (True, 2)
    assert [match["note_preview"] for match in output["found"]] == ["red"]
