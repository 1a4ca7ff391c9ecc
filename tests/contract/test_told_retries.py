"""What a handler says about repeating an attempt: counted or not, when, with what, or not at all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import Effect, EffectType, RunStatus, StepPlan, parse_moment
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.core.ports import EffectOutcome, Retry
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.storage.directory import open_store
from abstractruntime.testing import FakeClock


class Scripted:
    """Gives the outcomes of a script, and keeps the contexts it was called with."""

    takes_context = True

    def __init__(self, *outcomes: EffectOutcome) -> None:
        self.outcomes = list(outcomes)
        self.seen: list[tuple[int, object]] = []

    def __call__(self, ctx, effect):
        self.seen.append((ctx.attempt, ctx.carried))
        return self.outcomes.pop(0)


ASK = WorkflowSpec(
    "w",
    "ask",
    {"ask": lambda run, _: StepPlan("ask", Effect(EffectType.LLM_CALL, {"prompt": "x"}, "out"))},
)
DONE = EffectOutcome.completed("well")


def again(carry=None, *, after_s=0.0, is_counted=False):
    return EffectOutcome.failed(
        "not yet", retry=Retry(is_counted=is_counted, after_s=after_s, carry=carry)
    )


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def opened(tmp_path, clock):
    def make(handler, attempts=1):
        engine = open_store(tmp_path / "store", clock=clock)
        policy = DefaultEffectPolicy(default_max_attempts=attempts, default_backoff_base=0)
        return Runtime.on_engine(
            engine,
            clock=clock,
            effect_handlers={EffectType.LLM_CALL: handler},
            effect_policy=policy,
        )

    return make


@pytest.mark.parametrize(
    ("outcomes", "attempts", "status", "seen"),
    [
        ((again({"n": 1}), again({"n": 2}), DONE), 1, "completed", [(1, None), (2, {"n": 1}), (3, {"n": 2})]),
        ((again(is_counted=True), DONE), 1, "failed", [(1, None)]),
        ((again(is_counted=True), DONE), 2, "completed", [(1, None), (2, None)]),
        ((EffectOutcome.failed("no", is_final=True), DONE), 3, "failed", [(1, None)]),
        ((again(), EffectOutcome.failed("no"), DONE), 2, "completed", [(1, None), (2, None), (3, None)]),
        ((again(), EffectOutcome.failed("no"), DONE), 1, "failed", [(1, None), (2, None)]),
    ],
    ids=["uncounted", "counted", "budget", "final", "both", "both-spent"],
)  # fmt: skip
def test_what_a_handler_says_of_the_next_attempt_counts(opened, outcomes, attempts, status, seen):
    handler = Scripted(*outcomes)
    runtime = opened(handler, attempts)

    run = runtime.tick(workflow=ASK, run_id=runtime.start(workflow=ASK))

    assert (run.status, handler.seen) == (status, seen)


def test_a_long_pause_is_a_wait_that_another_process_ends(opened, clock):
    runtime = opened(Scripted(again({"n": 1}, after_s=30.0)))
    run = runtime.tick(workflow=ASK, run_id=runtime.start(workflow=ASK))
    assert (run.status, run.waiting.reason) == (RunStatus.WAITING, "until")
    assert parse_moment(run.waiting.until) - clock.now() == timedelta(seconds=30)
    assert clock.slept == []
    runtime.engine.close()

    handler = Scripted(DONE)
    other = opened(handler)
    assert other.tick(workflow=ASK, run_id=run.run_id).status is RunStatus.WAITING
    clock.advance(30)
    ended = other.tick(workflow=ASK, run_id=run.run_id)

    assert (ended.status, handler.seen) == (RunStatus.COMPLETED, [(2, {"n": 1})])
    told = [(r["status"], r["attempt"]) for r in other.get_ledger(run.run_id) if r["effect"]]
    assert told[:2] == [("started", 1), ("failed", 1)]
    assert ("completed", 2) in told


def test_a_short_pause_is_slept(opened, clock):
    runtime = opened(Scripted(again(after_s=2.0), DONE))

    runtime.tick(workflow=ASK, run_id=runtime.start(workflow=ASK))

    assert clock.slept == [2.0]


def test_a_cancel_ends_the_wait_for_the_next_attempt(opened):
    runtime = opened(Scripted(again(after_s=30.0)))
    run_id = runtime.start(workflow=ASK)
    runtime.tick(workflow=ASK, run_id=run_id)

    assert runtime.cancel_run(run_id).status is RunStatus.CANCELLED
