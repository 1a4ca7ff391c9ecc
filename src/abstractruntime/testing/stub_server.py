"""A loopback endpoint that speaks the OpenAI format and answers from a script."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol

from abstractruntime._json import JsonObject, load_strict, mapping
from abstractruntime.llm.port import LLMCallFailed, LLMRequest
from abstractruntime.testing._stub_answers import StubAnswer, StubReply

__all__ = ["LoggedRequest", "StubServer"]

_MAX_BODY: Final = 64 * 1024 * 1024
_PIECE_CHARS: Final = 24
_DIMENSIONS: Final = 8
_FAILED: Final = 500


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as it came; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: JsonObject = field(default_factory=dict)


class Script(Protocol):
    """Who chooses the answers."""

    def answer(self, request: LLMRequest) -> StubReply:
        """Choose the answer to a request.

        Raises:
            LLMCallFailed: there is none any more.
        """
        ...


class StubServer:
    """Serves a `StubLLM` over HTTP while the context is open; `requests` holds what came.

    It serves `GET /v1/models`, `POST /v1/chat/completions`, whole or as events, and
    `POST /v1/embeddings`.
    """

    def __init__(self, stub: Script, *, port: int = 0, api_key: str | None = None) -> None:
        """Listen on the loopback interface.

        Args:
            stub: Gives the answers.
            port: 0 for one that is free.
            api_key: Without it as bearer token, requests are answered 401; None admits all.
        """
        self.requests: list[LoggedRequest] = []
        self.stub = stub
        self.api_key = api_key
        self.closing = threading.Event()
        handler = type("_BoundHandler", (_Handler,), {"stub_server": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._http.daemon_threads = False
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> StubServer:  # noqa: PYI034 - Self is of Python 3.11
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, break off the delays, and wait for the answers that are on their way."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    # Connections that end with their answer leave nobody to wait for when the server closes.
    protocol_version = "HTTP/1.0"
    stub_server: StubServer

    def log_message(self, *_: object) -> None:
        """Write nothing; the requests are in the log of the server."""

    def do_GET(self) -> None:
        self._note({})
        if self.path != "/v1/models":
            self._refuse(404, f"no such path: {self.path}")
            return
        self._send(200, {"object": "list", "data": [{"id": "stub", "object": "model"}]})

    def do_POST(self) -> None:
        serve = {"/v1/chat/completions": self._chat, "/v1/embeddings": self._embed}.get(self.path)
        body = self._body()
        if body is None:
            self._refuse(400, "the body is no JSON object")
            return
        self._note(body)
        key = self.stub_server.api_key
        if key is not None and self.headers.get("authorization") != f"Bearer {key}":
            self._refuse(401, "wrong API key")
        elif serve is None:
            self._refuse(404, f"no such path: {self.path}")
        else:
            serve(body)

    def _body(self) -> JsonObject | None:
        told = self.headers.get("content-length") or "0"
        size = int(told) if told.isascii() and told.isdigit() else -1
        if not 0 <= size <= _MAX_BODY:
            return None
        try:
            body = load_strict(self.rfile.read(size))
        except (ValueError, RecursionError):
            return None
        return body if isinstance(body, dict) else None

    def _note(self, body: JsonObject) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.stub_server.requests.append(LoggedRequest(self.command, self.path, headers, body))

    def _chat(self, body: JsonObject) -> None:
        try:
            scripted = self.stub_server.stub.answer(_request_of(body))
        except LLMCallFailed as failure:
            self._refuse(_FAILED, str(failure))
            return
        answer = scripted.answer
        if answer.delay_s:
            self.stub_server.closing.wait(answer.delay_s)
        if answer.fail is not None:
            self._refuse(answer.status or _FAILED, answer.fail, answer.headers)
        elif body.get("stream") is True:
            self._stream(body, scripted)
        else:
            self._send(200, _completion(body, scripted), answer.headers, cut=answer.cut)

    def _stream(self, body: JsonObject, scripted: StubReply) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        for name, value in scripted.answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        events = list(_events(body, scripted))
        if scripted.answer.cut:
            events = events[: len(events) // 2]
        with suppress(OSError):  # whoever asked may have gone
            for event in events:
                self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
                self.wfile.flush()
            if not scripted.answer.cut:
                self.wfile.write(b"data: [DONE]\n\n")

    def _embed(self, body: JsonObject) -> None:
        texts = body.get("input")
        listed = [texts] if isinstance(texts, str) else texts if isinstance(texts, list) else []
        vectors = [
            {"object": "embedding", "index": i, "embedding": _vector(str(text))}
            for i, text in enumerate(listed)
        ]
        self._send(200, {"object": "list", "model": body.get("model"), "data": vectors})

    def _refuse(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, {"error": {"message": message, "code": None}}, headers)

    def _send(
        self,
        status: int,
        document: JsonObject,
        headers: Mapping[str, str] | None = None,
        *,
        cut: bool = False,
    ) -> None:
        data = json.dumps(document).encode()
        with suppress(OSError):  # whoever asked may have gone
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)


def _request_of(body: JsonObject) -> LLMRequest:
    """Read a request as the client's port has it."""
    messages, tools = body.get("messages"), body.get("tools")
    named = mapping(mapping(body.get("response_format")).get("json_schema"))
    model = body.get("model")
    return LLMRequest(
        messages=[m for m in messages if isinstance(m, dict)]
        if isinstance(messages, list)
        else None,
        tools=[t for t in tools if isinstance(t, dict)] if isinstance(tools, list) else [],
        model=model if isinstance(model, str) else None,
        response_schema=mapping(named.get("schema")) or None,
    )


def _wire_calls(answer: StubAnswer) -> list[JsonObject]:
    return [
        {
            "id": call.get("call_id") or call.get("id") or f"call_{number}",
            "type": "function",
            "function": {
                "name": call.get("name"),
                "arguments": json.dumps(call.get("arguments") or {}, ensure_ascii=False),
            },
        }
        for number, call in enumerate(answer.tool_calls, start=1)
    ]


def _completion(body: JsonObject, scripted: StubReply) -> JsonObject:
    calls = _wire_calls(scripted.answer)
    message: JsonObject = {"role": "assistant", "content": scripted.text or None}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": scripted.finish_reason}
    return {**_head(body, "chat.completion"), "choices": [choice], "usage": _counts(scripted)}


def _events(body: JsonObject, scripted: StubReply) -> Iterator[JsonObject]:
    head = _head(body, "chat.completion.chunk")

    def event(delta: JsonObject, finish: str | None = None) -> JsonObject:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield event({"role": "assistant", "content": ""})
    text = scripted.text
    for start in range(0, len(text), _PIECE_CHARS):
        yield event({"content": text[start : start + _PIECE_CHARS]})
    for index, call in enumerate(_wire_calls(scripted.answer)):
        function = call["function"]
        begun = {**call, "index": index, "function": {**function, "arguments": ""}}
        yield event({"tool_calls": [begun]})
        written = function["arguments"]
        for start in range(0, len(written), _PIECE_CHARS):
            piece = {"arguments": written[start : start + _PIECE_CHARS]}
            yield event({"tool_calls": [{"index": index, "function": piece}]})
    yield event({}, scripted.finish_reason)
    if mapping(body.get("stream_options")).get("include_usage"):
        yield {**head, "choices": [], "usage": _counts(scripted)}


def _head(body: JsonObject, kind: str) -> JsonObject:
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]
    return {
        "id": f"stub-{digest}",
        "object": kind,
        "created": 0,
        "model": body.get("model") or "stub",
    }


def _counts(scripted: StubReply) -> JsonObject:
    taken, given = scripted.input_tokens, scripted.output_tokens
    return {"prompt_tokens": taken, "completion_tokens": given, "total_tokens": taken + given}


def _vector(text: str) -> list[float]:
    """Give a vector of length one that equal texts share."""
    raw: list[Any] = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()[:_DIMENSIONS]]
    length = sum(value * value for value in raw) ** 0.5
    return [value / length for value in raw]
