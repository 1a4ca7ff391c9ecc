"""The SQLite stores of 0.4.x: runs, ledgers, commands and cursors in one file.

Rules:
1. Tables are those of 0.4.x; files written by either version serve both.
2. Every write is one transaction, durable when it returns.
3. A record's `seq` is its place in the ledger of its run, from 1.
4. A damaged row is in no listing of runs; reading it by its id says what is wrong.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from abstractruntime._json import JsonObject
from abstractruntime.core.models import (
    RunState,
    StepRecord,
    format_time,
    moment_or_none,
    parse_moment,
    utc_now,
)
from abstractruntime.core.ports import RunQuery
from abstractruntime.core.usage import ledger_metrics
from abstractruntime.errors import ChainBroken, UsageError
from abstractruntime.storage._files.jsonl import parse_object
from abstractruntime.storage._run_queries import (
    DEFAULT_LIMIT,
    INDEX_COLUMNS,
    Row,
    RunQueries,
    due_moment,
    encode,
    equalities,
    index_row,
    page_size,
    parse_run,
    trimmed,
)
from abstractruntime.storage._sqlite_database import SqliteDatabase
from abstractruntime.storage.base import LedgerStore
from abstractruntime.storage.commands import CommandAppendResult, CommandRecord, validated_command

__all__ = [
    "SqliteCommandCursorStore",
    "SqliteCommandStore",
    "SqliteDatabase",
    "SqliteLedgerStore",
    "SqliteRunStore",
]

Records = list[dict[str, Any]]

_LOG = logging.getLogger(__name__)
_PAGE = 1000
_IDS_PER_COUNT, _IDS_PER_METRIC = 900, 300
# Text of a deadline can be ahead of its moment by the largest offset in use, and a second.
_OFFSET_SLACK = timedelta(hours=15)

_COLUMNS = ", ".join(INDEX_COLUMNS)
_SAVE = f"""
INSERT INTO runs ({_COLUMNS}, run_json) VALUES ({", ".join("?" * (len(INDEX_COLUMNS) + 1))})
ON CONFLICT(run_id) DO UPDATE SET
  {", ".join(f"{name} = excluded.{name}" for name in (*INDEX_COLUMNS, "run_json") if name not in ("run_id", "created_at"))}
"""  # noqa: S608 - constant names
_SAVE_DUE = """
INSERT OR REPLACE INTO wait_index (run_id, next_due_iso, updated_at_iso, status)
VALUES (?, ?, ?, 'waiting_until')
"""
_COMPLETED = """
SELECT run_id, record_json FROM ledger
WHERE run_id IN (%s)
  AND CASE WHEN json_valid(record_json) THEN json_extract(record_json, '$.status') END = 'completed'
ORDER BY run_id
"""


class SqliteRunStore(RunQueries):
    """Keeps the latest state of each run in table `runs`."""

    def __init__(self, db: SqliteDatabase) -> None:
        self._db = db

    def save(self, run: RunState) -> None:
        """Replace the state of a run; the column `created_at` keeps its first value.

        Raises:
            UsageError: the run id is blank.
            InvalidValue: the state holds something that is not JSON.
            Busy, StoreError
        """
        run_id = _required_id(run.run_id)
        row = index_row(run)
        values = [row[name] for name in INDEX_COLUMNS]
        due = due_moment(row)
        data = encode(run.to_dict()).decode()
        with self._db.transaction() as connection:
            connection.execute(_SAVE, (run_id, *values[1:], data))
            if due is None:
                connection.execute("DELETE FROM wait_index WHERE run_id = ?", (run_id,))
            else:
                connection.execute(_SAVE_DUE, (run_id, format_time(due), row["updated_at"] or ""))

    def load(self, run_id: str) -> RunState | None:
        """Give a run as a copy of the caller's own; None when there is none.

        Raises:
            IntegrityError: its row is damaged.
        """
        wanted = trimmed(run_id)
        rows = self._db.query("SELECT run_json FROM runs WHERE run_id = ?", wanted)
        if not rows:
            return None
        text, where = rows[0]["run_json"], str(self._db.path)
        return parse_run(str(wanted), lambda: json.loads(text), where=where)

    def _rows(self, query: RunQuery) -> Iterable[Row]:
        where, values = _where(query)
        statement = (
            f"SELECT {_COLUMNS} FROM runs WHERE {where} ORDER BY updated_at DESC, run_id DESC"  # noqa: S608 - constant text, values are bound
        )
        return map(dict, self._db.rows(statement, *values))

    def list_due_wait_until(self, *, now_iso: str, limit: int = DEFAULT_LIMIT) -> list[RunState]:
        """Give runs whose deadline has passed, earliest first."""
        now = parse_moment(now_iso)
        # Compat: 0.4.x stored the deadline as the host wrote it, in any offset.
        rows = self._db.query(
            "SELECT run_id, next_due_iso FROM wait_index WHERE next_due_iso <= ?",
            format_time(now + _OFFSET_SLACK),
        )
        due = [(moment_or_none(row["next_due_iso"]), row["run_id"]) for row in rows]
        passed = sorted((moment, run_id) for moment, run_id in due if moment and moment <= now)
        return self._load((run_id for _, run_id in passed), page_size(limit))


class SqliteLedgerStore(LedgerStore):
    """Keeps the records of each run in table `ledger`."""

    def __init__(self, db: SqliteDatabase) -> None:
        self._db = db

    def append(self, record: StepRecord) -> None:
        """Add a record to the ledger of its run.

        Raises:
            UsageError: the run id is blank.
            InvalidValue: the record holds something that is not JSON.
            sqlite3.IntegrityError: the next place is taken, since `ledger_heads` is wrong.
            Busy, StoreError
        """
        run_id = _required_id(record.run_id)
        data = encode(record.to_dict()).decode()
        with self._db.transaction() as connection:
            seq = _last_seq(connection, run_id) + 1
            try:
                connection.execute("INSERT INTO ledger VALUES (?, ?, ?)", (run_id, seq, data))
            except sqlite3.IntegrityError as cause:
                text = f"{cause} (run_id={run_id!r}, seq={seq}, db={self._db.path})"
                _LOG.exception("ledger append failed: %s", text)
                raise sqlite3.IntegrityError(text) from cause
            connection.execute("INSERT OR REPLACE INTO ledger_heads VALUES (?, ?)", (run_id, seq))

    def list(self, run_id: str) -> Records:
        """Give all records of a run in order; an unknown run has none.

        Raises:
            ChainBroken: a row is not a JSON object.
        """
        return [record for _, record in self._read(run_id, after=0, limit=-1)]

    def list_after(self, *, run_id: str, after: int, limit: int = _PAGE) -> tuple[Records, int]:
        """Give records behind a cursor, and the cursor behind the last one given.

        Raises:
            ChainBroken: a row is not a JSON object; `details["line"]` is the cursor behind it.
        """
        found = list(self._read(run_id, after=after, limit=page_size(limit, _PAGE)))
        return [record for _, record in found], found[-1][0] if found else after

    def count(self, run_id: str) -> int:
        """Give the number of records of a run, as its head tells it."""
        return self.count_many([run_id]).get(str(trimmed(run_id)), 0)

    def count_many(self, run_ids: Sequence[str]) -> dict[str, int]:
        """Give the number of records of many runs; those without a ledger are left out."""
        counts: dict[str, int] = {}
        for ids in _batches(run_ids, _IDS_PER_COUNT):
            statement = f"SELECT run_id, last_seq FROM ledger_heads WHERE run_id IN ({_marks(ids)})"  # noqa: S608 - marks only
            counts.update({row[0]: int(row[1]) for row in self._db.query(statement, *ids)})
        return counts

    def metrics_many(self, run_ids: Sequence[str]) -> dict[str, dict[str, int]]:
        """Give `{steps, llm_calls, tool_calls, tokens_total}` over the completed records of runs.

        Runs without any are left out, and so are rows that are not JSON.
        """
        metrics: dict[str, dict[str, int]] = {}
        for ids in _batches(run_ids, _IDS_PER_METRIC):
            rows = self._db.query(_COMPLETED % _marks(ids), *ids)
            for run_id, records in groupby(rows, key=itemgetter("run_id")):
                metrics[run_id] = ledger_metrics(json.loads(r["record_json"]) for r in records)
        return metrics

    def _read(self, run_id: str, *, after: int, limit: int) -> Iterator[tuple[int, JsonObject]]:
        rows = self._db.query(
            "SELECT seq, record_json FROM ledger WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?",
            trimmed(run_id),
            after,
            limit,
        )
        for row in rows:
            yield row["seq"], _parse_record(run_id, row["seq"], row["record_json"])


class SqliteCommandStore:
    """Keeps commands in table `commands`; see `storage.commands.CommandStore`."""

    def __init__(self, db: SqliteDatabase) -> None:
        self._db = db

    def append(self, record: CommandRecord) -> CommandAppendResult:
        """Store a command once per `command_id`.

        Raises:
            ValueError: run id or type is blank, or the payload is not JSON.
        """
        command = validated_command(record)
        payload = json.dumps(command.payload, ensure_ascii=False)
        with self._db.transaction() as connection:
            known = connection.execute(
                "SELECT seq FROM commands WHERE command_id = ?", (command.command_id,)
            ).fetchone()
            if known is not None:
                return CommandAppendResult(accepted=False, duplicate=True, seq=int(known["seq"]))
            added = connection.execute(
                "INSERT INTO commands (command_id, run_id, type, payload_json, ts, client_id)"
                " VALUES (:command_id, :run_id, :type, :payload, :ts, :client_id)",
                {**command.to_json(), "payload": payload},
            )
            return CommandAppendResult(
                accepted=True, duplicate=False, seq=int(added.lastrowid or 0)
            )

    def list_after(self, *, after: int, limit: int = _PAGE) -> tuple[list[CommandRecord], int]:
        """Give commands behind a cursor, and the cursor behind the last row read.

        A damaged row is logged and passed over, so that it holds up no other command.
        """
        rows = self._db.query(
            "SELECT * FROM commands WHERE seq > ? ORDER BY seq LIMIT ?",
            after,
            page_size(limit, _PAGE),
        )
        found = [command for row in rows if (command := _parse_command(row)) is not None]
        return found, int(rows[-1]["seq"]) if rows else after

    def get_last_seq(self) -> int:
        return int(self._db.query("SELECT COALESCE(MAX(seq), 0) FROM commands")[0][0])


class SqliteCommandCursorStore:
    """Keeps the cursor of one consumer in table `command_cursors`; it may also go back."""

    def __init__(self, db: SqliteDatabase, *, consumer_id: str = "gateway_runner") -> None:
        self._db = db
        self._consumer_id = trimmed(consumer_id) or "gateway_runner"

    def load(self) -> int:
        rows = self._db.query(
            "SELECT cursor FROM command_cursors WHERE consumer_id = ?", self._consumer_id
        )
        return int(rows[0][0]) if rows else 0

    def save(self, cursor: int) -> None:
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO command_cursors VALUES (?, ?, ?)",
                (self._consumer_id, int(cursor), format_time(utc_now())),
            )


def _required_id(run_id: str) -> str:
    if not run_id or trimmed(run_id) != run_id:
        raise UsageError(
            f"run_id must be non-empty, without blanks around it; found {run_id!r}",
            argument="run_id",
        )
    return run_id


def _where(query: RunQuery) -> tuple[str, list[str]]:
    """Give a condition over columns of `runs`, and its values."""
    equal = equalities(query)
    terms = ["true", *(f"{name} = ?" for name, _ in equal)]
    values = [value for _, value in equal]
    if query.session_id is not None:
        terms.append("TRIM(session_id) = ?")
        values.append(query.session_id)
    if query.root_only:
        terms.append("COALESCE(parent_run_id, '') = ''")
    return " AND ".join(terms), values


def _last_seq(connection: sqlite3.Connection, run_id: str) -> int:
    row = connection.execute(
        "SELECT last_seq FROM ledger_heads WHERE run_id = ?", (run_id,)
    ).fetchone()
    return int(row["last_seq"]) if row else 0


def _batches(run_ids: Sequence[str], size: int) -> Iterator[list[str]]:
    ids = [text for text in map(trimmed, run_ids) if text is not None]
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _parse_record(run_id: str, seq: int, text: str) -> JsonObject:
    record = parse_object(text)
    if record is not None:
        return record
    raise ChainBroken(
        f"ledger of run {run_id!r}: record {seq} is not a JSON object",
        hint="restore the database from a backup; the records before it can be read",
        run_id=run_id,
        line=seq,
    )


def _parse_command(row: Row | sqlite3.Row) -> CommandRecord | None:
    payload = parse_object(row["payload_json"])
    if payload is None:
        _LOG.error("command %s is not a JSON object; passed over", row["command_id"])
        return None
    return CommandRecord(
        command_id=row["command_id"],
        run_id=row["run_id"],
        type=row["type"],
        payload=payload,
        ts=row["ts"],
        client_id=row["client_id"],
        seq=int(row["seq"]),
    )
