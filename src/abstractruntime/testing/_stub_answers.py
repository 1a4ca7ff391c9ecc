"""What a scripted model answers, and what that comes to for one request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.llm.port import LLMRequest

__all__ = ["StubAnswer", "StubReply"]


@dataclass(frozen=True, slots=True)
class StubAnswer:
    """One scripted answer: `fail` fails the call, else `reply`, `data` and `tool_calls` are returned.

    `status` (of a failure), `headers`, `delay_s` seconds and `cut`, which ends the connection
    before the answer is whole, are of answers over HTTP only.
    """

    reply: str | None = None
    data: JsonValue = None
    tool_calls: tuple[JsonObject, ...] = ()
    fail: str | None = None
    match: str | None = None
    regex: str | None = None
    finish_reason: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: bool = False

    @property
    def has_rule(self) -> bool:
        return self.match is not None or self.regex is not None

    def fits(self, question: str) -> bool:
        """Tell whether its rule accepts the question."""
        if self.match is not None and self.match not in question:
            return False
        return self.regex is None or re.search(self.regex, question) is not None


@dataclass(frozen=True, slots=True)
class StubReply:
    """What a scripted answer comes to for one request."""

    answer: StubAnswer
    text: str
    input_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, request: LLMRequest, answer: StubAnswer) -> StubReply:
        text = answer.reply
        if text is None and answer.data is not None:
            text = json.dumps(answer.data, ensure_ascii=False)
        sent = sum(len(str(message.get("content") or "")) for message in request.conversation())
        # About four characters make a token.
        return cls(answer, text or "", -(-sent // 4), -(-len(text or "") // 4))

    @property
    def finish_reason(self) -> str:
        return self.answer.finish_reason or ("tool_calls" if self.answer.tool_calls else "stop")
