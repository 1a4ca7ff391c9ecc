"""Asking a language model."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable
from typing import ClassVar

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._base import (
    EffectNode,
    Element,
    NodeError,
    Pin,
    PlannedEffect,
    Problem,
    Scope,
    register,
)
from abstractruntime.nodes._history import active_messages, trim, with_prompt
from abstractruntime.nodes.interaction import as_flag

META_SCHEMA = "abstractflow.llm_call.v1.meta"
SCHEMA_NAME = "LLM_StructuredOutput"
_SEMANTIC_PREFIX = "abstractsemantics:"
_MEMORY_SWITCHES = ("use_span_memory", "use_kg_memory")
_RECALL_HINT = "put a memory_query node before this one and wire its text into the prompt"
_DEFAULT_TEMPERATURE = 0.7


@register
class LlmCall(EffectNode):
    type = "llm_call"
    family = "llm"
    bare_input = "prompt"
    doc = (
        "Asks a language model. The prompt goes out alone, or behind the run's conversation when "
        "`include_context` is on, or behind the messages of the `context` pin. With a response schema "
        "the answer is an object at `data`, and its JSON text at `response`."
    )
    inputs = (
        Pin("prompt", "string", default=""),
        Pin("system", "string", default=""),
        Pin("provider", "provider"),
        Pin("model", "model"),
        Pin("temperature", "number", default=_DEFAULT_TEMPERATURE),
        Pin("seed", "number", default=-1),
        Pin("tools", "tools"),
        Pin("max_in_tokens", "number", aliases=("max_input_tokens", "maxInputTokens")),
        Pin(
            "max_out_tokens",
            "number",
            aliases=("max_output_tokens", "maxOutTokens", "maxOutputTokens"),
        ),
        Pin("include_context", "boolean", aliases=("use_context",)),
        Pin("context", "object"),
        Pin("resp_schema", "json_schema", aliases=("response_schema",)),
        Pin("memory", "memory"),
        Pin("use_span_memory", "boolean"),
        Pin("use_kg_memory", "boolean"),
        Pin("use_session_attachments", "boolean"),
    )
    outputs = (
        Pin("response", "string"),
        Pin("success", "boolean"),
        Pin("data", "object"),
        Pin("tool_calls", "array"),
        Pin("meta", "object"),
        Pin("result", "object"),
        Pin("raw", "object"),
        Pin("gen_time", "number"),
        Pin("ttft_ms", "number"),
    )
    data_schema: ClassVar[JsonObject] = {
        "effectConfig": {
            "type": "object",
            "properties": {
                "provider": {"type": "string"},
                "model": {"type": "string"},
                "temperature": {"type": "number"},
                "seed": {"type": "integer"},
                "tools": {"type": "array"},
                "max_input_tokens": {"type": "integer"},
                "max_output_tokens": {"type": "integer"},
                "include_context": {"type": "boolean"},
                "structured_output_fallback": {"type": "boolean"},
            },
        },
    }
    compat = (
        "Effects 13: without provider or model nothing else is dropped from the request, and the "
        "runtime's default applies; `data`, `result` and `raw` are always there."
    )

    def check(self, element: Element) -> Iterable[Problem]:
        sources = (element.pin_defaults, element.config("effectConfig"))
        for switch in _MEMORY_SWITCHES:
            if any(as_flag(source.get(switch)) for source in sources):
                yield Problem("VF-LLM-MEMORY", _no_recall(switch), pin=switch, hint=_RECALL_HINT)

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        config = element.config("effectConfig")
        _refuse_memory(inputs)
        payload: JsonObject = {
            "prompt": _text(inputs.get("prompt")),
            "system_prompt": inputs.get("system", "") or "",
            "tools": _tools(inputs, config),
            "params": _params(inputs, config),
        }
        payload |= _routing(inputs, config)
        include = inputs.get("include_context")
        if include is None:
            include = config.get("include_context", config.get("use_context"))
        payload["include_context"] = as_flag(include)
        max_tokens = _positive(
            inputs, config, "max_in_tokens", ("max_input_tokens", "maxInputTokens")
        )
        payload |= {"max_input_tokens": max_tokens} if max_tokens else {}
        payload |= _schema(inputs, config)
        return PlannedEffect("llm_call", _with_messages(payload, inputs, scope.vars))

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        raw = result if isinstance(result, dict) else {"content": result}
        data = raw.get("data")
        structured = isinstance(data, dict | list)
        calls = _calls(raw.get("tool_calls"))
        response = _compact(data) if structured else _text(raw.get("content"))
        return {
            "response": response,
            "success": True,
            "data": data if structured else None,
            "tool_calls": calls,
            "meta": _meta(raw, structured=structured, calls=len(calls)),
            "result": result,
            "raw": result,
            "gen_time": raw.get("gen_time"),
            "ttft_ms": raw.get("ttft_ms"),
        }

    def primary(self, element: Element, record: JsonObject) -> JsonValue:
        return record["response"]


def _no_recall(switch: str) -> str:
    return f"{switch!r} is on, and this version does not recall memory for a prompt"


def _refuse_memory(inputs: JsonObject) -> None:
    bundle = inputs.get("memory")
    for switch in _MEMORY_SWITCHES:
        value = inputs.get(switch)
        if value is None and isinstance(bundle, dict):
            value = bundle.get(switch)
        if as_flag(value):
            raise NodeError(f"{_no_recall(switch)}: {_RECALL_HINT}")


# --- request ---------------------------------------------------------------------------


def _text(value: JsonValue) -> str:
    return "" if value is None else str(value)


def _tools(inputs: JsonObject, config: JsonObject) -> list[JsonValue]:
    """Give tool names and specifications as authored; the handler knows the tools."""
    tools = inputs["tools"] if "tools" in inputs else config.get("tools")
    if not isinstance(tools, list):
        return []
    names = [tool.strip() if isinstance(tool, str) else tool for tool in tools]
    kept = [tool for tool in names if tool and isinstance(tool, str | dict)]
    return [tool for index, tool in enumerate(kept) if tool not in kept[:index]]


def _params(inputs: JsonObject, config: JsonObject) -> JsonObject:
    fallback = _as_number(config.get("temperature"), float, _DEFAULT_TEMPERATURE)
    params: JsonObject = {"temperature": _as_number(inputs.get("temperature"), float, fallback)}
    seed = _as_number(inputs.get("seed"), int, _as_number(config.get("seed"), int, -1))
    if seed >= 0:
        params["seed"] = seed
    max_tokens = _positive(
        inputs, config, "max_out_tokens", ("max_output_tokens", "maxOutputTokens", "max_out_tokens")
    )
    if max_tokens:
        params["max_output_tokens"] = max_tokens
    if inputs.get("use_session_attachments") is not None:
        params["include_session_attachments_index"] = as_flag(inputs["use_session_attachments"])
    return params


def _as_number(value: JsonValue, kind: Callable[[JsonValue], float], default: float) -> float:
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _positive(
    inputs: JsonObject, config: JsonObject, pin: str, keys: tuple[str, ...]
) -> int | None:
    for value in (inputs.get(pin), *(config.get(key) for key in keys)):
        number = 0 if value is None else _as_number(value, int, 0)
        if number > 0:
            return int(number)
    return None


def _routing(inputs: JsonObject, config: JsonObject) -> JsonObject:
    chosen: JsonObject = {}
    for name in ("provider", "model"):
        value = inputs.get(name)
        if not isinstance(value, str):
            value = config.get(name)
        if isinstance(value, str) and value.strip():
            chosen[name] = value.strip()
    return chosen if len(chosen) == 2 else {}


def _schema(inputs: JsonObject, config: JsonObject) -> JsonObject:
    schema = inputs.get("resp_schema")
    if not isinstance(schema, dict) or not schema:
        return {}
    found: JsonObject = {
        "response_schema": _resolved(_unwrapped(schema)),
        "response_schema_name": SCHEMA_NAME,
    }
    if as_flag(config.get("structured_output_fallback")):
        found["structured_output_fallback"] = True
    return found


def _unwrapped(schema: JsonObject) -> JsonObject:
    inner = schema.get("json_schema")
    if schema.get("type") == "json_schema" and isinstance(inner, dict):
        found = inner.get("schema")
        return found if isinstance(found, dict) else schema
    return schema


def _resolved(schema: JsonObject) -> JsonObject:
    ref = schema.get("$ref")
    if not isinstance(ref, str) or not ref.startswith(_SEMANTIC_PREFIX):
        return schema
    try:
        semantics = importlib.import_module("abstractsemantics")
    except ImportError:
        raise NodeError(
            f"schema {ref!r} needs the package abstractsemantics (extra 'memory')"
        ) from None
    found = semantics.resolve_schema_ref(schema)
    if not isinstance(found, dict):
        raise NodeError(f"schema {ref!r} is not known to abstractsemantics")
    return found


def _with_messages(payload: JsonObject, inputs: JsonObject, variables: JsonObject) -> JsonObject:
    context = inputs.get("context")
    context = context if isinstance(context, dict) else {}
    limits = variables.get("_limits")
    budget = payload.get("max_input_tokens")
    if isinstance(context.get("attachments"), list):
        payload["media"] = _media(context["attachments"])
    messages = context.get("messages")
    messages = [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    if not messages and payload["include_context"]:
        messages = active_messages(variables)
        if not budget and isinstance(limits, dict):
            budget = _as_number(limits.get("max_input_tokens"), int, 0)
        messages = messages or [{}]
    if messages:
        messages = [m for m in messages if m]
        system, prompt = payload.pop("system_prompt"), payload.pop("prompt")
        payload["messages"] = trim(with_prompt(messages, system, prompt), int(budget or 0))
    own = variables.get("context")
    if payload["include_context"] and "media" not in payload and isinstance(own, dict):
        media = _media(own.get("attachments"))
        payload |= {"media": media} if media else {}
    return payload


def _media(attachments: JsonValue) -> list[JsonValue]:
    items = attachments if isinstance(attachments, list) else []
    return [a for a in items if isinstance(a, dict) or (isinstance(a, str) and a.strip())]


# --- answer ----------------------------------------------------------------------------


def _compact(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _calls(value: JsonValue) -> list[JsonObject]:
    calls = [value] if isinstance(value, dict) else value
    return [c for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []


def _meta(raw: JsonObject, *, structured: bool, calls: int) -> JsonObject:
    meta: JsonObject = {
        "schema": META_SCHEMA,
        "version": 1,
        "output_mode": "structured" if structured else "unstructured",
        "tool_calls": calls,
    }
    for key in ("provider", "model", "finish_reason"):
        value = raw.get(key)
        if isinstance(value, str) and value.strip():
            meta[key] = value.strip()
    if isinstance(raw.get("usage"), dict):
        meta["usage"] = raw["usage"]
    trace_id = _trace_id(raw)
    if trace_id:
        meta["trace"] = {"trace_id": trace_id}
    for key in ("gen_time", "ttft_ms"):
        if raw.get(key) is not None:
            meta[key] = raw[key]
    return meta


def _trace_id(raw: JsonObject) -> str | None:
    metadata = raw.get("metadata")
    for source in (raw, metadata if isinstance(metadata, dict) else {}):
        value = source.get("trace_id")
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None
