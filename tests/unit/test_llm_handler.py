from __future__ import annotations

import json

import pytest

from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, EffectType, RunState
from abstractruntime.errors import UsageError
from abstractruntime.llm import LLMHandler, LLMReply, SchemaRefused
from abstractruntime.llm.structured import (
    parse_answer,
    parse_object,
    read_schema,
    schema_violation,
)
from abstractruntime.testing import FakeClock, StubLLM, StubTools

OBJECT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class Replies:
    """A client that gives prepared replies."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.requests = []

    def complete(self, request):
        self.requests.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def a_run(**variables):
    return RunState.new(workflow_id="w", entry_node="ask", vars=variables)


def attempt(handler, payload, run, number=1, carried=None):
    ctx = EffectContext(run, run.current_node, None, "occ", number, FakeClock(), carried=carried)
    return handler(ctx, Effect(EffectType.LLM_CALL, payload))


def call(client, payload, run=None):
    """Make the attempts that the handler itself asks for, as the kernel does."""
    handler, run = LLMHandler(client), run or a_run()
    outcome, number = attempt(handler, payload, run), 1
    while outcome.retry is not None and not outcome.retry.is_counted:
        number += 1
        outcome = attempt(
            handler, payload, run, number, json.loads(json.dumps(outcome.retry.carry))
        )
    return outcome


def test_result_has_the_fields_of_a_reply():
    outcome = call(StubLLM(["hi"]), {"prompt": "hello", "provider": "p", "model": "m"})

    assert outcome.status == "completed"
    assert list(outcome.result) == [
        *("content", "data", "tool_calls", "reasoning", "model", "provider"),
        *("finish_reason", "usage", "metadata", "gen_time", "ttft_ms"),
    ]
    assert (outcome.result["content"], outcome.result["provider"]) == ("hi", "p")


@pytest.mark.parametrize(
    "payload", [{}, {"prompt": " \n"}, {"prompt": None, "messages": []}, {"messages": ["x"]}]
)
def test_nothing_to_say_is_a_failed_outcome(payload):
    client = StubLLM()
    outcome = call(client, payload)

    assert outcome.status == "failed"
    assert "'prompt'" in outcome.error
    assert "'messages'" in outcome.error
    assert client.calls == []


def test_failure_of_the_client_is_a_failed_outcome():
    run = a_run()
    outcome = call(
        StubLLM([ValueError("llm_timeout: slow")]), {"prompt": "x", "include_context": True}, run
    )

    assert (outcome.status, outcome.error) == ("failed", "llm_timeout: slow")
    assert run.vars == {}


@pytest.mark.parametrize("flag", ["include_context", "use_context"])
@pytest.mark.parametrize(
    "question",
    [{"prompt": "q"}, {"messages": [{"role": "user", "content": "q"}]}],
    ids=["prompt", "messages"],
)
def test_turns_join_the_context_as_written(flag, question):
    run = a_run()
    call(StubLLM(["a"]), {**question, flag: "yes"}, run)

    metadata = {"kind": "llm_turn", "node_id": "ask"}
    assert run.vars["context"]["messages"] == [
        {"role": "user", "content": "q", "metadata": metadata},
        {"role": "assistant", "content": "a", "metadata": metadata},
    ]


@pytest.mark.parametrize("flag", [False, "no", "false", "", None, 0])
def test_context_stays_untouched_unless_asked_for(flag):
    run = a_run()
    call(StubLLM(["a"]), {"prompt": "q", "include_context": flag}, run)

    assert run.vars == {}


def test_request_carries_the_payload():
    client = StubLLM()
    run = a_run(_limits={"max_output_tokens": 100, "max_input_tokens": 900})
    call(
        client,
        {"prompt": "q", "system_prompt": "s", "params": {"seed": 1}, "tools": [{"name": "t"}]},
        run,
    )

    (request,) = client.calls
    assert request.params == {"seed": 1, "max_output_tokens": 100}
    assert (request.max_input_tokens, request.tools, request.node_id) == (
        900,
        [{"name": "t"}],
        "ask",
    )
    assert [m["role"] for m in request.conversation()] == ["system", "user"]


def test_surrogates_are_replaced_and_tokens_counted():
    run = a_run(_limits={})
    outcome = call(
        Replies(LLMReply(content="a\ud800", usage={"input_tokens": 7})), {"prompt": "q"}, run
    )

    assert outcome.result["content"] == "a\ufffd"
    assert run.vars["_limits"]["estimated_tokens_used"] == 7


def test_reply_that_is_not_json_is_a_failed_outcome():
    outcome = call(Replies(LLMReply(content="a", metadata={"x": {1}})), {"prompt": "q"})

    assert outcome.status == "failed"
    assert "/metadata/x" in outcome.error


def test_text_answer_is_parsed_for_a_schema():
    outcome = call(
        StubLLM(['Sure:\n```json\n{"n": 3}\n```']), {"prompt": "q", "response_schema": OBJECT}
    )

    assert outcome.result["data"] == {"n": 3}
    assert outcome.result["metadata"] == {}


BROKEN = LLMReply(content='{"n": "x"}')
ASKED = {"prompt": "q", "response_schema": OBJECT}


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (LLMReply(content="no json here"), "holds no JSON"),
        (BROKEN, "'x' is not of type 'integer' at '/n'"),
        (LLMReply(content="[1]"), "'n' is a required property"),
        (LLMReply(data={"n": "x"}), "'x' is not of type 'integer' at '/n'"),
    ],
    ids=["none", "violates", "no_object", "native"],
)
def test_an_answer_that_breaks_the_schema_is_asked_for_once_more(first, problem):
    client = Replies(first, LLMReply(content='{"n": 1}'))

    outcome = call(client, ASKED)

    assert outcome.result["data"] == {"n": 1}
    *_, answer, correction = client.requests[1].messages
    assert answer["role"] == "assistant"
    assert problem in correction["content"]


def test_an_answer_that_breaks_the_schema_twice_fails_for_good():
    outcome = call(Replies(BROKEN, BROKEN), ASKED)

    assert outcome.error.startswith("llm_invalid_structured_output: 'x' is not of type 'integer'")
    assert outcome.is_final


def test_fallback_takes_what_breaks_the_schema_and_says_so():
    result = call(Replies(BROKEN, BROKEN), {**ASKED, "structured_output_fallback": True}).result

    assert result["data"] == {"n": "x"}
    assert result["metadata"]["_structured_output_fallback"]["used"] is True


def test_an_endpoint_that_takes_no_schema_is_told_it_in_words():
    client = Replies(SchemaRefused("llm_bad_request: no"), LLMReply(content='{"n": 1}'))

    assert call(client, ASKED).result["data"] == {"n": 1}
    assert [r.response_schema is None for r in client.requests] == [False, True]
    assert "JSON Schema" in client.requests[1].messages[-1]["content"]


CUT = LLMReply(content="half", finish_reason="length")


def test_truncated_answer_is_asked_for_again_with_more_room():
    client = Replies(CUT, CUT, LLMReply(content="whole"))
    result = call(client, {"prompt": "q", "params": {"max_output_tokens": 10}}).result

    assert result["content"] == "whole"
    assert [r.params["max_output_tokens"] for r in client.requests] == [10, 510, 1020]
    assert result["metadata"]["_truncation"]["resolved"] is True


def test_answer_truncated_three_times_fails():
    outcome = call(Replies(CUT, CUT, CUT), {"prompt": "q"})

    assert outcome.status == "failed"
    assert "truncated in 3 attempts" in outcome.error


def test_truncation_at_the_cap_fails_without_an_equal_second_request():
    outcome = call(Replies(CUT), {"prompt": "q"}, a_run(_limits={"max_output_tokens": 4096}))

    assert "truncated in 1 attempts" in outcome.error


@pytest.mark.parametrize(
    ("payload", "budgets"),
    [
        ({"retry_on_truncation": False}, [10]),
        ({"max_truncation_attempts": 2}, [10, 510]),
        ({"max_output_tokens_cap": 300}, [10, 300]),
    ],
    ids=["off", "tries", "cap"],
)
def test_a_payload_says_how_often_and_how_far(payload, budgets):
    client = Replies(*[CUT] * 9)

    call(client, {"prompt": "q", "params": {"max_output_tokens": 10}, **payload})

    assert [r.params["max_output_tokens"] for r in client.requests] == budgets


def test_truncation_may_be_allowed():
    outcome = call(Replies(CUT), {"prompt": "q", "allow_truncation": True})

    assert outcome.result["content"] == "half"


FIELD_MAP = {
    "type": "object",
    "properties": {
        "why": {"type": "string", "description": "a reason"},
        "score": {"type": "integer"},
        "rate": {"type": "number"},
        "ok": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["why", "score", "rate", "ok", "tags"],
}
SCHEMAS = {
    "schema": (OBJECT, OBJECT),
    "json_text": ('{"type": "object", "properties": {}}', {"type": "object", "properties": {}}),
    "wrapped": ({"type": "json_schema", "json_schema": {"name": "x", "schema": OBJECT}}, OBJECT),
    "schema_key": ({"schema": OBJECT}, OBJECT),
    "response_format": ({"response_format": {"json_schema": {"schema": OBJECT}}}, OBJECT),
    "type_is_added": ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
    "field_map": (
        {"why": "a reason", "score": 0, "rate": 0.5, "ok": True, "tags": ["x"]},
        FIELD_MAP,
    ),
    "field_called_schema": (
        {"type": "object", "properties": {"schema": {"type": "object"}}},
        {"type": "object", "properties": {"schema": {"type": "object"}}},
    ),
}


@pytest.mark.parametrize(("given", "expected"), SCHEMAS.values(), ids=SCHEMAS)
def test_schema_spellings(given, expected):
    assert read_schema(given) == expected


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("{", "not JSON"),
        ([1], "expected an object"),
        ({"type": "array"}, "'array'"),
        ({"a b": 1}, "'a b'"),
    ],
    ids=["text", "list", "array_root", "property_name"],
)
def test_unusable_schema_is_refused(given, text):
    with pytest.raises(UsageError, match=text):
        read_schema(given)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"a": 1}', {"a": 1}),
        ('Here: {"a": {"b": [1]}} and more', {"a": {"b": [1]}}),
        ("3", {"value": 3}),
        ('[x] then {"a": 1}', {"a": 1}),
        ('{"a": NaN}', None),
        ("[" * 100_000, None),
    ],
    ids=["object", "prose", "scalar", "bracket_first", "nan", "deep"],
)
def test_answers_are_read_leniently(text, data):
    assert parse_answer(text)[0] == data


def test_violation_names_the_place():
    assert schema_violation({"n": 1}, OBJECT) is None
    assert schema_violation({"n": "x"}, OBJECT) == "'x' is not of type 'integer' at '/n'"
    assert schema_violation(3, OBJECT).endswith("at '/'")


def test_a_place_is_a_pointer_whatever_its_keys_are():
    of_numbers = {"type": "object", "additionalProperties": {"items": {"type": "integer"}}}
    assert schema_violation({"a/b~": [1, "x"]}, of_numbers).endswith("at '/a~1b~0/1'")


@pytest.mark.parametrize(
    "schema",
    [{"type": "objekt"}, {"$ref": "#/$defs/none"}, {"$ref": "http://127.0.0.1:9/schema.json"}],
    ids=["type", "local_reference", "remote_reference"],
)
def test_broken_schema_is_a_violation(schema):
    assert "schema itself is invalid" in schema_violation({}, schema)


def test_tools_are_described_as_the_executor_describes_them():
    client, own = StubLLM(["hi"]), {"name": "own", "description": "d", "parameters": {}}
    handler = LLMHandler(client, tools=StubTools({"ls": 1}))
    payload = {"prompt": "p", "tools": ["ls", own, "gone", 5]}

    outcome = attempt(handler, payload, a_run())

    assert [tool["name"] for tool in client.calls[0].tools] == ["ls", "own"]
    assert outcome.result["metadata"]["_unknown_tools"] == ["gone"]


def test_names_without_an_executor_are_told_to_be_unknown():
    outcome = call(StubLLM(["hi"]), {"prompt": "p", "tools": ["ls"]})

    assert outcome.result["metadata"] == {"_unknown_tools": ["ls"]}


def test_pending_media_join_the_next_call_once():
    client, run = StubLLM(["hi"]), a_run(_runtime={"pending_media": ["a", "b"]})

    call(client, {"prompt": "p", "media": ["b"]}, run)
    call(client, {"prompt": "p"}, run)

    assert [request.media for request in client.calls] == [["b", "a"], []]


def test_pending_media_stay_when_the_call_fails():
    run = a_run(_runtime={"pending_media": ["a"]})

    call(StubLLM([RuntimeError("no")]), {"prompt": "p"}, run)

    assert run.vars["_runtime"]["pending_media"] == ["a"]


@pytest.mark.parametrize(
    ("text", "found"),
    [('{"a": 1}', {"a": 1}), ('[1] {"a": 2}', {"a": 2}), ('"text"', None), ("prose", None)],
)
def test_the_first_object_of_an_answer(text, found):
    assert parse_object(text) == found
