"""A language model that answers from a script, in the process or over HTTP.

Which answer a request gets:

1. the first answer with a `match` (text contained in the question) or `regex` that fits;
2. else the answers without a rule, one after another;
3. else `default`; else an echo of the question, or, with a response schema, the smallest
   instance of it.

How rule 2 counts is the difference between the two ways to make a stub. `StubLLM(...)` counts
its calls, and `exhausted` says what follows the last one. `StubLLM.from_file` counts the
assistant turns in the request instead and repeats the last answer: it keeps no state, so
that a run which continues in another process gets the answers it would have got in one.

`StubLLM.serve` gives the same answers to whoever asks over HTTP, in the format of OpenAI; there
an answer can also have a status, headers and a delay, or be cut off in the middle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from abstractruntime._files import read_bounded
from abstractruntime._json import JsonObject, JsonValue, load_strict, why_unread
from abstractruntime._json_size import has_more_values
from abstractruntime._yaml import load_yaml
from abstractruntime.errors import UnsupportedFormat, UsageError
from abstractruntime.llm.port import LLMCallFailed, LLMReply, LLMRequest
from abstractruntime.testing._stub_answers import StubAnswer, StubReply

if TYPE_CHECKING:
    from abstractruntime.testing.stub_server import StubServer

_MAX_BYTES = 16 * 1024 * 1024
_MAX_VALUES = 300_000

__all__ = ["StubAnswer", "StubLLM", "sample_of"]

FORMAT = "art-stub-llm/1"
_MODEL = "stub"
_ECHO_CHARS = 200

Exhausted = Literal["repeat", "error", "default"]


class StubLLM:
    """An `LLMClient` for tests and offline runs; `calls` holds every request it got."""

    def __init__(
        self,
        answers: Iterable[Any] | Mapping[str, Any] = (),
        *,
        default: str | None = None,
        exhausted: Exhausted = "repeat",
    ) -> None:
        """Script a stub.

        Args:
            answers: In order, or by text contained in the question. An answer is a text, an
                object (structured output), an exception to raise, or a `StubAnswer`.
            default: What to say where no answer applies.
            exhausted: After the last unruled answer: repeat it, fail, or go on to the default.
        """
        script = _script(answers)
        self.calls: list[LLMRequest] = []
        self._ruled = [answer for answer in script if answer.has_rule]
        self._queue = [answer for answer in script if not answer.has_rule]
        self._default = default
        self._exhausted = exhausted
        self._taken: int | None = 0

    @classmethod
    def from_file(cls, path: str | Path) -> StubLLM:
        """Read a script document, JSON or (`.yaml`, `.yml`) YAML.

        `{"format": "art-stub-llm/1", "default": TEXT, "answers": [{"match": TEXT, "regex": TEXT,
        "reply": TEXT, "data": OBJECT, "tool_calls": [OBJECT], "fail": TEXT, "finish_reason": TEXT,
        "status": NUMBER, "headers": OBJECT, "delay_s": NUMBER, "cut": BOOLEAN}]}`

        Raises:
            NotFound, StoreIOError: the file cannot be read.
            UsageError: the document breaks a rule; the text names the place.
            UnsupportedFormat: the document belongs to another version.
        """
        document = _read(Path(path))
        stub = cls(
            [_answer(item, f"{path}: answers/{i}") for i, item in enumerate(document["answers"])],
            default=document["default"],
        )
        stub._taken = None
        return stub

    def complete(self, request: LLMRequest) -> LLMReply:
        """Give the scripted answer.

        Raises:
            LLMCallFailed: the script says so, or has no more answers.
        """
        scripted = self.answer(request)
        answer = scripted.answer
        if answer.fail is not None:
            raise LLMCallFailed(answer.fail)
        return LLMReply(
            content=scripted.text,
            data=answer.data,
            tool_calls=list(answer.tool_calls),
            model=request.model or _MODEL,
            provider=request.provider or _MODEL,
            finish_reason=scripted.finish_reason,
            usage={
                "input_tokens": scripted.input_tokens,
                "output_tokens": scripted.output_tokens,
            },
        )

    def answer(self, request: LLMRequest) -> StubReply:
        """Choose the answer to a request, and keep the request.

        Raises:
            LLMCallFailed: the script has no more answers.
        """
        self.calls.append(request)
        chosen = self._choose(request)
        return StubReply.of(request, chosen or _fallback(request, self._default))

    def serve(self, *, port: int = 0, api_key: str | None = None) -> StubServer:
        """Give a loopback endpoint in the format of OpenAI that answers while its context is open.

        Args:
            port: 0 for one that is free.
            api_key: What requests must bring as bearer token; None admits all.

        Raises:
            OSError: the port is taken.
        """
        from abstractruntime.testing.stub_server import StubServer  # noqa: PLC0415 - the server of the library is slow to load

        return StubServer(self, port=port, api_key=api_key)

    def _choose(self, request: LLMRequest) -> StubAnswer | None:
        question = request.user_text
        ruled = next((answer for answer in self._ruled if answer.fits(question)), None)
        if ruled is not None or not self._queue:
            return ruled
        position = _assistant_turns(request) if self._taken is None else self._taken
        if self._taken is not None:
            self._taken += 1
        if position < len(self._queue):
            return self._queue[position]
        if self._exhausted == "error":
            raise LLMCallFailed(
                f"stub has {len(self._queue)} answers, this is call {position + 1}",
                hint="script more answers, or choose another `exhausted`",
            )
        return self._queue[-1] if self._exhausted == "repeat" else None


def sample_of(schema: JsonObject) -> JsonValue:
    """Give the smallest value of a JSON Schema: required properties, empty texts, zeros, false."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for variants in filter(None, map(schema.get, ("anyOf", "oneOf", "allOf"))):
        return sample_of(variants[0])
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        required = schema.get("required")
        names = list(properties) if required is None else required
        return {name: sample_of(properties.get(name, {})) for name in names}
    if kind == "array":
        return [sample_of(schema.get("items", {})) for _ in range(schema.get("minItems", 0))]
    smallest: dict[str, JsonValue] = {"string": "", "boolean": False, "null": None}
    return smallest.get(kind, schema.get("minimum", 0))


def _assistant_turns(request: LLMRequest) -> int:
    return sum(message.get("role") == "assistant" for message in request.messages or [])


def _fallback(request: LLMRequest, default: str | None) -> StubAnswer:
    if default is not None:
        return StubAnswer(reply=default)
    if request.response_schema is not None:
        return StubAnswer(data=sample_of(request.response_schema))
    return StubAnswer(reply=f"stub: {request.user_text[:_ECHO_CHARS]}")


def _script(answers: Iterable[Any] | Mapping[str, Any]) -> list[StubAnswer]:
    if isinstance(answers, Mapping):
        return [replace(_as_answer(value), match=text) for text, value in answers.items()]
    return [_as_answer(value) for value in answers]


def _as_answer(value: Any) -> StubAnswer:
    if isinstance(value, StubAnswer):
        return value
    if isinstance(value, str):
        return StubAnswer(reply=value)
    if isinstance(value, Exception):
        return StubAnswer(fail=str(value))
    if isinstance(value, dict):
        return StubAnswer(data=value)
    raise UsageError(
        f"stub answer is {type(value).__name__}, expected text, an object, an exception or a StubAnswer"
    )


_FORM = f'a file of answers is {{"format": "{FORMAT}", "answers": [{{"reply": "..."}}]}}'


def _read(path: Path) -> JsonObject:
    data = read_bounded(path, _MAX_BYTES)
    if has_more_values(data, _MAX_VALUES):
        raise UsageError(f"'{path}' holds more than {_MAX_VALUES} values", path=str(path))
    try:
        text = data.decode()
        document = load_yaml(text) if path.suffix in (".yaml", ".yml") else load_strict(text)
    except (ValueError, RecursionError) as cause:
        raise UsageError(
            f"'{path}' is no file of answers: {why_unread(cause)}",
            hint="correct the file",
            path=str(path),
        ) from None
    return _checked_document(document, path)


def _checked_document(document: JsonValue, path: Path) -> JsonObject:
    if not isinstance(document, dict):
        raise UsageError(
            f"'{path}' is no file of answers: expected an object with format and answers",
            hint=_FORM,
            path=str(path),
        )
    found = document.get("format")
    if found != FORMAT:
        raise UnsupportedFormat(
            f"'{path}' is no file of answers: format is {found!r}, expected {FORMAT!r}",
            hint=_FORM,
            found=found,
            supported=FORMAT,
            path=str(path),
        )
    _refuse_unknown(document, {"format", "answers", "default"}, str(path))
    answers, default = document.get("answers", []), document.get("default")
    if not isinstance(answers, list):
        raise UsageError(
            f"{path}: answers is {type(answers).__name__}, expected a list", hint=_FORM
        )
    if not isinstance(default, str | None):
        raise UsageError(f"{path}: default is {type(default).__name__}, expected text", hint=_FORM)
    return {"answers": answers, "default": default}


@dataclass(frozen=True, slots=True)
class _Shape:
    kinds: tuple[type, ...] = (str,)
    name: str = "text"


_SHAPES: Mapping[str, _Shape] = {
    **{item.name: _Shape() for item in fields(StubAnswer)},
    "data": _Shape((dict, list), "an object or list"),
    "tool_calls": _Shape((list,), "a list"),
    "headers": _Shape((dict,), "an object"),
    "status": _Shape((int,), "a whole number"),
    "delay_s": _Shape((int, float), "a number of seconds"),
    "cut": _Shape((bool,), "true or false"),
}


def _answer(item: JsonValue, where: str) -> StubAnswer:
    if not isinstance(item, dict):
        raise UsageError(f"{where}: {type(item).__name__}, expected an object", hint=_FORM)
    _refuse_unknown(item, set(_SHAPES), where)
    for name, value in item.items():
        if not isinstance(value, _SHAPES[name].kinds):
            raise UsageError(
                f"{where}: {name} is {type(value).__name__}, expected {_SHAPES[name].name}",
                hint=_FORM,
            )
    if not {"reply", "data", "fail", "tool_calls"} & item.keys():
        raise UsageError(f"{where}: says nothing", hint="give reply, data, tool_calls or fail")
    _check_regex(item.get("regex"), where)
    return StubAnswer(**{**item, "tool_calls": tuple(item.get("tool_calls", ()))})


def _check_regex(pattern: str | None, where: str) -> None:
    try:
        re.compile(pattern or "")
    except re.error as cause:
        raise UsageError(
            f"{where}: regex {pattern!r}: {cause}", hint="correct the regular expression"
        ) from None


def _refuse_unknown(item: JsonObject, known: set[str], where: str) -> None:
    unknown = sorted(set(item) - known)
    if unknown:
        raise UsageError(
            f"{where}: unknown key {unknown[0]!r}", hint=f"known are {', '.join(sorted(known))}"
        )
