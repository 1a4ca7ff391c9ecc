"""Effects in doubt: what `on_unknown` makes of an attempt that the process did not survive."""

from __future__ import annotations

import pytest

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import Effect, EffectType, StepPlan
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.errors import WaitMismatch
from abstractruntime.storage.directory import open_store


class World:
    """Something outside, which the first call never returns from."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, run, effect):
        self.calls += 1
        if self.calls == 1:
            raise KeyboardInterrupt
        return EffectOutcome.completed({"n": self.calls})


def end(run, ctx):
    return StepPlan("end", complete_output={"out": run.vars.get("out")})


def call(run, ctx):
    return StepPlan("call", Effect(EffectType.LLM_CALL, {"prompt": "x"}, "out"), "end")


WORKFLOW = WorkflowSpec("w", "call", {"call": call, "end": end})


@pytest.fixture
def interrupted(tmp_path):
    """Give the world, and a function that opens the store in a new runtime."""
    world = World()

    def runtime(on_unknown):
        return Runtime.on_engine(
            open_store(tmp_path / "store"),
            effect_handlers={EffectType.LLM_CALL: world},
            effect_policy=DefaultEffectPolicy(on_unknown=on_unknown),
        )

    first = runtime("retry")
    run_id = first.start(workflow=WORKFLOW)
    with pytest.raises(KeyboardInterrupt):
        first.tick(workflow=WORKFLOW, run_id=run_id)
    return world, runtime, run_id


@pytest.mark.parametrize(
    ("on_unknown", "status", "calls"),
    [("retry", "completed", 2), ("fail", "failed", 1), ("ask", "waiting", 1)],
)
def test_policy_decides(interrupted, on_unknown, status, calls):
    world, runtime, run_id = interrupted

    state = runtime(on_unknown).tick(workflow=WORKFLOW, run_id=run_id)

    assert (state.status.value, world.calls) == (status, calls)
    if status == "failed":
        assert "whether it took place is unknown" in (state.error or "")


@pytest.mark.parametrize(
    ("answer", "status", "output", "calls"),
    [
        ("retry", "completed", {"out": {"n": 2}}, 2),
        ("skip", "completed", {"out": None}, 1),
        ("fail", "failed", None, 1),
    ],
)
def test_person_decides(interrupted, answer, status, output, calls):
    world, runtime, run_id = interrupted
    waiting = runtime("ask").tick(workflow=WORKFLOW, run_id=run_id)
    assert waiting.waiting is not None

    state = runtime("ask").resume(
        workflow=WORKFLOW,
        run_id=run_id,
        wait_key=f"unknown:{run_id}:0",
        payload={"response": answer},
    )

    assert (state.status.value, state.output, world.calls) == (status, output, calls)
    assert waiting.waiting.choices == ["retry", "skip", "fail"]


def test_other_answers_are_refused_and_change_nothing(interrupted):
    _, runtime, run_id = interrupted
    runtime("ask").tick(workflow=WORKFLOW, run_id=run_id)

    with pytest.raises(WaitMismatch, match="does not settle"):
        runtime("ask").resume(workflow=WORKFLOW, run_id=run_id, wait_key=None, payload="maybe")

    assert runtime("ask").get_state(run_id).status.value == "waiting"


def test_repeated_attempt_keeps_its_occurrence(interrupted):
    _, runtime, run_id = interrupted
    runtime("ask").tick(workflow=WORKFLOW, run_id=run_id)
    runtime("ask").resume(workflow=WORKFLOW, run_id=run_id, wait_key=None, payload="retry")

    records = runtime("ask").get_ledger(run_id)
    started = [r for r in records if r["status"] == "started"]
    assert [r["commit"]["occ"] for r in started] == [0, 0]
    assert len({r["idempotency_key"] for r in started}) == 1
