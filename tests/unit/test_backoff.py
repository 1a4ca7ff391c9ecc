"""Leaving alone what failed: how long, and what is forgotten."""

from __future__ import annotations

from abstractruntime._runtime.readiness import Backoff
from abstractruntime.testing.clocks import FakeClock


def test_pauses_double_up_to_a_limit_and_begin_again_after_success():
    backoff = Backoff(FakeClock())
    pauses = [backoff.failed("a") for _ in range(12)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]

    backoff.solved("a")
    assert (backoff.failed("a"), backoff.failed("b")) == (1, 1)


def test_a_thousand_failures_are_no_overflow():
    backoff = Backoff(FakeClock())
    assert [backoff.failed("a") for _ in range(2000)][-1] == 300


def test_a_key_waits_for_its_pause_on_the_monotonic_clock():
    clock = FakeClock()
    backoff = Backoff(clock)
    backoff.failed("a")
    clock.set(clock.now().replace(year=2030))
    assert (backoff.is_waiting("a"), backoff.is_waiting("b")) == (True, False)
    assert list(backoff.left_s()) == [1.0]

    clock.advance(1)
    assert not backoff.is_waiting("a")


def test_only_what_waits_or_is_named_is_remembered():
    clock = FakeClock()
    backoff = Backoff(clock)
    for key in ("over", "named"):
        backoff.failed(key)
    clock.advance(1)
    backoff.failed("waits")
    backoff.keep({"named"})

    assert [key in backoff for key in ("over", "named", "waits")] == [False, True, True]
