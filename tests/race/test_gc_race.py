"""Garbage is collected while runs refer to old files again: what they refer to stays."""

from __future__ import annotations

import os
import threading
from datetime import datetime, timezone

import pytest

from abstractruntime.core.models import RunState, RunStatus, StepRecord, StepStatus
from abstractruntime.storage import large_values
from abstractruntime.storage._care.gc import MIN_GRACE_S, collect, plan_gc
from abstractruntime.storage._store import record_lines
from abstractruntime.storage.artifacts import FileArtifactStore, compute_blob_id
from abstractruntime.storage.directory import open_store

COUNT = 60
DAY_S = 86_400


def text(number: int) -> str:
    return f"{number:04}" * 100


def age(path: str) -> None:
    moment = os.stat(path).st_mtime - 2 * DAY_S
    os.utime(path, (moment, moment))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Give a store whose blobs are old and mentioned by nobody."""
    monkeypatch.setattr(large_values, "LIMIT_BYTES", 300)
    monkeypatch.setattr(record_lines, "LIMIT_BYTES", 300)
    folder = tmp_path / "artifacts" / "blobs"
    open_store(tmp_path).close()
    folder.mkdir(parents=True)
    for number in range(COUNT):
        for data in (f'"{text(number)}"'.encode(), text(number).encode()):
            path = folder / f"{compute_blob_id(data)}.bin"
            path.write_bytes(data)
            age(str(path))
    return tmp_path


def collect_until(root, stop, removed):
    with open_store(root, durability="off") as store:
        while True:
            is_last = stop.is_set()
            now = datetime.now(timezone.utc)
            report = collect(store, plan_gc(store, grace_s=MIN_GRACE_S, now=now))
            removed += report.removed
            if is_last:
                return


def test_runs_and_artifacts_keep_what_they_refer_to_meanwhile(root):
    stop, removed = threading.Event(), []
    collector = threading.Thread(target=collect_until, args=(root, stop, removed))
    artifacts = FileArtifactStore(root)
    kept = []
    collector.start()
    with open_store(root, durability="off") as store:
        for number in range(COUNT):
            run = RunState(f"r{number}", "w", RunStatus.RUNNING, "n", {"text": text(number)})
            first = StepRecord(run.run_id, "s", "n", StepStatus.COMPLETED, started_at="t")
            store.create(run, first).close()
            kept.append(artifacts.store_text(text(number), run_id=run.run_id))
    stop.set()
    collector.join()

    with open_store(root) as other:
        for number, metadata in enumerate(kept):
            assert other.peek(f"r{number}").vars["text"] == text(number)
            assert artifacts.load(metadata.artifact_id).as_text() == text(number)
    assert {item.kind for item in removed} <= {"blob"}
