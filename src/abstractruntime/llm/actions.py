"""Tools for models whose endpoint takes none: the model answers with one JSON action.

An action is `{"tool": NAME, "arguments": {...}}` or `{"answer": ...}`. The request says so in
words and as a response schema; calls and results of the conversation so far become plain turns.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from abstractruntime._json import JsonObject, JsonValue, mapping
from abstractruntime.llm.port import LLMReply, LLMRequest
from abstractruntime.llm.structured import parse_object
from abstractruntime.llm.wire import tool_schema

__all__ = ["as_actions", "read_action"]

_SCHEMA_NAME: Final = "Action"
_ACT: Final = """\
You act by answering with exactly one JSON object and nothing else. It is either a call of one tool,
{"tool": NAME, "arguments": {...}}, or, when you are done, {"answer": YOUR ANSWER}. You get the result
of a call in the next message. The tools, with the JSON Schema of their arguments:"""


def as_actions(request: LLMRequest) -> LLMRequest:
    """Give the request without tools that asks for an action; without tools it stays as it is."""
    if not request.tools:
        return request
    messages = [turn for message in request.conversation() for turn in _plain(message)]
    told = "\n".join([_ACT, *map(_described, request.tools)])
    first = messages[0] if messages and messages[0].get("role") == "system" else None
    if first is not None:
        messages[0] = {**first, "content": f"{first.get('content') or ''}\n\n{told}"}
    else:
        messages.insert(0, {"role": "system", "content": told})
    return replace(
        request,
        prompt="",
        system_prompt="",
        messages=messages,
        tools=[],
        response_schema=_action_schema(request),
        response_schema_name=_SCHEMA_NAME,
    )


def read_action(reply: LLMReply, request: LLMRequest) -> LLMReply:
    """Give the reply that an action stands for; text that is none is an answer.

    Args:
        reply: What the model said to `as_actions(request)`.
        request: The request with its tools.
    """
    action = parse_object(reply.content or "")
    if not request.tools or action is None:
        return reply
    if action.get("tool") in {_name(spec) for spec in request.tools}:
        call = {
            "name": action["tool"],
            "arguments": mapping(action.get("arguments")),
            "call_id": None,
        }
        return replace(reply, content=None, tool_calls=[call], finish_reason="tool_calls")
    if "answer" not in action:
        return reply
    return replace(reply, content=_text(action["answer"]))


def _plain(message: JsonObject) -> list[JsonObject]:
    """Give a turn of the conversation in the words of actions."""
    if message.get("role") == "tool":
        told = f"Result of {message.get('name') or 'the call'}:\n{_text(message.get('content'))}"
        return [{"role": "user", "content": told}]
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return [message]
    actions = [_action_text(mapping(mapping(call).get("function"))) for call in calls]
    return [{"role": message.get("role"), "content": "\n".join(actions)}]


def _action_text(function: JsonObject) -> str:
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = {}
    return json.dumps({"tool": function.get("name"), "arguments": arguments}, ensure_ascii=False)


def _described(spec: JsonObject) -> str:
    function = mapping(spec.get("function")) or spec
    schema = json.dumps(tool_schema(function.get("parameters")), ensure_ascii=False)
    about = " ".join(str(function.get("description") or "").split())
    return f"- {_name(spec)}: {about} {schema}"


def _action_schema(request: LLMRequest) -> JsonObject:
    answer = request.response_schema or {"type": "string"}
    return {"anyOf": [*map(_call_schema, request.tools), _object_of(answer=answer)]}


def _call_schema(spec: JsonObject) -> JsonObject:
    function = mapping(spec.get("function")) or spec
    return _object_of(
        tool={"const": _name(spec)}, arguments=tool_schema(function.get("parameters"))
    )


def _object_of(**properties: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _name(spec: JsonObject) -> JsonValue:
    return (mapping(spec.get("function")) or spec).get("name")


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
