"""How far a run has come, as the end of its ledger tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abstractruntime.core.record_fields import internal_kind, record_status
from abstractruntime.storage._files.jsonl import last_lines, parse_object

if TYPE_CHECKING:
    from abstractruntime.storage._files.fs import StoreFiles

# What a driver writes on the way to an outcome, or before it does anything; each may be written
# again by the next one, and the run is no further then.
_ON_THE_WAY = frozenset({"recovered", "progress"})


def last_progress(files: StoreFiles, path: str) -> int:
    """Give where the last record that brought a run further ends; -1 where there is none.

    The begin of an attempt is no progress, however often it was made.
    """
    limit = 1
    while True:
        lines = last_lines(files, path, limit)
        for line in reversed(lines):
            record = parse_object(line.data) or {}
            if not _is_on_the_way(record):
                return line.offset + len(line.data) + 1
        if len(lines) < limit:
            return -1
        limit *= 8


def _is_on_the_way(record: dict[str, Any]) -> bool:
    return record_status(record) == "started" or internal_kind(record) in _ON_THE_WAY
