"""Asking a language model."""

from __future__ import annotations

import json

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._history import active_messages, is_system, trim, with_prompt
from abstractruntime.nodes._recall import (
    KG_MARKER,
    MEMORY_PINS,
    MemorySources,
    kg_text,
    last_user_text,
    span_messages,
)
from abstractruntime.nodes._schema import read_response_schema
from abstractruntime.nodes._settings import (
    DEFAULT_TEMPERATURE,
    MAX_IN,
    MAX_OUT,
    RESPONSE_SCHEMA,
    as_number,
    chosen_text,
    context_flag,
    first_positive,
    object_messages,
    seed_of,
    text,
    unique,
)
from abstractruntime.nodes.base import (
    Element,
    Example,
    Pin,
    PlannedEffect,
    Scope,
    Stage,
    StagedNode,
    register,
)
from abstractruntime.nodes.interaction import as_flag
from abstractruntime.nodes.keys import FLAG, TEXT, WHOLE, older, settings

META_SCHEMA = "abstractflow.llm_call.v1.meta"
SCHEMA_NAME = "LLM_StructuredOutput"
_FORWARDED = ("thinking", "prompt_cache_binding")
_HI: JsonObject = {"content": "Hi.", "usage": {"total_tokens": 5}}


@register
class LlmCallNode(StagedNode):
    type = "llm_call"
    family = "llm"
    capability = "llm:*"
    examples = (
        Example(
            {"prompt": "Say hi.", "provider": "p", "model": "m"},
            output={
                "response": "Hi.",
                "success": True,
                "data": None,
                "tool_calls": [],
                "meta": {
                    "schema": "abstractflow.llm_call.v1.meta",
                    "version": 1,
                    "output_mode": "unstructured",
                    "tool_calls": 0,
                    "usage": {"total_tokens": 5},
                },
                "result": _HI,
                "raw": _HI,
                "gen_time": None,
                "ttft_ms": None,
            },
            asks={
                "llm_call": {
                    "prompt": "Say hi.",
                    "system_prompt": "",
                    "tools": [],
                    "params": {"temperature": 0.7},
                    "provider": "p",
                    "model": "m",
                    "include_context": False,
                }
            },
            result=_HI,
        ),
    )
    area = "memory_sources"
    bare_input = "prompt"
    needs = ("prompt",)
    doc = (
        "Asks a language model. The prompt goes out alone, or behind the run's conversation when "
        "`include_context` is on, or behind the messages of the `context` pin. With a response schema "
        "the answer is an object at `data`, and its JSON text at `response`. Memory sources are "
        "recalled first, each as an effect of its own: recalled messages stay in the run's "
        "conversation, facts of the knowledge graph join the system text of this one call. A model "
        "that cannot answer fails the run."
    )
    inputs = (
        Pin("prompt", "string", "The question.", default=""),
        Pin("system", "string", "Instructions for the model.", default=""),
        Pin("provider", "provider", "Who runs the model; without both, the host's choice."),
        Pin("model", "model", "Which model."),
        Pin("temperature", "number", "How freely it answers.", default=DEFAULT_TEMPERATURE),
        Pin("seed", "number", "For repeatable answers; not sent below 0.", default=-1),
        Pin("tools", "tools", "Names or specifications of tools it may ask for."),
        MAX_IN,
        MAX_OUT,
        Pin(
            "include_context",
            "boolean",
            "Put the run's conversation before the prompt, and add this turn to it.",
            aliases=("use_context",),
        ),
        Pin("context", "object", "`messages` in place of the run's, and `attachments`."),
        RESPONSE_SCHEMA,
        *MEMORY_PINS,
        Pin("thinking", doc="Handed to the model client as it is."),
        Pin("prompt_cache_binding", doc="Handed to the model client as it is."),
    )
    primary_pin = "response"
    outputs = (
        Pin(
            "response",
            "string",
            "The answer; the JSON text of `data` if there is any.",
            role="speech",
        ),
        Pin("success", "boolean", "Always true: a call that fails, fails the run."),
        Pin("data", "object", "The answer as an object, with a response schema."),
        Pin("tool_calls", "array", "The tools that the model asks for; it does not call them."),
        Pin("meta", "object", "Provider, model, usage and how the model ended."),
        Pin("result", "object", "The whole result of the call."),
        Pin("raw", "object", "The same as `result`."),
        Pin("gen_time", "number", "How long the answer took, in milliseconds."),
        Pin("ttft_ms", "number", "Time to the first token, in milliseconds."),
        Pin("warnings", "array", "Settings of memory sources that were chosen for the author."),
    )
    data_schema = settings(
        "effectConfig",
        provider=TEXT,
        model=TEXT,
        temperature={"type": "number"},
        seed=WHOLE,
        tools={"type": "array"},
        max_in_tokens=WHOLE,
        max_out_tokens=WHOLE,
        **dict.fromkeys((*MAX_IN.aliases, *MAX_OUT.aliases), older(WHOLE)),
        include_context=FLAG,
        use_context=older(FLAG),
        structured_output_fallback=FLAG,
    )
    compat = (
        "Effects 13: without provider or model nothing else is dropped from the request, and the "
        "runtime's default applies; `data`, `result` and `raw` are always there. Effects 14: the "
        "conversation keeps what was written, without time stamps. Language 7.3: a schema may be JSON text."
    )

    def advance(
        self, element: Element, bucket: JsonObject, inputs: JsonObject, scope: Scope
    ) -> Stage | PlannedEffect:
        config = element.config("effectConfig")
        recall = _recall(inputs, config, scope.vars)
        return recall.next_stage(bucket) or PlannedEffect(
            "llm_call", _request(inputs, config, recall, bucket, scope.vars)
        )

    def echo(self, element: Element, inputs: JsonObject, effect: PlannedEffect) -> JsonObject:
        warnings = MemorySources.of(inputs, fallback="").warnings
        return {"warnings": warnings} if warnings else {}

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        raw = result if isinstance(result, dict) else {"content": result}
        data = raw.get("data")
        structured = isinstance(data, dict | list)
        calls = _calls(raw.get("tool_calls"))
        response = compact_json(data) if structured else text(raw.get("content"))
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


# --- request ---------------------------------------------------------------------------


def _recall(inputs: JsonObject, config: JsonObject, variables: JsonObject) -> MemorySources:
    question = text(inputs.get("prompt"))
    if not question.strip():
        question = last_user_text(_given_messages(inputs) or active_messages(variables))
    return MemorySources.of(inputs, fallback=question, model=_routing(inputs, config).get("model"))


def _request(
    inputs: JsonObject,
    config: JsonObject,
    recall: MemorySources,
    bucket: JsonObject,
    variables: JsonObject,
) -> JsonObject:
    payload: JsonObject = {
        "prompt": text(inputs.get("prompt")),
        "system_prompt": inputs.get("system", "") or "",
        "tools": _tools(inputs, config),
        "params": _params(inputs, config, recall),
        **_routing(inputs, config),
        "include_context": as_flag(context_flag(inputs, config)),
        **recall.settings,
    }
    max_tokens = first_positive(inputs, config, MAX_IN)
    payload |= {"max_input_tokens": max_tokens} if max_tokens else {}
    payload |= _schema(inputs, config)
    _add_messages(payload, inputs, bucket, variables)
    _add_media(payload, inputs, variables)
    return payload


def _tools(inputs: JsonObject, config: JsonObject) -> list[JsonValue]:
    """Give tool names and specifications as authored; the handler knows the tools."""
    tools = inputs["tools"] if "tools" in inputs else config.get("tools")
    if not isinstance(tools, list):
        return []
    names = [tool.strip() if isinstance(tool, str) else tool for tool in tools]
    return unique([tool for tool in names if tool and isinstance(tool, str | dict)])


def _params(inputs: JsonObject, config: JsonObject, recall: MemorySources) -> JsonObject:
    fallback = as_number(config.get("temperature"), float, DEFAULT_TEMPERATURE)
    params: JsonObject = {"temperature": as_number(inputs.get("temperature"), float, fallback)}
    seed = seed_of(inputs, config)
    max_tokens = first_positive(inputs, config, MAX_OUT)
    optional = {
        "seed": seed,
        "max_output_tokens": max_tokens,
        "include_session_attachments_index": recall.settings.get("use_session_attachments"),
        **{name: inputs.get(name) for name in _FORWARDED},
    }
    return params | {name: value for name, value in optional.items() if value is not None}


def _routing(inputs: JsonObject, config: JsonObject) -> JsonObject:
    """Give provider and model; without both the client chooses."""
    chosen = {name: chosen_text(inputs, config, name) for name in ("provider", "model")}
    return chosen if all(chosen.values()) else {}


def _schema(inputs: JsonObject, config: JsonObject) -> JsonObject:
    schema = read_response_schema(inputs.get("resp_schema"))
    if schema is None:
        return {}
    found: JsonObject = {"response_schema": schema, "response_schema_name": SCHEMA_NAME}
    if as_flag(config.get("structured_output_fallback")):
        found["structured_output_fallback"] = True
    return found


def _given_messages(inputs: JsonObject) -> list[JsonObject]:
    context = inputs.get("context")
    return object_messages(context.get("messages")) if isinstance(context, dict) else []


def _add_messages(
    payload: JsonObject, inputs: JsonObject, bucket: JsonObject, variables: JsonObject
) -> None:
    """Replace prompt and system text by messages where there is a conversation; add what was recalled."""
    given, facts = _given_messages(inputs), kg_text(bucket)
    if not given and facts and KG_MARKER not in text(payload["system_prompt"]):
        parts = (text(payload["system_prompt"]), facts)
        payload["system_prompt"] = "\n\n".join(filter(None, parts))
    system, prompt = payload["system_prompt"], payload["prompt"]
    if given:
        recalled = [] if payload["include_context"] else span_messages(bucket, variables)
        messages = _behind_system(with_prompt(given, system, prompt), recalled)
        if facts and not any(KG_MARKER in str(m.get("content")) for m in messages):
            messages = _behind_system(messages, [{"role": "system", "content": facts}])
    elif payload["include_context"]:
        messages = with_prompt(active_messages(variables), system, prompt)
    elif recalled := span_messages(bucket, variables):
        messages = [*with_prompt([], system, ""), *recalled, *with_prompt([], "", prompt)]
    else:
        return
    del payload["system_prompt"], payload["prompt"]
    limit = None if given else _limit(variables)
    payload["messages"] = trim(messages, payload.get("max_input_tokens") or limit)


def _behind_system(messages: list[JsonObject], added: list[JsonObject]) -> list[JsonObject]:
    lead = next((i for i, m in enumerate(messages) if not is_system(m)), len(messages))
    return [*messages[:lead], *added, *messages[lead:]]


def _limit(variables: JsonObject) -> int:
    limits = variables.get("_limits")
    found = limits.get("max_input_tokens") if isinstance(limits, dict) else None
    return int(as_number(found, int, 0))


def _add_media(payload: JsonObject, inputs: JsonObject, variables: JsonObject) -> None:
    """Attach what the `context` pin says, even nothing, else what the run has."""
    given, own = inputs.get("context"), variables.get("context")
    if isinstance(given, dict) and isinstance(given.get("attachments"), list):
        payload["media"] = _media(given["attachments"])
    elif payload["include_context"] and isinstance(own, dict):
        media = _media(own.get("attachments"))
        payload |= {"media": media} if media else {}


def _media(attachments: JsonValue) -> list[JsonValue]:
    items = attachments if isinstance(attachments, list) else []
    return [a for a in items if isinstance(a, dict) or (isinstance(a, str) and a.strip())]


# --- answer ----------------------------------------------------------------------------


def compact_json(value: JsonValue) -> str:
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
