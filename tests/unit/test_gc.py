"""Garbage collection of a directory store: what goes, and what must stay."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone

import pytest

from abstractruntime.core.commands import Answer, Cancel, Command
from abstractruntime.core.models import RunState, RunStatus, StepRecord, StepStatus
from abstractruntime.core.records import STATUS_KEY_PREFIX
from abstractruntime.errors import (
    Busy,
    IntegrityError,
    NotFound,
    UnsupportedFormat,
    UsageError,
)
from abstractruntime.storage import large_values
from abstractruntime.storage._care.gc import MIN_GRACE_S, collect, plan_gc
from abstractruntime.storage._care.needs import Mentions
from abstractruntime.storage._files.file_lock import StoreLock
from abstractruntime.storage._store import record_lines
from abstractruntime.storage.artifacts import FileArtifactStore, compute_blob_id
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import FakeClock

LATER = datetime.now(timezone.utc) + timedelta(days=2)
DAY_S = 86_400.0


@pytest.fixture(autouse=True)
def _small_blobs(monkeypatch):
    monkeypatch.setattr(large_values, "LIMIT_BYTES", 300)
    monkeypatch.setattr(record_lines, "LIMIT_BYTES", 300)


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store", clock=FakeClock(LATER)) as engine:
        yield engine


@pytest.fixture
def artifacts(store):
    return FileArtifactStore(store.path)


def a_record(run_id, **fields):
    return StepRecord(run_id, "s", "n", StepStatus.COMPLETED, started_at="t", **fields)


def a_run(store, run_id="r", *, ended=False, parent=None, facts=None, **variables):
    run = RunState(run_id, "w", RunStatus.RUNNING, "n", variables, parent_run_id=parent)
    result = {"internal": "run_started", **(facts or {})}
    log = store.create(run, a_record(run_id, result=result))
    if ended:
        end(log)
    log.settle()
    log.close()


def end(log):
    log.run.status = RunStatus.COMPLETED
    closing = a_record(log.run.run_id, idempotency_key=f"{STATUS_KEY_PREFIX}completed")
    log.commit(a_record(log.run.run_id), closing)


def planned(store, **options):
    return plan_gc(store, grace_s=DAY_S, now=LATER, **options)


def paths(store, **options):
    return sorted(item.path for item in planned(store, **options).items)


def put(store, path, data=b"x"):
    whole = os.path.join(store.path, path)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    with open(whole, "wb") as file:
        file.write(data)
    return path


def files(store):
    return sorted(
        os.path.relpath(os.path.join(folder, name), store.path)
        for folder, _, names in os.walk(store.path)
        for name in names
    )


def blob_path(data: bytes) -> str:
    return f"artifacts/blobs/{compute_blob_id(data)}.bin"


# -- content -------------------------------------------------------------------


def test_a_store_without_garbage_keeps_everything(store, artifacts):
    kept = artifacts.store_text("hello", run_id="r")
    inner = {"deep": "y" * 400}
    a_run(store, text="x" * 1000, both=[inner, "z" * 500], ref={"$artifact": kept.artifact_id})
    a_run(store, "ended", ended=True, text="q" * 1000)
    before = files(store)

    assert planned(store).items == ()
    collect(store, planned(store))
    assert [f for f in files(store) if "locks" not in f] == [f for f in before if "locks" not in f]
    with open_store(store.path) as other:
        assert other.peek("r").vars["both"][0] == inner


def test_blobs_and_artifacts_that_nothing_mentions_go(store, artifacts):
    a_run(store, ended=True)
    lost = artifacts.store_text("lost", run_id="r")
    orphan = put(store, blob_path(b"orphan"), b"orphan")
    wanted = sorted(
        [f"artifacts/refs/{lost.artifact_id}.meta", blob_path(b"lost"), orphan]
    )  # fmt: skip

    assert paths(store) == wanted
    report = collect(store, planned(store))
    assert sorted(item.path for item in report.removed) == wanted
    assert (report.kept, paths(store)) == ((), [])
    assert not artifacts.exists(lost.artifact_id)


@pytest.mark.parametrize("owner", ["live", None, "elsewhere"], ids=str)
def test_an_artifact_whose_owner_may_look_for_it_stays(store, artifacts, owner):
    a_run(store, "live")
    artifacts.store_text("kept", run_id=owner)

    assert paths(store) == []


def mention_in_ledger(store, artifact_id):
    a_run(store, "other", ended=True, note=f"see {artifact_id}.")


def mention_in_nested_text(store, artifact_id):
    a_run(store, "other", ended=True, note=json.dumps({"$artifact": artifact_id}))


def mention_in_blob(store, artifact_id):
    a_run(store, "other", ended=True, note=artifact_id + " " * 500)


def mention_in_blob_of_blob(store, artifact_id):
    a_run(
        store, "other", ended=True, note=[artifact_id + " " * 500, *("x" * 250 for _ in range(9))]
    )


def mention_in_snapshot(store, artifact_id):
    state = {"snapshot_id": "s", "run_id": "other", "run_state": {"vars": {"a": artifact_id}}}
    put(store, "snapshots/snapshot_s.json", json.dumps(state, indent=2).encode())


def mention_in_inbox(store, artifact_id):
    a_run(store, "other")
    store.post("other", Command("c", Answer(payload={"$artifact": artifact_id})))


def mention_in_quarantine(store, artifact_id):
    put(store, "quarantine/ledger_q.jsonl.t", f'{{"$artifact":"{artifact_id}'.encode())


def mention_in_artifact(store, artifact_id):
    FileArtifactStore(store.path).store_json({"parts": [artifact_id]})


@pytest.mark.parametrize(
    "mention", [value for name, value in sorted(globals().items()) if name.startswith("mention_")]
)
@pytest.mark.parametrize("artifact_id", [None, "own-name"], ids=["hashed", "named"])
def test_what_is_mentioned_anywhere_stays(store, artifacts, mention, artifact_id):
    a_run(store, ended=True)
    kept = artifacts.store(b"kept", run_id="r", artifact_id=artifact_id)
    assert len(paths(store)) == 2
    mention(store, kept.artifact_id)

    assert paths(store) == []


@pytest.mark.parametrize("text", ["ab" * 16, "0ab" + "ab" * 16 + "ff", "-" + "ab" * 16 + "."])
def test_a_name_is_found_wherever_it_stands(text):
    mentions = Mentions(["ab" * 16])
    mentions.read(text.encode())
    assert mentions.found == {"ab" * 16}


def test_young_files_stay(store):
    put(store, blob_path(b"a"), b"a")
    put(store, "bundles/d.flowbundle")
    put(store, "run_r.json.1-2.tmp")

    young = plan_gc(store, grace_s=MIN_GRACE_S, now=datetime.now(timezone.utc))
    assert young.items == ()
    assert len(paths(store)) == 3


def test_a_file_that_was_written_again_meanwhile_stays(store, artifacts):
    a_run(store, ended=True)
    lost = artifacts.store_text("lost", run_id="r")
    put(store, blob_path(b'"' + b"v" * 400 + b'"'), b'"' + b"v" * 400 + b'"')
    plan = planned(store)
    assert len(plan.items) == 3
    artifacts.store_text("lost", run_id="r")
    a_run(store, "second", text="v" * 400)
    report = collect(store, plan)

    assert report.removed == ()
    assert artifacts.load(lost.artifact_id).as_text() == "lost"
    with open_store(store.path) as other:
        assert other.peek("second").vars["text"] == "v" * 400


def test_an_old_blob_is_written_again_when_it_is_referred_to(store):
    a_run(store, "a", text="v" * 400)
    (name,) = os.listdir(os.path.join(store.path, "artifacts/blobs"))
    path = os.path.join(store.path, "artifacts/blobs", name)
    before = os.stat(path).st_ino, os.stat(path).st_mtime_ns
    a_run(store, "b", text="v" * 400)

    assert (os.stat(path).st_ino, os.stat(path).st_mtime_ns) != before


# -- the rest ------------------------------------------------------------------


def test_leftovers_of_dead_writers_go(store):
    a_run(store)
    left = [
        put(store, path)
        for path in (
            "run_r.json.1-2.tmp",
            "artifacts/blobs/x.bin.1-2.tmp",
            "artifacts/refs/.a.meta.tmp",
            "snapshots/snapshot_s.json.1-2.tmp",
            "inbox/r/0.json.1-2.tmp",
        )
    ]
    assert paths(store) == sorted(left)
    collect(store, planned(store))
    assert paths(store) == []


def test_commands_of_ended_runs_go_and_others_stay(store):
    a_run(store, "live")
    a_run(store, "ended")
    for run_id in ("live", "ended"):
        store.post(run_id, Command("c", Cancel()))
    os.makedirs(os.path.join(store.path, "inbox/absent"))
    log = store.open("ended")
    end(log)
    log.close()
    plan = planned(store)

    assert sorted({i.path.rpartition("/")[0] or i.path for i in plan.items}) == ["inbox", "inbox/ended"]  # fmt: skip
    collect(store, plan)
    assert os.listdir(os.path.join(store.path, "inbox")) == ["live"]
    assert [c.id for c in store.open("live").take_commands()] == ["c"]


def test_only_bundles_of_live_trees_stay(store):
    for digest in ("needed", "ended", "unknown"):
        put(store, f"bundles/{digest}.flowbundle")
    a_run(store, "root", ended=True, facts={"bundle_digest": "needed"})
    a_run(store, "child", parent="root")
    a_run(store, "old", ended=True, facts={"bundle_digest": "ended"})

    assert paths(store) == ["bundles/ended.flowbundle", "bundles/unknown.flowbundle"]


def test_a_bundle_that_a_run_was_started_from_meanwhile_stays(store):
    path = put(store, "bundles/d.flowbundle")
    plan = planned(store)
    a_run(store, facts={"bundle_digest": "d"})

    assert [item.path for item in collect(store, plan).kept] == [path]


def test_the_quarantine_goes_only_when_asked(store):
    torn = put(store, "quarantine/ledger_r.jsonl.2026")

    assert paths(store) == []
    assert paths(store, quarantine=True) == [torn]


# -- refusals ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, data",
    [
        ("artifacts/refs/a.meta", b"{"),
        ("artifacts/refs/a.meta", b'{"artifact_id":"a"}'),
        ("snapshots/snapshot_s.json", b"[]"),
        ("snapshot_s.json", b""),
    ],
)
def test_an_unreadable_reference_ends_the_collection(store, path, data):
    put(store, blob_path(b"a"), b"a")
    put(store, path, data)

    with pytest.raises(IntegrityError, match="cannot be read") as caught:
        planned(store)
    assert "nothing is collected" in caught.value.hint


def test_an_altered_record_ends_the_collection(store):
    put(store, blob_path(b"a"), b"a")
    a_run(store, ended=True, text="abc")
    path = store._layout.ledger("r")
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data.replace(b'"abc"', b'"abd"'))

    with pytest.raises(IntegrityError, match="run 'r' cannot be read"):
        planned(store)


@pytest.mark.parametrize("grace_s", [0, MIN_GRACE_S - 1, -1])
def test_a_short_grace_period_is_refused(store, grace_s):
    with pytest.raises(UsageError, match="too short"):
        plan_gc(store, grace_s=grace_s, now=LATER)


def test_one_collection_at_a_time(store):
    plan = planned(store)
    lock = StoreLock(store.services.files, store.services.layout.store_lock)
    with lock.held(), pytest.raises(Busy):
        collect(store, plan)


def test_a_store_of_a_newer_version_is_left_alone(store):
    put(store, "store.json", b'{"format":"art-store/9","origin":"o"}')
    with open_store(store.path) as newer, pytest.raises(UnsupportedFormat):
        planned(newer)


def test_a_directory_of_an_older_version_is_left_alone(tmp_path):
    run = {"run_id": "r", "workflow_id": "w", "status": "running", "current_node": "n", "vars": {}}
    (tmp_path / "run_r.json").write_text(json.dumps(run))
    with open_store(tmp_path) as old, pytest.raises(UsageError, match=r"belongs to version 0\.4"):
        planned(old)


# -- purging -------------------------------------------------------------------


def a_finished_tree(store, artifacts):
    mine = artifacts.store_text("mine", run_id="root")
    a_run(store, "root", ended=True, text="v" * 400, ref={"$artifact": mine.artifact_id})
    a_run(store, "child", ended=True, parent="root")
    a_run(store, "grandchild", ended=True, parent="child")
    store.snapshots.create("child", name="n")
    put(store, "quarantine/ledger_root.jsonl.2026")
    return mine


def test_a_purged_tree_leaves_tombstones_that_name_its_heads(store, artifacts):
    a_run(store, "other", ended=True, text="w" * 400)
    a_finished_tree(store, artifacts)
    heads = {run_id: store.head(run_id) for run_id in ("root", "child", "grandchild")}
    report = collect(store, planned(store, purge=["root"]))

    assert report.purged == ("grandchild", "child", "root")
    assert [f for f in files(store) if "locks" not in f and "index" not in f] == sorted(
        [
            blob_path(b'"' + b"w" * 400 + b'"'),
            "ledger_other.jsonl",
            "run_other.json",
            "store.json",
            *(f"tombstones/{run_id}.json" for run_id in heads),
        ]
    )
    # Who has just opened one must not lock a file without a name.
    assert {f"locks/run_{run_id}.lock" for run_id in heads} <= set(files(store))
    for run_id, facts in heads.items():
        with open(store.services.layout.tombstone(run_id), encoding="utf-8") as file:
            tombstone = json.load(file)
        assert tombstone["head_hash"] == facts.head_hash
        assert (tombstone["records"], tombstone["root_run_id"]) == (facts.records, "root")
        assert store.runs.load(run_id) is None
    assert [run.run_id for run in store.runs.list_runs()] == ["other"]
    assert planned(store, purge=["root"]).purges == ()


def test_what_another_run_mentions_outlives_the_purge(store, artifacts):
    mine = a_finished_tree(store, artifacts)
    a_run(store, "other", ended=True, ref={"$artifact": mine.artifact_id})
    collect(store, planned(store, purge=["root"]))

    assert artifacts.load(mine.artifact_id).as_text() == "mine"


@pytest.mark.parametrize(
    "run_id, error, message",
    [
        ("absent", NotFound, "no run 'absent'"),
        ("child", UsageError, "part of run 'root'"),
        ("root", UsageError, "run 'child' is running"),
    ],
)
def test_a_purge_that_is_refused(store, run_id, error, message):
    a_run(store, "root", ended=True)
    a_run(store, "child", parent="root")
    with pytest.raises(error, match=message):
        planned(store, purge=[run_id])


@pytest.mark.parametrize("obstacle", ["owned", "gone on"])
def test_a_purge_stops_before_it_removes_anything(store, obstacle):
    a_run(store, ended=True)
    plan = planned(store, purge=["r"])
    log = store.open("r")
    if obstacle == "gone on":
        log.commit(a_record("r", result={"internal": "control"}))
        log.close()
    with pytest.raises(Busy if obstacle == "owned" else UsageError):
        collect(store, plan)
    log.close()

    assert store.runs.load("r") is not None
    assert not os.path.exists(store.services.layout.tombstones)


def test_a_new_run_with_a_purged_id_is_a_run_of_its_own(store):
    a_run(store, ended=True)
    collect(store, planned(store, purge=["r"]))
    a_run(store, ended=True, again=True)

    assert planned(store).purges == ()
    collect(store, planned(store))
    assert store.peek("r").vars == {"again": True}


def test_a_plan_and_a_report_are_documents(store, artifacts):
    a_finished_tree(store, artifacts)
    put(store, blob_path(b"a"), b"a")
    plan = planned(store, purge=["root"])

    document = json.loads(json.dumps(plan.to_dict()))
    assert document["purges"][0]["runs"] == ["grandchild", "child", "root"]
    assert document["size_bytes"] == plan.size_bytes > 0
    report = json.loads(json.dumps(collect(store, plan).to_dict()))
    assert len(report["removed"]) == len(document["items"])
