"""The kernel over a pair of 0.4.x stores: rewinds, edits, and deaths between two writes."""

from __future__ import annotations

import pytest
from awkward_hosts import LLM, START, asks, done, go, ok, spec

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import (
    Effect,
    EffectType,
    RunStatus,
    StepPlan,
)
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.errors import (
    AbstractRuntimeError,
)
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.testing.clocks import FakeClock


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, run, effect):
        self.calls += 1
        if effect.payload.get("flaky") and self.calls == 1:
            raise RuntimeError("first")
        return EffectOutcome.completed({"n": self.calls})


def pair(handler, *specs, stores=None):
    stores = stores or (InMemoryRunStore(), InMemoryLedgerStore())
    registry = WorkflowRegistry()
    for one in specs:
        registry.register(one)
    rt = Runtime(
        run_store=stores[0],
        ledger_store=stores[1],
        effect_handlers={LLM: handler},
        workflow_registry=registry,
        clock=FakeClock(),
        effect_policy=DefaultEffectPolicy(effect_max_attempts={"llm_call": 3}),
    )
    return rt, stores


@pytest.mark.parametrize("steps", [100, 1], ids=["one tick", "step by step"])
def test_a_host_that_rewinds_a_finished_run_finds_its_effects_done(steps):
    handler = Counter()
    workflow = spec(
        "w", a=asks(LLM, {"p": 1}, key="a", then="b"), b=asks(LLM, {"p": 2}, then="z"), z=done
    )
    rt, stores = pair(handler)
    run = go(rt, workflow)
    stored = stores[0].load(run.run_id)
    stored.status, stored.current_node, stored.output = RunStatus.RUNNING, "a", None
    stores[0].save(stored)

    for _ in range(4):
        again, _ = pair(handler, stores=stores)
        end = again.tick(workflow=workflow, run_id=run.run_id, max_steps=steps)

    assert (end.status, end.output, handler.calls) == (RunStatus.COMPLETED, {"out": {"n": 2}}, 2)


@pytest.mark.parametrize(
    ("until", "status"),
    [
        ("2025-12-31T23:59:59Z", "completed"),
        ("2025-12-31T23:59:59", "completed"),
        ("2027-01-01T00:00:00Z", "waiting"),
    ],
    ids=["past", "naive-past", "future"],
)
def test_a_host_can_edit_the_deadline_of_a_wait(until, status):
    workflow = spec(
        "w", a=asks(EffectType.WAIT_UNTIL, {"until": "2026-06-01T00:00:00Z"}, then="z"), z=done
    )
    rt, stores = pair(ok)
    state = go(rt, workflow)
    state.waiting.until = until
    stores[0].save(state)

    assert rt.tick(workflow=workflow, run_id=state.run_id).status == status


def test_an_edited_deadline_that_is_no_moment_is_named_and_the_run_kept():
    workflow = spec(
        "w", a=asks(EffectType.WAIT_UNTIL, {"until": "2026-06-01T00:00:00Z"}, then="z"), z=done
    )
    rt, stores = pair(ok)
    state = go(rt, workflow)
    state.waiting.until = "tomorrow"
    stores[0].save(state)

    with pytest.raises(AbstractRuntimeError, match="tomorrow"):
        rt.tick(workflow=workflow, run_id=state.run_id)
    assert rt.get_state(state.run_id).status is RunStatus.WAITING


class Died(BaseException):
    pass


def visit(run, ctx):
    run.vars["visits"] = run.vars.get("visits", 0) + 1
    return StepPlan("v", Effect(LLM, {"flaky": True}, "out"), "z")


def report(run, ctx):
    return StepPlan("z", complete_output={"visits": run.vars["visits"]})


CLASSIC = {
    "retry": spec("retry", v=visit, z=report),
    "linear": spec("linear", a=asks(LLM, {"p": 1}, key="a", then="b"), b=asks(LLM, {"p": 1}, then="z"), z=done),
    "sync child": spec("parent", a=asks(START, {"workflow_id": "linear"}, then="z"), z=done),
    "async child": spec("asy", a=asks(START, {"workflow_id": "linear", "async": True, "wait": True}, then="z"), z=done),
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSIC)
def test_a_death_between_two_writes_of_a_pair_repeats_at_most_one_call(name, monkeypatch):
    def tell(dies_at=None):
        handler, stores = Counter(), (InMemoryRunStore(), InMemoryLedgerStore())
        writes = [0]
        real = InMemoryRunStore.save, InMemoryLedgerStore.append

        def counted(write):
            def wrapper(self, item):
                writes[0] += 1
                if writes[0] == dies_at:
                    raise Died
                write(self, item)

            return wrapper

        with monkeypatch.context() as patch:
            patch.setattr(InMemoryRunStore, "save", counted(real[0]))
            patch.setattr(InMemoryLedgerStore, "append", counted(real[1]))
            for _ in range(2):
                rt, _ = pair(handler, *CLASSIC.values(), stores=stores)
                try:
                    if stores[0].load("r") is None:
                        rt.start(workflow=CLASSIC[name], run_id="r")
                    Driver(rt).drive("r")
                except Died:
                    continue
        children = [r for r in stores[0].list_runs() if r.parent_run_id]
        return stores[0].load("r"), handler.calls, len(children), writes[0]

    end, calls, children, writes = tell()
    for at in range(1, writes + 1):
        again, repeated, others, _ = tell(at)
        assert (again.status, others) == (end.status, children), f"write {at}"
        assert (again.output or {}).get("visits") == (end.output or {}).get("visits")
        assert repeated - calls in (0, 1), f"write {at}"
