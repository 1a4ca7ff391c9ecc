"""The index of runs: answers queries without opening them.

Rules:
1. It is a cache, and never believed. Deleting it loses nothing; a damaged one is deleted and
   rebuilt, and so is one that somebody else wrote (see `index_file`). The rows of a page are compared with what their runs say before they are given, and
   whoever acts on a row reads its run first. Whether all rows are right costs a look at each run:
   `index_check` takes it when a store begins to be served.
2. A row is current while its `ledger_bytes` is the length of the ledger. A query first
   reads again the live runs for which it is not, and looks for ledgers that have no row when the
   directory was modified since the last time, or it is the first one of this process.
3. A row with `UNCOUNTED` bytes is read again by every query while its run is live.
4. A finished run is not looked at again; whoever revives one updates its row at once. So a
   row that says that a run has ended is written only while its ledger is as long as when
   that was read: another process may have revived or purged the run since.
5. A ledger without a whole line is no run yet. It has a row that no query gives, and that is
   read again when the ledger has grown.
6. Its failures are never failures of a run.
"""

from __future__ import annotations

import json
import threading
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from abstractruntime.core.models import RunStatus, WaitReason
from abstractruntime.core.outcome import Outcome
from abstractruntime.core.ports import RunHeader, RunQuery
from abstractruntime.errors import AbstractRuntimeError, NotFound, StoreError
from abstractruntime.storage._files.layout import is_readable_id, run_ids
from abstractruntime.storage._store.index_file import IndexFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from abstractruntime.core.ports import Clock
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout

_SCHEMA_VERSION = 7
_ROWS_PER_BATCH = 64
# As many as people look at.
_ROWS_PER_PAGE = 100
_ROUNDS = 3
_KEPT_PROVEN = 1000
UNCOUNTED = -1
_TICK_NS = 50_000_000
_COLUMNS = tuple(RunHeader.__dataclass_fields__)
_STATUS = _COLUMNS.index("status")
_ENDED = frozenset(status.value for status in RunStatus if status.is_terminal)
_Row: TypeAlias = tuple[Any, ...]
_BEGINNING = "beginning"
_IS_LIVE = "status NOT IN ('completed', 'failed', 'cancelled')"
_SCHEMA = (
    """CREATE TABLE runs (
  run_id TEXT PRIMARY KEY, workflow_id TEXT, status TEXT, outcome TEXT, wait_reason TEXT, wait_key TEXT,
  wait_until TEXT, parent_run_id TEXT, actor_id TEXT, session_id TEXT, created_at TEXT,
  updated_at TEXT, listening TEXT, ledger_bytes INTEGER NOT NULL
) WITHOUT ROWID""",
    f"CREATE INDEX runs_live ON runs (ledger_bytes) WHERE {_IS_LIVE}",
    "CREATE INDEX runs_by_status ON runs (status, updated_at)",
    "CREATE INDEX runs_by_outcome ON runs (outcome, updated_at)",
    "CREATE INDEX runs_by_due ON runs (wait_until) WHERE wait_until IS NOT NULL",
    "CREATE INDEX runs_by_parent ON runs (parent_run_id) WHERE parent_run_id IS NOT NULL",
    "CREATE INDEX runs_by_wait_key ON runs (wait_key) WHERE wait_key IS NOT NULL",
    "CREATE INDEX runs_listening ON runs (run_id) WHERE listening IS NOT NULL",
    "CREATE INDEX runs_by_update ON runs (updated_at)",
    "CREATE TABLE scan (id INTEGER PRIMARY KEY, modified_ns INTEGER)",
)
# Answered from `runs_live` alone, which holds the primary key as every index does.
_LIVE = f"SELECT run_id, ledger_bytes FROM runs WHERE {_IS_LIVE}"  # noqa: S608 - constant terms
_STATUSES = {status.value: status for status in RunStatus}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_REASONS: dict[str | None, WaitReason | None] = {
    None: None,
    **{reason.value: reason for reason in WaitReason},
}
_CHILD_ENDED = (
    "status = 'waiting' AND wait_reason = 'subworkflow' AND EXISTS (SELECT 1 FROM runs AS child"
    " WHERE child.run_id = substr(runs.wait_key, length('subworkflow:') + 1)"
    " AND child.status IN ('completed', 'failed', 'cancelled'))"
)
_VALUES = (
    f"INTO runs ({', '.join(_COLUMNS)}, ledger_bytes)"
    f" VALUES ({', '.join('?' * (len(_COLUMNS) + 1))})"
)
_UPSERT, _INSERT = f"INSERT OR REPLACE {_VALUES}", f"INSERT OR IGNORE {_VALUES}"


class RunIndex:
    """The index of one store; opened by the first query or the first flush.

    Args:
        files: The store's file system.
        layout: The store's names.
        clock: Tells how old a modification of the directory is.
        load: Gives header and committed ledger length of a run.
        writable: False keeps the index in memory, for stores that must not be written.
    """

    def __init__(
        self,
        files: StoreFiles,
        layout: Layout,
        load: Callable[[str], tuple[RunHeader, int]],
        clock: Clock,
        *,
        writable: bool = True,
    ) -> None:
        self._files = files
        self._layout = layout
        self._load = load
        self._clock = clock
        self._database = IndexFile(
            files, layout, schema=_SCHEMA, version=_SCHEMA_VERSION, writable=writable
        )
        self._queue: dict[str, _Row] = {}
        self._guard = threading.RLock()
        self._has_scanned = False
        # Rows of a page that were compared with their runs.
        self._proven: dict[str, RunHeader] = {}

    def put(self, header: RunHeader, ledger_bytes: int, *, now: bool = False) -> None:
        """Note the present state of a run; written with the next batch or query, or `now`."""
        with self._guard:
            self._queue[header.run_id] = _row(header, ledger_bytes)
            if now or len(self._queue) >= _ROWS_PER_BATCH:
                self._database.use(self._write_queue)

    def find(self, query: RunQuery, *, among: list[str] | None = None) -> list[RunHeader]:
        """Give the matching runs, newest first; `among` restricts them to these ids."""
        with self._guard:
            return list(self._database.use(lambda db: self._query(db, query, among)) or ())

    def close(self) -> None:
        """Write what is noted and close the database."""
        with self._guard:
            if self._queue:
                self._database.use(self._write_queue)
            self._database.close()

    def _query(self, db: IndexFile, query: RunQuery, among: list[str] | None) -> list[RunHeader]:
        self._write_queue(db)
        self._reconcile(db)
        for _ in range(_ROUNDS):
            rows = db.fetch(*_statement(query, among))
            headers = [(row[0], _header(row)) for row in rows]
            wrong = [run_id for run_id, header in headers if header is None]
            # Who names a run asks for its id alone, and reads it.
            is_page = 0 < query.limit <= _ROWS_PER_PAGE and not query.id_prefix
            if not wrong and is_page:
                wrong = [h.run_id for _, h in headers if h is not None and not self._is_true(h)]
            if not wrong:
                break
            loaded, _ = self._rows([run_id for run_id in wrong if is_readable_id(str(run_id))])
            self._write(db, loaded, [i for i in wrong if not is_readable_id(str(i))])
        return [header for _, header in headers if header is not None]

    def _is_true(self, header: RunHeader) -> bool:
        """Compare a row with its run; a run that cannot be read has any."""
        if self._proven.get(header.run_id) == header:
            return True
        try:
            loaded = self._load(header.run_id)
        except AbstractRuntimeError:
            return True
        if loaded[0] != header:
            return False
        if len(self._proven) >= _KEPT_PROVEN:
            self._proven.clear()
        self._proven[header.run_id] = header
        return True

    def _write_queue(self, db: IndexFile) -> None:
        self._write(db, list(self._queue.values()))
        self._queue.clear()

    def _write(self, db: IndexFile, rows: list[_Row], gone: Sequence[str] = ()) -> bool:
        """Write rows that still hold; tell whether all did."""
        if not rows and not gone:
            return True
        with db.writing() as change:
            fresh = self._without_outdated(rows)
            change.executemany(_UPSERT, [row for row in fresh if row[_STATUS] != _BEGINNING])
            # A run that had whole lines has a row, and is damaged now; that does not make it new.
            change.executemany(_INSERT, [row for row in fresh if row[_STATUS] == _BEGINNING])
            change.executemany("DELETE FROM runs WHERE run_id = ?", [(i,) for i in gone])
        return len(fresh) == len(rows)

    def _without_outdated(self, rows: list[_Row]) -> list[_Row]:
        # Invariant: looked at within the transaction, so that whoever extends the ledger
        # afterwards writes the row of it afterwards, too.
        ended = [row for row in rows if row[_STATUS] in _ENDED and row[-1] != UNCOUNTED]
        sizes = self._files.sizes(self._layout.ledgers(row[0] for row in ended))
        outdated = {row[0] for row, size in zip(ended, sizes, strict=True) if size != row[-1]}
        return [row for row in rows if row[0] not in outdated]

    def _reconcile(self, db: IndexFile) -> None:
        modified_ns = self._modified_ns()
        stale: list[str] = []
        gone: list[str] = []
        if not self._has_scanned or not modified_ns or _scanned_ns(db) != modified_ns:
            stale, gone = self._scan(db)
            self._has_scanned = True
        live = [row for row in db.fetch(_LIVE) if is_readable_id(str(row[0]))]
        sizes = self._files.sizes(self._layout.ledgers(run_id for run_id, _ in live))
        for (run_id, indexed), size in zip(live, sizes, strict=True):
            if size is None and indexed != UNCOUNTED:
                gone.append(run_id)
            elif size != indexed:
                stale.append(run_id)
        rows, is_whole = self._rows(stale)
        is_whole &= self._write(db, rows, gone)
        if is_whole and _scanned_ns(db) != modified_ns:
            with db.writing() as change:
                change.execute("INSERT OR REPLACE INTO scan VALUES (0, ?)", (modified_ns,))

    def _modified_ns(self) -> int:
        """Give when the directory was modified; 0 when it may still change within that tick."""
        info = self._files.info(self._layout.root)
        modified_ns = info.modified_ns if info else 0
        age_ns = self._clock.now().timestamp() * 1e9 - modified_ns
        return modified_ns if age_ns > _TICK_NS else 0

    def _scan(self, db: IndexFile) -> tuple[list[str], list[str]]:
        """Give the runs that have no row, and those with a row but no file."""
        rows = db.fetch("SELECT run_id, status FROM runs")
        ids = [i for i, _ in rows if isinstance(i, str) and is_readable_id(i)]
        # What is said to be only beginning, or has no status, is looked at again: no query gives
        # such a row, and none must hide a run.
        known = {i for i, status in rows if status in _STATUSES}.intersection(ids)
        names = set(self._files.names(self._layout.root))
        start = len(self._layout.root) + 1
        expected = {path[start:]: i for path, i in zip(self._layout.ledgers(ids), ids, strict=True)}
        # Nearly all names are ledgers of known runs; the others are looked at one by one.
        others = run_ids(names.difference(expected))
        missing = {run_id for name, run_id in expected.items() if name not in names}
        stale = {*others, *ids}.difference(known, missing - others)
        return list(stale), [*(missing - others), *{i for i, _ in rows}.difference(ids)]

    def _rows(self, run_ids: list[str]) -> tuple[list[_Row], bool]:
        """Give the rows of runs, and whether the disk let all of them be read."""
        rows, is_whole = [], True
        # Before they are read, so that what is written meanwhile shows as growth.
        sizes = self._files.sizes(self._layout.ledgers(run_ids))
        for run_id, size in zip(run_ids, sizes, strict=True):
            try:
                loaded = self._load(run_id)
            except StoreError:
                # The disk may let it be read the next time, so the next query has to look again.
                is_whole = False
            except NotFound:
                if size is not None:
                    rows.append(_beginning_row(run_id, size))
            except AbstractRuntimeError:
                # A damaged run stops nobody else; opening it tells what is wrong.
                continue
            else:
                rows.append(_row(*loaded))
        return rows, is_whole


def _scanned_ns(db: IndexFile) -> int:
    rows = db.fetch("SELECT modified_ns FROM scan WHERE id = 0")
    return rows[0][0] if rows and isinstance(rows[0][0], int) else -1


def _row(header: RunHeader, ledger_bytes: int) -> _Row:
    values = (getattr(header, column) for column in _COLUMNS[:-1])
    texts = (value.value if isinstance(value, Enum) else value for value in values)
    return (*texts, _listed(header.listening), ledger_bytes)


def _beginning_row(run_id: str, ledger_bytes: int) -> _Row:
    known = {"run_id": run_id, "status": _BEGINNING}
    return (*(known.get(column) for column in _COLUMNS), ledger_bytes)


def _listed(keys: Sequence[str]) -> str | None:
    """Give keys as lines of JSON, between line feeds, so that one can be searched for."""
    return "".join(["\n", *(f"{json.dumps(key)}\n" for key in keys)]) if keys else None


def _statement(query: RunQuery, among: list[str] | None) -> tuple[str, list[Any]]:
    terms: list[str] = [f"status <> '{_BEGINNING}'"]
    values: list[Any] = []
    equal = {
        "status": query.status.value if query.status else None,
        "outcome": query.outcome.value if query.outcome else None,
        "wait_reason": query.wait_reason.value if query.wait_reason else None,
        "workflow_id": query.workflow_id,
        "session_id": query.session_id,
        "parent_run_id": query.parent_run_id,
    }
    for column, value in equal.items():
        if value is not None:
            terms.append(f"{column} = ?")
            values.append(value)
    if query.live_only:
        terms.append("status IN ('running', 'waiting')")
    if query.root_only:
        terms.append("parent_run_id IS NULL")
    if query.due_at is not None:
        terms.append("status = 'waiting' AND wait_until <= ?")
        values.append(query.due_at)
    for column, prefix in (("run_id", query.id_prefix), ("wait_key", query.wait_key_prefix)):
        if prefix:
            terms.append(f"{column} >= ? AND {column} < ?")
            values += [prefix, prefix + "\U0010ffff"]
    if query.wait_keys:
        terms.append(f"wait_key IN ({', '.join('?' * len(query.wait_keys))})")
        values += query.wait_keys
    if query.listens_to:
        found = " OR ".join(["instr(listening, ?) > 0"] * len(query.listens_to))
        terms.append(f"listening IS NOT NULL AND ({found})")
        values += [_listed([key]) for key in query.listens_to]
    if query.child_ended:
        terms.append(_CHILD_ENDED)
    if among is not None:
        # One value, however many runs: SQLite limits how many a statement may have.
        terms.append("run_id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(among))
    order = "wait_until, run_id" if query.due_at is not None else "updated_at DESC"
    values.append(query.limit if query.limit > 0 else -1)
    select = f"SELECT {', '.join(_COLUMNS)} FROM runs"  # noqa: S608 - constant names
    return f"{select} WHERE {' AND '.join(terms)} ORDER BY {order} LIMIT ?", values


def _header(row: tuple[Any, ...]) -> RunHeader | None:
    """Build a header; `_COLUMNS` has the order of its fields. None: nobody wrote such a row."""
    run_id, workflow_id, status, outcome, reason, *rest, listening = row
    try:
        keys = tuple(json.loads(line) for line in (listening or "").splitlines() if line)
    except (ValueError, AttributeError):
        return None
    texts = run_id, workflow_id, rest[-2], rest[-1], *keys
    is_written = all(isinstance(text, str) for text in texts) and all(
        value is None or isinstance(value, str) for value in rest
    )
    if not is_written or status not in _STATUSES or reason not in _REASONS:
        return None
    if outcome not in _OUTCOMES:
        return None
    known = _STATUSES[status], _OUTCOMES[outcome], _REASONS[reason]
    return RunHeader(run_id, workflow_id, *known, *(*rest, keys))
