"""The directory engine as its callers see it."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from abstractruntime.core.commands import Cancel, Command
from abstractruntime.core.models import (
    RunState,
    RunStatus,
    StepRecord,
    StepStatus,
    WaitReason,
    WaitState,
)
from abstractruntime.core.ports import Barrier, RunQuery
from abstractruntime.core.records import STATUS_KEY_PREFIX
from abstractruntime.core.store import LedgerHead
from abstractruntime.errors import (
    ChainBroken,
    HeadMismatch,
    IntegrityError,
    InvalidValue,
    NotFound,
    UnsupportedFormat,
    UsageError,
)
from abstractruntime.storage._store.header import run_from
from abstractruntime.storage._store.memory import LogMemory
from abstractruntime.storage.directory import open_store


def a_record(status=StepStatus.COMPLETED, step="s", **fields) -> StepRecord:
    return StepRecord("r", step, "n", status, started_at="t", **fields)


def a_run(run_id="r", **fields) -> RunState:
    fields = {"vars": {"a": {"b": [1]}}, "updated_at": "2026-01-01", **fields}
    return RunState(run_id, "w", RunStatus.RUNNING, "start", **fields)


def created(engine, run=None):
    run = run or a_run()
    record = a_record(result={"internal": "run_started"})
    record.run_id = run.run_id
    return engine.create(run, record)


def finished(log):
    log.run.status, log.run.output = RunStatus.COMPLETED, {"ok": True}
    status = a_record(idempotency_key=f"{STATUS_KEY_PREFIX}completed")
    log.commit(a_record(result={"completed": True}), status)
    log.settle()
    log.close()


def parked(log, key="k", until=None):
    log.run.status = RunStatus.WAITING
    log.run.waiting = WaitState(WaitReason.EVENT, key, until)
    log.commit(a_record(StepStatus.WAITING))
    log.settle()
    log.close()


def lines_of(engine, run_id="r"):
    with open(engine._layout.ledger(run_id), "rb") as file:
        return file.read().splitlines(keepends=True)


def rewrite(path, data):
    with open(path, "wb") as file:
        file.write(data)


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store", origin="here/1") as engine:
        yield engine


@pytest.fixture
def fresh(store):
    """Give an engine without memory of what the first one did."""
    engines = []

    def build():
        engines.append(open_store(store.path))
        return engines[-1]

    yield build
    for engine in engines:
        engine.close()


def test_the_first_line_holds_the_whole_run(store):
    created(store).close()

    (stored,) = store.records("r")
    assert list(stored.record)[-6:] == [
        "idempotency_key",
        "prev_hash",
        "record_hash",
        "signature",
        "seq",
        "commit",
    ]
    assert stored.record["commit"]["init"]["workflow_id"] == "w"
    assert stored.record["commit"]["set"] == {"/a": {"b": [1]}}


def test_a_commit_holds_only_what_changed(store):
    log = created(store)
    log.run.vars["a"]["b"].append(2)
    result = {"text": "hi"}
    log.run.vars["out"] = result
    record = a_record(
        effect={"type": "llm_call", "payload": {}, "result_key": "out"}, result=result
    )
    position = log.commit(record, wrote="/out", commands=("c1",))

    stored = list(store.records("r", after=0))
    assert (position.seq, position.offset) == (1, stored[0].offset)
    assert stored[0].record["commit"] == {
        "epoch": 1,
        "set": {"/a": {"b": [1, 2]}},
        "put": "/out",
        "cmd": ["c1"],
    }
    log.close()


@pytest.mark.parametrize("keep_checkpoint", [True, False], ids=["checkpoint", "ledger alone"])
def test_a_reopened_run_is_text_equal(store, fresh, keep_checkpoint):
    log = created(store)
    log.run.vars["z"] = 1e16
    log.run.vars["a"] = log.run.vars.pop("a")
    parked(log)
    path = f"{store.path}/run_r.json"
    assert os.path.exists(path)
    if not keep_checkpoint:
        os.unlink(path)

    again = fresh().open("r")
    assert json.dumps(again.run.to_dict()) == json.dumps(log.run.to_dict())
    again.close()


def test_pending_is_what_was_started_and_not_concluded(store, fresh):
    log = created(store)
    record = a_record(
        StepStatus.STARTED, effect={"type": "llm_call", "payload": {"p": 1}, "result_key": "x"}
    )
    log.commit(record, plan={"next_node": "b", "occ": 0}, barrier=Barrier.EXTERNAL)
    assert log.pending is record
    log.close()

    again = fresh().open("r")
    assert again.pending.effect == record.effect
    assert again.pending.commit["plan"] == {"next_node": "b", "occ": 0}
    assert again.next_occurrence() == 1
    again.commit(again.pending.finish_failure("no", at="t"), plan={"next_node": "b", "occ": 0})
    assert again.pending.status is StepStatus.FAILED
    again.commit(again.pending.finish_success({}, at="t"))
    assert again.pending is None
    again.close()


def test_a_checkpoint_waits_until_no_attempt_is_pending(store, fresh):
    log = created(store)
    log.run.vars.update({str(n): "x" * 9_000 for n in range(10)})
    log.commit(a_record())
    effect = {"type": "llm_call", "payload": {"p": 1}, "result_key": "x"}
    log.commit(a_record(StepStatus.STARTED, effect=effect), plan={"next_node": "b", "occ": 0})
    assert not os.path.exists(f"{store.path}/run_r.json")
    log.run.vars["x"] = {}
    log.commit(log.pending.finish_success({}, at="t"), wrote="/x")
    log.close()

    covered = fresh()._recovery.load("r").covered
    assert covered == os.path.getsize(f"{store.path}/ledger_r.jsonl")


def test_a_run_that_lost_its_ledger_is_neither_opened_nor_replaced(store, fresh):
    finished(created(store))
    os.unlink(store._layout.ledger("r"))
    with pytest.raises(HeadMismatch):
        fresh().open("r")
    with pytest.raises(UsageError):
        created(fresh())


def test_a_value_that_is_not_json_changes_nothing(store):
    log = created(store)
    log.run.vars["good"], log.run.vars["bad"] = 1, float("nan")

    with pytest.raises(InvalidValue) as caught:
        log.commit(a_record())
    assert caught.value.details["path"] == "/bad"
    log.rollback()
    assert log.run.vars == {"a": {"b": [1]}}
    log.run.error = "it failed"
    assert log.commit(a_record()).seq == 1
    log.close()
    assert store.peek("r").error == "it failed"


def test_traces_stay_in_memory_and_survive_a_rollback(store):
    log = created(store, a_run(vars={"_runtime": {"limits": 1, "node_traces": {"n": [1]}}}))
    log.run.vars["x"] = object()
    log.rollback()
    assert log.run.vars == {"_runtime": {"limits": 1, "node_traces": {"n": [1]}}}
    log.close()
    assert store.peek("r").vars == {"_runtime": {"limits": 1}}


def test_large_values_live_beside_the_ledger(store, fresh):
    log = created(store, a_run(vars={"big": "x" * 300_000, "mine": {"$blob": "not one"}}))
    log.close()

    assert len(lines_of(store)[0]) < 2_000
    assert fresh().peek("r").vars == log.run.vars
    (blob,) = os.listdir(f"{store.path}/artifacts/blobs")
    rewrite(f"{store.path}/artifacts/blobs/{blob}", b'"other"')
    with pytest.raises(IntegrityError):
        fresh().peek("r")


@pytest.mark.parametrize(
    "tail", [b'{"half', b"\x00" * 9, b"12"], ids=["half a line", "zeros", "a number"]
)
def test_a_torn_tail_is_kept_aside_and_recorded(store, fresh, tail):
    created(store).close()
    size = os.path.getsize(store._layout.ledger("r"))
    with open(store._layout.ledger("r"), "ab") as file:
        file.write(tail)

    assert fresh().peek("r").vars == {"a": {"b": [1]}}
    fresh().open("r").close()
    (name,) = os.listdir(f"{store.path}/quarantine")
    with open(f"{store.path}/quarantine/{name}", "rb") as file:
        assert file.read() == tail
    record = json.loads(lines_of(store)[-1])
    assert record["result"] == {"internal": "recovered", "offset": size, "bytes": len(tail)}
    assert record["commit"]["recovered"] == {"offset": size, "bytes": len(tail)}


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: b"garbage\n",
        lambda line: line.replace(b'"n"', b'"m"'),
        lambda line: line + line,
    ],
    ids=["no JSON", "edited", "repeated"],
)
def test_a_terminated_bad_line_stops_the_run(store, fresh, damage):
    log = created(store)
    log.commit(a_record())
    log.close()
    first, second = lines_of(store)
    rewrite(store._layout.ledger("r"), first + damage(second))

    with pytest.raises(ChainBroken) as caught:
        fresh().open("r")
    assert caught.value.details["offset"] >= len(first)
    assert caught.value.details["line"] >= 2
    assert not os.path.exists(f"{store.path}/quarantine")


def test_a_ledger_shorter_than_its_checkpoint_stops_the_run(store, fresh):
    finished(created(store))
    first = lines_of(store)[0]
    rewrite(store._layout.ledger("r"), first)

    with pytest.raises(HeadMismatch) as caught:
        fresh().open("r")
    assert caught.value.details["size"] == len(first)
    assert lines_of(store) == [first]


def test_a_foreign_checkpoint_is_ignored(store, fresh):
    finished(created(store))
    with open_store(f"{store.path}/other") as other:
        log = created(other, a_run(vars={"another": 1}))
        log.close()
        again = other.open("r")
        parked(again)
        shutil.copy(f"{other.path}/run_r.json", f"{store.path}/run_r.json")

    assert fresh().peek("r").status is RunStatus.COMPLETED


def test_a_finished_run_gets_its_missing_status_record(store, fresh):
    finished(created(store))
    os.unlink(f"{store.path}/run_r.json")
    rewrite(store._layout.ledger("r"), b"".join(lines_of(store)[:-1]))

    for _ in range(2):
        fresh().open("r").close()
    records = [stored.record for stored in store.records("r")]
    assert len(records) == 3
    assert records[-1]["idempotency_key"] == "system:terminal_status:completed"
    assert "commit" not in records[-1]


def test_a_warm_log_is_isolated_and_counts_epochs(store):
    first = created(store)
    first.close()
    first.run.vars["leak"] = 1
    second = store.open("r")
    second.commit(a_record())
    second.close()

    assert second.run.vars == {"a": {"b": [1]}}
    assert [stored.record["commit"]["epoch"] for stored in store.records("r")] == [1, 2]


@pytest.mark.parametrize("place", ["recovery", "memory"], ids=["cold", "warm"])
def test_a_look_shows_one_moment_though_somebody_commits_meanwhile(
    store, fresh, monkeypatch, place
):
    created(store).close()
    engine = store if place == "memory" else fresh()
    name = f"abstractruntime.storage._store.{place}.run_from"

    def after_a_commit(header, state):
        monkeypatch.setattr(name, run_from)
        log = engine.open("r")
        log.run.vars["n"] = 1
        finished(log)
        return run_from(header, state)

    monkeypatch.setattr(name, after_a_commit)
    seen = engine.peek("r")

    assert (seen.status, seen.output, seen.vars) == ("running", None, {"a": {"b": [1]}})
    assert engine.peek("r").vars == {"a": {"b": [1]}, "n": 1}


def test_commands_are_given_until_applied_and_then_forgotten(store):
    created(store).close()
    for number in ("2", "1", "2"):
        store.post("r", Command(number, Cancel()))
    log = store.open("r")
    assert [command.id for command in log.take_commands()] == ["2", "1"]
    log.commit(a_record(), commands=("2",))
    assert [command.id for command in log.take_commands()] == ["1"]
    assert len(os.listdir(f"{store.path}/inbox/r")) == 2
    log.settle()
    assert len(os.listdir(f"{store.path}/inbox/r")) == 1
    assert [header.run_id for header in store.find(RunQuery(has_commands=True))] == ["r"]
    log.close()


def test_facts_come_from_the_ends_of_the_files(store):
    log = created(store)
    log.commit(a_record())
    log.close()

    last = json.loads(lines_of(store)[-1])
    size = os.path.getsize(store._layout.ledger("r"))
    assert store.head("r") == LedgerHead(2, last["record_hash"], signed_records=0, bytes=size)


@pytest.mark.parametrize("call", ["open", "peek", "head", "origin"])
def test_a_missing_run_is_not_found(store, call):
    with pytest.raises(NotFound):
        getattr(store, call)("nobody")
    with pytest.raises(NotFound):
        list(store.records("nobody"))
    assert not os.path.exists(f"{store.path}/locks/run_nobody.lock")


def test_an_existing_run_is_not_created_again(store):
    created(store).close()
    with pytest.raises(UsageError):
        created(store)


def test_a_run_without_a_complete_first_line_never_existed(store, fresh):
    rewrite(store._layout.ledger("r"), b'{"run_id":"r"')
    with pytest.raises(NotFound):
        store.open("r")
    created(store).close()
    assert fresh().peek("r").vars == {"a": {"b": [1]}}


def test_a_directory_of_other_files_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("{}")
    with pytest.raises(UsageError):
        open_store(tmp_path)


def test_a_newer_store_is_read_only(store):
    created(store).close()
    newer = {"format": "art-store/9", "origin": "here/1", "created_at": "t"}
    rewrite(f"{store.path}/store.json", json.dumps(newer).encode())

    with open_store(store.path) as engine:
        assert engine.peek("r").run_id == "r"
        assert [header.run_id for header in engine.find(RunQuery())] == ["r"]
        with pytest.raises(UnsupportedFormat):
            engine.open("r")


def test_files_are_private(store):
    created(store).close()
    assert os.stat(store._layout.ledger("r")).st_mode & 0o777 == 0o600
    assert os.stat(f"{store.path}/locks").st_mode & 0o777 == 0o700


def test_a_look_that_another_thread_overtakes_leaves_nothing_open(tmp_path, monkeypatch):
    with open_store(tmp_path / "store", durability="off") as store:
        created(store).close()
        before = len(os.listdir("/proc/self/fd"))
        plain_run = LogMemory.run

        def overtaken(memory):
            monkeypatch.setattr(LogMemory, "run", plain_run)
            store.open("r").close()
            return plain_run(memory)

        for _ in range(5):
            monkeypatch.setattr(LogMemory, "run", overtaken)
            store.peek("r")
        assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("change", [b" ", b"\n", b'\n{"a": 1}'])
def test_a_checkpoint_that_does_not_end_as_ours_do_has_no_body(change):
    """Else the digest of a whole file could stand for that of a body."""
    from abstractruntime.storage._store.checkpoint import DueCheckpoint, Place, parse_checkpoint

    place = Place(3, 900, "h")
    data = DueCheckpoint(b'{"run_id":"r","_meta":{}', place).to_bytes()

    assert parse_checkpoint(data).digest.startswith("sha256:")
    other = data[:-2] + change + data[-2:]
    assert (found := parse_checkpoint(other)) is None or found.digest == ""
