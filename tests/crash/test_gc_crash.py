"""Garbage collection that fails, or dies, at any call: nothing needed is lost, a second one ends it."""

from __future__ import annotations

import contextlib
import json
import random
from datetime import datetime, timezone

import pytest
from faults_files import Exited, Fault, FaultyFiles

from abstractruntime.core.commands import Cancel, Command
from abstractruntime.core.models import (
    RunState,
    RunStatus,
    StepRecord,
    StepStatus,
    WaitReason,
    WaitState,
)
from abstractruntime.core.records import STATUS_KEY_PREFIX
from abstractruntime.errors import StoreError
from abstractruntime.signing import SigningKey
from abstractruntime.storage import large_values
from abstractruntime.storage._care.gc import collect, plan_gc
from abstractruntime.storage._files.simfs import SimFileSystem, _Disk
from abstractruntime.storage._store import lease, record_lines
from abstractruntime.storage._store.heads import KeySigner
from abstractruntime.storage.artifacts import compute_blob_id
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import FakeClock

ROOT = "/s"
NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
KINDS = ("error before", "error after", "exit before", "exit after")
GARBAGE = (
    f"{ROOT}/run_live.json.1-2.tmp",
    f"{ROOT}/bundles/old.flowbundle",
    f"{ROOT}/quarantine/ledger_root.jsonl.t",
)


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch):
    monkeypatch.setattr(large_values, "LIMIT_BYTES", 300)
    monkeypatch.setattr(record_lines, "LIMIT_BYTES", 300)
    yield
    lease._claims.clear()


def opened(disk):
    """Open as a new process would."""
    lease._claims.clear()
    signer = KeySigner(SigningKey.from_seed("test/0", bytes(32)))
    return open_store(ROOT, fs=disk, clock=FakeClock(NOW), signer=signer, origin="test/0")


def a_record(run_id, **fields):
    return StepRecord(run_id, "s", "n", StepStatus.COMPLETED, started_at="t", **fields)


def a_run(store, run_id, *, ended, parent=None, **variables):
    run = RunState(run_id, "w", RunStatus.RUNNING, "n", variables, parent_run_id=parent)
    facts = {"internal": "run_started", "bundle_digest": "live" if not ended else "old"}
    log = store.create(run, a_record(run_id, result=facts))
    closing = a_record(run_id, idempotency_key=f"{STATUS_KEY_PREFIX}completed")
    log.run.status = RunStatus.COMPLETED if ended else RunStatus.WAITING
    log.run.waiting = None if ended else WaitState(WaitReason.USER, "k")
    log.commit(a_record(run_id), *([closing] if ended else []))
    log.settle()
    log.close()


def put_artifact(image, name, content, run_id):
    metadata = {
        "artifact_id": name,
        "content_type": "text/plain",
        "size_bytes": len(content),
        "created_at": "t",
        "blob_id": compute_blob_id(content),
        "run_id": run_id,
    }
    image[f"{ROOT}/artifacts/refs/{name}.meta"] = json.dumps(metadata).encode()
    image[f"{ROOT}/artifacts/blobs/{metadata['blob_id']}.bin"] = content


@pytest.fixture(scope="module")
def image():
    """Give a disk with runs that stay, a tree that is to be purged, and garbage of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_values, "LIMIT_BYTES", 300)
        patch.setattr(record_lines, "LIMIT_BYTES", 300)
        disk = SimFileSystem()
        with opened(disk) as store:
            a_run(store, "live", ended=False, text="v" * 400, ref={"$artifact": "kept"})
            a_run(store, "ended", ended=True, text="w" * 400)
            a_run(store, "root", ended=True, text="x" * 400, ref={"$artifact": "mine"})
            a_run(store, "child", ended=True, parent="root")
            store.post("ended", Command("c", Cancel()))
    found = disk.image()
    put_artifact(found, "kept", b"kept", "ended")
    put_artifact(found, "mine", b"mine", "root")
    put_artifact(found, "lost", b"lost", "ended")
    found |= dict.fromkeys(GARBAGE, b"g")
    found[f"{ROOT}/bundles/live.flowbundle"] = b"b"
    state = {"snapshot_id": "s", "run_id": "child", "run_state": {}}
    found[f"{ROOT}/snapshots/snapshot_s.json"] = json.dumps(state).encode()
    return found


def purge_and_collect(disk, purge=("root",)):
    with opened(disk) as store:
        collect(store, plan_gc(store, grace_s=3600, now=NOW, purge=purge, quarantine=True))


def names(disk):
    return sorted(path for path in disk.image() if "/locks/" not in path)


def states(disk):
    with opened(disk) as store:
        return {run_id: store.peek(run_id) for run_id in ("live", "ended")}


@pytest.fixture(scope="module")
def clean(image):
    """Give what an undisturbed collection leaves, and what it must not touch."""
    disk = SimFileSystem(dict(image))
    before = states(disk)
    purge_and_collect(disk)
    return names(disk), before


def check(disk, clean):
    """Look at what a broken collection left, then let another one end it."""
    left, before = clean
    assert states(disk) == before
    found = disk.image()
    needed = (
        f"{ROOT}/artifacts/refs/kept.meta",
        f"{ROOT}/artifacts/blobs/{compute_blob_id(b'kept')}.bin",
        f"{ROOT}/bundles/live.flowbundle",
    )
    assert set(needed) <= set(found)
    # Once it is buried, the purge goes on by itself.
    is_buried = f"{ROOT}/tombstones/root.json" in found
    purge_and_collect(disk, () if is_buried else ("root",))
    assert names(disk) == left
    assert states(disk) == before


def test_an_undisturbed_collection_leaves_what_is_needed(image, clean):
    left, _ = clean
    gone = [
        path.removeprefix(f"{ROOT}/") for path in set(image) - set(left) if "/locks/" not in path
    ]

    assert len(left) < len(image)
    assert set(GARBAGE).isdisjoint(left)
    assert {"ledger_root.jsonl", "heads_child.jsonl", "artifacts/refs/lost.meta"} <= set(gone)
    assert {"artifacts/refs/mine.meta", "snapshots/snapshot_s.json"} <= set(gone)
    assert {f"{ROOT}/tombstones/{name}.json" for name in ("root", "child")} <= set(left)


@pytest.mark.parametrize("kind", KINDS)
def test_every_call_may_go_wrong(image, clean, kind):
    counted = FaultyFiles(SimFileSystem(dict(image)))
    purge_and_collect(counted)
    for index in range(len(counted.calls)):
        disk = SimFileSystem(dict(image))
        with contextlib.suppress(StoreError, Exited):
            purge_and_collect(FaultyFiles(disk, (Fault(kind, index),)))
        check(SimFileSystem(disk.image()), clean)


def test_the_power_may_go_at_any_moment(image, clean):
    disk = SimFileSystem(dict(image))
    # What was there before is durable.
    remembered = _Disk(
        safe_data={inode.number: inode.content for inode in disk._files.values()},
        safe_names={path: inode.number for path, inode in disk._files.items()},
    )
    purge_and_collect(disk)
    rng = random.Random(7)
    for entry in disk.journal:
        remembered.apply(entry)
        for _ in range(4):
            check(SimFileSystem(remembered.crash(rng)), clean)
