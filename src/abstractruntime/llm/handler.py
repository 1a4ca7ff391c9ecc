"""The handler of `llm_call` effects.

Rules:
1. A call needs a non-blank prompt or at least one message.
2. An attempt is one call of the client. What an answer needs beyond one, such as more room after
   a truncated one, is another attempt, recorded with the reason and not counted by the policy.
3. Structured output is validated; an answer that breaks the schema is asked for once more, with
   what was wrong with it.
4. With `include_context`, the question and the answer join `vars.context.messages`; they do so
   together, after the call, and exactly as written by user and model.
5. Everything from the client is foreign text: it is made JSON before it becomes a result.
6. Tools named in a request are described to the model as the executor describes them; names it
   does not know are left out, and listed in the result's `metadata._unknown_tools`.
7. Media that tools left in `_runtime.pending_media` join the next call, and are forgotten when
   it was answered.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from abstractruntime._json import JsonObject, JsonValue, mapping, normalise, replace_surrogates
from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, RunState
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.usage import prompt_tokens
from abstractruntime.core.vars import LIMITS, RUNTIME, get_context
from abstractruntime.errors import InvalidValue, UsageError
from abstractruntime.llm._turn import Room, Turn
from abstractruntime.llm.port import LLMCallFailed, LLMClient, LLMReply, LLMRequest, SchemaRefused
from abstractruntime.llm.structured import read_schema
from abstractruntime.tools.port import ToolExecutor

_PENDING_MEDIA = "pending_media"
_ATTEMPTS = 3
_LEAST_CAP = 256
_BUDGET_CAP = 1_000_000


class LLMHandler:
    """Answers `llm_call` effects with a client; every failure of a call is a failed outcome."""

    takes_context: ClassVar[bool] = True

    def __init__(self, client: LLMClient, *, tools: ToolExecutor | None = None) -> None:
        """Answer with `client`; `tools` describes the tools that requests name."""
        self._client = client
        self._tools = tools

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        """Ask the model and give its result object."""
        run, payload = ctx.run, effect.payload
        try:
            tools, unknown = self._described(payload.get("tools"))
            request = _request(run, payload, tools)
            reply = self._answer(Turn.carried(ctx.carried), request, payload, run)
            result = normalise(_clean(reply.to_result()))
        except LLMCallFailed as failure:
            return failure.outcome()
        except (UsageError, InvalidValue) as failure:
            return EffectOutcome.failed(str(failure), is_final=True)
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

    def _answer(
        self, turn: Turn, request: LLMRequest, payload: JsonObject, run: RunState
    ) -> LLMReply:
        asked = turn.asked(request)
        try:
            reply = self._client.complete(asked)
        except SchemaRefused as refused:
            raise turn.in_words(refused) from refused
        reply = turn.whole(reply, asked, _room(payload, run.vars.get(LIMITS)))
        if request.response_schema is None:
            return reply
        falls_back = _is_set(payload.get("structured_output_fallback"))
        return turn.structured(reply, request.response_schema, falls_back=falls_back)


def _room(payload: JsonObject, limits: Any) -> Room:
    """Read how a truncated answer is to be dealt with."""
    limit = _positive({}, limits, "max_output_tokens")
    cap = _first_count(payload, "max_output_tokens_cap", "max_truncation_max_output_tokens")
    tries = _first_count(payload, "max_truncation_attempts", "truncation_max_attempts")
    asks_again = next(
        (payload[n] for n in ("retry_on_truncation", "no_truncation") if n in payload), True
    )
    return Room(
        attempts=(tries or _ATTEMPTS) if _is_set(asks_again) else 1,
        cap=max(_LEAST_CAP, cap) if cap else limit or _BUDGET_CAP,
        default=limit,
        allows_truncation=_is_set(payload.get("allow_truncation"))
        or _is_set(payload.get("allow_truncated")),
    )


def _first_count(payload: JsonObject, *names: str) -> int | None:
    return next(filter(None, (_positive(payload, None, name) for name in names)), None)


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
