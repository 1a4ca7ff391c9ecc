"""A run of 0.4.x survives death at every call of its import: still old, or imported, never lost."""

from __future__ import annotations

import contextlib
import errno
import random
from typing import Any

import pytest
from legacy_directory import (
    T,
    checkpoint,
    checkpoint_bytes,
    ledger_bytes,
    record,
    status_record,
    waiting_run,
)
from legacy_flow import Host, key_of

from abstractruntime.core.models import RunStatus
from abstractruntime.errors import HeadMismatch, StoreError
from abstractruntime.signing import verify_ledger
from abstractruntime.storage import large_values
from abstractruntime.storage._files.simfs import Mutations, SimFileSystem, crash_states
from abstractruntime.storage._store import lease
from abstractruntime.storage.directory import open_store

LEDGER, CHECKPOINT = "/s/ledger_r1.jsonl", "/s/run_r1.json"
TORN = b'{"run_id": "r1", "st'
OUTCOME = [record(status="started"), record(idempotency_key=key_of(), ended_at=T.format(11))]
DIRECTORIES = {
    "an outcome to reuse": (checkpoint(node="call"), OUTCOME, b""),
    "torn": (checkpoint(node="call", vars={"big": "x" * 400}), OUTCOME, TORN),
    "no ledger": (waiting_run(), None, b""),
    "finished": (checkpoint(status="completed", node="end"), [status_record()], b""),
    "not closed": (checkpoint(status="failed", node="call", error="e"), OUTCOME, TORN),
}
CASES = list(DIRECTORIES.values())
BY_NAME = pytest.mark.parametrize("case", DIRECTORIES.values(), ids=DIRECTORIES)


class Died(BaseException):
    """The process ended here."""


class MortalFileSystem(SimFileSystem):
    """Lets the process die at one call."""

    dies_at = -1

    def _call(self, verb: str) -> None:
        if len(self.calls) == self.dies_at:
            raise Died
        super()._call(verb)


@pytest.fixture(autouse=True)
def _processes(monkeypatch):
    monkeypatch.setattr(large_values, "LIMIT_BYTES", 290)
    monkeypatch.setattr("abstractruntime.storage._store.record_lines.LIMIT_BYTES", 290)
    yield
    lease._claims.clear()


def image_of(case: Any) -> dict[str, bytes]:
    run, records, tail = case
    image = {CHECKPOINT: checkpoint_bytes(run)}
    if records is not None:
        image[LEDGER] = ledger_bytes(records) + tail
    return image


def drive(fs: SimFileSystem, calls: list[Any]) -> Any:
    """Open the store as a new process would, and go on with the run."""
    lease._claims.clear()
    host = Host(open_store("/s", fs=fs, origin="test/0"))
    host.calls = calls
    return host.tick()


def check(image: dict[str, bytes], case: Any, calls: list[Any]) -> None:
    """Go on where a death left the disk, and compare with a life without it."""
    run, records, _ = case
    old_lines = ledger_bytes(records or [])
    before = open_store("/s", fs=SimFileSystem(image), origin="test/0").peek("r1")
    is_imported = b'"internal":"imported"' in image.get(LEDGER, b"")
    if is_imported:
        assert image["/s/imported/run_r1.json"] == checkpoint_bytes(run)
    else:
        assert (before.current_node, before.vars) == (run["current_node"], run["vars"])
    fs = SimFileSystem(image)
    after = drive(fs, calls)

    stored = fs.image()
    assert after.status in (RunStatus.WAITING, RunStatus.COMPLETED, RunStatus.FAILED)
    assert after.current_node == ("ask" if run["status"] != "completed" else "end") or after.error
    assert stored[LEDGER].startswith(old_lines)
    assert calls == []
    found = verify_ledger(stored[LEDGER].splitlines(keepends=True), run_id="r1")
    assert (found.ok, found.torn_tail_bytes) == (True, 0)
    assert stored[LEDGER].count(b'"internal":"imported"') == 1


@BY_NAME
def test_death_at_every_call(case):
    whole = MortalFileSystem(image_of(case))
    drive(whole, [])
    for index in range(len(whole.calls)):
        fs, calls = MortalFileSystem(image_of(case)), []
        fs.dies_at = index
        with pytest.raises(Died):
            drive(fs, calls)
        check(fs.image(), case, calls)


def cut_power(fs: SimFileSystem, case: Any) -> None:
    """Import the run, and look at every disk that a power cut meanwhile may leave."""
    fs.make_dir("/s")
    fs.sync_dir("/")
    for path, data in image_of(case).items():
        fs.write_new(path, data, sync=True)
    fs.sync_dir("/s")
    fs.mark("written")
    drive(fs, [])
    for marks, image in crash_states(fs.journal, random.Random(7), per_point=6):
        if marks:
            check(image, case, [])


@BY_NAME
def test_every_disk_that_a_power_cut_may_leave(case):
    cut_power(SimFileSystem(), case)


@pytest.mark.parametrize("kept", [1, 12, 40, 600, -1])
def test_half_of_the_importing_line_leaves_an_old_run(kept):
    case = DIRECTORIES["no ledger"]
    fs = SimFileSystem(image_of(case))
    drive(fs, [])
    line = fs.image()[LEDGER].partition(b"\n")[0]

    check({**fs.image(), **image_of(case), LEDGER: line[:kept]}, case, [])


def test_a_missing_sync_would_be_found():
    with pytest.raises(HeadMismatch):
        cut_power(SimFileSystem(mutations=Mutations(skip_file_sync=True)), CASES[0])


@BY_NAME
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "input/output"])
def test_every_failing_call_is_survived(case, code):
    whole = SimFileSystem(image_of(case))
    drive(whole, [])
    for index in range(len(whole.calls)):
        fs, calls = SimFileSystem(image_of(case)), []
        fs.fail_at[index] = code
        with contextlib.suppress(StoreError):
            drive(fs, calls)
        check(fs.image(), case, calls)
