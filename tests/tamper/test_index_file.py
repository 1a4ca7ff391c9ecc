"""The index of a store that may have come from anywhere: SQLite opens it only when it is ours."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from abstractruntime.core.models import RunState, RunStatus, StepRecord, StepStatus
from abstractruntime.core.ports import RunQuery
from abstractruntime.storage._store import index_file
from abstractruntime.storage._store.index_file import IndexFile
from abstractruntime.storage.directory import open_store

RUNS = ["r2", "r1"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a store with two runs and an index; beside it lies a file that somebody wants gone."""
    (tmp_path / "victim").write_bytes(b"mine")
    with open_store(tmp_path / "store", durability="off") as engine:
        for run_id in ("r1", "r2"):
            run = RunState(run_id, "w", RunStatus.RUNNING, "n", updated_at=f"2026-{run_id}")
            first = StepRecord(run_id, "s", "n", StepStatus.COMPLETED, started_at="t")
            with contextlib.closing(engine.create(run, first)) as log:
                log.settle()
        assert found(engine) == RUNS
    return tmp_path / "store"


def found(engine) -> list[str]:
    return [row.run_id for row in engine.find(RunQuery())]


def listed(root: Path) -> list[str]:
    with open_store(root) as engine:
        return found(engine)


# -- what may lie there -----------------------------------------------------------------


def hot_journal(root: Path) -> None:
    """Leave a journal that names the victim as its super-journal, which SQLite would remove."""
    db, victim = root / "index.sqlite", str(root.parent / "victim").encode()
    data = db.read_bytes()
    page = struct.unpack(">H", data[16:18])[0]
    head = bytes.fromhex("d9d505f920a163d7") + struct.pack(
        ">IIIII", 0, 0, len(data) // page, 512, page
    )
    end = struct.pack(">I", 0x40000000 // page + 1) + victim
    end += struct.pack(">II", len(victim), sum(victim)) + head[:8]
    db.with_name("index.sqlite-journal").write_bytes(head.ljust(512, b"\0") + end)


def beside(suffix: str, make: Callable[[Path, Path], object]) -> Callable[[Path], None]:
    return lambda root: make(root / f"index.sqlite{suffix}", root.parent / "victim") and None


def link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def pipe(path: Path, _: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link_elsewhere(path: Path, victim: Path) -> None:
    """Put a link to another database, which nobody here may write, in the place of the index."""
    path.rename(victim)
    path.symlink_to(victim)


def sql(*statements: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        with contextlib.closing(sqlite3.connect(root / "index.sqlite", isolation_level=None)) as db:
            for statement in statements:
                db.execute(statement)

    return act


def view(select: str) -> Callable[[Path], None]:
    names = "run_id, workflow_id, status, wait_reason, wait_key, wait_until, parent_run_id,"
    names += " actor_id, session_id, created_at, updated_at, listening, ledger_bytes"
    return sql("DROP TABLE runs", f"CREATE VIEW runs ({names}) AS {select}")


_ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)"
_SAME = "'r1', 'completed', NULL, NULL, NULL, NULL, NULL, NULL, '', '', NULL, 1"
PLANTED = {
    "journal": hot_journal,
    **{
        f"{name} {suffix}": beside(suffix, make)
        for suffix in ("-journal", "-wal", "-shm", "")
        for name, make in (
            ("link", link),
            ("pipe", pipe),
            ("bytes", lambda p, _: p.write_bytes(b"x")),
        )
    },
    "directory": beside("-journal", lambda path, _: path.mkdir()),
    "link to a database": beside("", link_elsewhere),
    "wal": sql("PRAGMA journal_mode = WAL"),
    "huge view": view(f"SELECT zeroblob(900000000), {_SAME}"),
    "endless view": view(f"{_ENDLESS} SELECT n, {_SAME} FROM c"),
    "trigger": sql(
        "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM runs; END",
        "DELETE FROM runs WHERE run_id = 'r1'",
    ),
    "table": sql("CREATE TABLE other (a)"),
    "generated column": sql("ALTER TABLE runs ADD COLUMN g TEXT AS (hex(zeroblob(90000000)))"),
    "without an index": sql("DROP INDEX runs_by_update"),
    "torn": sql("PRAGMA user_version = 0", "DELETE FROM runs"),
    "earlier": sql("PRAGMA user_version = 6", "DELETE FROM runs"),
    "sparse": lambda root: os.truncate(root / "index.sqlite", 1 << 40),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_what_is_not_ours_is_thrown_away(root: Path, plant: Callable[[Path], None]) -> None:
    plant(root)
    victim = root.parent / "victim"
    before = victim.read_bytes()

    assert listed(root) == RUNS
    assert listed(root) == RUNS
    assert victim.read_bytes() == before
    left = {
        path.name for path in root.iterdir() if path.name.startswith("index") and path.is_file()
    }
    assert left <= {"index.sqlite"}


def test_a_journal_that_is_played_back_is_caught(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IndexFile, "_require_own_file", lambda _: None)
    hot_journal(root)

    listed(root)
    assert not (root.parent / "victim").exists()


# -- what it may cost -------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement, error",
    [
        (f"{_ENDLESS} SELECT count(*) FROM c", sqlite3.OperationalError),
        (f"{_ENDLESS} SELECT n FROM c", index_file._Foreign),
        ("SELECT zeroblob(4000000)", index_file._Foreign),
        ("SELECT zeroblob(900000000)", sqlite3.DataError),
    ],
)
def test_a_query_gives_no_more_and_takes_no_longer_than_the_file_allows(
    root: Path, statement: str, error: type[Exception]
) -> None:
    if error is sqlite3.DataError and not hasattr(sqlite3.Connection, "setlimit"):
        pytest.skip("Python 3.10 has no limits")
    with open_store(root) as engine:
        assert found(engine) == RUNS
        with pytest.raises(error):
            engine.services.index._database.fetch(statement)


# -- torn -------------------------------------------------------------------------------


def die_while_writing(root: Path) -> None:
    """Let a child remove all rows, and die before it says that the index is whole."""
    child = os.fork()
    if not child:
        with open_store(root) as engine:
            found(engine)
            with engine.services.index._database.writing() as db:
                db.execute("DELETE FROM runs")
                db.execute("COMMIT")
                os._exit(0)
    os.waitpid(child, 0)


def test_who_dies_while_it_writes_leaves_word(root: Path) -> None:
    die_while_writing(root)
    with contextlib.closing(sqlite3.connect(root / "index.sqlite")) as torn:
        assert index_file._version(torn) == 0
        assert torn.execute("SELECT * FROM runs").fetchall() == []
    with open_store(root) as living:
        assert found(living) == RUNS
        die_while_writing(root)
        assert found(living) == RUNS


def test_nobody_sees_a_change_that_is_only_being_written(root: Path) -> None:
    with open_store(root) as engine:
        assert found(engine) == RUNS
        with (
            engine.services.index._database.writing(),
            contextlib.closing(sqlite3.connect(root / "index.sqlite", timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("PRAGMA user_version").fetchone()
        with contextlib.closing(sqlite3.connect(root / "index.sqlite", timeout=0)) as other:
            assert index_file._version(other) == 7


def test_a_change_that_fails_leaves_a_whole_index(root: Path) -> None:
    with open_store(root) as engine:
        assert found(engine) == RUNS
        database = engine.services.index._database
        inode = (root / "index.sqlite").stat().st_ino
        twice = "DELETE FROM runs", "INSERT INTO scan VALUES (0, 0)"
        with pytest.raises(sqlite3.IntegrityError), database.writing() as db:
            all(map(db.execute, twice))
        assert found(engine) == RUNS
        assert (root / "index.sqlite").stat().st_ino == inode
