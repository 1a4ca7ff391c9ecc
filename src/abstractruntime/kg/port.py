"""What the effects need of a graph store.

An assertion is an object: `subject`, `predicate`, `object`, `scope`, `owner_id`,
`observed_at`, `assertion_id`, and optionally `valid_from`, `valid_until`, `confidence`,
`provenance`, `attributes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from abstractruntime._json import JsonObject


@dataclass(frozen=True, slots=True)
class GraphQuery:
    """Which assertions to find; None does not restrict.

    `text` searches by meaning: the store puts its score, 0 to 1, at
    `attributes._retrieval.score` and leaves out what scores below `min_score`.
    """

    subject: str | None = None
    predicate: str | None = None
    object: str | None = None
    scope: str | None = None
    owner_id: str | None = None
    since: str | None = None
    until: str | None = None
    active_at: str | None = None
    text: str | None = None
    min_score: float | None = None
    newest_first: bool = True
    limit: int = 100


class GraphStore(Protocol):
    """A store of assertions; terms are compared without regard to case."""

    def add(self, assertions: list[JsonObject]) -> list[str]:
        """Store all of them or none, and give their ids; an id that is there already is left alone."""
        ...

    def find(self, query: GraphQuery) -> list[JsonObject]:
        """Give what matches, ordered by time, at most `limit`.

        Raises:
            UsageError: the store cannot answer such a query, such as a text without embeddings.
        """
        ...
