"""Policies of hosts that are broken, and back-offs that somebody cuts short."""

from __future__ import annotations

import pytest
from awkward_hosts import LLM, START, asks, done, go, ok, spec

from abstractruntime._runtime.driver import Driver
from abstractruntime.core.commands import Cancel, Command, Pause
from abstractruntime.core.models import EffectType
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.testing.clocks import FakeClock

WORKFLOW = spec("w", a=asks(LLM, {}, then="z"), z=done)


class Broken(DefaultEffectPolicy):
    def __init__(self, method: str, error: Exception) -> None:
        super().__init__(default_max_attempts=2)
        self._broken, self._error = method, error

    def __getattribute__(self, name):
        if name in ("max_attempts", "backoff_seconds", "idempotency_key") and name == self._broken:

            def fail(*args, **options):
                raise self._error

            return fail
        return super().__getattribute__(name)


@pytest.mark.parametrize("error", [RuntimeError("no"), TypeError("no"), KeyError("no")])
@pytest.mark.parametrize("method", ["max_attempts", "backoff_seconds", "idempotency_key"])
def test_a_policy_that_raises_ends_its_run(make, method, error):
    rt = make(
        lambda run, effect: EffectOutcome.failed("again"), effect_policy=Broken(method, error)
    )

    state = go(rt, WORKFLOW)

    assert (state.status, "no" in state.error) == ("failed", True)
    assert rt.tick(workflow=WORKFLOW, run_id=state.run_id).status == "failed"


class PostingClock(FakeClock):
    """Calls `during` at each sleep, as somebody who acts meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.during = lambda: None

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.during()


@pytest.mark.parametrize("request_", [Cancel(), Pause()], ids=["cancel", "pause"])
def test_a_long_back_off_is_cut_short(make, request_):
    clock = PostingClock()
    policy = DefaultEffectPolicy(
        default_max_attempts=2, default_backoff_base=60.0, default_backoff_max=60.0
    )
    rt = make(lambda run, effect: EffectOutcome.failed("no"), clock=clock, effect_policy=policy)
    run_id = rt.start(workflow=WORKFLOW)
    clock.during = lambda: rt.engine.post(run_id, Command("c", request_))

    rt.tick(workflow=WORKFLOW, run_id=run_id)

    assert clock.slept == [5.0]


def test_a_back_off_is_slept_in_full(make):
    clock = PostingClock()
    policy = DefaultEffectPolicy(
        default_max_attempts=3, default_backoff_base=6.0, default_backoff_max=60.0
    )
    rt = make(lambda run, effect: EffectOutcome.failed("no"), clock=clock, effect_policy=policy)

    go(rt, WORKFLOW)

    assert clock.slept == [5.0, 1.0, 5.0, 5.0, 2.0]


def test_limits_that_are_set_while_a_run_is_driven_are_applied_by_its_owner(make):
    rt = make(ok, WORKFLOW)
    run_id = rt.start(workflow=WORKFLOW)
    owned = rt.engine.open(run_id)

    rt.update_limits(run_id, {"max_tokens": 7})
    owned.close()
    rt.tick(workflow=WORKFLOW, run_id=run_id, max_steps=0)

    assert rt.get_limit_status(run_id)["tokens"]["max"] == 7


@pytest.mark.parametrize("ending", ["completes", "fails"])
def test_the_end_of_a_child_waits_for_a_paused_parent(make, ending):
    asking = spec("c", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=done)
    if ending == "fails":
        asking = spec("c", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=lambda r, c: 1 / 0)  # fmt: skip
    parent = spec("p", a=asks(START, {"workflow_id": "c"}, then="z"), z=done)
    rt = make(ok, asking, parent)
    driver = Driver(rt)
    run_id = rt.start(workflow=parent)
    waiting = driver.drive(run_id)
    child_id = waiting.waiting.details["sub_run_id"]
    rt.pause_run(run_id)
    rt.resume(workflow=asking, run_id=child_id, wait_key=None, payload="yes")

    paused = driver.drive(run_id)
    rt.resume_run(run_id)
    ended = driver.drive(run_id)

    assert paused.status == "waiting"
    assert ended.status == ("completed" if ending == "completes" else "failed")
