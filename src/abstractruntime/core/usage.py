"""What runs consumed: calls and tokens, as records and results of models tell.

Providers spell the same counts in several ways; they are read here and nowhere else. Whatever
is no count, such as text or NaN, is not counted.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._json import mapping
from abstractruntime.core.record_fields import (
    effect_payload,
    effect_type,
    record_status,
    result_object,
)
from abstractruntime.core.records import is_extension

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from abstractruntime._json import JsonObject, JsonValue

# One of these stands in the line of every record that consumed something.
USAGE_WORDS: Final = (b'"llm_call"', b'"tool_calls"')
_HOMES: Final = ("usage", "token_usage", "tokens")
_INPUT: Final = ("input_tokens", "prompt_tokens", "prompt", "input", "in")
_OUTPUT: Final = ("output_tokens", "completion_tokens", "completion", "output", "out")
_TOTAL: Final = ("total_tokens", "total")


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts over completed effects; add usages of several records or runs with `+`."""

    llm_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Usage:
        """Give what one record consumed; nothing unless it completed an LLM or tool effect."""
        kind = effect_type(record) if record_status(record) == "completed" else None
        if kind == "tool_calls":
            calls = effect_payload(record).get("tool_calls")
            return cls(tool_calls=len(calls) if isinstance(calls, list) else 0)
        return cls._of_reply(result_object(record)) if kind == "llm_call" else cls()

    @classmethod
    def _of_reply(cls, result: JsonObject) -> Usage:
        counts = _token_counts(result) or _token_counts(mapping(result.get("output"))) or {}
        taken, given = _count(counts, _INPUT) or 0, _count(counts, _OUTPUT) or 0
        total = _count(counts, _TOTAL)
        return cls(1, 0, taken, given, taken + given if total is None else total)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.llm_calls + other.llm_calls,
            self.tool_calls + other.tool_calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.total_tokens + other.total_tokens,
        )

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


def total_usage(records: Iterable[Mapping[str, Any]]) -> Usage:
    """Give the sum over records, in one pass."""
    return sum(map(Usage.of, records), Usage())


def ledger_metrics(records: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Give `{steps, llm_calls, tool_calls, tokens_total}`; a store's own records are no steps."""
    steps, used = 0, Usage()
    for record in records:
        if record_status(record) == "completed":
            steps += not is_extension(record.get("effect"), record.get("result"))
            used += Usage.of(record)
    return {
        "steps": steps,
        "llm_calls": used.llm_calls,
        "tool_calls": used.tool_calls,
        "tokens_total": used.total_tokens,
    }


def prompt_tokens(result: JsonValue) -> int | None:
    """Give the size of the prompt that a model reported, or else all it counted; None if nothing."""
    counts = mapping(mapping(result).get("usage"))
    if not counts:
        return None
    found = _count(counts, _INPUT)
    return _count(counts, _TOTAL) if found is None else found


def _token_counts(holder: JsonObject) -> JsonObject | None:
    found = (holder.get(home) for home in _HOMES)
    return next((value for value in found if isinstance(value, dict) and value), None)


def _count(counts: JsonObject, names: tuple[str, ...]) -> int | None:
    return next((n for n in (_as_count(counts.get(name)) for name in names) if n is not None), None)


def _as_count(value: JsonValue) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < math.inf else None
