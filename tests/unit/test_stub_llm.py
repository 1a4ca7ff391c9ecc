from __future__ import annotations

import json

import pytest

from abstractruntime.errors import NotFound, UnsupportedFormat, UsageError
from abstractruntime.llm import LLMCallFailed, LLMRequest
from abstractruntime.testing import StubAnswer, StubLLM
from abstractruntime.testing.stub_llm import sample_of


def ask(stub, prompt="hello", **fields):
    return stub.complete(LLMRequest(prompt=prompt, **fields))


def write(tmp_path, document, name="stub.json"):
    path = tmp_path / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def script(*answers, **fields):
    return {"format": "art-stub-llm/1", "answers": list(answers), **fields}


def test_answers_come_in_order_and_the_last_one_repeats():
    stub = StubLLM(["one", {"n": 2}])

    assert [ask(stub).content for _ in range(3)] == ["one", '{"n": 2}', '{"n": 2}']
    assert [call.prompt for call in stub.calls] == ["hello"] * 3


def test_object_answer_is_structured_output():
    assert ask(StubLLM([{"n": 2}])).data == {"n": 2}


def test_exhausted_script_may_fail():
    stub = StubLLM(["one"], exhausted="error")
    ask(stub)

    with pytest.raises(LLMCallFailed, match="has 1 answers, this is call 2"):
        ask(stub)


def test_exhausted_script_may_go_on_to_the_default():
    stub = StubLLM(["one"], exhausted="default", default="later")

    assert [ask(stub).content for _ in range(2)] == ["one", "later"]


def test_mapping_answers_by_contained_text():
    stub = StubLLM({"weather": "sunny", "time": ValueError("no clock")})

    assert ask(stub, "the weather?").content == "sunny"
    with pytest.raises(LLMCallFailed, match="no clock"):
        ask(stub, "what time")
    assert ask(stub, "else").content == "stub: else"


def test_rules_look_at_the_last_user_message():
    messages = [
        {"role": "user", "content": "weather"},
        {"role": "assistant", "content": "sunny"},
        {"role": "user", "content": "thanks"},
    ]
    stub = StubLLM(
        [StubAnswer(reply="bye", regex="^thank"), StubAnswer(reply="sunny", match="weather")]
    )

    assert ask(stub, "", messages=messages).content == "bye"


def test_ruled_answer_does_not_use_up_the_queue():
    stub = StubLLM([StubAnswer(reply="ruled", match="weather"), "first", "second"])

    texts = [ask(stub, prompt).content for prompt in ("weather", "a", "weather", "b")]

    assert texts == ["ruled", "first", "ruled", "second"]


def test_echo_is_deterministic():
    first, second = (ask(StubLLM(), "Hi", model="m", provider="p") for _ in range(2))

    assert first == second
    assert (first.content, first.model, first.provider) == ("stub: Hi", "m", "p")


def test_without_script_a_schema_gives_its_smallest_instance():
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}

    assert ask(StubLLM(), response_schema=schema).data == {"ok": False}


SAMPLES = {
    "optional_is_left_out": ({"properties": {"a": {}, "b": {}}, "required": ["a"]}, {"a": ""}),
    "nothing_required": ({"properties": {"a": {"type": "integer"}}}, {"a": 0}),
    "enum": ({"enum": ["x", "y"]}, "x"),
    "const": ({"const": 3}, 3),
    "array": ({"type": "array", "items": {"type": "number"}, "minItems": 2}, [0, 0]),
    "nullable": ({"type": ["string", "null"]}, ""),
    "any_of": ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
    "minimum": ({"type": "integer", "minimum": 5}, 5),
}


@pytest.mark.parametrize(("schema", "expected"), SAMPLES.values(), ids=SAMPLES)
def test_sample(schema, expected):
    assert sample_of(schema) == expected


def test_file_in_json_and_yaml(tmp_path):
    text = 'format: art-stub-llm/1\ndefault: "?"\nanswers:\n  - {match: a, reply: A}\n'
    paths = [
        write(tmp_path, script({"match": "a", "reply": "A"}, default="?")),
        write(tmp_path, text, "stub.yaml"),
    ]

    for path in paths:
        stub = StubLLM.from_file(path)
        assert [ask(stub, prompt).content for prompt in ("a", "z")] == ["A", "?"]


def test_file_answers_do_not_depend_on_process_state(tmp_path):
    path = write(tmp_path, script({"reply": "first"}, {"reply": "second"}))
    turn = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    again = {"role": "user", "content": "q"}

    def answers(stub):
        requests = ([again], [*turn, again], [*turn, *turn, *turn, again])
        return [ask(stub, "", messages=messages).content for messages in requests]

    stub = StubLLM.from_file(path)

    assert answers(stub) == answers(stub) == ["first", "second", "second"]
    assert answers(StubLLM.from_file(path)) == answers(stub)


def test_file_can_fail_and_call_tools(tmp_path):
    call = {"name": "search", "arguments": {"q": "x"}}
    stub = StubLLM.from_file(
        write(tmp_path, script({"match": "f", "fail": "llm_timeout"}, {"tool_calls": [call]}))
    )

    reply = ask(stub, "go")

    assert (reply.tool_calls, reply.finish_reason) == ([call], "tool_calls")
    with pytest.raises(LLMCallFailed, match="llm_timeout"):
        ask(stub, "f")


BAD_FILES = {
    "no_json": ("{", UsageError, "stub.json"),
    "list": ([], UsageError, "expected an object"),
    "format": ({"format": "art-stub-llm/9"}, UnsupportedFormat, "art-stub-llm/1"),
    "unknown_key": (script(answer=1), UsageError, "unknown key 'answer'"),
    "answers": ({"format": "art-stub-llm/1", "answers": {}}, UsageError, "expected a list"),
    "default": (script(default=1), UsageError, "default is int"),
    "answer": (script("x"), UsageError, "answers/0: str"),
    "answer_key": (script({"replay": "x"}), UsageError, "answers/0: unknown key 'replay'"),
    "answer_type": (script({"reply": 1}), UsageError, "answers/0: reply is int, expected text"),
    "empty_answer": (script({"match": "x"}), UsageError, "says nothing"),
    "regex": (script({"regex": "(", "reply": "x"}), UsageError, "regex '\\('"),
}


@pytest.mark.parametrize(("document", "error", "text"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file_is_named(tmp_path, document, error, text):
    with pytest.raises(error, match=text):
        StubLLM.from_file(write(tmp_path, document))


def test_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFound, match=r"none\.json"):
        StubLLM.from_file(tmp_path / "none.json")


def test_unusable_answer_is_refused():
    with pytest.raises(UsageError, match="stub answer is int"):
        StubLLM([1])
