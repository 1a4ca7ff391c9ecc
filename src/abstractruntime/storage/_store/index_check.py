"""Comparing every row of the index with its run, so that no row hides one.

Rules:
1. A row that says that its run has ended is held against the first and the last line of the
   ledger; any other, and one that differs, against the run as it is read.
2. A row that is not right, or is missing, is written anew. A run that cannot be read keeps the
   row that it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from abstractruntime._json import mapping
from abstractruntime.core.models import RunStatus
from abstractruntime.core.outcome import Outcome, ended_as
from abstractruntime.core.ports import RunHeader, RunQuery
from abstractruntime.core.record_fields import terminal_status
from abstractruntime.errors import AbstractRuntimeError
from abstractruntime.storage._files.jsonl import last_committed, parse_object, scan_lines
from abstractruntime.storage._files.layout import run_ids

if TYPE_CHECKING:
    from abstractruntime.storage._store.engine import DirectoryEngine


_ENDED: Final = {status.value: status for status in RunStatus if status.is_terminal}
# What hardly ever changes after the first record.
_LASTING: Final = ("workflow_id", "parent_run_id", "actor_id", "session_id", "created_at")
# What the row of a run that has ended cannot have.
_OPEN: Final = ("wait_reason", "wait_key", "wait_until", "listening")


def check_index(engine: DirectoryEngine) -> list[str]:
    """Write the rows anew that are not what their runs say, and give the ids of those runs."""
    services = engine.services
    rows: dict[str, RunHeader | None] = {
        row.run_id: row for row in services.index.find(RunQuery(limit=0))
    }
    hidden = run_ids(services.files.names(services.layout.root)).difference(rows)
    wrong = []
    for run_id, row in {**rows, **dict.fromkeys(hidden)}.items():
        if row is not None and row.status.is_terminal and _is_right(engine, row):
            continue
        try:
            replay = services.recovery.load(run_id)
        except AbstractRuntimeError:
            continue
        header = RunHeader.of(replay.run())
        if header != row:
            services.index.put(header, replay.tail.end, now=True)
            wrong.append(run_id)
    return wrong


def _is_right(engine: DirectoryEngine, row: RunHeader) -> bool:
    """Tell whether the ends of a ledger say what a row says of a run that has ended."""
    services = engine.services
    first = next(scan_lines(services.files, services.layout.ledger(row.run_id)), None)
    record = (parse_object(first.data) if first is not None else None) or {}
    began = mapping(mapping(record.get("commit")).get("init"))
    return (
        bool(began)
        and all(began.get(name) == getattr(row, name) for name in _LASTING)
        and not any(getattr(row, name) for name in _OPEN)
        and _ended(engine, row.run_id) == (row.status, row.outcome)
    )


def _ended(engine: DirectoryEngine, run_id: str) -> tuple[RunStatus, Outcome] | None:
    """Give what the record says that closes a run; None without one."""
    services = engine.services
    last = last_committed(services.files, services.layout.ledger(run_id))
    record = parse_object(last.data) if last is not None else None
    status = _ENDED.get(terminal_status(record or {}) or "")
    if status is None:
        return None
    said = mapping((record or {}).get("result")).get("outcome")
    return status, Outcome.FAILED if said == Outcome.FAILED else ended_as(status)
