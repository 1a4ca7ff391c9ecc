"""What a run consumed, as its completed records tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from abstractruntime.core.record_fields import (
    effect_payload,
    effect_type,
    mapping,
    record_status,
    result_object,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from abstractruntime._json import JsonObject, JsonValue

_HOMES: Final = ("usage", "token_usage", "tokens")
_INPUT: Final = ("input_tokens", "prompt_tokens", "prompt", "input", "in")
_OUTPUT: Final = ("output_tokens", "completion_tokens", "completion", "output", "out")
_TOTAL: Final = ("total_tokens", "total")


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts over completed effects; add usages of several runs with `+`."""

    llm_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.llm_calls + other.llm_calls,
            self.tool_calls + other.tool_calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.total_tokens + other.total_tokens,
        )

    def to_dict(self) -> dict[str, int]:
        return {
            "llm_calls": self.llm_calls,
            "tool_calls": self.tool_calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.total_tokens,
        }


def usage_of(record: Mapping[str, Any]) -> Usage:
    """Give what one record consumed; nothing unless it completed an LLM or tool effect."""
    if record_status(record) != "completed":
        return Usage()
    kind = effect_type(record)
    if kind == "tool_calls":
        calls = effect_payload(record).get("tool_calls")
        return Usage(tool_calls=len(calls) if isinstance(calls, list) else 0)
    return _llm_usage(result_object(record)) if kind == "llm_call" else Usage()


def total_usage(records: Iterable[Mapping[str, Any]]) -> Usage:
    """Give the sum over records, in one pass."""
    total = Usage()
    for record in records:
        total = total + usage_of(record)
    return total


def _llm_usage(result: JsonObject) -> Usage:
    counts = _token_counts(result) or _token_counts(mapping(result.get("output"))) or {}
    taken, given = _count(counts, _INPUT) or 0, _count(counts, _OUTPUT) or 0
    total = _count(counts, _TOTAL)
    return Usage(1, 0, taken, given, taken + given if total is None else total)


def _token_counts(holder: JsonObject) -> JsonObject | None:
    found = (holder.get(home) for home in _HOMES)
    return next((value for value in found if isinstance(value, dict) and value), None)


def _count(counts: JsonObject, names: tuple[str, ...]) -> int | None:
    return next((n for n in (_as_count(counts.get(name)) for name in names) if n is not None), None)


def _as_count(value: JsonValue) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    return int(value)
