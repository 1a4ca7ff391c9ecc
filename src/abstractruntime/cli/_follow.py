"""Following a ledger while somebody drives its run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abstractruntime.core.ports import Clock, Engine, StoredRecord

_PAUSE_S = 0.5
_NEAR = (4, 64)


def follow(engine: Engine, run_id: str, *, after: int, clock: Clock) -> Iterator[StoredRecord]:
    """Give the records behind `after` as they are committed, until the run has ended."""
    while True:
        # Invariant: asked before reading, so that the last records are not missed.
        has_ended = engine.peek(run_id).status.is_terminal
        for item in records_behind(engine, run_id, after):
            after = item.seq
            yield item
        if has_ended:
            return
        clock.sleep(_PAUSE_S)


def records_behind(engine: Engine, run_id: str, after: int) -> list[StoredRecord]:
    """Give the records behind `after`; those before are read only when many are new."""
    for limit in _NEAR:
        found = engine.recent(run_id, limit)
        if not found or found[0].seq <= after + 1:
            return [item for item in found if item.seq > after]
    return list(engine.records(run_id, after=after))
