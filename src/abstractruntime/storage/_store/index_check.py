"""Comparing every row of the index with its run, so that no row hides one.

Rules:
1. A row that says that its run has ended is held against the last line of the ledger; any other
   against the run as it is read.
2. A row that is not right, or is missing, is written anew. A run that cannot be read keeps the
   row that it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from abstractruntime.core.models import RunStatus
from abstractruntime.core.ports import RunHeader, RunQuery
from abstractruntime.core.records import STATUS_KEY_PREFIX
from abstractruntime.errors import AbstractRuntimeError
from abstractruntime.storage._files.jsonl import last_committed, parse_object
from abstractruntime.storage._files.layout import run_ids

if TYPE_CHECKING:
    from abstractruntime.storage._store.engine import DirectoryEngine


def check_index(engine: DirectoryEngine) -> list[str]:
    """Write the rows anew that are not what their runs say, and give the ids of those runs."""
    services = engine.services
    rows: dict[str, RunHeader | None] = {
        row.run_id: row for row in services.index.find(RunQuery(limit=0))
    }
    hidden = run_ids(services.files.names(services.layout.root)).difference(rows)
    wrong = []
    for run_id, row in {**rows, **dict.fromkeys(hidden)}.items():
        if row is not None and row.status.is_terminal and _ended(engine, run_id) is row.status:
            continue
        try:
            replay = services.recovery.load(run_id)
        except AbstractRuntimeError:
            continue
        if RunHeader.of(replay.run()) != row:
            services.index.put(replay.image.header, replay.tail.end, now=True)
            wrong.append(run_id)
    return wrong


def _ended(engine: DirectoryEngine, run_id: str) -> RunStatus | None:
    """Give what the record says that closes a run; None without one."""
    services = engine.services
    last = last_committed(services.files, services.layout.ledger(run_id))
    record = parse_object(last.data) if last is not None else None
    key = str((record or {}).get("idempotency_key") or "")
    found = key.removeprefix(STATUS_KEY_PREFIX)
    is_known = found != key and found in {status.value for status in RunStatus}
    return RunStatus(found) if is_known else None
