"""Recall levels: how much effort a memory query may spend.

A level bounds every number of a request. `RecallBudget` applies the bounds, and tells
what it applied and what it had to cut, so that no request is reduced silently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from abstractruntime._json import JsonObject
from abstractruntime.errors import UsageError


class RecallLevel(str, Enum):
    URGENT = "urgent"
    STANDARD = "standard"
    DEEP = "deep"


@dataclass(frozen=True, slots=True)
class SpanRecallPolicy:
    limit_spans_default: int
    limit_spans_max: int
    deep_allowed: bool
    deep_limit_spans_max: int
    deep_limit_messages_per_span_max: int
    connected_allowed: bool
    neighbor_hops_max: int
    max_messages_default: int
    max_messages_max: int


@dataclass(frozen=True, slots=True)
class RehydratePolicy:
    max_messages_default: int
    max_messages_max: int


@dataclass(frozen=True, slots=True)
class KgQueryPolicy:
    min_score_default: float
    min_score_floor: float
    limit_default: int
    limit_max: int
    max_input_tokens_default: int
    max_input_tokens_max: int


@dataclass(frozen=True, slots=True)
class RecallPolicy:
    """The bounds of one level."""

    level: RecallLevel
    span: SpanRecallPolicy
    rehydrate: RehydratePolicy
    kg: KgQueryPolicy


_POLICIES: Final = {
    policy.level: policy
    for policy in (
        RecallPolicy(
            RecallLevel.URGENT,
            SpanRecallPolicy(2, 3, False, 0, 0, False, 0, 30, 60),
            RehydratePolicy(30, 60),
            KgQueryPolicy(0.55, 0.5, 20, 40, 600, 1000),
        ),
        RecallPolicy(
            RecallLevel.STANDARD,
            SpanRecallPolicy(5, 8, True, 25, 200, True, 1, 80, 150),
            RehydratePolicy(80, 200),
            KgQueryPolicy(0.4, 0.25, 80, 200, 1200, 3000),
        ),
        RecallPolicy(
            RecallLevel.DEEP,
            SpanRecallPolicy(8, 20, True, 100, 400, True, 2, 200, 600),
            RehydratePolicy(200, 800),
            KgQueryPolicy(0.25, 0.0, 200, 1000, 2400, 6000),
        ),
    )
}


def parse_recall_level(raw: Any) -> RecallLevel | None:
    """Read a level; None and blank text mean that none was asked for.

    Raises:
        UsageError: the value is no level (also a ValueError).
    """
    if raw is None:
        return None
    text = str(raw.value if isinstance(raw, RecallLevel) else raw).strip().lower()
    if not text:
        return None
    try:
        return RecallLevel(text)
    except ValueError:
        raise UsageError(
            f"Unknown recall_level: {raw}",
            hint=f"use {', '.join(level.value for level in RecallLevel)}",
            argument="recall_level",
        ) from None


def policy_for(level: RecallLevel) -> RecallPolicy:
    """Give the bounds of a level."""
    return _POLICIES[RecallLevel(level)]


@dataclass(slots=True)
class RecallBudget:
    """Bounds the numbers of one request and keeps account of it.

    `applied` holds every value by field name; `warnings` one sentence per cut.
    """

    level: RecallLevel
    applied: JsonObject = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def at_most(self, name: str, asked: int | None, *, default: int, maximum: int) -> int:
        """Give `asked` or the default, cut to the maximum; a negative number asks for everything."""
        value = default if asked is None else asked
        if value < 0 or value > maximum:
            self._warn(name, "unlimited" if value < 0 else value, maximum)
            value = maximum
        return int(self._apply(name, value))

    def at_least(self, name: str, asked: float | None, *, default: float, floor: float) -> float:
        """Give `asked` or the default, raised to the floor."""
        value = default if asked is None or math.isnan(asked) else asked
        if value < floor:
            self._warn(name, value, floor)
            value = floor
        return float(self._apply(name, value))

    def allow(self, name: str, *, asked: bool, allowed: bool) -> bool:
        """Tell whether the level permits what was asked for."""
        if asked and not allowed:
            self._warn(name, asked, allowed)
        return bool(self._apply(name, asked and allowed))

    def effort(self) -> JsonObject:
        """Give the account as results carry it: `{recall_level, applied}`."""
        return {"recall_level": self.level.value, "applied": dict(self.applied)}

    def _apply(self, name: str, value: Any) -> Any:
        self.applied[name] = value
        return value

    def _warn(self, name: str, asked: Any, given: Any) -> None:
        self.warnings.append(f"recall_level={self.level.value}: {name} {asked} -> {given}")
