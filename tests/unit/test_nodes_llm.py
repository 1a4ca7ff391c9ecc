from __future__ import annotations

import pytest
from node_scope import FakeScope, element, pins, plan

from abstractruntime.nodes.base import NodeError
from abstractruntime.nodes.registry import find_node_type

BASE = {
    "prompt": "p",
    "system_prompt": "",
    "tools": [],
    "params": {"temperature": 0.7},
    "provider": "P",
    "model": "M",
    "include_context": False,
}
CONFIG = {"provider": "P", "model": "M"}
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}}
TALK = {
    "context": {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "s"}]}
}


@pytest.mark.parametrize(
    ("inputs", "config", "changes"),
    [
        ({}, {}, {}),
        ({"provider": "X"}, {}, {"provider": "X"}),
        ({"temperature": "0.2", "seed": "4"}, {}, {"params": {"temperature": 0.2, "seed": 4}}),
        (
            {"temperature": None},
            {"temperature": 0.1, "seed": 2},
            {"params": {"temperature": 0.1, "seed": 2}},
        ),
        (
            {"seed": -1, "max_out_tokens": 9},
            {},
            {"params": {"temperature": 0.7, "max_output_tokens": 9}},
        ),
        ({"max_in_tokens": "100"}, {}, {"max_input_tokens": 100}),
        ({"tools": [" a ", "a", "", {"name": "b"}, 5]}, {}, {"tools": ["a", {"name": "b"}]}),
        ({"tools": []}, {"tools": ["a"]}, {"tools": []}),
        ({"tools": "a"}, {}, {"tools": []}),
        ({"include_context": "yes"}, {}, {"include_context": True}),
        (
            {"resp_schema": SCHEMA},
            {"structured_output_fallback": True},
            {
                "response_schema": SCHEMA,
                "response_schema_name": "LLM_StructuredOutput",
                "structured_output_fallback": True,
            },
        ),
        (
            {"resp_schema": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
            {},
            {"response_schema": SCHEMA, "response_schema_name": "LLM_StructuredOutput"},
        ),
        (
            {"use_session_attachments": "no"},
            {},
            {
                "params": {"temperature": 0.7, "include_session_attachments_index": False},
                "use_session_attachments": False,
            },
        ),
        ({"temperature": "nan", "seed": 10**400}, {}, {"params": {"temperature": 0.7}}),
        (
            {"thinking": "high", "prompt_cache_binding": {"key": "k"}},
            {},
            {
                "params": {
                    "temperature": 0.7,
                    "thinking": "high",
                    "prompt_cache_binding": {"key": "k"},
                }
            },
        ),
        (
            {"resp_schema": '{"type": "object"}'},
            {},
            {"response_schema": {"type": "object"}, "response_schema_name": "LLM_StructuredOutput"},
        ),
        ({"resp_schema": "prose"}, {}, {}),
        (
            {
                "memory": {"memory_query": "m", "kg_limit": "3"},
                "kg_limit": 4,
                "recall_level": "Deep",
            },
            {},
            {"memory_query": "m", "recall_level": "deep", "kg_limit": 4},
        ),
        ({"context": {"attachments": ["a", "", {"b": 1}, 3]}}, {}, {"media": ["a", {"b": 1}]}),
    ],
)
def test_request(inputs, config, changes):
    payload = plan("llm_call", {"prompt": "p", **inputs}, effectConfig={**CONFIG, **config})

    if payload["include_context"]:
        assert payload.pop("messages") == [{"role": "user", "content": "p"}]
        payload.update(prompt="p", system_prompt="")
    assert payload == {**BASE, **changes}


@pytest.mark.parametrize("config", [{}, {"provider": "P"}, {"provider": "P", "model": " "}])
def test_request_without_routing_keeps_everything_else(config):
    payload = plan("llm_call", {"prompt": "p", "resp_schema": SCHEMA}, effectConfig=config)

    assert "provider" not in payload
    assert "model" not in payload
    assert payload["response_schema"] == SCHEMA


def test_request_with_the_conversation():
    payload = plan(
        "llm_call",
        {"prompt": "p", "system": "be brief", "include_context": True},
        TALK,
        effectConfig=CONFIG,
    )

    assert [m["content"] for m in payload["messages"]] == ["s", "be brief", "a", "p"]
    assert "prompt" not in payload
    assert "system_prompt" not in payload


@pytest.mark.parametrize(
    ("limits", "contents"),
    [
        ({"max_history_messages": 1}, ["b", "p"]),
        ({"max_history_messages": 0}, ["p"]),
        ({"max_input_tokens": 2}, ["b", "p"]),
        ({"max_history_messages": -1}, ["a", "b", "p"]),
    ],
    ids=["one message", "none", "by tokens", "all"],
)
def test_conversation_is_cut_to_the_limits(limits, contents):
    variables = {
        "context": {"messages": [{"role": "user", "content": c} for c in "ab"]},
        "_limits": limits,
    }

    payload = plan(
        "llm_call", {"prompt": "p", "include_context": True}, variables, effectConfig=CONFIG
    )

    assert [m["content"] for m in payload["messages"]] == contents


QUERIED = {"results": [{"meta": {"span_ids": ["s1", "s2"]}}]}
FACTS = {"active_memory_text": "## KG ACTIVE MEMORY\n- a knows b"}
RECALLED = {
    "context": {
        "messages": [
            {"role": "user", "content": "old", "metadata": {"source_artifact_id": "s1"}},
            {"role": "user", "content": "other", "metadata": {"source_artifact_id": "s9"}},
        ]
    }
}


def advance(inputs, bucket=None, variables=None):
    node_type = find_node_type("llm_call")
    what = element("llm_call", effectConfig=CONFIG)
    return node_type.advance(what, bucket or {}, {"prompt": "p", **inputs}, FakeScope(variables))


@pytest.mark.parametrize(
    ("inputs", "bucket", "effect", "payload"),
    [
        (
            {"use_span_memory": "yes"},
            {},
            "memory_query",
            {"query": "p", "scope": "run", "return": "meta"},
        ),
        (
            {"use_span_memory": True, "memory_query": "q", "memory_scope": "Session"},
            {},
            "memory_query",
            {"query": "q", "scope": "session", "return": "meta"},
        ),
        (
            {"use_span_memory": True},
            {"span_query": QUERIED},
            "memory_rehydrate",
            {"span_ids": ["s1", "s2"], "placement": "after_summary", "max_messages": 80},
        ),
        (
            {"use_span_memory": True, "recall_level": "deep"},
            {"span_query": None},
            "memory_rehydrate",
            {"span_ids": [], "placement": "after_summary", "recall_level": "deep"},
        ),
        (
            {"memory": {"use_kg_memory": 1, "kg_min_score": 0.35}},
            {},
            "memory_kg_query",
            {
                "query_text": "p",
                "scope": "run",
                "min_score": 0.35,
                "max_input_tokens": 1200,
                "model": "M",
            },
        ),
        (
            {"use_span_memory": True, "use_kg_memory": True, "recall_level": "urgent"},
            {"span_query": QUERIED, "span_rehydrate": {}},
            "memory_kg_query",
            {"query_text": "p", "scope": "run", "recall_level": "urgent", "model": "M"},
        ),
    ],
)
def test_memory_sources_are_recalled_first(inputs, bucket, effect, payload):
    stage = advance(inputs, bucket)

    assert (stage.effect, stage.payload) == (effect, payload)


def test_a_blank_question_recalls_by_the_last_user_message():
    stage = advance({"prompt": " ", "use_kg_memory": True}, variables=TALK)

    assert stage.payload["query_text"] == "a"


def test_facts_join_the_system_text():
    inputs = {"use_kg_memory": True, "system": "be brief"}

    payload = advance(inputs, {"kg_query": FACTS}).payload

    assert payload["system_prompt"] == f"be brief\n\n{FACTS['active_memory_text']}"
    assert payload["use_kg_memory"] is True


def test_facts_go_behind_the_system_messages_of_a_given_conversation():
    inputs = {"use_kg_memory": True, "context": TALK["context"]}

    payload = advance(inputs, {"kg_query": FACTS}).payload

    assert [m["content"][:5] for m in payload["messages"]] == ["## KG", "a", "s", "p"]


def test_recalled_messages_go_out_between_system_and_prompt():
    bucket = {"span_query": QUERIED, "span_rehydrate": {"inserted": 1}}

    payload = advance({"use_span_memory": True, "system": "be brief"}, bucket, RECALLED).payload

    assert [m["content"] for m in payload["messages"]] == ["be brief", "old", "p"]


def test_settings_chosen_for_the_author_are_told():
    node_type = find_node_type("llm_call")
    inputs = {"use_span_memory": True, "use_kg_memory": True, "use_semantic_search": True}

    echo = node_type.echo(element("llm_call"), inputs, advance({}))

    assert [w.split()[0] for w in echo["warnings"]] == [
        "max_span_messages",
        "kg_max_input_tokens",
        "use_semantic_search",
    ]
    assert node_type.echo(element("llm_call"), {"use_kg_memory": False}, advance({})) == {}


def test_semantic_schema_needs_its_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "abstractsemantics", None)

    with pytest.raises(NodeError, match="abstractsemantics"):
        plan("llm_call", {"resp_schema": {"$ref": "abstractsemantics:x"}}, effectConfig=CONFIG)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            {"content": "hi", "tool_calls": {"name": "t"}},
            {"response": "hi", "data": None, "tool_calls": [{"name": "t"}]},
        ),
        ({"content": None, "tool_calls": ["x"]}, {"response": "", "data": None, "tool_calls": []}),
        ({"content": "x", "data": {"ä": [1]}}, {"response": '{"ä":[1]}', "data": {"ä": [1]}}),
        ({"data": "text", "content": 5}, {"response": "5", "data": None}),
    ],
)
def test_pins(result, expected):
    found = pins("llm_call", result)

    assert expected.items() <= found.items()
    assert found["success"] is True
    assert found["result"] == found["raw"] == result


def test_meta():
    result = {
        "content": "x",
        "data": {},
        "provider": "P",
        "model": "M",
        "finish_reason": "stop",
        "usage": {"input_tokens": 1},
        "metadata": {"trace_id": "t"},
        "gen_time": 5,
        "tool_calls": [{}],
    }

    assert pins("llm_call", result)["meta"] == {
        "schema": "abstractflow.llm_call.v1.meta",
        "version": 1,
        "output_mode": "structured",
        "tool_calls": 1,
        "provider": "P",
        "model": "M",
        "finish_reason": "stop",
        "usage": {"input_tokens": 1},
        "trace": {"trace_id": "t"},
        "gen_time": 5,
    }
