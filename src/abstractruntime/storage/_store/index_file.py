"""The database of the index, which may have been put there by anybody.

Rules:
1. It is used only when it is what this version wrote: one file, with exactly our tables and
   indexes. Anything else is thrown away, and whatever SQLite keeps beside a database with it:
   playing back a journal can remove any file that it names. Ours is kept in memory.
2. While it is written, it says that it is torn. Whoever dies then leaves it so, and the next one
   throws it away. A change holds it alone, so that nobody sees one that is only being written.
3. A query gives no more than the file can hold, and takes no more steps than its size allows.
4. Where there can be no file, or its second one is no better, the index is in memory.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeVar

from abstractruntime.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout

_T = TypeVar("_T")

_MEMORY: Final = ":memory:"
_BESIDE: Final = ("-journal", "-wal", "-shm")
_HEAD_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\x00"
# Where the head of a database says that it keeps its journal as we do.
_PLAIN: Final = slice(18, 20)
_TORN: Final = 0
_ATTEMPTS: Final = 3
_WAIT_S: Final = 2.0
_LONGEST_VALUE: Final = 1 << 24
# A row takes more than this in the file, beside its texts.
_ROW_BYTES: Final = 16
# What a file may have beyond what the runs of its store need.
_FREE_BYTES: Final = 1 << 20
_BYTES_PER_NAME: Final = 1 << 14
_STEPS_PER_LOOK: Final = 100_000
_FREE_STEPS: Final = 10_000_000
_STEPS_PER_BYTE: Final = 4


class _Foreign(Exception):  # noqa: N818 - not an error of anybody
    """The file is not what this version wrote, or was torn."""


class IndexFile:
    """One database with a schema; opened when it is first used.

    Args:
        files: The store's file system.
        layout: The store's names.
        schema: The statements that make it, as SQLite stores them.
        version: Which schema that is; not 0.
        writable: False keeps it in memory, for stores that must not be written.
    """

    def __init__(
        self,
        files: StoreFiles,
        layout: Layout,
        *,
        schema: Sequence[str],
        version: int,
        writable: bool,
    ) -> None:
        self._files = files
        self._layout = layout
        self._schema = tuple(schema)
        self._version = version
        self._path = files.fs.database_path(layout.index) if writable else _MEMORY
        self._connection: sqlite3.Connection | None = None
        # Looks at a statement that are left to it; None while there is no limit.
        self._looks: int | None = None
        self._is_spent = False

    @property
    def is_file(self) -> bool:
        return self._path != _MEMORY

    def use(self, action: Callable[[IndexFile], _T]) -> _T | None:
        """Run `action`; when the database is no good, throw it away and try again.

        `action` may run more than once, the last time on an empty database in memory.
        """
        import sqlite3  # noqa: PLC0415 - most commands never query

        for attempt in range(_ATTEMPTS):
            try:
                self._open(sqlite3)
                return action(self)
            except (sqlite3.DatabaseError, _Foreign) as cause:
                # Locked or not writable: this process works on a copy of its own.
                is_busy = isinstance(cause, sqlite3.OperationalError) and not self._is_spent
                self.close()
                if is_busy or attempt or not self._discard():
                    self._path = _MEMORY
        return None

    def fetch(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Give the rows of a query, which are not more than the file holds."""
        db = self._db()
        if not self.is_file:
            return db.execute(statement, values).fetchall()
        left = self._size()
        given = sum(len(value) for value in values if isinstance(value, str))
        with self._limited(_FREE_STEPS + _STEPS_PER_BYTE * (left + given)):
            rows = []
            for row in db.execute(statement, values):
                left -= _ROW_BYTES + sum(len(v) for v in row if isinstance(v, (str, bytes)))
                if left < 0:
                    raise _Foreign
                rows.append(row)
        return rows

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the database alone, and write what the block does as one change."""
        db = self._db()
        with self._alone(db, self._version):
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                self._declare_whole(db)
                raise
            db.execute("COMMIT")
            self._declare_whole(db)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- opening --------------------------------------------------------------

    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None  # noqa: S101 - `use` has opened it
        return self._connection

    def _open(self, sqlite3: Any) -> None:
        """Open the database, or see that nobody has torn it since."""
        if self._connection is None:
            if self.is_file:
                self._require_own_file()
            db = sqlite3.connect(
                self._path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._connection = db
            # Engines are often just dropped; a connection is closed with its index.
            weakref.finalize(self, db.close)
            self._confine(sqlite3, db)
            self._require_schema(db)
        elif self.is_file and _version(self._connection) != self._version:
            raise _Foreign

    def _require_own_file(self) -> None:
        """Make the file where there is none, and refuse one that SQLite must not open."""
        files, path = self._files, self._layout.index
        try:
            if any(files.info(path + suffix) is not None for suffix in _BESIDE):
                raise _Foreign
            head = files.read(path, 0, _HEAD_BYTES) or b""
            if head and not (head.startswith(_MAGIC) and head[_PLAIN] == b"\x01\x01"):
                raise _Foreign
            if (size := self._size()) > _FREE_BYTES:
                names = len(files.names(self._layout.root))
                if size > _FREE_BYTES + _BYTES_PER_NAME * names:
                    raise _Foreign
            if not head:
                # SQLite would make it with the mode of the process.
                files.create(path).close()
        except StoreError as cause:
            raise _Foreign from cause

    def _confine(self, sqlite3: Any, db: sqlite3.Connection) -> None:
        for setting in (
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "synchronous = OFF",
            "temp_store = MEMORY",
            "journal_mode = MEMORY",
        ):
            db.execute(f"PRAGMA {setting}")
        if self.is_file:
            db.set_progress_handler(self._look, _STEPS_PER_LOOK)
            # Python 3.10 has no limits; there a value is bounded by the size of the file alone.
            if hasattr(db, "setlimit"):
                db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
                db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)

    def _require_schema(self, db: sqlite3.Connection) -> None:
        if _version(db) == _TORN and not self._stored_schema():
            # Another process may be faster; what it made is judged as any other.
            with contextlib.suppress(_Foreign), self._alone(db, _TORN):
                db.execute("BEGIN IMMEDIATE")
                for statement in self._schema:
                    db.execute(statement)
                db.execute("COMMIT")
                self._declare_whole(db)
        if _version(db) != self._version or sorted(self._stored_schema()) != sorted(self._schema):
            raise _Foreign

    def _stored_schema(self) -> list[str]:
        return [str(sql) for (sql,) in self.fetch("SELECT sql FROM sqlite_master")]

    def _discard(self) -> bool:
        """Throw the file away, with what is beside it; False when that is not allowed."""
        if not self.is_file:
            return False
        try:
            for suffix in (*_BESIDE, ""):
                self._files.remove(self._layout.index + suffix)
        except StoreError:
            return False
        return True

    # -- bounds ---------------------------------------------------------------

    def _size(self) -> int:
        info = self._files.info(self._layout.index)
        return info.size if info is not None else 0

    @contextlib.contextmanager
    def _limited(self, steps: int) -> Iterator[None]:
        self._looks = steps // _STEPS_PER_LOOK
        try:
            yield
        finally:
            self._is_spent, self._looks = self._looks < 0, None

    def _look(self) -> bool:
        """Tell SQLite whether to give a statement up."""
        if self._looks is None:
            return False
        self._looks -= 1
        return self._looks < 0

    # -- writing --------------------------------------------------------------

    @contextlib.contextmanager
    def _alone(self, db: sqlite3.Connection, expected: int) -> Iterator[None]:
        """Keep everybody out of a file for the block, which begins by saying that it is torn."""
        if not self.is_file:
            yield
            return
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            db.execute("BEGIN EXCLUSIVE")
            if _version(db) != expected:
                db.execute("ROLLBACK")
                raise _Foreign
            db.execute(f"PRAGMA user_version = {_TORN}")
            db.execute("COMMIT")
            yield
        finally:
            db.execute("PRAGMA locking_mode = NORMAL")
            # The lock is freed by the next access.
            _version(db)

    def _declare_whole(self, db: sqlite3.Connection) -> None:
        # Invariant: a change of its own, after all others are in the file.
        db.execute(f"PRAGMA user_version = {self._version}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
