"""Stores that live in one process, for tests and for runs that need no durability.

States are copied on save and on load, so a caller never sees another's half-made change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from abstractruntime._json import isolate
from abstractruntime.core.models import RunState, RunStatus, StepRecord, WaitReason
from abstractruntime.storage.base import LedgerStore, RunStore

Records = list[dict[str, Any]]


class InMemoryRunStore(RunStore):
    def __init__(self) -> None:
        self._runs: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def save(self, run: RunState) -> None:
        data = isolate(run.to_dict())
        with self._lock:
            self._runs[run.run_id] = data

    def load(self, run_id: str) -> RunState | None:
        with self._lock:
            data = self._runs.get(run_id)
        return RunState.from_dict(isolate(data)) if data is not None else None

    def list_runs(
        self,
        *,
        status: RunStatus | None = None,
        wait_reason: WaitReason | None = None,
        workflow_id: str | None = None,
        limit: int = 100,
    ) -> list[RunState]:
        def matches(data: dict[str, Any]) -> bool:
            reason = (data["waiting"] or {}).get("reason")
            return (
                (status is None or data["status"] == status)
                and (wait_reason is None or reason == wait_reason)
                and (workflow_id is None or data["workflow_id"] == workflow_id)
            )

        newest = sorted(self._select(matches), key=lambda r: r.updated_at, reverse=True)
        return newest[: limit or 100]

    def list_due_wait_until(self, *, now_iso: str, limit: int = 100) -> list[RunState]:
        def is_due(data: dict[str, Any]) -> bool:
            wait = data["waiting"] or {}
            return bool(
                data["status"] == RunStatus.WAITING
                and wait.get("reason") == WaitReason.UNTIL
                and wait.get("until")
                and wait["until"] <= now_iso
            )

        due = sorted(self._select(is_due), key=lambda r: str(r.waiting and r.waiting.until))
        return due[: limit or 100]

    def list_children(
        self, *, parent_run_id: str, status: RunStatus | None = None
    ) -> list[RunState]:
        def is_child(data: dict[str, Any]) -> bool:
            return data["parent_run_id"] == parent_run_id and (
                status is None or data["status"] == status
            )

        return list(self._select(is_child))

    def _select(self, predicate: Callable[[dict[str, Any]], bool]) -> Iterator[RunState]:
        with self._lock:
            found = [data for data in self._runs.values() if predicate(data)]
        return (RunState.from_dict(isolate(data)) for data in found)


class InMemoryLedgerStore(LedgerStore):
    def __init__(self) -> None:
        self._records: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def append(self, record: StepRecord) -> None:
        data = isolate(record.to_dict())
        with self._lock:
            self._records.setdefault(record.run_id, []).append(data)

    def list(self, run_id: str) -> Records:
        return self.list_after(run_id, after=0)

    def list_after(self, run_id: str, *, after: int) -> Records:
        """Give the records behind the first `after` ones."""
        with self._lock:
            found = self._records.get(run_id, [])[after:]
        return [isolate(data) for data in found]

    def count(self, run_id: str) -> int:
        with self._lock:
            return len(self._records.get(run_id, ()))
