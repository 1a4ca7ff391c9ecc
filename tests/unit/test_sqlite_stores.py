"""The SQLite stores: files of 0.4.x, damaged rows, numbers, connections, commands."""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import stat
import threading
from contextlib import closing

import pytest

from abstractruntime.core.models import RunState, RunStatus, StepRecord, WaitReason, WaitState
from abstractruntime.errors import Busy, ChainBroken, IntegrityError, StoreError, UsageError
from abstractruntime.storage.commands import CommandRecord
from abstractruntime.storage.sqlite import (
    SqliteCommandCursorStore,
    SqliteCommandStore,
    SqliteDatabase,
    SqliteLedgerStore,
    SqliteRunStore,
)

# A file as 0.4.x made it before it had `ledger_heads`.
OLD_FILE = """
CREATE TABLE runs (run_id TEXT PRIMARY KEY, workflow_id TEXT NOT NULL, status TEXT NOT NULL, wait_reason TEXT,
  wait_until TEXT, parent_run_id TEXT, actor_id TEXT, session_id TEXT, created_at TEXT, updated_at TEXT, run_json TEXT NOT NULL);
CREATE TABLE wait_index (run_id TEXT PRIMARY KEY, next_due_iso TEXT NOT NULL, updated_at_iso TEXT NOT NULL, status TEXT);
CREATE TABLE ledger (run_id TEXT NOT NULL, seq INTEGER NOT NULL, record_json TEXT NOT NULL, PRIMARY KEY (run_id, seq));
CREATE TABLE commands (seq INTEGER PRIMARY KEY AUTOINCREMENT, command_id TEXT NOT NULL UNIQUE, run_id TEXT NOT NULL,
  type TEXT NOT NULL, payload_json TEXT NOT NULL, ts TEXT NOT NULL, client_id TEXT);
CREATE TABLE command_cursors (consumer_id TEXT PRIMARY KEY, cursor INTEGER NOT NULL, updated_at TEXT NOT NULL);
"""
TABLES = {
    "runs": "run_id workflow_id status wait_reason wait_until parent_run_id actor_id session_id"
    " created_at updated_at run_json",
    "wait_index": "run_id next_due_iso updated_at_iso status",
    "ledger": "run_id seq record_json",
    "ledger_heads": "run_id last_seq",
    "commands": "seq command_id run_id type payload_json ts client_id",
    "command_cursors": "consumer_id cursor updated_at",
}
INDEXES = {
    "idx_runs_status_updated", "idx_runs_workflow_updated", "idx_runs_parent", "idx_runs_waiting",
    "idx_wait_index_next_due", "idx_ledger_run_seq", "idx_commands_run_id",
}  # fmt: skip


@pytest.fixture
def db(tmp_path):
    with SqliteDatabase(tmp_path / "runs.db", synchronous="NORMAL") as database:
        yield database


def run(run_id="r", **fields) -> RunState:
    return RunState(
        run_id, "w", fields.pop("status", RunStatus.RUNNING), "a", updated_at="1", **fields
    )


def timer(run_id, until) -> RunState:
    return run(run_id, status=RunStatus.WAITING, waiting=WaitState(WaitReason.UNTIL, until=until))


def record(number=0, run_id="r", **fields) -> StepRecord:
    made = StepRecord.start(run=run(run_id), node_id=f"n{number}", effect=None)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


# -- the file -------------------------------------------------------------------------


def test_the_tables_are_those_of_04(db):
    found = {
        table: " ".join(row["name"] for row in db.query(f"PRAGMA table_info({table})"))
        for table in TABLES
    }
    indexes = {row[0] for row in db.query("SELECT name FROM sqlite_master WHERE type = 'index'")}

    assert found == TABLES
    assert indexes >= INDEXES


def test_a_file_of_04_opens_and_goes_on(tmp_path):
    path = tmp_path / "old.db"
    state = {
        "run_id": "r",
        "workflow_id": "w",
        "status": "waiting",
        "current_node": "a",
        "vars": {"x": 1},
    }
    state["waiting"] = {"reason": "until", "until": "2026-01-01T02:00:00+02:00"}
    with closing(sqlite3.connect(path)) as old:
        old.executescript(OLD_FILE)
        old.execute(
            "INSERT INTO runs VALUES ('r', 'w', 'waiting', 'until', ?, NULL, NULL, NULL, 'c', 'u', ?)",
            (state["waiting"]["until"], json.dumps(state, indent=2)),
        )
        old.execute(
            "INSERT INTO wait_index VALUES ('r', '2026-01-01T02:00:00+02:00', 'u', 'waiting_until')"
        )
        for seq in (1, 2):
            old.execute(
                "INSERT INTO ledger VALUES ('r', ?, ?)", (seq, json.dumps({"node_id": f"old{seq}"}))
            )
        old.commit()

    with SqliteDatabase(path) as db:
        runs, ledger = SqliteRunStore(db), SqliteLedgerStore(db)
        due = runs.list_due_wait_until(now_iso="2026-01-01T00:00:00Z")
        assert [(r.run_id, r.vars) for r in due] == [("r", {"x": 1})]
        assert runs.list_due_wait_until(now_iso="2025-12-31T23:59:59Z") == []
        ledger.append(record(3))

        assert ledger.count("r") == 3
        assert [r["node_id"] for r in ledger.list("r")] == ["old1", "old2", "n3"]


def test_what_is_written_serves_04(db):
    SqliteRunStore(db).save(timer("r", "2026-01-01T02:00:00+02:00"))
    SqliteLedgerStore(db).append(record())

    (row,) = db.query("SELECT * FROM runs")
    assert (row["status"], row["wait_reason"]) == ("waiting", "until")
    assert json.loads(row["run_json"])["waiting"]["until"] == row["wait_until"]
    (due,) = db.query("SELECT * FROM wait_index")
    # As text, too, it is not behind the present moment.
    assert tuple(due) == ("r", "2026-01-01T00:00:00.000000+00:00", "1", "waiting_until")
    assert [tuple(head) for head in db.query("SELECT * FROM ledger_heads")] == [("r", 1)]


def test_a_save_keeps_the_first_creation_time_of_its_row(db):
    runs = SqliteRunStore(db)
    for created in ("first", "second"):
        runs.save(run(created_at=created))

    assert runs.list_run_index()[0]["created_at"] == "first"


def test_the_file_is_the_owners(tmp_path):
    path = tmp_path / "deep" / "runs.db"
    with SqliteDatabase(path) as db:
        SqliteRunStore(db).save(run())
        modes = {file.suffix: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == {".db": 0o600, ".db-wal": 0o600, ".db-shm": 0o600}
    assert db.path == path


@pytest.mark.parametrize(("mode", "number"), [("FULL", 2), ("NORMAL", 1)])
def test_the_pragmas(tmp_path, mode, number):
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    with SqliteDatabase(tmp_path / "a.db", synchronous=mode) as db:
        found = [db.query(f"PRAGMA {name}")[0][0] for name in names]

    assert found == ["wal", number, 1, 5000]


def test_a_home_directory_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with SqliteDatabase("~/x.db") as db:
        assert db.path == tmp_path / "x.db"


@pytest.mark.parametrize("kind", ["text", "directory"])
def test_a_path_that_is_no_database_is_named(tmp_path, kind):
    path = tmp_path / "x.db"
    if kind == "directory":
        path.mkdir()
    else:
        path.write_text("these are words, not a database\n" * 100)

    with pytest.raises((StoreError, IntegrityError), match=r"x\.db"):
        SqliteDatabase(path)
    assert kind == "directory" or path.read_text().startswith("these are words")


# -- connections ------------------------------------------------------------------------


def test_each_thread_has_a_connection_that_ends_with_it(db):
    connections = []
    thread = threading.Thread(target=lambda: connections.append(db.connection()))
    thread.start()
    thread.join()

    assert connections[0] is not db.connection()
    assert db.connection() is db.connection()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connections[0].execute("SELECT 1")


def test_a_database_can_be_used_again_after_closing(db):
    SqliteRunStore(db).save(run())
    db.close()

    assert SqliteRunStore(db).load("r") == run(created_at=SqliteRunStore(db).load("r").created_at)


def test_a_database_that_is_dropped_closes_its_connections(tmp_path):
    connection = SqliteDatabase(tmp_path / "x.db").connection()
    gc.collect()

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_a_forked_child_opens_a_connection_of_its_own(db):
    mine = db.connection()
    own = db._local.own
    own.pid = os.getpid() + 1

    assert db.connection() is not mine
    assert mine.execute("SELECT 1").fetchone()[0] == 1
    mine.close()


def test_a_write_that_finds_the_file_locked_is_busy(db, monkeypatch):
    db.connection().execute("PRAGMA busy_timeout=0")
    with closing(sqlite3.connect(db.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy, match="locked"):
            SqliteRunStore(db).save(run())

    SqliteRunStore(db).save(run())


def test_a_transaction_that_fails_leaves_nothing(db):
    def write():
        with db.transaction() as connection:
            connection.execute("INSERT INTO ledger_heads VALUES ('r', 1)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()

    assert db.query("SELECT * FROM ledger_heads") == []


# -- damage -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"run_id": "other"}'], ids=repr)
def test_a_damaged_run_says_so_and_breaks_no_listing(db, text):
    runs = SqliteRunStore(db)
    for run_id in ("good", "r"):
        state = timer(run_id, "2026-01-01T00:00:00Z")
        state.parent_run_id = "p"
        runs.save(state)
    db.connection().execute("UPDATE runs SET run_json = ? WHERE run_id = 'r'", (text,))

    with pytest.raises(IntegrityError, match="'r'"):
        runs.load("r")
    assert [r.run_id for r in runs.list_runs(limit=1)] == ["good"]
    assert [r.run_id for r in runs.list_children(parent_run_id="p")] == ["good"]
    due = runs.list_due_wait_until(now_iso="2026-01-02T00:00:00Z")
    assert [r.run_id for r in due] == ["good"]


@pytest.mark.parametrize("text", ["{", "[]", ""], ids=repr)
def test_a_damaged_record_is_named_and_counted_nowhere(db, text):
    ledger = SqliteLedgerStore(db)
    for number in range(3):
        ledger.append(record(number).finish_success())
    db.connection().execute("UPDATE ledger SET record_json = ? WHERE seq = 2", (text,))

    with pytest.raises(ChainBroken, match="record 2"):
        ledger.list("r")
    with pytest.raises(ChainBroken) as info:
        ledger.list_after(run_id="r", after=1)
    records, cursor = ledger.list_after(run_id="r", after=info.value.details["line"])
    assert ([r["node_id"] for r in records], cursor) == (["n2"], 3)
    assert ledger.metrics_many(["r"])["r"]["steps"] == 2


def test_a_place_that_is_taken_is_named(db, caplog):
    ledger = SqliteLedgerStore(db)
    ledger.append(record())
    db.connection().execute("UPDATE ledger_heads SET last_seq = 0")
    db.connection().commit()

    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint failed") as info:
        ledger.append(record(1))

    for part in ("run_id='r'", "seq=1", f"db={db.path}"):
        assert part in str(info.value)
        assert part in caplog.text
    assert len(ledger.list("r")) == 1
    with SqliteDatabase(db.path) as again:
        SqliteLedgerStore(again).append(record(1))
    assert ledger.count("r") == 2


# -- ledgers ------------------------------------------------------------------------------


@pytest.mark.parametrize("run_id", ["", "  ", " r"], ids=repr)
def test_an_id_that_is_blank_or_padded_is_not_written(db, run_id):
    with pytest.raises(UsageError, match="run_id"):
        SqliteLedgerStore(db).append(record(run_id=run_id))
    with pytest.raises(UsageError, match="run_id"):
        SqliteRunStore(db).save(run(run_id))


def test_a_padded_id_finds_its_run(db):
    SqliteRunStore(db).save(run())
    SqliteLedgerStore(db).append(record())

    assert SqliteRunStore(db).load(" r\n").run_id == "r"
    assert (len(SqliteLedgerStore(db).list(" r ")), SqliteLedgerStore(db).count(" r ")) == (1, 1)


@pytest.mark.parametrize(
    ("after", "limit", "nodes", "cursor"),
    [(0, 1000, "01234", 5), (0, 2, "01", 2), (2, 2, "23", 4), (4, 0, "4", 5), (5, 9, "", 5), (9, 9, "", 9)],
    ids=["all", "page", "next", "default", "end", "behind"],
)  # fmt: skip
def test_list_after_pages(db, after, limit, nodes, cursor):
    ledger = SqliteLedgerStore(db)
    for number in range(5):
        ledger.append(record(number))

    records, end = ledger.list_after(run_id="r", after=after, limit=limit)

    assert ("".join(r["node_id"][1] for r in records), end) == (nodes, cursor)


def test_count_many_and_metrics_many(db):
    ledger = SqliteLedgerStore(db)
    llm = {"type": "llm_call", "payload": {}}
    tools = {"type": "tool_calls", "payload": {"tool_calls": [{}, {}]}}
    used = [{"usage": {"total_tokens": 7}}, {"usage": {"total_tokens": 5.0}}, {"usage": None}, None]
    for result in used:
        ledger.append(record(effect=llm))
        ledger.append(record(effect=llm).finish_success(result))
    ledger.append(record(effect=llm).finish_failure("no"))
    ledger.append(record(effect=tools).finish_success({}))
    ledger.append(
        record(effect={"type": "tool_calls", "payload": {"tool_calls": "x"}}).finish_success({})
    )
    ledger.append(record().finish_success({}))
    ledger.append(record(run_id="started only"))
    ids = ["r", "started only", "nobody", "", *(f"x{i}" for i in range(2000))]

    assert ledger.count_many(ids) == {"r": 12, "started only": 1}
    assert ledger.metrics_many(ids) == {
        "r": {"steps": 7, "llm_calls": 4, "tool_calls": 2, "tokens_total": 12}
    }


# -- commands -------------------------------------------------------------------------------


def command(command_id="c", **fields) -> CommandRecord:
    values = {"run_id": "r", "type": "pause", "payload": {"x": [1]}, "ts": "t", **fields}
    return CommandRecord(command_id, **values)


def test_a_command_is_accepted_once(db):
    commands = SqliteCommandStore(db)

    results = [commands.append(command(c, client_id="me")) for c in ("a", "b", "a")]

    assert [(r.accepted, r.duplicate, r.seq) for r in results] == [
        (True, False, 1), (True, False, 2), (False, True, 1),
    ]  # fmt: skip
    assert commands.get_last_seq() == 2
    assert commands.list_after(after=0) == (
        [command("a", client_id="me", seq=1), command("b", client_id="me", seq=2)],
        2,
    )


@pytest.mark.parametrize(
    ("after", "limit", "ids", "cursor"),
    [(0, 2, "01", 2), (2, 2, "23", 4), (0, 0, "0123", 4), (0, -1, "0123", 4), (4, 5, "", 4)],
    ids=["page", "next", "zero", "negative", "end"],
)
def test_commands_page(db, after, limit, ids, cursor):
    commands = SqliteCommandStore(db)
    for number in range(4):
        commands.append(command(str(number)))

    found, end = commands.list_after(after=after, limit=limit)

    assert ("".join(c.command_id for c in found), end) == (ids, cursor)


@pytest.mark.parametrize(
    "fields", [{"run_id": " "}, {"type": ""}, {"payload": {"x": (1,)}}, {"payload": None}], ids=repr
)
def test_a_wrong_command_is_refused(db, fields):
    with pytest.raises(ValueError, match="must be"):
        SqliteCommandStore(db).append(command(**fields))
    assert SqliteCommandStore(db).get_last_seq() == 0


def test_blank_id_and_time_are_filled(db):
    SqliteCommandStore(db).append(command(" ", ts=""))

    ((found,), _) = SqliteCommandStore(db).list_after(after=0)
    assert len(found.command_id) == 32
    assert found.ts.endswith("+00:00")


def test_a_damaged_command_holds_up_no_other(db, caplog):
    commands = SqliteCommandStore(db)
    for command_id in ("a", "b"):
        commands.append(command(command_id))
    db.connection().execute("UPDATE commands SET payload_json = '{' WHERE command_id = 'a'")

    found, cursor = commands.list_after(after=0)
    assert ([c.command_id for c in found], cursor) == (["b"], 2)
    assert commands.list_after(after=0, limit=1) == ([], 1)
    assert "command a" in caplog.text


def test_cursors_are_per_consumer_and_may_go_back(db):
    first, second = SqliteCommandCursorStore(db), SqliteCommandCursorStore(db, consumer_id="x")
    first.save(9)
    first.save(3)

    assert (first.load(), second.load()) == (3, 0)
    assert [row[0] for row in db.query("SELECT consumer_id FROM command_cursors")] == [
        "gateway_runner"
    ]
