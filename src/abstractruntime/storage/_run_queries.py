"""Queries over runs for stores that keep a small row beside each checkpoint.

Rules, the same for every classic store:
1. A limit of 0 or less means the default.
2. `list_runs` and `list_run_index` give the newest `updated_at` first, children the oldest
   `created_at` first, timers the earliest moment first.
3. Deadlines compare as moments, whatever offset and precision their text has.
4. A run that cannot be read is in no listing; `load` says what is wrong with it.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from typing import Any

from abstractruntime._json import JsonObject, dump_line, normalise
from abstractruntime.core.models import (
    RunState,
    RunStatus,
    WaitReason,
    moment_or_none,
    parse_moment,
)
from abstractruntime.core.ports import RunQuery
from abstractruntime.errors import IntegrityError
from abstractruntime.storage.base import RunStore

DEFAULT_LIMIT = 100
INDEX_COLUMNS = (
    "run_id",
    "workflow_id",
    "status",
    "wait_reason",
    "wait_until",
    "parent_run_id",
    "actor_id",
    "session_id",
    "created_at",
    "updated_at",
)

Row = dict[str, Any]


def page_size(limit: int | None, default: int = DEFAULT_LIMIT) -> int:
    """Give the number of rows to return; 0 or less means the default."""
    return limit if limit and limit > 0 else default


def plain(value: str | None) -> str | None:
    """Give the text of a filter that may be an enum member."""
    return getattr(value, "value", value)


def trimmed(value: str | None) -> str | None:
    """Give the text without blanks around it; None when nothing is left."""
    return str(value or "").strip() or None


def index_row(run: RunState) -> Row:
    """Give what listings know of a run: ten texts, each of which may be None."""
    wait = run.waiting
    values = {
        **{name: getattr(run, name) for name in INDEX_COLUMNS if hasattr(run, name)},
        "wait_reason": wait.reason if wait else None,
        "wait_until": (wait.until or None) if wait else None,
    }
    return {name: _text_or_none(values[name]) for name in INDEX_COLUMNS}


def _text_or_none(value: Any) -> str | None:
    # Hosts write checkpoints, too; a number in one must not break the sorting of all.
    return None if value is None else str(plain(value))


def due_moment(row: Row) -> datetime | None:
    """Give the moment at which a run waiting for time goes on; None for all others."""
    is_timer = row["status"] == RunStatus.WAITING and row["wait_reason"] == WaitReason.UNTIL
    return moment_or_none(row["wait_until"]) if is_timer else None


def encode(data: JsonObject) -> bytes:
    """Write a checkpoint or record as compact JSON.

    Raises:
        InvalidValue: it holds something that is not JSON; the path of it is named.
    """
    try:
        return dump_line(data)
    except (TypeError, ValueError, RecursionError):
        return dump_line(normalise(data))


def parse_run(run_id: str, decode: Callable[[], Any], *, where: str) -> RunState:
    """Read a checkpoint.

    Raises:
        IntegrityError: it is not JSON, not a checkpoint, or that of another run.
    """
    try:
        run = RunState.from_dict(decode())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise _damaged(run_id, where, f"{type(cause).__name__}: {cause}") from cause
    if run.run_id != run_id:
        raise _damaged(run_id, where, f"it is the checkpoint of run {run.run_id!r}")
    return run


def _damaged(run_id: str, where: str, reason: str) -> IntegrityError:
    return IntegrityError(
        f"the checkpoint of run {run_id!r} cannot be read: {reason}",
        hint=f"restore {where} from a backup; other runs are not affected",
        run_id=run_id,
        where=where,
    )


class RunQueries(RunStore):
    """A run store with the queries of 0.4.x, over `_rows` and `load`."""

    @abstractmethod
    def _rows(self, query: RunQuery) -> Iterable[Row]:
        """Give the rows of the matching runs, newest first; more than its limit do no harm."""

    def list_runs(
        self,
        *,
        status: RunStatus | None = None,
        wait_reason: WaitReason | None = None,
        workflow_id: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> list[RunState]:
        """Give matching runs, newest `updated_at` first."""
        wanted = page_size(limit)
        query = RunQuery(status, wait_reason, workflow_id, limit=wanted)
        return self._load((row["run_id"] for row in self._rows(query)), wanted)

    def list_run_index(
        self,
        *,
        status: RunStatus | None = None,
        workflow_id: str | None = None,
        session_id: str | None = None,
        root_only: bool = False,
        limit: int = DEFAULT_LIMIT,
    ) -> list[dict[str, Any]]:
        """Give matching rows, newest `updated_at` first, without reading the runs."""
        query = RunQuery(
            status=status,
            workflow_id=workflow_id,
            session_id=trimmed(session_id),
            root_only=root_only,
            limit=page_size(limit),
        )
        return [dict(row) for row in islice(self._rows(query), query.limit)]

    def list_due_wait_until(self, *, now_iso: str, limit: int = DEFAULT_LIMIT) -> list[RunState]:
        """Give runs whose deadline has passed, earliest first."""
        now = parse_moment(now_iso)
        timers = RunQuery(RunStatus.WAITING, WaitReason.UNTIL, limit=0)
        due = [(due_moment(row), row["run_id"]) for row in self._rows(timers)]
        passed = sorted((moment, run_id) for moment, run_id in due if moment and moment <= now)
        return self._load((run_id for _, run_id in passed), page_size(limit))

    def list_children(
        self, *, parent_run_id: str, status: RunStatus | None = None
    ) -> list[RunState]:
        """Give the children of a run, oldest first."""
        rows = self._rows(RunQuery(status, parent_run_id=parent_run_id, limit=0))
        born = sorted((row["created_at"] or "", row["run_id"]) for row in rows)
        return self._load((run_id for _, run_id in born), len(born))

    def _load(self, run_ids: Iterable[str], limit: int) -> list[RunState]:
        """Give the first `limit` runs of those that are there and can be read."""
        found: list[RunState] = []
        for run_id in run_ids:
            if len(found) >= limit:
                break
            with contextlib.suppress(IntegrityError):
                run = self.load(run_id)
                if run is not None:
                    found.append(run)
        return found


def equalities(query: RunQuery) -> list[tuple[str, str]]:
    """Give the columns that a query of 0.4.x wants to be equal to a value, and the values."""
    names = ("status", "wait_reason", "workflow_id", "parent_run_id")
    values = ((name, plain(getattr(query, name))) for name in names)
    return [(name, value) for name, value in values if value is not None]


def select(rows: Iterable[Row], query: RunQuery) -> list[Row]:
    """Give the rows that match a query, newest first."""
    equal = equalities(query)
    found = [
        row
        for row in rows
        if all(row[name] == value for name, value in equal)
        and (query.session_id is None or trimmed(row["session_id"]) == query.session_id)
        and not (query.root_only and row["parent_run_id"])
    ]
    return _newest(found)


def _newest(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["updated_at"] or "", row["run_id"]), reverse=True)
