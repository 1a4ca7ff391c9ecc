"""The handler of `llm_call` effects.

Rules:
1. A call needs a non-blank prompt or at least one message.
2. With `include_context`, the question and the answer join `vars.context.messages`; they do so
   together, after the call, and exactly as written by user and model.
3. Everything from the client is foreign text: it is made JSON before it becomes a result.
4. Tools named in a request are described to the model as the executor describes them; names it
   does not know are left out, and listed in the result's `metadata._unknown_tools`.
5. Media that tools left in `_runtime.pending_media` join the next call, and are forgotten when
   it was answered.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from abstractruntime._json import JsonObject, JsonValue, mapping, normalise, replace_surrogates
from abstractruntime.core.models import Effect, RunState
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.usage import prompt_tokens
from abstractruntime.core.vars import LIMITS, RUNTIME, get_context
from abstractruntime.errors import InvalidValue, UsageError
from abstractruntime.llm.port import LLMCallFailed, LLMClient, LLMReply, LLMRequest
from abstractruntime.llm.structured import parse_answer, read_schema, schema_violation
from abstractruntime.tools.port import ToolExecutor

_TRUNCATED = frozenset({"length", "max_tokens", "max_output_tokens"})
_PENDING_MEDIA = "pending_media"
_ATTEMPTS = 3
_BUDGET = 2048
_BUDGET_STEP = 500
_BUDGET_CAP = 1_000_000


class LLMHandler:
    """Answers `llm_call` effects with a client; every failure of a call is a failed outcome."""

    def __init__(self, client: LLMClient, *, tools: ToolExecutor | None = None) -> None:
        """Answer with `client`; `tools` describes the tools that requests name."""
        self._client = client
        self._tools = tools

    def __call__(
        self,
        run: RunState,
        effect: Effect,
        default_next_node: str | None = None,  # noqa: ARG002 - part of the handler protocol
    ) -> EffectOutcome:
        """Ask the model and give its result object."""
        payload = effect.payload
        try:
            tools, unknown = self._described(payload.get("tools"))
            request = _request(run, payload, tools)
            reply = self._answer(request, payload, run.vars.get(LIMITS))
            result = normalise(_clean(reply.to_result()))
        except (LLMCallFailed, UsageError, InvalidValue) as failure:
            return EffectOutcome.failed(str(failure))
        if unknown:
            result["metadata"] = {**result["metadata"], "_unknown_tools": unknown}
        _forget_pending_media(run)
        if _is_set(payload.get("include_context")) or _is_set(payload.get("use_context")):
            _remember(run, request, result)
        _count_tokens(run, result)
        return EffectOutcome.completed(result)

    def _described(self, given: JsonValue) -> tuple[list[JsonObject], list[str]]:
        """Give the specifications of the tools asked for, and the names nobody knows."""
        asked = [tool for tool in _list(given) if isinstance(tool, str | dict)]
        names = [tool for tool in asked if isinstance(tool, str)]
        known: dict[str, JsonObject] = {}
        if names and self._tools is not None:
            known = {str(spec.get("name")): spec for spec in self._tools.specs()}
        unknown = [name for name in names if name not in known]
        found = [tool if isinstance(tool, dict) else known.get(tool) for tool in asked]
        return [spec for spec in found if spec is not None], unknown

    def _answer(self, request: LLMRequest, payload: JsonObject, limits: Any) -> LLMReply:
        reply = self._complete(request, payload, limits)
        schema = request.response_schema
        if schema is None:
            return reply
        if reply.data is None:
            return _with_parsed_data(reply, schema)
        violation = schema_violation(reply.data, schema)
        if violation is None:
            return reply
        if not _is_set(payload.get("structured_output_fallback")):
            raise LLMCallFailed(f"llm_invalid_structured_output: {violation}")
        plain = self._complete(replace(request, response_schema=None), payload, limits)
        note = {"_structured_output_fallback": {"used": True, "error": violation}}
        return _with_parsed_data(replace(plain, metadata={**plain.metadata, **note}), schema)

    def _complete(self, request: LLMRequest, payload: JsonObject, limits: Any) -> LLMReply:
        attempts: list[JsonObject] = []
        while True:
            reply = self._client.complete(request)
            budget = request.params.get("max_output_tokens")
            attempts.append(
                {
                    "attempt": len(attempts) + 1,
                    "finish_reason": reply.finish_reason,
                    "max_output_tokens": budget,
                }
            )
            is_truncated = reply.finish_reason in _TRUNCATED
            if not is_truncated or _is_set(payload.get("allow_truncation")):
                return reply if len(attempts) == 1 else _with_attempts(reply, attempts)
            wider = _wider_budget(budget, limits)
            if len(attempts) == _ATTEMPTS or wider == budget:
                raise LLMCallFailed(
                    f"llm_truncated: the answer was truncated in {len(attempts)} attempts"
                )
            request = replace(request, params={**request.params, "max_output_tokens": wider})


def _request(run: RunState, payload: JsonObject, tools: list[JsonObject]) -> LLMRequest:
    prompt, messages = payload.get("prompt"), payload.get("messages")
    prompt = prompt if isinstance(prompt, str) else ""
    messages = [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    if not prompt.strip() and not messages:
        raise UsageError("llm_call needs a non-blank 'prompt' or non-empty 'messages'")
    schema = payload.get("response_schema")
    return LLMRequest(
        prompt=prompt,
        system_prompt=_text(payload.get("system_prompt")) or "",
        messages=messages or None,
        tools=tools,
        media=_with_pending(_list(payload.get("media")), run.vars.get(RUNTIME)),
        params=_params(payload, run.vars.get(LIMITS)),
        provider=_text(payload.get("provider")),
        model=_text(payload.get("model")),
        max_input_tokens=_positive(payload, run.vars.get(LIMITS), "max_input_tokens"),
        response_schema=None if not schema else read_schema(schema),
        response_schema_name=_text(payload.get("response_schema_name")) or "LLM_StructuredOutput",
        run_id=run.run_id,
        node_id=run.current_node,
    )


def _with_pending(media: list[JsonValue], runtime: Any) -> list[JsonValue]:
    pending = _list(mapping(runtime).get(_PENDING_MEDIA))
    return [*media, *(item for item in pending if item not in media)]


def _forget_pending_media(run: RunState) -> None:
    mapping(run.vars.get(RUNTIME)).pop(_PENDING_MEDIA, None)


def _params(payload: JsonObject, limits: Any) -> JsonObject:
    params = mapping(payload.get("params"))
    budget = _positive(params, limits, "max_output_tokens")
    return dict(params) if budget is None else {**params, "max_output_tokens": budget}


def _positive(first: JsonObject, second: Any, name: str) -> int | None:
    for source in (first, second):
        value = mapping(source).get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _wider_budget(budget: Any, limits: Any) -> int:
    limit = _positive({}, limits, "max_output_tokens")
    current = budget if isinstance(budget, int) else limit or _BUDGET
    return min(max(2 * current, current + _BUDGET_STEP), limit or _BUDGET_CAP)


def _with_attempts(reply: LLMReply, attempts: list[JsonObject]) -> LLMReply:
    resolved = reply.finish_reason not in _TRUNCATED
    note = {"_truncation": {"attempts": attempts, "resolved": resolved}}
    return replace(reply, metadata={**reply.metadata, **note})


def _with_parsed_data(reply: LLMReply, schema: JsonObject) -> LLMReply:
    if not reply.content or reply.tool_calls:
        return reply
    data, problem = parse_answer(reply.content)
    problem = problem or schema_violation(data, schema)
    note = {"_structured_output_parse_error": problem} if problem else {}
    return replace(reply, data=data, metadata={**reply.metadata, **note})


def _remember(run: RunState, request: LLMRequest, result: JsonObject) -> None:
    context = get_context(run.vars)
    messages = context.get("messages")
    if not isinstance(messages, list):
        messages = context["messages"] = []
    answer = result["content"] if result["content"] is not None else _as_text(result["data"])
    for role, text in (("user", request.user_text), ("assistant", answer)):
        if text.strip():
            metadata = {"kind": "llm_turn", "node_id": request.node_id}
            messages.append({"role": role, "content": text, "metadata": metadata})


def _count_tokens(run: RunState, result: JsonObject) -> None:
    used, limits = prompt_tokens(result), run.vars.get(LIMITS)
    if used is not None and isinstance(limits, dict):
        limits["estimated_tokens_used"] = used


def _as_text(data: JsonValue) -> str:
    return "" if data is None else json.dumps(data, ensure_ascii=False, indent=2)


def _clean(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _list(value: JsonValue) -> list[JsonValue]:
    return list(value) if isinstance(value, list) else []


def _is_set(value: JsonValue) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in ("1", "true", "yes", "y", "on")
    return bool(value)
