"""What earlier attempts of one model call leave for the next: more room, or an answer to mend."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from abstractruntime._json import JsonObject, JsonValue, mapping
from abstractruntime.core.ports import Retry
from abstractruntime.llm.port import LLMCallFailed, LLMReply, LLMRequest, SchemaRefused
from abstractruntime.llm.structured import parse_answer, schema_violation

__all__ = ["Room", "Turn"]

_TRUNCATED = frozenset({"length", "max_tokens", "max_output_tokens"})
_BUDGET = 2048
_BUDGET_STEP = 500


@dataclass(frozen=True, slots=True)
class Turn:
    """One attempt of a call.

    Attributes:
        truncated: `{attempt, finish_reason, max_output_tokens}` of each truncated answer so far.
        max_output_tokens: The room for this answer, where an earlier one was truncated.
        is_plain: The endpoint takes no schema: the question says it in words.
        broken: The answer that broke the schema, and `problem` what was wrong with it.
    """

    truncated: tuple[JsonObject, ...] = ()
    max_output_tokens: int | None = None
    is_plain: bool = False
    broken: str | None = None
    problem: str | None = None

    @classmethod
    def carried(cls, value: JsonValue) -> Turn:
        """Read what the attempt before this one left; the first one has nothing."""
        known = mapping(value)
        return cls(**{**known, "truncated": tuple(known.get("truncated", ()))})

    def asked(self, request: LLMRequest) -> LLMRequest:
        """Give what to ask in this attempt."""
        if self.max_output_tokens is not None:
            params = {**request.params, "max_output_tokens": self.max_output_tokens}
            request = replace(request, params=params)
        if request.response_schema is None or not (self.is_plain or self.problem):
            return request
        messages = [*request.conversation(), *self._correction(request.response_schema)]
        schema = None if self.is_plain else request.response_schema
        return replace(request, messages=messages, response_schema=schema)

    def _correction(self, schema: JsonObject) -> list[JsonObject]:
        wanted = "Answer with one JSON object that this JSON Schema describes, and nothing else."
        text = f"{wanted}\n{json.dumps(schema, ensure_ascii=False)}"
        if self.problem is None:
            return [{"role": "user", "content": text}]
        return [
            {"role": "assistant", "content": self.broken or ""},
            {"role": "user", "content": f"That does not fit: {self.problem}. {text}"},
        ]

    def again(self, reason: str, **changes: Any) -> LLMCallFailed:
        """Give the failure after which this call is asked again, differently and at once."""
        carry = asdict(replace(self, **changes))
        return LLMCallFailed(reason, retry=Retry(is_counted=False, after_s=0.0, carry=carry))

    def in_words(self, refused: SchemaRefused) -> LLMCallFailed:
        return refused if self.is_plain else self.again(str(refused), is_plain=True)

    def whole(self, reply: LLMReply, request: LLMRequest, room: Room) -> LLMReply:
        """Give the answer, unless it was truncated.

        Raises:
            LLMCallFailed: it was; where there is more room, it is asked for again.
        """
        given = request.params.get("max_output_tokens")
        attempt = {"attempt": len(self.truncated) + 1, "finish_reason": reply.finish_reason}
        told = (*self.truncated, {**attempt, "max_output_tokens": given})
        if reply.finish_reason not in _TRUNCATED or room.allows_truncation:
            note = {"_truncation": {"attempts": list(told), "resolved": True}}
            return _noted(reply, note) if self.truncated else reply
        wider = room.wider(given)
        reason = f"llm_truncated: the answer was truncated in {len(told)} attempts"
        if len(told) >= room.attempts or wider is None:
            raise LLMCallFailed(reason, is_final=True)
        raise self.again(reason, truncated=told, max_output_tokens=wider)

    def structured(self, reply: LLMReply, schema: JsonObject, *, falls_back: bool) -> LLMReply:
        """Give the answer with its data.

        Raises:
            LLMCallFailed: the data break the schema; the first time, they are asked for again.
        """
        if reply.tool_calls and reply.data is None:
            return reply
        data, problem = reply.data, None
        if data is None:
            data, problem = parse_answer(reply.content or "")
        problem = problem or schema_violation(data, schema)
        if problem is None:
            return replace(reply, data=data)
        reason = f"llm_invalid_structured_output: {problem}"
        if self.problem is None:
            raise self.again(reason, broken=_text_of(reply), problem=problem)
        if not falls_back:
            raise LLMCallFailed(reason, is_final=True)
        note = {"_structured_output_fallback": {"used": True, "error": problem}}
        return _noted(replace(reply, data=data), note)


@dataclass(frozen=True, slots=True)
class Room:
    """How much room an answer may be given: `cap` tokens, in at most `attempts` attempts."""

    attempts: int
    cap: int
    default: int | None
    allows_truncation: bool

    def wider(self, budget: JsonValue) -> int | None:
        """Give the next budget; None where it cannot grow."""
        current = budget if isinstance(budget, int) else self.default or _BUDGET
        wider = min(max(2 * current, current + _BUDGET_STEP), self.cap)
        return wider if wider > current else None


def _noted(reply: LLMReply, note: JsonObject) -> LLMReply:
    return replace(reply, metadata={**reply.metadata, **note})


def _text_of(reply: LLMReply) -> str:
    if reply.content is not None:
        return reply.content
    return json.dumps(reply.data, ensure_ascii=False)
