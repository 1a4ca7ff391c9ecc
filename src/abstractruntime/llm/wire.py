"""The chat-completions format of OpenAI-compatible endpoints: requests, answers, streams.

Source: the OpenAI API reference, "Create chat completion" and its streaming events; what other
servers leave out or add is read as far as it can be. Values in, values out: nothing here sends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from abstractruntime._json import TOLERANT_DECODER, JsonObject, JsonValue, mapping
from abstractruntime.llm.port import LLMReply, LLMRequest

__all__ = ["StreamedReply", "read_reply", "request_body", "tool_schema"]

# The names of `params` that endpoints know; others are for the runtime, or for nobody.
_PARAMS: Final = (
    "temperature",
    "top_p",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "prompt_cache_key",
    "logit_bias",
    "user",
)
_REASONING: Final = ("reasoning", "reasoning_content", "thinking", "thinking_content")


def request_body(
    request: LLMRequest, model: str, *, budget_name: str = "max_tokens", streams: bool = False
) -> JsonObject:
    """Give the body of the request that asks `model`; only what the caller set is in it.

    Args:
        request: The call.
        model: The name the endpoint knows.
        budget_name: How the endpoint calls the room for the answer.
        streams: Whether the answer is to come in pieces.
    """
    body: JsonObject = {"model": model, "messages": [_message(m) for m in request.conversation()]}
    body |= {name: request.params[name] for name in _PARAMS if request.params.get(name) is not None}
    budget = request.params.get("max_output_tokens", request.params.get("max_tokens"))
    if budget is not None:
        body[budget_name] = budget
    if request.tools:
        body["tools"] = [_tool(spec) for spec in request.tools]
    if request.response_schema is not None:
        named = {"name": request.response_schema_name, "schema": request.response_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    if streams:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _message(message: JsonObject) -> JsonObject:
    """Give a message without what is the runtime's own."""
    return {name: value for name, value in message.items() if name != "metadata"}


def _tool(spec: JsonObject) -> JsonObject:
    if spec.get("type") == "function" and isinstance(spec.get("function"), dict):
        return spec
    described = {
        "name": spec.get("name"),
        "description": spec.get("description") or "",
        "parameters": tool_schema(spec.get("parameters")),
    }
    return {"type": "function", "function": described}


def tool_schema(parameters: JsonValue) -> JsonObject:
    """Give the JSON Schema of a tool's arguments; a parameter without `default` is required."""
    known = mapping(parameters)
    if known.get("type") == "object" and isinstance(known.get("properties"), dict):
        return known
    required = [name for name, spec in known.items() if "default" not in mapping(spec)]
    return {
        "type": "object",
        "properties": {name: mapping(spec) for name, spec in known.items()},
        **({"required": required} if required else {}),
    }


def read_reply(body: Mapping[str, Any]) -> LLMReply:
    """Read a completion.

    Raises:
        ValueError: it holds no choice; the text says what it holds.
    """
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError(
            f"it has no choices, only {', '.join(sorted(map(str, body))) or 'nothing'}"
        )
    message = mapping(choices[0].get("message"))
    return _reply(body, message, choices[0].get("finish_reason"))


def _reply(body: Mapping[str, Any], message: JsonObject, finish_reason: JsonValue) -> LLMReply:
    calls = message.get("tool_calls")
    return LLMReply(
        content=_content(message.get("content")),
        tool_calls=[_call(call) for call in calls if _name(call)]
        if isinstance(calls, list)
        else [],
        reasoning=next((t for t in map(message.get, _REASONING) if _is_said(t)), None),
        model=body.get("model") if isinstance(body.get("model"), str) else None,
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        usage=_usage(body.get("usage")),
        metadata={"response_id": body["id"]} if isinstance(body.get("id"), str) else {},
    )


def _content(value: JsonValue) -> str | None:
    """Give the text of an answer, which some endpoints send in parts."""
    if isinstance(value, list):
        parts = (mapping(part).get("text") for part in value)
        return "".join(part for part in parts if isinstance(part, str))
    return value if isinstance(value, str) else None


def _is_said(text: JsonValue) -> bool:
    return isinstance(text, str) and bool(text.strip())


def _name(call: JsonValue) -> str | None:
    function = mapping(mapping(call).get("function"))
    name = function.get("name") or mapping(call).get("name")
    return name.strip() or None if isinstance(name, str) else None


def _call(call: JsonObject) -> JsonObject:
    function = mapping(call.get("function")) or call
    call_id = call.get("id") or call.get("call_id")
    return {
        "name": _name(call),
        "arguments": _arguments(function.get("arguments")),
        "call_id": call_id if isinstance(call_id, str) else None,
    }


def _arguments(value: JsonValue) -> JsonObject:
    """Read the arguments of a call, which models write as JSON text; what is no object is empty."""
    if isinstance(value, str):
        try:
            value = TOLERANT_DECODER.decode(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _usage(value: JsonValue) -> JsonObject | None:
    counts = mapping(value)
    taken, given = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if not isinstance(taken, int) and not isinstance(given, int):
        return None
    taken, given = taken or 0, given or 0
    total = counts.get("total_tokens")
    return {
        "input_tokens": taken,
        "output_tokens": given,
        "total_tokens": total if isinstance(total, int) else taken + given,
    }


@dataclass(slots=True)
class StreamedReply:
    """An answer that comes in pieces: `add` each, then take the `reply`."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: dict[int, JsonObject] = field(default_factory=dict)
    facts: JsonObject = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, event: Mapping[str, Any]) -> str:
        """Take in one event and give the text it adds."""
        for name in ("id", "model", "usage"):
            if event.get(name) is not None:
                self.facts[name] = event[name]
        choice = next((c for c in _listed(event.get("choices")) if c.get("index", 0) == 0), None)
        if choice is None:
            return ""
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        delta = mapping(choice.get("delta"))
        for name in _REASONING:
            if isinstance(delta.get(name), str):
                self.reasoning.append(delta[name])
        for call in _listed(delta.get("tool_calls")):
            self._add_call(call)
        text = _content(delta.get("content")) or ""
        self.text.append(text)
        return text

    def _add_call(self, piece: JsonObject) -> None:
        """Put a piece to its call; endpoints that number none send each call whole."""
        index = piece.get("index")
        known = self.calls.setdefault(
            index if isinstance(index, int) else len(self.calls), {"arguments": ""}
        )
        function = mapping(piece.get("function"))
        known["id"] = piece.get("id") or known.get("id")
        known["name"] = function.get("name") or known.get("name")
        arguments = function.get("arguments")
        known["arguments"] += (
            arguments if isinstance(arguments, str) else json.dumps(arguments or {})
        )

    def reply(self) -> LLMReply:
        """Give the whole answer.

        Raises:
            ValueError: it is not whole, as the connection ended before the answer did.
        """
        if self.finish_reason is None:
            raise ValueError("the stream ended before the answer did")
        text = "".join(self.text)
        calls = [self.calls[index] for index in sorted(self.calls)]
        message: JsonObject = {
            "content": text if text or not calls else None,
            "reasoning": "".join(self.reasoning),
            "tool_calls": [
                {
                    "id": c.get("id"),
                    "function": {"name": c.get("name"), "arguments": c["arguments"]},
                }
                for c in calls
            ],
        }
        return _reply(self.facts, message, self.finish_reason)


def _listed(value: JsonValue) -> Iterable[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
