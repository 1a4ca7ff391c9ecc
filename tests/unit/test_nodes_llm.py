from __future__ import annotations

import pytest
from node_scope import element, pins, plan

from abstractruntime.nodes._base import NodeError
from abstractruntime.nodes._registry import find_node_type

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
            {"params": {"temperature": 0.7, "include_session_attachments_index": False}},
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


@pytest.mark.parametrize(
    "inputs",
    [{"use_kg_memory": True}, {"use_span_memory": "yes"}, {"memory": {"use_kg_memory": 1}}],
)
def test_memory_recall_is_refused_and_never_skipped(inputs):
    with pytest.raises(NodeError, match="recall"):
        plan("llm_call", {"prompt": "p", **inputs}, effectConfig=CONFIG)


def test_memory_recall_in_the_document_is_a_problem():
    node_type = find_node_type("llm_call")

    found = list(node_type.check(element("llm_call", pinDefaults={"use_kg_memory": True})))

    assert [(p.pin, p.severity) for p in found] == [("use_kg_memory", "error")]


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
