"""Following a ledger while somebody drives its run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abstractruntime.core.ports import Clock, StoredRecord
    from abstractruntime.storage.directory import DirectoryEngine

_PAUSE_S = 0.5
_NEAR = 64


def follow(
    engine: DirectoryEngine, run_id: str, *, after: int, clock: Clock
) -> Iterator[StoredRecord]:
    """Give the records behind `after` as they are committed, until the run has ended."""
    path, known_bytes = Path(engine.ledger_path(run_id)), -1
    while True:
        # Invariant: asked before reading, so that the last records are not missed.
        has_ended = engine.peek(run_id).status.is_terminal
        size_bytes = path.stat().st_size if path.exists() else 0
        if size_bytes != known_bytes:
            known_bytes = size_bytes
            for item in _behind(engine, run_id, after):
                after = item.seq
                yield item
        if has_ended:
            return
        clock.sleep(_PAUSE_S)


def _behind(engine: DirectoryEngine, run_id: str, after: int) -> list[StoredRecord]:
    """Give the records behind `after`; those before are read only when many are new."""
    found = engine.recent(run_id, _NEAR)
    if found and found[0].seq > after + 1:
        return list(engine.records(run_id, after=after))
    return [item for item in found if item.seq > after]
