"""How much a query may bring back, in what order, and what of it fits a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from abstractruntime._json import JsonObject
from abstractruntime.kg._terms import predicate_of, term, text_of, whole
from abstractruntime.kg.port import GraphQuery
from abstractruntime.memory.kg_packets import (
    KG_MEMORY_PACKETS_VERSION,
    pack_active_memory_text,
    packetize_assertions,
)
from abstractruntime.memory.recall_levels import (
    RecallBudget,
    RecallLevel,
    parse_recall_level,
    policy_for,
)

_LIMIT, _MOST = 100, 10_000
_CANDIDATES: Final = {None: 5, RecallLevel.URGENT: 3, RecallLevel.STANDARD: 5, RecallLevel.DEEP: 10}
_MOST_CANDIDATES: Final = 50


@dataclass(frozen=True, slots=True)
class Recall:
    """The bounds of one request: what was asked for, cut to its recall level."""

    level: RecallLevel | None
    limit: int
    min_score: float | None
    max_tokens: int
    budget: RecallBudget | None = None

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Recall:
        """Read the bounds of a payload.

        Raises:
            UsageError: there is no such recall level.
        """
        level = parse_recall_level(payload.get("recall_level", payload.get("recallLevel")))
        limit, score = whole(payload, "limit"), _score(payload.get("min_score"))
        tokens = whole(payload, "max_input_tokens", "max_in_tokens")
        if level is None:
            bounded = max(1, min(_MOST, _LIMIT if limit is None else limit))
            return cls(None, bounded, score, max(0, tokens or 0))
        bounds, budget = policy_for(level).kg, RecallBudget(level)
        most = budget.at_most(
            "limit", limit, default=bounds.limit_default, maximum=bounds.limit_max
        )
        if text_of(payload, "query_text"):
            score = budget.at_least(
                "min_score", score, default=bounds.min_score_default, floor=bounds.min_score_floor
            )
        tokens = budget.at_most(
            "max_input_tokens",
            tokens,
            default=bounds.max_input_tokens_default,
            maximum=bounds.max_input_tokens_max,
        )
        return cls(level, max(1, most), score, tokens, budget)

    @property
    def warnings(self) -> list[str]:
        return self.budget.warnings if self.budget else []

    def candidates(self, payload: Mapping[str, Any]) -> int:
        """Give how many candidates a resolution may bring back."""
        asked = whole(payload, "max_candidates", "maxCandidates", "limit")
        return max(1, min(_MOST_CANDIDATES, _CANDIDATES[self.level] if asked is None else asked))

    def query(self, payload: Mapping[str, Any], scope: str, owner: str) -> GraphQuery:
        def optional(name: str) -> str | None:
            return text_of(payload, name) or None

        return GraphQuery(
            subject=term(payload.get("subject")) or None,
            predicate=predicate_of(payload.get("predicate")) or None,
            object=term(payload.get("object")) or None,
            scope=scope,
            owner_id=owner,
            since=optional("since"),
            until=optional("until"),
            active_at=optional("active_at"),
            text=optional("query_text"),
            min_score=self.min_score,
            newest_first=not is_ascending(payload),
            limit=self.limit,
        )


def is_ascending(payload: Mapping[str, Any]) -> bool:
    return text_of(payload, "order").lower() == "asc"


def listed(items: list[JsonObject], recall: Recall, payload: Mapping[str, Any]) -> list[JsonObject]:
    """Give the assertions of all scopes in one order: by score when a text was searched, else by time."""

    def time(item: JsonObject) -> str:
        return str(item.get("observed_at") or "")

    if text_of(payload, "query_text"):
        items = sorted(items, key=lambda item: (score_of(item), time(item)), reverse=True)
    else:
        items = sorted(items, key=time, reverse=not is_ascending(payload))
    return items[: recall.limit]


def packed(items: list[JsonObject], recall: Recall, payload: Mapping[str, Any]) -> JsonObject:
    """Give the account of the recall level, and with a token budget the packets that fit it."""
    facts: JsonObject = {"effort": recall.budget.effort()} if recall.budget else {}
    if recall.max_tokens <= 0:
        return facts
    text, kept, tokens, dropped = pack_active_memory_text(
        packetize_assertions(items),
        scope=text_of(payload, "scope").lower() or "run",
        max_input_tokens=recall.max_tokens,
        model=text_of(payload, "model") or None,
    )
    return {
        **facts,
        "packets_version": KG_MEMORY_PACKETS_VERSION,
        "packets": kept,
        "packed_count": len(kept),
        "active_memory_text": text,
        "estimated_tokens": tokens,
        "dropped": dropped,
    }


def score_of(item: JsonObject) -> float:
    """Give the score that the store left in an assertion; 0 without one."""
    attributes = item.get("attributes")
    retrieval = attributes.get("_retrieval") if isinstance(attributes, dict) else None
    score = retrieval.get("score") if isinstance(retrieval, dict) else None
    return float(score) if isinstance(score, int | float) else 0.0


def _score(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
