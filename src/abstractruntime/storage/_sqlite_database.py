"""The SQLite file of 0.4.x: its tables, one connection per thread, and its transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from abstractruntime.errors import (
    AbstractRuntimeError,
    Busy,
    IntegrityError,
    StoreFull,
    StoreIOError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self  # types only; not a dependency at run time

Synchronous = Literal["FULL", "NORMAL"]

_BUSY_MS = 5000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  run_id TEXT PRIMARY KEY, workflow_id TEXT NOT NULL, status TEXT NOT NULL,
  wait_reason TEXT, wait_until TEXT, parent_run_id TEXT, actor_id TEXT, session_id TEXT,
  created_at TEXT, updated_at TEXT, run_json TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_runs_status_updated ON runs(status, updated_at DESC);
CREATE INDEX IF NOT EXISTS idx_runs_workflow_updated ON runs(workflow_id, updated_at DESC);
CREATE INDEX IF NOT EXISTS idx_runs_parent ON runs(parent_run_id);
CREATE INDEX IF NOT EXISTS idx_runs_waiting ON runs(status, wait_reason, wait_until);
CREATE TABLE IF NOT EXISTS wait_index (
  run_id TEXT PRIMARY KEY, next_due_iso TEXT NOT NULL, updated_at_iso TEXT NOT NULL, status TEXT
);
CREATE INDEX IF NOT EXISTS idx_wait_index_next_due ON wait_index(next_due_iso);
CREATE TABLE IF NOT EXISTS ledger (
  run_id TEXT NOT NULL, seq INTEGER NOT NULL, record_json TEXT NOT NULL, PRIMARY KEY (run_id, seq)
);
CREATE INDEX IF NOT EXISTS idx_ledger_run_seq ON ledger(run_id, seq);
CREATE TABLE IF NOT EXISTS ledger_heads (run_id TEXT PRIMARY KEY, last_seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS commands (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, command_id TEXT NOT NULL UNIQUE, run_id TEXT NOT NULL,
  type TEXT NOT NULL, payload_json TEXT NOT NULL, ts TEXT NOT NULL, client_id TEXT
);
CREATE INDEX IF NOT EXISTS idx_commands_run_id ON commands(run_id);
CREATE TABLE IF NOT EXISTS command_cursors (
  consumer_id TEXT PRIMARY KEY, cursor INTEGER NOT NULL, updated_at TEXT NOT NULL
);
"""
# Files from before `ledger_heads` existed get their heads from the records.
_RAISE_HEADS = """
INSERT INTO ledger_heads (run_id, last_seq) SELECT run_id, MAX(seq) FROM ledger WHERE true GROUP BY run_id
ON CONFLICT(run_id) DO UPDATE SET last_seq = excluded.last_seq WHERE excluded.last_seq > last_seq
"""


class _ThreadConnection:
    """One thread's connection, closed when the thread or the database goes away."""

    __slots__ = ("__weakref__", "close", "pid", "raw")

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.raw = raw
        self.pid = os.getpid()
        # Held from outside, the connection outlives a cycle of garbage that this is part of.
        self.close = weakref.finalize(self, _close_own, raw, self.pid)


def _close_own(raw: sqlite3.Connection, pid: int) -> None:
    # Hazard: SQLite forbids touching a connection that came along through a fork.
    if pid == os.getpid():
        raw.close()


class SqliteDatabase:
    """A SQLite file with the tables of 0.4.x, shared by the stores built on it.

    Args:
        path: The file; `~` is expanded, and it and its directory are created when missing.
        synchronous: `NORMAL` may lose the last transactions in a power cut, but no order.

    Raises:
        StoreIOError: the file cannot be opened.
        IntegrityError: it is not a SQLite database.
    """

    def __init__(self, path: str | Path, *, synchronous: Synchronous = "FULL") -> None:
        self._path = Path(path).expanduser().resolve()
        self._synchronous = synchronous
        self._local = threading.local()
        self._open: weakref.WeakSet[_ThreadConnection] = weakref.WeakSet()
        with self._errors():
            self._create_file()
        with self.transaction() as connection:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(_RAISE_HEADS)

    @property
    def path(self) -> Path:
        return self._path

    def connection(self) -> sqlite3.Connection:
        """Give the calling thread's connection; it stays open until `close`, or the thread's end."""
        own: _ThreadConnection | None = getattr(self._local, "own", None)
        if own is None or own.pid != os.getpid():
            with self._errors():
                own = self._local.own = _ThreadConnection(self._connect())
            self._open.add(own)
        return own.raw

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction: all of the block, or nothing when it raises.

        Raises:
            Busy: another process has been writing for longer than the busy timeout.
            StoreFull, StoreIOError, IntegrityError
        """
        connection = self.connection()
        with self._errors():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def query(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """Read all rows of a statement."""
        with self._errors():
            return self.connection().execute(statement, values).fetchall()

    def rows(self, statement: str, *values: object) -> Iterator[sqlite3.Row]:
        """Read the rows of a statement one by one, for callers that may not need all."""
        with self._errors():
            yield from self.connection().execute(statement, values)

    def close(self) -> None:
        """Close the connections of all threads; the next use opens new ones."""
        for connection in list(self._open):
            connection.close()
        self._open.clear()
        self._local = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _create_file(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite gives its journals the mode of the file, which holds prompts and answers.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def _connect(self) -> sqlite3.Connection:
        raw = sqlite3.connect(
            self._path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            raw.row_factory = sqlite3.Row
            raw.execute("PRAGMA journal_mode=WAL")
            raw.execute(f"PRAGMA synchronous={self._synchronous}")
            raw.execute("PRAGMA foreign_keys=ON")
            raw.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        except sqlite3.Error:
            raw.close()
            raise
        return raw

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise errors a user can act on for what SQLite said.

        Compat: `sqlite3.IntegrityError` passes; hosts of 0.4.x catch it.
        """
        try:
            yield
        except (sqlite3.IntegrityError, AbstractRuntimeError):
            raise
        except (sqlite3.DatabaseError, OSError) as cause:
            raise self._to_error(cause) from cause

    def _to_error(self, cause: Exception) -> AbstractRuntimeError:
        text, path = str(cause), str(self._path)
        if "locked" in text:
            return Busy(
                f"{self._path.name!r} is locked by another process",
                hint="try again later",
                path=path,
            )
        if "full" in text:
            return StoreFull(
                f"no space left to write {self._path.name!r}",
                hint="free some space, then repeat the command",
                path=path,
            )
        if "malformed" in text or "not a database" in text:
            return IntegrityError(
                f"{self._path.name!r} is damaged: {text}",
                hint="restore it from a backup, or name another file",
                path=path,
            )
        return StoreIOError(
            f"cannot access {self._path.name!r}: {text}",
            hint="check owner and permissions of the file and its directory",
            path=path,
        )
