"""The client of endpoints, against a scripted one on the loopback interface."""

from __future__ import annotations

import json

import pytest

from abstractruntime.llm import LLMCallFailed, LLMReply, LLMRequest, SchemaRefused
from abstractruntime.llm.actions import as_actions, read_action
from abstractruntime.llm.endpoint import Endpoint, EndpointClient, Price
from abstractruntime.llm.structured import schema_violation
from abstractruntime.testing import StubLLM
from abstractruntime.testing.stub_llm import StubAnswer

pytest.importorskip("openai", reason="needs the extra 'llm'")

KEY = "sk-very-secret"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOL = {"name": "ls", "description": "list", "parameters": {"path": {"type": "string"}, "all": {"type": "boolean", "default": False}}}  # fmt: skip
CALL = {"name": "ls", "arguments": {"path": "ä b"}, "call_id": "c1"}


@pytest.fixture
def serve():
    servers = []

    def start(*answers, **options):
        servers.append(StubLLM(answers).serve(**options).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def client(server, *, key=None, on_text=None, **options):
    endpoint = Endpoint(server.url, key, timeout_s=options.pop("timeout_s", 20), **options)
    return EndpointClient(endpoint, on_text=on_text)


def ask(**fields):
    return LLMRequest(**{"prompt": "hi", "model": "m", **fields})


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (StubAnswer(reply="hello " * 30), {"content": "hello " * 30, "finish_reason": "stop"}),
        (StubAnswer(tool_calls=(CALL,)), {"content": None, "tool_calls": [CALL], "finish_reason": "tool_calls"}),
        (StubAnswer(reply="a", finish_reason="length"), {"finish_reason": "length"}),
        (StubAnswer(data={"n": 3}), {"content": '{"n": 3}', "data": None}),
    ],
    ids=["text", "tools", "truncated", "json"],
)  # fmt: skip
def test_answers(serve, streams, answer, expected):
    server, told = serve(answer), []

    reply = client(server, on_text=told.append if streams else None).complete(ask())

    assert {name: getattr(reply, name) for name in expected} == expected
    assert "".join(told) == ((reply.content or "") if streams else "")
    assert (reply.model, reply.usage["input_tokens"]) == ("m", 1)
    assert (reply.ttft_ms is not None) is (streams and bool(reply.content))
    assert len(server.requests) == 1


def test_a_request_says_only_what_the_caller_set(serve):
    server = serve("a")
    client(server).complete(
        ask(system_prompt="s", tools=[TOOL], params={"seed": 1, "max_output_tokens": 9, "trace": {}}, response_schema=SCHEMA)
    )  # fmt: skip

    (request,) = server.requests
    parameters = {"type": "object", "properties": TOOL["parameters"], "required": ["path"]}
    function = {"name": "ls", "description": "list", "parameters": parameters}
    assert request.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
        "seed": 1,
        "max_tokens": 9,
        "tools": [{"type": "function", "function": function}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "LLM_StructuredOutput", "schema": SCHEMA},
        },
    }


def status(code, message="no", **headers):
    return StubAnswer(fail=message, status=code, headers={k.replace("_", "-"): v for k, v in headers.items()})  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "code", "is_final", "after_s"),
    [
        (status(401), "llm_auth", True, None),
        (status(403), "llm_auth", True, None),
        (status(400), "llm_bad_request", True, None),
        (status(404), "llm_bad_request", True, None),
        (status(408), "llm_timeout", False, None),
        (status(429), "llm_rate_limited", False, None),
        (status(429, retry_after="7"), "llm_rate_limited", False, 7.0),
        (status(429, retry_after="soon"), "llm_rate_limited", False, None),
        (status(429, retry_after="-3"), "llm_rate_limited", False, 0.0),
        (status(429, retry_after="Thu, 01 Jan 1970 00:00:00 GMT"), "llm_rate_limited", False, 0.0),
        (status(429, "insufficient_quota"), "llm_rate_limited", True, None),
        (status(500), "llm_server", False, None),
        (status(503, retry_after="2"), "llm_server", False, 2.0),
        (StubAnswer(reply="a" * 100, cut=True), "llm_connection", False, None),
    ],
    ids=lambda v: f"{v.status}{dict(v.headers)}{v.cut or ''}" if isinstance(v, StubAnswer) else None,
)  # fmt: skip
def test_a_failure_has_a_code_and_says_whether_to_repeat(serve, answer, code, is_final, after_s):
    server = serve(answer)

    with pytest.raises(LLMCallFailed) as caught:
        client(server).complete(ask())

    failure = caught.value
    told = failure.retry.after_s if failure.retry else None
    assert (str(failure).partition(":")[0], failure.is_final, told) == (code, is_final, after_s)
    assert len(server.requests) == 1


def test_nobody_at_the_endpoint_and_nobody_in_time(serve):
    server = serve(StubAnswer(reply="late", delay_s=30))
    with pytest.raises(LLMCallFailed, match=r"llm_timeout: no answer within 0\.2 s"):
        client(server, timeout_s=0.2).complete(ask())
    server.close()
    with pytest.raises(LLMCallFailed, match="llm_connection: http://127"):
        client(server).complete(ask())


def test_a_stream_that_breaks_off_is_no_answer(serve):
    server = serve(StubAnswer(reply="a" * 200, cut=True))
    with pytest.raises(LLMCallFailed):
        client(server, on_text=lambda _: None).complete(ask())


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])
def test_the_environment_says_nothing_to_an_endpoint(serve, monkeypatch, name):
    monkeypatch.setenv(name, "sk-of-someone-else")
    server = serve("a")

    client(server).complete(ask())

    assert not [v for v in server.requests[0].headers.values() if "someone" in v]


def test_a_key_reaches_its_own_endpoint_only_and_no_message(serve):
    own, other = serve("a", api_key=KEY), serve(status(401, f"bad key {KEY}"))
    asking = EndpointClient(Endpoint(other.url), providers={"Own": Endpoint(own.url, KEY)})

    assert asking.complete(ask(provider="own")).content == "a"
    with pytest.raises(LLMCallFailed):
        asking.complete(ask(provider="elsewhere"))
    assert KEY not in str(other.requests)

    with pytest.raises(LLMCallFailed) as caught:
        EndpointClient(Endpoint(other.url, KEY)).complete(ask())
    assert KEY not in f"{caught.value!r}{caught.value}{Endpoint(own.url, KEY)!r}"


def test_an_endpoint_that_calls_the_room_otherwise_is_asked_otherwise(serve):
    server = serve(status(400, "use 'max_completion_tokens' instead"), "a")
    asking, request = client(server), ask(params={"max_output_tokens": 5})

    with pytest.raises(LLMCallFailed) as caught:
        asking.complete(request)
    asking.complete(request)

    assert caught.value.retry is not None
    assert not caught.value.retry.is_counted
    assert [r.body.get("max_completion_tokens") for r in server.requests] == [None, 5]


def test_an_endpoint_that_refuses_tools_is_told_of_them_in_words(serve):
    action = json.dumps({"tool": "ls", "arguments": {"path": "x"}})
    server = serve(status(400, "this model does not support tools"), action, '{"answer": "so"}')
    asking, request = client(server), ask(tools=[TOOL])

    with pytest.raises(LLMCallFailed) as caught:
        asking.complete(request)
    called, answered = asking.complete(request), asking.complete(request)

    assert not caught.value.retry.is_counted
    assert called.tool_calls == [{"name": "ls", "arguments": {"path": "x"}, "call_id": None}]
    assert (answered.content, answered.tool_calls) == ("so", [])
    assert "tools" not in server.requests[1].body
    assert '"path"' in server.requests[1].body["messages"][0]["content"]


def test_calls_and_results_become_plain_turns():
    function = {"name": "ls", "arguments": '{"path": "x"}'}
    said = {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": function}]}
    told = {"role": "tool", "tool_call_id": "c", "name": "ls", "content": "a b"}

    asked = as_actions(ask(messages=[{"role": "user", "content": "q"}, said, told], tools=[TOOL]))

    assert [m["role"] for m in asked.messages] == ["system", "user", "assistant", "user"]
    assert json.loads(asked.messages[2]["content"]) == {"tool": "ls", "arguments": {"path": "x"}}
    assert asked.messages[3]["content"] == "Result of ls:\na b"
    assert (
        schema_violation({"tool": "ls", "arguments": {"path": "x"}}, asked.response_schema) is None
    )
    assert schema_violation({"tool": "rm", "arguments": {}}, asked.response_schema)


@pytest.mark.parametrize("text", ["just text", '{"tool": "rm", "arguments": {}}', "{}", ""])
def test_what_is_no_action_is_an_answer(text):
    reply = read_action(LLMReply(content=text), ask(tools=[TOOL]))

    assert (reply.content, reply.tool_calls) == (text, [])


def test_a_schema_that_an_endpoint_refuses(serve):
    server = serve(status(400, "response_format is not supported"))
    with pytest.raises(SchemaRefused):
        client(server).complete(ask(response_schema=SCHEMA))


@pytest.mark.parametrize("streams", [False, True])
def test_prices_become_costs(serve, streams):
    server = serve("abcd" * 10)
    price = {"m": Price(input=2.0, output=10.0)}
    reply = client(server, prices=price, on_text=(lambda _: None) if streams else None).complete(
        ask()
    )

    assert (reply.usage["cost"], reply.usage["currency"]) == ((1 * 2 + 10 * 10) / 1e6, "USD")


@pytest.mark.parametrize(
    ("model", "node", "expected"),
    [(None, "node", "node"), ("own", None, "own"), ("own", "node", "node")],
)
def test_which_model_is_asked(serve, model, node, expected):
    server = serve("a")
    client(server, model=model).complete(ask(model=node))

    assert server.requests[0].body["model"] == expected


@pytest.mark.parametrize(
    ("asking", "request_", "text"),
    [
        (EndpointClient(), ask(provider="p"), "no endpoint for provider 'p'"),
        (EndpointClient(Endpoint("http://127.0.0.1:9/v1")), ask(model=None), "names no model"),
        (EndpointClient(Endpoint("http://127.0.0.1:9/v1")), ask(media=["a.png"]), "llm_unsupported_media"),
    ],
    ids=["endpoint", "model", "media"],
)  # fmt: skip
def test_what_cannot_be_asked(asking, request_, text):
    with pytest.raises(LLMCallFailed, match=text) as caught:
        asking.complete(request_)

    assert caught.value.is_final
