"""Clocks jump, stand still and name odd offsets; timers fire once, when due, and ledgers stay true."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from faults import ROOT, asks, ends, spec

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.commands import Cancel, Command, Pause, Unpause
from abstractruntime.core.models import EffectType, RunState, RunStatus
from abstractruntime.core.ports import RunQuery
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.signing import verify_ledger
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage._store import lease
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import FakeClock

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
RUN = "r"


class Host:
    """One store and one clock; each `runtime` is a process of its own."""

    def __init__(self) -> None:
        self.fs, self.clock = SimFileSystem(), FakeClock(START)
        self.timers: dict[str, Any] = {}

    def runtime(self) -> Runtime:
        lease._claims.clear()
        registry = WorkflowRegistry()
        for workflow in self.timers.values():
            registry.register(workflow)
        engine = open_store(ROOT, origin="t/0", fs=self.fs, clock=self.clock)
        return Runtime.on_engine(engine, workflow_registry=registry, clock=self.clock)

    def park(self, until: str, run_id: str = RUN) -> RunState:
        wait = asks(EffectType.WAIT_UNTIL, {"until": until}, "z")
        self.timers[run_id] = spec(f"flow-{run_id}", a=wait, z=ends)
        rt = self.runtime()
        rt.start(workflow=self.timers[run_id], run_id=run_id)
        return rt.tick(workflow=self.timers[run_id], run_id=run_id)

    def tick(self, run_id: str = RUN) -> RunStatus:
        return self.runtime().tick(workflow=self.timers[run_id], run_id=run_id).status

    def moments(self, run_id: str = RUN) -> list[str]:
        return [record["started_at"] for record in self.runtime().get_ledger(run_id)]

    def verdict(self, run_id: str = RUN) -> Any:
        data = self.fs.image()[f"{ROOT}/ledger_{run_id}.jsonl"]
        return verify_ledger(data.splitlines(keepends=True), run_id=run_id)


@pytest.fixture
def host():
    yield Host()
    lease._claims.clear()


DUE = START + timedelta(seconds=10)


@pytest.mark.parametrize(
    "until",
    [
        "2026-01-01T00:00:10Z",
        "2026-01-01T00:00:10",
        "2026-01-01T00:00:10+00:00",
        "2026-01-01T02:00:10+02:00",
        "2025-12-31T16:00:10-08:00",
        "2026-01-01T05:45:10.000000+05:45",
        " 2026-01-01T00:00:10Z ",
    ],
    ids=["Z", "naive", "utc", "east", "west", "quarter of an hour", "blanks"],
)
def test_a_moment_may_be_written_in_any_offset(host, until):
    assert host.park(until).waiting.until == "2026-01-01T00:00:10.000000+00:00"

    host.clock.set(DUE - timedelta(microseconds=1))
    assert host.tick() is RunStatus.WAITING
    host.clock.set(DUE)
    assert host.tick() is RunStatus.COMPLETED


@pytest.mark.parametrize(
    "before, after",
    [("2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00"), ("2026-10-25T02:59:59+02:00", "2026-10-25T02:00:00+01:00")],
    ids=["spring", "autumn"],
)  # fmt: skip
def test_wall_times_around_a_change_of_offset_are_a_second_apart(host, before, after):
    first = host.park(before, "first").waiting.until
    second = host.park(after, "second").waiting.until
    gap = datetime.fromisoformat(second) - datetime.fromisoformat(first)

    assert gap == timedelta(seconds=1)
    host.clock.set(datetime.fromisoformat(first))
    assert (host.tick("first"), host.tick("second")) == (RunStatus.COMPLETED, RunStatus.WAITING)


def test_a_moment_in_the_past_is_no_wait(host):
    assert host.park("1999-12-31T23:59:59Z").status is RunStatus.COMPLETED


def test_the_farthest_moment_is_waited_for(host):
    assert host.park("9999-12-31T23:59:59.999999Z").status is RunStatus.WAITING
    host.clock.set(START + timedelta(days=365_000))
    assert host.tick() is RunStatus.WAITING


def test_no_moment_is_a_failed_run(host):
    state = host.park("2026-02-30T00:00:00Z")

    assert state.status is RunStatus.FAILED
    assert "2026-02-30" in state.error


def test_a_backward_jump_delays_a_timer_and_a_leap_fires_it_once(host):
    host.park("2026-01-01T00:00:10Z")
    host.clock.set(START - timedelta(days=400))
    assert host.tick() is RunStatus.WAITING
    host.clock.set(DUE + timedelta(days=1))
    assert host.tick() is RunStatus.COMPLETED
    host.clock.set(START)
    assert host.tick() is RunStatus.COMPLETED

    woken = [
        r for r in host.runtime().get_ledger(RUN) if (r["effect"] or {}).get("type") == "resume"
    ]
    assert len(woken) == 1
    assert woken[0]["effect"]["payload"]["payload"]["scheduled_for"].startswith(
        "2026-01-01T00:00:10"
    )


def test_timestamps_that_go_back_verify(host):
    host.park("2026-01-01T00:00:10Z")
    host.clock.set(START - timedelta(days=1))
    host.runtime().pause_run(RUN)
    host.runtime().resume_run(RUN)
    host.clock.set(DUE)
    host.tick()

    assert host.moments() != sorted(host.moments())
    assert host.verdict().ok


def test_equal_timestamps_keep_the_order_of_the_ledger(host):
    host.park("1999-01-01T00:00:00Z")
    records = host.runtime().get_ledger(RUN)

    assert set(host.moments()) == {"2026-01-01T00:00:00.000000+00:00"}
    assert [r["seq"] for r in records] == list(range(len(records)))
    assert host.verdict().ok


def test_ten_years_later_every_timer_is_due_once(host):
    names = [f"t{i:02}" for i in range(40)]
    for i, name in enumerate(names):
        host.park((START + timedelta(days=90 * (i + 1))).isoformat(), name)
    host.clock.set(START + timedelta(days=3653))
    rt = host.runtime()
    due = rt.engine.find(RunQuery(due_at=rt.clock.now_iso(), limit=1000))

    assert sorted(run.run_id for run in due) == names
    ended = {Driver(rt).drive(run.run_id).status for run in due}
    assert ended == {RunStatus.COMPLETED}
    assert rt.engine.find(RunQuery(due_at=rt.clock.now_iso())) == []


def test_posts_keep_their_order_when_the_clock_goes_back(host):
    host.park("2026-01-02T00:00:00Z")
    for i, request in enumerate((Pause(), Unpause(), Cancel())):
        host.clock.set(START - timedelta(hours=i))
        host.runtime().engine.post(RUN, Command(f"c{i}", request))

    assert host.tick() is RunStatus.CANCELLED
    commits = [record.get("commit") or {} for record in host.runtime().get_ledger(RUN)]
    applied = [commit["cmd"] for commit in commits if "cmd" in commit]
    assert applied == [["c0"], ["c1"], ["c2"]]


def test_the_driver_sleeps_until_the_timer_and_no_longer(host):
    host.park("2026-01-01T00:00:10Z")
    state = Driver(host.runtime()).drive(RUN, until="waiting")

    assert state.status is RunStatus.COMPLETED
    assert host.clock.now() == DUE


def test_a_timer_that_ignores_the_clock_is_caught(host, monkeypatch):
    monkeypatch.setattr(FakeClock, "now", lambda self: datetime(2030, 1, 1, tzinfo=timezone.utc))

    assert host.park("2026-01-01T00:00:10Z").status is not RunStatus.WAITING
