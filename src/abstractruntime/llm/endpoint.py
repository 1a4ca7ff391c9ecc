"""A client of OpenAI-compatible endpoints.

Rules:
1. A call is one HTTP request: repeating is for the effect policy, which records every attempt.
2. A key belongs to one endpoint and is sent to no other; what the environment of the process
   says to the library counts for nothing.
3. The endpoint is contacted when it is first asked, never before.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timezone
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._json import JsonObject
from abstractruntime.core.ports import Retry
from abstractruntime.llm.actions import as_actions, read_action
from abstractruntime.llm.port import LLMCallFailed, LLMReply, LLMRequest, SchemaRefused
from abstractruntime.llm.wire import StreamedReply, read_reply, request_body

if TYPE_CHECKING:
    import openai

__all__ = ["Endpoint", "EndpointClient"]

_TIMEOUT_S = 600.0
# Endpoints without keys get this one, as the library wants one.
_NO_KEY = "none"
_BUDGETS: Final = ("max_tokens", "max_completion_tokens")
_TOLD_CHARS: Final = 500
_TOOLS: Final = re.compile(r"\btools?\b|function call", re.IGNORECASE)
_SCHEMAS: Final = re.compile(
    r"response_format|json_schema|schema|grammar|structured", re.IGNORECASE
)
_LONGEST_RETRY_S: Final = 24 * 60 * 60.0

Sink = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost."""

    input: float
    output: float
    currency: str = "USD"

    def cost(self, usage: JsonObject) -> float:
        """Give what an answer cost, in its currency."""
        taken, given = int(usage["input_tokens"]), int(usage["output_tokens"])
        return round((taken * self.input + given * self.output) / 1_000_000, 9)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where models answer.

    Attributes:
        base_url: Of the API, such as `http://127.0.0.1:1234/v1`.
        api_key: Sent to this endpoint only; None where it wants none.
        model: Which one answers where a call names none.
        timeout_s: For one request; None for no limit.
        takes_tools: False where the model is to be told of tools in words; an endpoint that
            refuses tools is dealt with so after the first refusal.
        prices: By name of model.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None
    timeout_s: float | None = _TIMEOUT_S
    takes_tools: bool = True
    prices: Mapping[str, Price] = field(default_factory=dict)


class EndpointClient:
    """An `LLMClient` that asks endpoints."""

    def __init__(
        self,
        default: Endpoint | None = None,
        *,
        providers: Mapping[str, Endpoint] | None = None,
        force_model: str | None = None,
        on_text: Sink | None = None,
    ) -> None:
        """Ask endpoints.

        Args:
            default: Answers calls whose provider is not in `providers`.
            providers: Endpoints by the lower-case name of a provider.
            force_model: Which model answers, whatever a call says.
            on_text: Gets the text of answers piece by piece; without it they come whole.
        """
        self._default: _Line | None = None if default is None else _Line(default)
        self._lines = {name.lower(): _Line(end) for name, end in (providers or {}).items()}
        self._force_model = force_model
        self._on_text = on_text

    def complete(self, request: LLMRequest) -> LLMReply:
        """Ask the model once.

        Raises:
            LLMCallFailed: with a stable code; it says whether repeating can help, and when.
        """
        line = self._line(request)
        endpoint = line.endpoint
        model = self._force_model or request.model or endpoint.model
        if model is None:
            raise LLMCallFailed(
                "llm_bad_request: the call names no model, and neither does its endpoint",
                is_final=True,
                hint="name one in the node, or set llm.model",
            )
        if request.media:
            raise LLMCallFailed(
                f"llm_unsupported_media: {len(request.media)} attachments, and endpoints get text only",
                is_final=True,
            )
        reply = line.ask(request, model, self._on_text)
        return replace(reply, provider=request.provider, usage=_priced(reply, model, endpoint))

    def _line(self, request: LLMRequest) -> _Line:
        found = self._lines.get((request.provider or "").lower(), self._default)
        if found is None:
            raise LLMCallFailed(
                f"llm_connection: no endpoint for provider {request.provider!r}",
                is_final=True,
                hint="set llm.base_url, or the provider in llm.providers",
            )
        return found


def _priced(reply: LLMReply, model: str, endpoint: Endpoint) -> JsonObject | None:
    price = endpoint.prices.get(reply.model or model) or endpoint.prices.get(model)
    if reply.usage is None or price is None:
        return reply.usage
    return {**reply.usage, "cost": price.cost(reply.usage), "currency": price.currency}


class _Line:
    """One endpoint, and what it taught: how it calls the room for an answer, and whether it takes tools."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._budget_name = _BUDGETS[0]
        self._takes_tools = endpoint.takes_tools

    @cached_property
    def _client(self) -> openai.OpenAI:
        # 0.6 s of imports that only model calls need.
        import openai  # noqa: PLC0415 - see above

        return openai.OpenAI(
            base_url=self.endpoint.base_url,
            api_key=self.endpoint.api_key or _NO_KEY,
            organization="",
            project="",
            timeout=self.endpoint.timeout_s,
            max_retries=0,
        )

    def ask(self, request: LLMRequest, model: str, on_text: Sink | None) -> LLMReply:
        asked = request if self._takes_tools else as_actions(request)
        # An action is for the runtime, nobody is to see it grow.
        sink = on_text if asked is request else None
        body = request_body(asked, model, budget_name=self._budget_name, streams=sink is not None)
        began = time.monotonic()
        try:
            reply = self._stream(body, sink, began) if sink else self._whole(body)
        except Exception as error:
            raise self._failure(error, asked) from error
        reply = replace(reply, gen_time=_ms_since(began))
        return reply if asked is request else read_action(reply, request)

    def _whole(self, body: JsonObject) -> LLMReply:
        known = {"model": body["model"], "messages": body["messages"]}
        raw = self._client.chat.completions.with_raw_response.create(**known, extra_body=body)
        return _read(raw.http_response.json)

    def _stream(self, body: JsonObject, on_text: Sink, began: float) -> LLMReply:
        known = {"model": body["model"], "messages": body["messages"], "stream": True}
        streamed, first_ms = StreamedReply(), None
        with self._client.chat.completions.create(**known, extra_body=body) as events:
            for event in events:
                text = streamed.add(event.to_dict())
                if text and first_ms is None:
                    first_ms = _ms_since(began)
                if text:
                    on_text(text)
        return replace(_read(streamed.reply), ttft_ms=first_ms)

    def _failure(self, error: Exception, request: LLMRequest) -> LLMCallFailed:
        """Say what an exception of the library means.

        Raises:
            Exception: it is none of the library's, nor of the transport below it.
        """
        import openai  # noqa: PLC0415 - it is loaded when it can have raised

        if isinstance(error, LLMCallFailed):
            return error
        if isinstance(error, openai.APITimeoutError):
            within = (
                f"within {self.endpoint.timeout_s:g} s" if self.endpoint.timeout_s else "in time"
            )
            return LLMCallFailed(f"llm_timeout: no answer {within}")
        if isinstance(error, openai.APIStatusError):
            return self._refusal(error, request)
        if isinstance(error, openai.APIConnectionError) or _is_transport(error):
            cause = error.__cause__ or error
            return LLMCallFailed(self._said("llm_connection", f"{self.endpoint.base_url}: {cause}"))
        if isinstance(error, openai.OpenAIError):
            return LLMCallFailed(self._said("llm_server", str(error)))
        raise error

    def _refusal(self, error: openai.APIStatusError, request: LLMRequest) -> LLMCallFailed:
        status, told = error.status_code, _told(error)
        text = self._said(_code_of(status), f"{status} {told}")
        if status == 400 and _BUDGETS[1] in told and self._budget_name == _BUDGETS[0]:
            self._budget_name = _BUDGETS[1]
            return LLMCallFailed(text, retry=Retry(is_counted=False, after_s=0.0))
        if status in (400, 404, 422) and request.tools and _TOOLS.search(told):
            self._takes_tools = False
            return LLMCallFailed(text, retry=Retry(is_counted=False, after_s=0.0))
        if status in (400, 422) and request.response_schema is not None and _SCHEMAS.search(told):
            return SchemaRefused(text, is_final=True)
        if status == 429 and "insufficient_quota" in told:
            return LLMCallFailed(text, is_final=True)
        if status in (408, 409, 425, 429) or status >= 500:
            after_s = _retry_after_s(error.response.headers.get("retry-after"))
            return LLMCallFailed(text, retry=None if after_s is None else Retry(after_s=after_s))
        return LLMCallFailed(text, is_final=True)

    def _said(self, code: str, text: str) -> str:
        """Give a message that holds no key, also where an endpoint repeats it."""
        if self.endpoint.api_key:
            text = text.replace(self.endpoint.api_key, "***")
        return f"{code}: {text[:_TOLD_CHARS]}"


def _read(make: Callable[[], Any]) -> LLMReply:
    try:
        made = make()
        return made if isinstance(made, LLMReply) else read_reply(made)
    except (ValueError, TypeError, AttributeError) as error:
        raise LLMCallFailed(f"llm_server: the endpoint gave no completion: {error}") from error


def _ms_since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)


_CODES: Final[Mapping[int, str]] = {
    401: "llm_auth",
    403: "llm_auth",
    408: "llm_timeout",
    429: "llm_rate_limited",
}


def _code_of(status: int) -> str:
    return _CODES.get(status, "llm_server" if status >= 500 else "llm_bad_request")


def _told(error: openai.APIStatusError) -> str:
    """Give what the endpoint said, in one line."""
    body = error.body
    inner = body.get("error", body) if isinstance(body, dict) else body
    text = inner.get("message") if isinstance(inner, dict) else inner
    kind = inner.get("code") if isinstance(inner, dict) else None
    return " ".join(f"{text or error.message}{f' ({kind})' if kind else ''}".split())


def _retry_after_s(header: str | None) -> float | None:
    """Read a `Retry-After` header: seconds, or a date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            due = parsedate_to_datetime(header)
        except ValueError:
            return None
        # The date is the server's; compared with any clock but the real one it means nothing.
        seconds = due.replace(tzinfo=due.tzinfo or timezone.utc).timestamp() - time.time()
    return min(max(seconds, 0.0), _LONGEST_RETRY_S) if seconds == seconds else None  # noqa: PLR0124 - NaN


def _is_transport(error: Exception) -> bool:
    """Say whether the HTTP library below raised it, whichever of its two generations it is."""
    module = type(error).__module__.partition(".")[0]
    return module in ("httpx", "httpx2", "httpcore", "httpcore2") or isinstance(error, OSError)
