"""A knowledge graph in memory, for tests of flows.

    graph = StubGraph([{"subject": "ex:ada", "predicate": "schema:name", "object": "ada"}])
    Runtime(..., effect_handlers=graph.handlers())

Terms must match exactly; a text is found by its words, and scores the share of them that an
assertion contains.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from abstractruntime._json import JsonObject, isolate
from abstractruntime.core.models import EffectType
from abstractruntime.effects import Handler
from abstractruntime.kg import GraphQuery, graph_handlers

_TERMS = ("subject", "predicate", "object")
_GIVEN_AT = "1970-01-01T00:00:00+00:00"


class StubGraph:
    """Assertions in a list; `assertions` gives copies of them, oldest first.

    Args:
        given: Assertions that are there from the start; without a scope they are global.
        predicates: The known predicates; None knows every one.
    """

    def __init__(
        self, given: Iterable[JsonObject] = (), *, predicates: frozenset[str] | None = None
    ) -> None:
        self._predicates = predicates
        self._rows: list[JsonObject] = []
        self.add([_complete(row) for row in given])

    @property
    def assertions(self) -> list[JsonObject]:
        rows: list[JsonObject] = isolate(self._rows)
        return rows

    def handlers(self) -> dict[EffectType, Handler]:
        """Give the effect handlers over this graph."""
        return graph_handlers(self, predicates=self._predicates)

    def add(self, assertions: list[JsonObject]) -> list[str]:
        known = {row["assertion_id"] for row in self._rows}
        self._rows += [isolate(a) for a in assertions if a["assertion_id"] not in known]
        return [a["assertion_id"] for a in assertions]

    def find(self, query: GraphQuery) -> list[JsonObject]:
        scored = [(_score(row, query.text), row) for row in self._rows if _matches(row, query)]
        least = query.min_score if query.min_score is not None else 0.0
        found = [
            _with_score(row, score) if query.text else isolate(row)
            for score, row in scored
            if not query.text or (score > 0 and score >= least)
        ]
        found.sort(key=lambda row: row["observed_at"], reverse=query.newest_first)
        return found[: query.limit]


def _complete(row: JsonObject) -> JsonObject:
    terms = {name: str(row[name]) for name in _TERMS}
    identity = "\n".join(terms.values()).encode()
    return {
        "scope": "global",
        "owner_id": "global_memory",
        "observed_at": _GIVEN_AT,
        "attributes": {},
        "provenance": {},
        "assertion_id": hashlib.sha256(identity).hexdigest()[:32],
        **row,
    }


def _matches(row: JsonObject, query: GraphQuery) -> bool:
    for name in (*_TERMS, "scope", "owner_id"):
        wanted = getattr(query, name)
        if wanted is not None and wanted.casefold() != str(row.get(name)).casefold():
            return False
    seen = row["observed_at"]
    if (query.since and seen < query.since) or (query.until and seen > query.until):
        return False
    if not query.active_at:
        return True
    start, end = row.get("valid_from"), row.get("valid_until")
    return not (start and query.active_at < start) and not (end and query.active_at >= end)


def _score(row: JsonObject, text: str | None) -> float:
    words = (text or "").casefold().split()
    content = " ".join(str(row[name]) for name in _TERMS).casefold()
    return sum(word in content for word in words) / len(words) if words else 0.0


def _with_score(row: JsonObject, score: float) -> JsonObject:
    copy: JsonObject = isolate(row)
    attributes: dict[str, Any] = copy.setdefault("attributes", {})
    attributes["_retrieval"] = {"score": score}
    return copy
