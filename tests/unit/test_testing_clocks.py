from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from abstractruntime.core.ports import Clock, Ids
from abstractruntime.errors import UsageError
from abstractruntime.testing import FakeClock, SequentialIds


def test_time_passes_only_by_sleeping():
    clock: Clock = FakeClock()
    before = clock.now()
    clock.sleep(90)

    assert clock.now() - before == timedelta(seconds=90)
    assert clock.monotonic() == 90
    assert clock.now_iso() == "2026-01-01T00:01:30.000000+00:00"


def test_wall_clock_may_jump_back():
    clock = FakeClock()
    clock.set(datetime(2020, 1, 1, tzinfo=timezone.utc))

    assert (clock.now().year, clock.monotonic()) == (2020, 0)


def test_requests_to_sleep_are_noted():
    clock = FakeClock()
    clock.sleep(2)
    clock.sleep(-1)

    assert (clock.slept, clock.monotonic()) == ([2, -1], 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FakeClock(datetime(2026, 1, 1)),  # noqa: DTZ001 - the mistake under test
        lambda: FakeClock().advance(-1),
    ],
)
def test_impossible_times_are_refused(make):
    with pytest.raises(UsageError):
        make()


def test_ids_count():
    ids: Ids = SequentialIds("a-")

    assert [ids.run_id(), ids.run_id(), ids.step_id(), ids.command_id()] == [
        "a-run-0001",
        "a-run-0002",
        "a-step-0001",
        "a-command-0001",
    ]
