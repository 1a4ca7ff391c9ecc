"""Model calls from the command line: who is asked, with which key, and what is said when nobody can be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flow_builder import end, flow, node, start

from abstractruntime.testing import StubLLM
from abstractruntime.testing.stub_llm import StubAnswer

pytest.importorskip("openai", reason="needs the extra 'llm'")

MODEL = node(
    "m", "llm_call", "exec-in prompt", "exec-out response",
    effectConfig={"provider": "lmstudio", "model": "qwen"},
)  # fmt: skip
KEY = "sk-very-secret"


@pytest.fixture
def asks(art: Any) -> Any:
    """Run a flow that asks a model, and give the result."""
    edges = "s > m; s.prompt > m.prompt; m > e; m.response > e.r"
    Path("asks.json").write_text(json.dumps(flow(start("prompt"), MODEL, end("r"), edges=edges)))
    return lambda *args: art("run", "asks.json", "--input", "prompt=hi", "--json", *args)


@pytest.fixture
def serve():
    servers = []

    def begin(*answers: Any, **options: Any) -> Any:
        servers.append(StubLLM(answers).serve(**options).__enter__())
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


def configure(text: str) -> None:
    Path("config").mkdir(exist_ok=True)
    Path("config/config.yaml").write_text(text)


def test_one_url_is_enough(asks, serve, monkeypatch):
    server = serve("hello")
    monkeypatch.setenv("ART_LLM_BASE_URL", server.url)

    assert asks().document["output"]["r"] == "hello"
    assert server.requests[0].body["model"] == "qwen"


@pytest.mark.parametrize(
    ("variables", "is_sent"),
    [
        ({"ART_LLM_BASE_URL": "URL", "ART_LLM_API_KEY": KEY}, True),
        ({"OPENAI_BASE_URL": "URL", "OPENAI_API_KEY": KEY}, True),
        ({"ART_LLM_BASE_URL": "URL", "OPENAI_API_KEY": KEY}, False),
        ({"ART_LLM_BASE_URL": "URL", "OPENAI_BASE_URL": "http://x/v1", "OPENAI_API_KEY": KEY}, False),
        ({"ART_LLM_BASE_URL": "URL"}, False),
    ],
    ids=["own", "common", "other", "two", "none"],
)  # fmt: skip
def test_a_key_goes_to_the_endpoint_it_is_for(asks, serve, monkeypatch, variables, is_sent):
    server = serve("hello")
    for name, value in variables.items():
        monkeypatch.setenv(name, server.url if value == "URL" else value)

    assert asks().code == 0
    assert (KEY in server.requests[0].headers["authorization"]) is is_sent


def test_a_key_stands_in_no_file_of_the_store(asks, serve, monkeypatch):
    server = serve(StubAnswer(fail=f"bad key {KEY}", status=401))
    monkeypatch.setenv("ART_LLM_BASE_URL", server.url)
    monkeypatch.setenv("ART_LLM_API_KEY", KEY)

    result = asks()

    assert result.code == 1
    assert KEY not in result.out + result.err
    assert [
        p for p in Path("store").rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()
    ] == []


def test_providers_have_endpoints_of_their_own(asks, serve):
    server, other = serve("mine"), serve("other")
    prices = "prices: {qwen: {input: 1, output: 2}}"
    configure(
        f"llm:\n  base_url: {other.url}\n  providers:\n    LMStudio:\n      base_url: {server.url}\n      {prices}\n"
    )

    assert asks().document["output"]["r"] == "mine"
    assert other.requests == []


@pytest.mark.parametrize("forced", [True, False])
def test_a_model_can_be_forced(asks, serve, forced):
    server = serve("a")
    configure(f"llm: {{base_url: '{server.url}', model: own, force_model: {str(forced).lower()}}}")
    asks()

    assert server.requests[0].body["model"] == ("own" if forced else "qwen")


@pytest.mark.parametrize(
    ("answer", "tries"),
    [
        (StubAnswer(fail="busy", status=503, headers={"retry-after": "0"}), 3),
        (StubAnswer(fail="who?", status=401), 1),
    ],
)
def test_only_what_may_pass_is_tried_again(asks, serve, monkeypatch, answer, tries):
    server = serve(answer)
    monkeypatch.setenv("ART_LLM_BASE_URL", server.url)

    assert asks().code == 1
    assert len(server.requests) == tries


def test_a_long_pause_that_the_endpoint_asks_for_is_a_wait_of_the_run(asks, serve, monkeypatch):
    server = serve(StubAnswer(fail="slow down", status=429, headers={"retry-after": "60"}))
    monkeypatch.setenv("ART_LLM_BASE_URL", server.url)

    result = asks()

    assert (result.code, result.document["outcome"]) == (4, "waiting")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ("{base_url: nowhere}", "llm.base_url is 'nowhere', expected a URL"),
        ("{base_url: 'ftp://x/v1'}", "expected a URL"),
        ("{base_url: 'http://u:p@x/v1'}", "holds a user name or a password"),
        ("{base_url: 'http://[x/v1'}", "expected a URL"),
        ("{base_url: 'http://x/v1', force_model: true}", "llm.model names no model"),
        ("{base_url: 'http://x/v1', force_model: maybe}", "expected true or false"),
        ("{providers: [x]}", "expected a mapping"),
        ("{providers: {p: x}}", "llm.providers.p is 'x', expected a mapping"),
        ("{providers: {p: {url: x}}}", "unknown key 'url' in llm.providers.p"),
        ("{providers: {p: {base_url: 'http://x/v1', tools: no}}}", "expected native or words"),
        ("{providers: {p: {base_url: 'http://x/v1', timeout: soon}}}", "a number of seconds"),
        ("{providers: {p: {base_url: 'http://x/v1', model: 3}}}", "llm.providers.p.model is 3"),
        ("{providers: {p: {base_url: 'http://x/v1', prices: {m: 3}}}}", "prices.m is 3"),
        ("{providers: {p: {base_url: 'http://x/v1', prices: {m: {input: 1}}}}}", "input and output"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(asks, settings, text):
    configure(f"llm: {settings}")

    result = asks()

    assert result.code == 2
    assert text in result.err + result.out
    assert not list(Path().glob("store/**/ledger_*.jsonl"))


def test_a_project_cannot_name_the_endpoint(asks, serve):
    server = serve("a")
    Path("art.yaml").write_text(f"llm: {{base_url: '{server.url}'}}")

    result = asks()

    assert result.code == 1
    assert "which is not obeyed" in result.err
    assert server.requests == []


def test_a_mapping_comes_from_the_environment_as_json(asks, serve, monkeypatch):
    server = serve("a")
    monkeypatch.setenv("ART_LLM_PROVIDERS", json.dumps({"lmstudio": {"base_url": server.url}}))
    assert asks().code == 0

    monkeypatch.setenv("ART_LLM_PROVIDERS", "{")
    assert "expected a JSON object" in asks().out


def test_a_missing_library_is_named_before_anything_is_begun(asks, serve, monkeypatch):
    monkeypatch.setenv("ART_LLM_BASE_URL", serve("a").url)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    result = asks()

    assert result.code == 3
    assert "abstractruntime[llm]" in result.out
    assert not list(Path().glob("store/**/ledger_*.jsonl"))


def test_a_scripted_endpoint_says_where_it_is_and_what_was_asked():
    command = [sys.executable, "-m", "abstractruntime", "stub-llm", "--jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        from abstractruntime.llm import LLMRequest
        from abstractruntime.llm.endpoint import Endpoint, EndpointClient

        assert EndpointClient(Endpoint(url)).complete(LLMRequest(prompt="x", model="m")).content
        asked = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    assert (asked["path"], asked["body"]["model"]) == ("/v1/chat/completions", "m")


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["nowhere.json"], 66, "nowhere.json"),
        (["--api-key-env", "UNSET_VARIABLE"], 2, "is not set"),
        (["--port", "70000"], 2, "--port"),
    ],
)
def test_a_scripted_endpoint_that_cannot_be(art, args, code, text):
    result = art("stub-llm", *args)

    assert result.code == code
    assert text in result.err
