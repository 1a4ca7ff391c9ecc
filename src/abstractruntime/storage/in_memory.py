"""Stores that live in one process, for tests and for runs that need no durability.

States and records are kept as the text a durable store would write, so a caller never
sees another's half-made change, and what is not JSON is refused here, too.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from abstractruntime.core.models import RunState, StepRecord
from abstractruntime.core.ports import RunQuery
from abstractruntime.storage._run_queries import (
    Row,
    RunQueries,
    encode,
    index_row,
    parse_run,
    select,
)
from abstractruntime.storage.base import LedgerStore

Records = list[dict[str, Any]]


class InMemoryRunStore(RunQueries):
    """Keeps the latest state of each run for the life of the process."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[Row, bytes]] = {}
        self._lock = threading.Lock()

    def save(self, run: RunState) -> None:
        """Replace the state of a run.

        Raises:
            InvalidValue: the state holds something that is not JSON.
        """
        entry = index_row(run), encode(run.to_dict())
        with self._lock:
            self._runs[run.run_id] = entry

    def load(self, run_id: str) -> RunState | None:
        with self._lock:
            entry = self._runs.get(run_id)
        if entry is None:
            return None
        return parse_run(run_id, lambda: json.loads(entry[1]), where="memory")

    def _rows(self, query: RunQuery) -> list[Row]:
        with self._lock:
            return select((row for row, _ in self._runs.values()), query)


class InMemoryLedgerStore(LedgerStore):
    """Keeps the records of each run for the life of the process."""

    def __init__(self) -> None:
        self._lines: dict[str, list[bytes]] = {}
        self._lock = threading.Lock()

    def append(self, record: StepRecord) -> None:
        """Add a record to the ledger of its run.

        Raises:
            InvalidValue: the record holds something that is not JSON.
        """
        line = encode(record.to_dict())
        with self._lock:
            self._lines.setdefault(record.run_id, []).append(line)

    def list(self, run_id: str) -> Records:
        return self.list_after(run_id, after=0)

    def list_after(self, run_id: str, *, after: int) -> Records:
        """Give the records behind the first `after` ones."""
        with self._lock:
            found = self._lines.get(run_id, [])[after:]
        return [json.loads(line) for line in found]

    def count(self, run_id: str) -> int:
        with self._lock:
            return len(self._lines.get(run_id, ()))
