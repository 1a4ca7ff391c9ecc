from __future__ import annotations

import json
import os

import pytest

from abstractruntime.errors import Busy
from abstractruntime.storage._files.fs import RealFileSystem, StoreFiles
from abstractruntime.storage._files.layout import Layout
from abstractruntime.storage._store.lease import Leases


class FakeClock:
    def __init__(self):
        self.seconds, self.pauses, self.on_sleep = 0.0, [], None

    def now_iso(self):
        return "2026-01-01T00:00:00+00:00"

    def monotonic(self):
        return self.seconds

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.seconds += seconds
        if self.on_sleep:
            self.on_sleep()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def leases(tmp_path, clock):
    return Leases(StoreFiles(RealFileSystem()), Layout(str(tmp_path)), clock)


def test_the_lock_file_says_who_holds_it_and_stays(leases, tmp_path):
    leases.acquire("r").release()

    note = json.loads((tmp_path / "locks" / "run_r.lock").read_text())
    assert list(note) == [
        "pid",
        "host",
        "boot_id",
        "command",
        "since",
        "size",
        "deaths",
        "ended",
    ]
    assert note["pid"] == os.getpid()


def test_a_second_owner_is_told_about_the_first(leases):
    lease = leases.acquire("r")
    with pytest.raises(Busy) as caught:
        leases.acquire("r")
    lease.release()

    assert caught.value.details["pid"] == os.getpid()
    assert caught.value.details["since"] == "2026-01-01T00:00:00+00:00"
    leases.acquire("r").release()


def test_waiting_backs_off_and_ends(leases, clock):
    lease = leases.acquire("r")
    with pytest.raises(Busy):
        leases.acquire("r", wait_s=3.0)
    lease.release()

    assert clock.seconds == pytest.approx(3.0)
    assert 10 < len(clock.pauses) < 100
    assert max(clock.pauses) <= 0.375


def test_a_freed_run_is_taken_while_waiting(leases, clock):
    lease = leases.acquire("r")
    clock.on_sleep = lease.release

    leases.acquire("r", wait_s=3.0).release()
    assert len(clock.pauses) == 1


def test_a_foreign_lock_is_respected(leases, tmp_path):
    (tmp_path / "locks").mkdir()
    lock = RealFileSystem().lock(str(tmp_path / "locks" / "run_r.lock"), b'{"pid": 7, "host": "h"}')
    with pytest.raises(Busy) as caught:
        leases.acquire("r")
    lock.close()

    assert (caught.value.details["pid"], caught.value.details["host"]) == (7, "h")
    leases.acquire("r").release()


def test_the_owner_is_told_and_not_disturbed(leases, tmp_path):
    assert leases.owner("r") is None
    lease = leases.acquire("r")
    assert leases.owner("r").pid == os.getpid()
    lease.release()
    assert leases.owner("r") is None

    lock = RealFileSystem().lock(str(tmp_path / "locks" / "run_r.lock"), b'{"pid": 7}')
    assert leases.owner("r").pid == 7
    lock.close()
    assert leases.owner("r") is None


def test_runs_do_not_block_each_other(leases):
    first, second = leases.acquire("a"), leases.acquire("b")
    first.release()
    second.release()
