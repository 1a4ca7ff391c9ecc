"""The JSON file stores: torn and damaged files, names, modes, and what other processes write."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import stat

import pytest

from abstractruntime.core.models import RunState, RunStatus, StepRecord, WaitReason, WaitState
from abstractruntime.errors import ChainBroken, IntegrityError, StoreIOError, UsageError
from abstractruntime.storage import json_files
from abstractruntime.storage._files import fs
from abstractruntime.storage._files.simfs import Mutations, SimFileSystem, crash_states
from abstractruntime.storage.directory import open_store
from abstractruntime.storage.json_files import JsonFileRunStore, JsonlLedgerStore

OLD_RUN = """{
  "run_id": "r",
  "workflow_id": "w",
  "status": "waiting",
  "current_node": "ask",
  "vars": null,
  "waiting": {
    "reason": "user",
    "prompt": "Größe?",
    "later_key": 1
  },
  "output": null,
  "error": null,
  "created_at": "2026-01-01T00:00:00+00:00",
  "updated_at": "2026-01-01T00:00:00+00:00",
  "actor_id": null,
  "session_id": null,
  "parent_run_id": null,
  "later_key": 1
}"""
OLD_RECORD = {
    "run_id": "r", "step_id": "s", "node_id": "n", "status": "completed",
    "effect": None, "result": {"x": 1.5}, "error": None, "started_at": "2026-01-01T00:00:00+00:00",
    "ended_at": None, "actor_id": None, "session_id": None, "attempt": 1, "idempotency_key": None,
    "prev_hash": None, "record_hash": None, "signature": None,
}  # fmt: skip


@pytest.fixture
def runs(tmp_path):
    return JsonFileRunStore(tmp_path, sync=False)


@pytest.fixture
def ledger(tmp_path):
    return JsonlLedgerStore(tmp_path, sync=False)


def run(run_id="r", **fields) -> RunState:
    return RunState(
        run_id, "w", fields.pop("status", RunStatus.RUNNING), "a", updated_at="1", **fields
    )


def record(number=0, run_id="r") -> StepRecord:
    return StepRecord.start(run=run(run_id), node_id=f"n{number}", effect=None)


def nodes(ledger, run_id="r"):
    return [r["node_id"] for r in ledger.list(run_id)]


# -- files ----------------------------------------------------------------------


def test_a_checkpoint_of_04_opens_and_is_written_for_it(runs, tmp_path):
    path = tmp_path / "run_r.json"
    path.write_text(OLD_RUN, encoding="utf-8")

    loaded = runs.load("r")
    runs.save(loaded)

    assert loaded.waiting == WaitState(WaitReason.USER, prompt="Größe?")
    assert (loaded.vars, loaded.ledger_seq) == ({}, None)
    written, old = json.loads(path.read_text(encoding="utf-8")), json.loads(OLD_RUN)
    assert list(written) == [name for name in old if name != "later_key"]


def test_a_ledger_of_04_opens_and_grows_in_its_form(ledger, tmp_path):
    path = tmp_path / "ledger_r.jsonl"
    nan = json.dumps({**OLD_RECORD, "result": {"x": float("nan")}})
    path.write_text(f"{json.dumps(OLD_RECORD)}\n\n{nan}\n", encoding="utf-8")

    ledger.append(record())

    assert ledger.list("r")[0] == OLD_RECORD
    assert (ledger.count("r"), len(ledger.list("r"))) == (3, 3)
    last = path.read_bytes().splitlines()[-1]
    assert list(json.loads(last)) == list(OLD_RECORD)


def test_files_are_the_owners_and_nothing_else_is_left(tmp_path):
    base = tmp_path / "deep" / "store"
    JsonFileRunStore(base).save(run())
    JsonlLedgerStore(base).append(record())

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in base.iterdir()}
    assert modes == {"run_r.json": 0o600, "ledger_r.jsonl": 0o600}
    assert stat.S_IMODE(base.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "run_id", ["", "../evil", "x/../../evil", "a\x00b", "a b", "a.b", "a\n", "x" * 129], ids=repr
)
def test_an_id_that_should_not_be_in_a_file_name_is_not_written(runs, ledger, tmp_path, run_id):
    with pytest.raises(UsageError, match="run id"):
        runs.save(run(run_id))
    with pytest.raises(UsageError, match="run id"):
        ledger.append(record(run_id=run_id))
    assert (runs.load(run_id), ledger.list(run_id), ledger.count(run_id)) == (None, [], 0)
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_04_with_an_odd_id_is_read(runs, tmp_path):
    (tmp_path / "run_a.b.json").write_text(OLD_RUN.replace('"r"', '"a.b"'), encoding="utf-8")

    assert runs.load("a.b").run_id == "a.b"
    assert [r.run_id for r in runs.list_runs()] == ["a.b"]


def test_a_directory_store_is_not_written(runs, ledger, tmp_path):
    (tmp_path / "other").mkdir()
    path = tmp_path / "new"
    open_store(path, origin="t/0").close()

    with pytest.raises(UsageError, match="directory store") as info:
        JsonFileRunStore(path).save(run())
    assert "open_store(" in info.value.hint
    with pytest.raises(UsageError, match="directory store"):
        JsonlLedgerStore(path).append(record())
    assert not list(path.glob("*_r.json*"))


# -- damage -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "12", '{"run_id": "r"}', OLD_RUN.replace("waiting", "gone", 1),
        OLD_RUN.replace('"reason": "user",', ""), OLD_RUN.replace('"r"', '"other"'),
        OLD_RUN.replace('"vars": null', '"vars": ' + "[" * 100_000), "\x00" * 40,
    ],
    ids=[
        "empty", "cut", "list", "null", "number", "no-fields", "status", "no-reason", "other-run",
        "deep", "zeros",
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_says_so_and_breaks_no_listing(runs, tmp_path, text):
    runs.save(run("good", parent_run_id="p"))
    (tmp_path / "run_r.json").write_text(text, encoding="utf-8")

    with pytest.raises(IntegrityError, match="'r'"):
        runs.load("r")
    assert [r.run_id for r in runs.list_runs()] == ["good"]
    assert [row["run_id"] for row in runs.list_run_index()] == ["good"]
    assert [r.run_id for r in runs.list_children(parent_run_id="p")] == ["good"]
    assert runs.list_due_wait_until(now_iso="2026-01-01T00:00:00Z") == []


def test_odd_values_of_a_checkpoint_break_no_listing(runs, tmp_path):
    runs.save(run("good"))
    odd = {**json.loads(OLD_RUN), "updated_at": 12, "created_at": None, "session_id": 3}
    (tmp_path / "run_r.json").write_text(json.dumps(odd), encoding="utf-8")

    assert len(runs.list_runs()) == 2
    assert runs.list_run_index(session_id="3")[0]["updated_at"] == "12"


@pytest.mark.parametrize("torn", [b'{"half', b"12", b"{}", b"\x00" * 9, b'{"a\x00\x00\n'], ids=repr)
def test_a_torn_tail_is_not_listed_and_moved_away_by_the_next_append(ledger, tmp_path, torn):
    ledger.append(record(0))
    path = tmp_path / "ledger_r.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert nodes(ledger) == ["n0"]

    ledger.append(record(1))

    assert nodes(ledger) == nodes(JsonlLedgerStore(tmp_path)) == ["n0", "n1"]
    assert path.read_bytes().startswith(whole + b'{"run_id"')
    (kept,) = (tmp_path / "quarantine").iterdir()
    assert kept.read_bytes() == torn


@pytest.mark.parametrize("broken", [b'{"half\n', b"12\n", b"[]\n", b"\x00\x00\n{}\n"], ids=repr)
def test_a_broken_line_is_damage(ledger, tmp_path, broken):
    ledger.append(record(0))
    path = tmp_path / "ledger_r.jsonl"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + broken)

    with pytest.raises(ChainBroken, match=f"byte {size}"):
        ledger.list("r")
    assert path.read_bytes().endswith(broken)


@pytest.mark.parametrize("taken", [0, 7], ids=["nothing", "half"])
def test_a_full_disk_leaves_the_ledger_as_it_was(ledger, tmp_path, monkeypatch, taken):
    ledger.append(record(0))
    before = (tmp_path / "ledger_r.jsonl").read_bytes()
    write = os.write

    with monkeypatch.context() as patch:
        patch.setattr(fs.os, "write", lambda fd, data: write(fd, data[:taken]))
        with pytest.raises(StoreIOError):
            ledger.append(record(1))

    assert (tmp_path / "ledger_r.jsonl").read_bytes() == before
    ledger.append(record(2))
    assert nodes(ledger) == ["n0", "n2"]


def test_a_line_that_could_not_be_synced_is_taken_back(tmp_path, monkeypatch):
    ledger = JsonlLedgerStore(tmp_path)
    ledger.append(record(0))
    failures = [OSError(5, "Input/output error")]

    def sync(_):
        if failures:
            raise failures.pop()

    with monkeypatch.context() as patch:
        patch.setattr(fs, "_sync_data", sync)
        with pytest.raises(StoreIOError):
            ledger.append(record(1))

    assert nodes(ledger) == ["n0"]


def test_a_failed_save_leaves_the_checkpoint_as_it_was(runs, tmp_path, monkeypatch):
    runs.save(run(vars={"x": 1}))

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fs.os, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            runs.save(run(vars={"x": 2}))

    assert runs.load("r").vars == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["run_r.json"]


def test_a_record_is_one_write(ledger, monkeypatch):
    sizes = []
    write = os.write
    monkeypatch.setattr(
        fs.os, "write", lambda fd, data: (sizes.append(len(data)), write(fd, data))[1]
    )

    ledger.append(record())

    assert len(sizes) == 1


@pytest.mark.parametrize(("sync", "least"), [(True, 3), (False, 0)], ids=["sync", "no-sync"])
def test_what_was_written_is_synced_unless_told_otherwise(tmp_path, monkeypatch, sync, least):
    synced = []
    monkeypatch.setattr(fs, "_sync_data", synced.append)
    monkeypatch.setattr(fs.os, "fsync", synced.append)

    JsonFileRunStore(tmp_path, sync=sync).save(run())
    JsonlLedgerStore(tmp_path, sync=sync).append(record())

    assert len(synced) >= least
    assert bool(synced) is sync


def violations(fs: SimFileSystem) -> list[str]:
    """Write records and checkpoints, cut the power everywhere, and tell what was lost."""
    for number in range(4):
        JsonlLedgerStore("/s", fs=fs).append(record(number))
        fs.mark("record")
        JsonFileRunStore("/s", fs=fs).save(run(vars={"n": number}))
        fs.mark("run")
    return [
        f"{marks}: {fault}"
        for marks, image in crash_states(fs.journal, random.Random(1), per_point=30)
        for fault in faults(SimFileSystem(image), marks.count("record"), marks.count("run"))
    ]


def faults(fs: SimFileSystem, records: int, saves: int):
    """Tell which acknowledged writes a disk has not; what was not acknowledged may be there."""
    ledger = JsonlLedgerStore("/s", fs=fs)
    try:
        kept, saved = nodes(ledger), JsonFileRunStore("/s", fs=fs).load("r")
    except IntegrityError as error:
        yield str(error)
        return
    if len(kept) not in (records, records + 1):
        yield f"{len(kept)} records"
    if (saved.vars["n"] + 1 if saved else 0) not in (saves, saves + 1):
        yield f"checkpoint {saved}"
    ledger.append(record(9))
    if nodes(ledger) != [*kept, "n9"]:
        yield f"after an append: {nodes(ledger)}"


def test_a_power_cut_loses_nothing_that_was_acknowledged():
    assert violations(SimFileSystem()) == []


@pytest.mark.parametrize("mistake", ["skip_file_sync", "skip_new_file_sync", "skip_dir_sync"])
def test_the_power_cuts_find_a_missing_sync(mistake):
    assert violations(SimFileSystem(mutations=Mutations(**{mistake: True}))) != []


# -- other writers ------------------------------------------------------------------


def test_children_are_read_in_full_once(runs, monkeypatch):
    calls = []
    read_all = runs._iter_all_runs
    monkeypatch.setattr(runs, "_iter_all_runs", lambda: (calls.append(1), read_all())[1])
    runs.save(run("c1", parent_run_id="p"))

    first = runs.list_children(parent_run_id="p")
    runs.save(run("c2", parent_run_id="p"))
    second = runs.list_children(parent_run_id="p")

    assert ([len(first), len(second)], len(calls)) == ([1, 2], 1)


@pytest.mark.parametrize("settled", [True, False], ids=["long-ago", "just-now"])
def test_a_foreign_change_is_seen_even_within_one_tick(runs, tmp_path, monkeypatch, settled):
    path = tmp_path / "run_r.json"
    runs.save(run(status=RunStatus.RUNNING))
    text = path.read_text()
    stat_before = path.stat()
    age_ns = 10**9 if settled else 1
    monkeypatch.setattr(json_files.time, "time_ns", lambda: stat_before.st_mtime_ns + age_ns)
    assert runs.list_runs(status=RunStatus.RUNNING)

    path.write_text(text.replace('"running"', '"failed" '))
    modified_ns = stat_before.st_mtime_ns + (1 if settled else 0)
    os.utime(path, ns=(modified_ns, modified_ns))

    assert runs.list_runs(status=RunStatus.RUNNING) == []
    assert len(runs.list_runs(status=RunStatus.FAILED)) == 1


def test_a_listing_reads_only_what_changed(runs, tmp_path, monkeypatch):
    for i in range(5):
        runs.save(run(f"r{i}"))
        os.utime(tmp_path / f"run_r{i}.json", ns=(1, 1))
    runs.list_run_index()
    loaded = []
    load = runs.load
    monkeypatch.setattr(runs, "load", lambda run_id: (loaded.append(run_id), load(run_id))[1])

    runs.save(run("r3"))
    runs.list_run_index()

    assert loaded == ["r3"]


def test_a_removed_run_is_gone(runs, tmp_path):
    runs.save(run())
    assert len(runs.list_runs()) == 1
    (tmp_path / "run_r.json").unlink()

    assert (runs.list_runs(), runs.load("r")) == ([], None)


@pytest.mark.parametrize("change", ["append", "rewrite", "shorten", "remove"])
def test_count_and_list_after_follow_the_file(ledger, tmp_path, change):
    for number in range(4):
        ledger.append(record(number))
    assert (ledger.count("r"), len(ledger.list_after("r", after=1))) == (4, 3)
    path = tmp_path / "ledger_r.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)

    if change == "append":
        JsonlLedgerStore(tmp_path).append(record(4))
    elif change == "rewrite":
        path.write_bytes(lines[0].replace(b"n0", b"long name") + b"".join(lines))
        os.utime(path, ns=(1, 1))
    elif change == "shorten":
        path.write_bytes(b"".join(lines[:2]))
    else:
        path.unlink()

    expected = nodes(ledger)
    assert ledger.count("r") == len(expected)
    for after in range(6):
        assert [r["node_id"] for r in ledger.list_after("r", after=after)] == expected[after:]


def test_list_after_reads_only_the_end(ledger, tmp_path):
    for number in range(3):
        ledger.append(record(number))
    ledger.count("r")
    path = tmp_path / "ledger_r.jsonl"
    data = path.read_bytes()
    times = path.stat()
    path.write_bytes(b"x" + data[1:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert [r["node_id"] for r in ledger.list_after("r", after=2)] == ["n2"]


def _append_many(base: str, start: int) -> None:
    ledger = JsonlLedgerStore(base, sync=False)
    for number in range(start, start + 30):
        ledger.append(record(number))


def test_processes_share_a_ledger_and_its_torn_tail(tmp_path):
    (tmp_path / "ledger_r.jsonl").write_bytes(b'{"half')
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_append_many, args=(str(tmp_path), 100 * i)) for i in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    numbers = [int(name[1:]) for name in nodes(JsonlLedgerStore(tmp_path))]
    for start in (0, 100, 200):
        assert [n for n in numbers if start <= n < start + 100] == list(range(start, start + 30))
