"""What a language model client is to the runtime."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Protocol

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.core.ports import EffectOutcome, Retry
from abstractruntime.errors import AbstractRuntimeError

_USER = "user"


class LLMCallFailed(AbstractRuntimeError):  # noqa: N818 - named like RunFailed
    """A model call gave no usable answer; the text starts with a stable code where one is known.

    Codes are `llm_timeout`, `llm_connection`, `llm_auth`, `llm_rate_limited`, `llm_bad_request`,
    `llm_server`, `llm_truncated`, `llm_invalid_structured_output` and `llm_unsupported_media`.

    Attributes:
        retry: How to repeat the call; None: as the policy says.
        is_final: Whether repeating it cannot help.
    """

    code = "llm_failed"

    def __init__(
        self,
        message: str,
        *,
        retry: Retry | None = None,
        is_final: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry = retry
        self.is_final = is_final

    def outcome(self) -> EffectOutcome:
        """Give what this makes of the effect."""
        return EffectOutcome.failed(str(self), retry=self.retry, is_final=self.is_final)


class SchemaRefused(LLMCallFailed):
    """The endpoint takes no response schema; the same call without one may succeed."""


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """One call of a model.

    Either `messages` is the whole conversation, or `prompt` and `system_prompt` are. No
    provider or model means: the client's own choice. A client must not change any field.
    """

    prompt: str = ""
    system_prompt: str = ""
    messages: list[JsonObject] | None = None
    tools: list[JsonObject] = field(default_factory=list)
    media: list[JsonValue] = field(default_factory=list)
    params: JsonObject = field(default_factory=dict)
    provider: str | None = None
    model: str | None = None
    max_input_tokens: int | None = None
    response_schema: JsonObject | None = None
    response_schema_name: str = "LLM_StructuredOutput"
    run_id: str = ""
    node_id: str = ""

    @property
    def user_text(self) -> str:
        """Give the question: the prompt, else the text of the last user message."""
        if self.prompt.strip():
            return self.prompt
        for message in reversed(self.messages or []):
            if message.get("role") == _USER:
                return str(message.get("content") or "")
        return ""

    def conversation(self) -> list[JsonObject]:
        """Give the messages to send: `messages`, or system and user turns made of the texts."""
        if self.messages:
            return list(self.messages)
        system = [{"role": "system", "content": self.system_prompt}] if self.system_prompt else []
        return [*system, {"role": _USER, "content": self.prompt}]


@dataclass(frozen=True, slots=True)
class LLMReply:
    """What a model answered; `data` is set when the client already holds structured output."""

    content: str | None = None
    data: JsonValue = None
    tool_calls: list[JsonObject] = field(default_factory=list)
    reasoning: str | None = None
    model: str | None = None
    provider: str | None = None
    finish_reason: str | None = "stop"
    usage: JsonObject | None = None
    metadata: JsonObject = field(default_factory=dict)
    gen_time: float | None = None
    ttft_ms: float | None = None

    def to_result(self) -> JsonObject:
        """Give the result object of the effect; the order of the fields is the stored order."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


class LLMClient(Protocol):
    """Talks to a model."""

    def complete(self, request: LLMRequest) -> LLMReply:
        """Ask the model once: one request, and no repetition of its own.

        Raises:
            LLMCallFailed: with the text that the run records.
        """
        ...
