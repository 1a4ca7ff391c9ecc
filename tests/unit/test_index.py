from __future__ import annotations

import contextlib
import os

import pytest

from abstractruntime.core.models import (
    RunState,
    RunStatus,
    StepRecord,
    StepStatus,
    WaitReason,
    WaitState,
)
from abstractruntime.core.ports import RunQuery
from abstractruntime.errors import StoreIOError
from abstractruntime.storage.directory import open_store


def add(store, run_id, status="running", until=None, workflow="v", **fields):
    fields = {"updated_at": f"2026-{run_id}", "session_id": "s", **fields}
    run = RunState(run_id, workflow, RunStatus(status), "n", **fields)
    if status == "waiting":
        reason = WaitReason.UNTIL if until else WaitReason.USER
        run.waiting = WaitState(reason, f"key-{run_id}", until)
    log = store.create(run, StepRecord(run_id, "s", "n", StepStatus.COMPLETED, started_at="t"))
    log.settle()
    log.close()


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store", durability="relaxed") as engine:
        add(engine, "a1", workflow="w")
        add(engine, "a2", "waiting", until="2026-05-01")
        add(engine, "b1", "waiting", parent_run_id="a1")
        add(engine, "b2", "completed", session_id="other")
        yield engine


QUERIES = [
    (RunQuery(), ["b2", "b1", "a2", "a1"]),
    (RunQuery(limit=2), ["b2", "b1"]),
    (RunQuery(limit=0), ["b2", "b1", "a2", "a1"]),
    (RunQuery(limit=-1), ["b2", "b1", "a2", "a1"]),
    (RunQuery(status=RunStatus.WAITING), ["b1", "a2"]),
    (RunQuery(wait_reason=WaitReason.USER), ["b1"]),
    (RunQuery(due_at="2026-05-02"), ["a2"]),
    (RunQuery(due_at="2026-05-01"), ["a2"]),
    (RunQuery(due_at="2026-04-30"), []),
    (RunQuery(wait_key_prefix="key-"), ["b1", "a2"]),
    (RunQuery(parent_run_id="a1"), ["b1"]),
    (RunQuery(root_only=True), ["b2", "a2", "a1"]),
    (RunQuery(id_prefix="a"), ["a2", "a1"]),
    (RunQuery(session_id="other"), ["b2"]),
    (RunQuery(workflow_id="w", status=RunStatus.RUNNING), ["a1"]),
    (RunQuery(has_commands=True), []),
]


def ids(store, query):
    return [header.run_id for header in store.find(query)]


@pytest.mark.parametrize("query, expected", QUERIES)
def test_queries(store, query, expected):
    assert ids(store, query) == expected


def test_what_is_due_first_comes_first(store):
    add(store, "c1", "waiting", until="2026-05-15")

    assert ids(store, RunQuery(due_at="2026-06-01")) == ["a2", "c1"]
    assert ids(store, RunQuery(due_at="2026-06-01", limit=1)) == ["a2"]
    assert ids(store, RunQuery(wait_reason=WaitReason.UNTIL)) == ["c1", "a2"]


def test_a_key_begins_with_a_prefix_whatever_character_follows(store):
    run = RunState("d1", "v", RunStatus.WAITING, "n", updated_at="2026-d1")
    run.waiting = WaitState(WaitReason.EVENT, "evt:\U0010fffe")
    store.create(run, StepRecord("d1", "s", "n", StepStatus.COMPLETED, started_at="t")).close()

    assert ids(store, RunQuery(wait_key_prefix="evt:")) == ["d1"]
    assert ids(store, RunQuery(wait_key_prefix="evt;")) == []


@pytest.mark.parametrize(("limit", "read"), [(100, 4), (101, 0), (0, 0)])
def test_rows_are_compared_with_their_runs_a_page_at_a_time(store, monkeypatch, limit, read):
    index, loaded = store.services.index, []
    load = index._load
    store.find(RunQuery(limit=0))
    monkeypatch.setattr(index, "_load", lambda run_id: loaded.append(run_id) or load(run_id))

    store.find(RunQuery(limit=limit))
    assert len(set(loaded)) == read


def test_rows_are_written_in_batches(store, monkeypatch):
    monkeypatch.setattr("abstractruntime.storage._store.index._ROWS_PER_BATCH", 3)
    store.find(RunQuery())
    kept = []
    for name in ("e1", "e2", "e3"):
        add(store, name)
        kept.append(len(store.services.index._queue))

    assert kept == [1, 2, 0]


def test_a_header_tells_what_the_run_waits_for(store):
    (header,) = store.find(RunQuery(id_prefix="a2"))
    assert (header.wait_reason, header.wait_key, header.wait_until) == (
        WaitReason.UNTIL,
        "key-a2",
        "2026-05-01",
    )


def test_a_run_that_the_disk_kept_back_is_found_by_a_later_query(store, monkeypatch):
    index, kept_back = store.services.index, {"a1", "a2", "b1", "b2"}
    load = index._load

    def load_or_fail(run_id):
        if run_id in kept_back:
            raise StoreIOError(f"cannot access {run_id!r}", path=run_id)
        return load(run_id)

    store.close()
    os.unlink(f"{store.path}/index.sqlite")
    monkeypatch.setattr(index, "_load", load_or_fail)
    assert ids(store, RunQuery()) == []
    os.utime(store.path, (1, 1))
    kept_back -= {"a1", "a2", "b1"}
    assert ids(store, RunQuery()) == ["b1", "a2", "a1"]
    kept_back.clear()
    assert ids(store, RunQuery()) == ["b2", "b1", "a2", "a1"]


@pytest.mark.parametrize("damage", [None, b"not a database" * 100], ids=["deleted", "damaged"])
def test_a_lost_index_is_rebuilt(store, damage):
    store.find(RunQuery())
    store.close()
    os.unlink(f"{store.path}/index.sqlite")
    if damage:
        with open(f"{store.path}/index.sqlite", "wb") as file:
            file.write(damage)

    with open_store(store.path) as again:
        assert ids(again, RunQuery()) == ["b2", "b1", "a2", "a1"]


def test_runs_of_other_processes_and_deleted_runs_are_noticed(store):
    assert len(ids(store, RunQuery())) == 4
    with open_store(store.path) as other:
        log = other.open("a1")
        log.run.status = RunStatus.CANCELLED
        log.commit(StepRecord("a1", "s", "n", StepStatus.COMPLETED, started_at="t"))
        log.settle()
        log.close()
    os.unlink(store._layout.ledger("b2"))

    assert ids(store, RunQuery(status=RunStatus.CANCELLED)) == ["a1"]
    assert ids(store, RunQuery(id_prefix="b")) == ["b1"]


def test_a_damaged_run_stops_nobody_else(store):
    with open(f"{store.path}/ledger_broken.jsonl", "wb") as file:
        file.write(b"garbage\n")
    assert len(ids(store, RunQuery())) == 4


def test_a_query_takes_any_number_of_runs_with_commands(store, monkeypatch):
    known = [f"r{number}" for number in range(300_000)]
    monkeypatch.setattr(store.services.inboxes, "runs_with_commands", lambda: [*known, "a1"])

    assert ids(store, RunQuery(has_commands=True)) == ["a1"]


def look(store, query=None):
    """Query a directory that has been left alone for a while since it was last modified."""
    store.find(RunQuery())
    os.utime(store.address, (1e9, 1e9))
    return ids(store, query or RunQuery())


@pytest.mark.parametrize("start", [b"", b'{"half'], ids=["empty", "torn"])
def test_a_run_that_was_only_beginning_at_a_look_is_found_at_the_next(store, tmp_path, start):
    with open_store(tmp_path / "other") as other:
        add(other, "late")
    ledger = tmp_path / "store" / "ledger_late.jsonl"
    ledger.write_bytes(start)
    assert "late" not in look(store)

    ledger.write_bytes((tmp_path / "other" / "ledger_late.jsonl").read_bytes())

    assert "late" in look(store)
    assert "late" in look(store, RunQuery(live_only=True))


def finish(store, run_id):
    with contextlib.closing(store.open(run_id)) as log:
        log.run.status, log.run.output = RunStatus.COMPLETED, {}
        log.commit(StepRecord(run_id, "s2", "n", StepStatus.COMPLETED, started_at="t"))
        log.settle()


def test_a_late_row_does_not_hide_what_happened_since(store, tmp_path):
    with open_store(tmp_path / "store", durability="relaxed") as late:
        finish(late, "a1")
        with contextlib.closing(store.open("a1")) as log:
            log.run.status, log.run.output = RunStatus.RUNNING, None
            log.commit(StepRecord("a1", "s3", "n", StepStatus.COMPLETED, started_at="t"))
            log.settle()
        assert "a1" in ids(store, RunQuery(live_only=True))

    assert "a1" in ids(store, RunQuery(live_only=True))


def test_a_late_row_does_not_bring_a_purged_run_back(store, tmp_path):
    with open_store(tmp_path / "store", durability="relaxed") as late:
        finish(late, "a2")
        for name in ("ledger_a2.jsonl", "run_a2.json"):
            (tmp_path / "store" / name).unlink(missing_ok=True)
        assert "a2" not in look(store)

    os.utime(store.address, (1e9, 1e9))
    assert "a2" not in ids(store, RunQuery())
