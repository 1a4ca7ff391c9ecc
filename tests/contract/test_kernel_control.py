"""Control at awkward moments, and handlers that call the runtime they run in."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from awkward_hosts import LLM, START, asks, done, go, ok, spec

from abstractruntime._runtime.driver import Driver
from abstractruntime.core.commands import Cancel, Command
from abstractruntime.core.models import (
    Effect,
    EffectType,
    RunState,
    RunStatus,
    StepPlan,
    WaitReason,
    WaitState,
)
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.core.ports import EffectOutcome, RunQuery
from abstractruntime.errors import Busy, WaitMismatch
from abstractruntime.testing import SequentialIds

# -- control at awkward moments ----------------------------------------------------


@pytest.mark.parametrize("by", ["same runtime", "other runtime"])
@pytest.mark.parametrize("status", ["completed", "failed", "waiting"])
def test_a_cancel_during_an_effect_wins(make, by, status):
    outcomes = {
        "completed": EffectOutcome.completed({}),
        "failed": EffectOutcome.failed("no"),
        "waiting": EffectOutcome.waiting(WaitState(WaitReason.USER, "k")),
    }

    def handler(run, effect):
        (rt if by == "same runtime" else make()).cancel_run(run.run_id, reason="stop")
        return outcomes[status]

    rt = make(handler)
    workflow = spec("w", a=asks(LLM, {}, then="z"), z=lambda run, ctx: pytest.fail("went on"))
    state = go(rt, workflow)

    expected = RunStatus.FAILED if status == "failed" and "same" in by else RunStatus.CANCELLED
    if make.kind == "directory" and status == "failed":
        expected = RunStatus.FAILED  # the effect ended the run before the command was read
    assert rt.get_state(state.run_id).status is expected
    assert rt.tick(workflow=workflow, run_id=state.run_id).status is expected


def test_the_id_of_a_command_comes_from_the_port(make):
    def handler(run, effect):
        rt.cancel_run(run.run_id)
        assert [c.id for c in rt.chain.open_log(run.run_id).take_commands()] == ["command-0001"]
        return ok(run, effect)

    rt = make(handler, ids=SequentialIds())

    assert go(rt, spec("w", a=asks(LLM, {}, then="z"), z=done)).status is RunStatus.CANCELLED


def test_an_answer_is_stored_and_nothing_goes_on(make):
    rt = make()
    workflow = spec(
        "w",
        a=asks(EffectType.ASK_USER, {"prompt": "?", "wait_key": "k"}, then="z"),
        z=done,
    )
    run_id = go(rt, workflow).run_id
    with pytest.raises(WaitMismatch):
        rt.answer(run_id, 7, wait_key="other")

    answered = rt.answer(run_id, 7, wait_key="k", actor="ada")

    assert (answered.status, answered.current_node) == (RunStatus.RUNNING, "z")
    assert rt.get_ledger(run_id)[-1]["result"] == {"resumed": True, "actor": "ada"}
    assert rt.tick(workflow=workflow, run_id=run_id).output == {"out": 7}


@pytest.mark.parametrize("action", ["cancel", "pause"])
@pytest.mark.parametrize("by", ["same runtime", "other runtime"])
def test_control_during_a_back_off_ends_it(make, action, by):
    calls = []

    def handler(run, effect):
        calls.append(1)
        if len(calls) > 1:
            return ok(run, effect)
        other = rt if by == "same runtime" else make()
        (other.cancel_run if action == "cancel" else other.pause_run)(run.run_id)
        raise RuntimeError("first")

    def node(run, ctx):
        run.vars["visits"] = run.vars.get("visits", 0) + 1
        return StepPlan("a", Effect(LLM, {}, "out"), "z")

    rt = make(handler, effect_policy=DefaultEffectPolicy(default_max_attempts=3))
    workflow = spec("w", a=node, z=done)
    state = go(rt, workflow)

    assert len(calls) == 1
    if action == "cancel":
        assert state.status is RunStatus.CANCELLED
        return
    assert state.status is RunStatus.WAITING
    rt.resume_run(state.run_id)
    end = rt.tick(workflow=workflow, run_id=state.run_id)
    assert (end.status, end.vars["visits"], len(calls)) == (RunStatus.COMPLETED, 1, 2)


def test_a_pause_during_an_effect_keeps_its_result(make):
    calls = []

    def handler(run, effect):
        calls.append(1)
        make().pause_run(run.run_id)
        return EffectOutcome.completed({"n": len(calls)})

    rt = make(handler)
    workflow = spec("w", a=asks(LLM, {}, then="z"), z=done)
    state = go(rt, workflow)
    assert state.status is RunStatus.WAITING
    rt.resume_run(state.run_id)

    end = rt.tick(workflow=workflow, run_id=state.run_id)
    assert (end.output, len(calls)) == ({"out": {"n": 1}}, 1)


@pytest.mark.parametrize("kind", ["cancel", "pause", "unpause", "resume", "nonsense"])
def test_a_command_to_a_finished_run_is_void(make, kind):
    rt, workflow = make(), spec("w", z=done)
    state = go(rt, workflow)
    before = rt.get_ledger(state.run_id)
    rt.engine.post(
        state.run_id, Command.from_dict({"id": "c1", "kind": kind, "payload": {"payload": 1}})
    )

    after = rt.tick(workflow=workflow, run_id=state.run_id)

    assert after.status is RunStatus.COMPLETED
    assert rt.get_ledger(state.run_id) == before
    assert rt.engine.find(RunQuery(has_commands=True)) == []


@pytest.mark.parametrize("kind", ["pause", "unpause", "resume", "nonsense"])
def test_a_command_counts_once(make, kind):
    rt = make()
    workflow = spec("w", a=asks(EffectType.WAIT_EVENT, {"wait_key": "k"}, then="z"), z=done)
    state = go(rt, workflow)
    command = Command.from_dict(
        {"id": "c1", "kind": kind, "payload": {"wait_key": "k", "payload": 7}}
    )
    for _ in range(2):
        rt.engine.post(state.run_id, command)
        rt.tick(workflow=workflow, run_id=state.run_id, max_steps=0)

    assert rt.engine.find(RunQuery(has_commands=True)) == []
    assert len([r for r in rt.get_ledger(state.run_id) if "cmd" in (r.get("commit") or {})]) == (
        1 if make.kind == "directory" else 0
    )


def test_the_driver_applies_commands_of_waiting_runs(make):
    rt = make(ok, spec("w", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=done))
    run_id = rt.start(workflow=rt.workflow_registry.get("w"))
    driver = Driver(rt)
    driver.drive(run_id)
    rt.engine.post(run_id, Command("c1", Cancel("late")))

    assert driver.drive(run_id).status is RunStatus.CANCELLED


def test_a_paused_timer_does_not_keep_the_driver_spinning(make):
    timer = spec(
        "t", a=asks(EffectType.WAIT_UNTIL, {"until": "2026-01-01T00:00:09Z"}, then="z"), z=done
    )
    parent = spec("p", a=asks(START, {"workflow_id": "t", "async": True, "wait": True}))
    rt = make(ok, timer, parent)
    run_id = rt.start(workflow=parent)
    driver = Driver(rt)
    waiting = driver.drive(run_id)
    rt.pause_run(waiting.waiting.details["sub_run_id"])
    make.clock.advance(60)

    assert driver.drive(run_id, until="waiting").status is RunStatus.WAITING
    assert make.clock.slept == []


# -- handlers that call the runtime -------------------------------------------------


def test_a_handler_can_read_its_run_but_not_drive_it(make):
    seen: list[Any] = []

    def handler(run, effect):
        seen.append(rt.get_state(run.run_id).status)
        for call in (
            lambda: rt.tick(workflow=workflow, run_id=run.run_id),
            lambda: rt.resume(workflow=workflow, run_id=run.run_id, wait_key=None, payload=1),
        ):
            with pytest.raises(Busy):
                call()
        return ok(run, effect)

    rt, workflow = make(handler), spec("w", a=asks(LLM, {}))

    assert go(rt, workflow).status is RunStatus.COMPLETED
    assert seen == [RunStatus.RUNNING]


def test_a_handler_can_answer_another_run(make):
    asking = spec("q", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=done)

    def handler(run, effect):
        state = rt.resume(workflow=asking, run_id=other, wait_key=None, payload=run.run_id)
        return EffectOutcome.completed({"status": state.status.value})

    rt = make(handler)
    other = go(rt, asking).run_id
    state = go(rt, spec("w", a=asks(LLM, {}, then="z"), z=done))

    assert state.output == {"out": {"status": "completed"}}
    assert rt.get_state(other).output == {"out": state.run_id}


def test_a_busy_child_is_waited_for(make):
    child = spec("c", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=done)
    parent = spec("p", a=asks(START, {"workflow_id": "c"}, then="z"), z=done)
    rt = make(ok, child, parent)
    held: list[Any] = []
    start = rt.start
    run_id = start(workflow=parent)

    def start_and_hold(**options):
        child_id = start(**options)
        held.append(rt.engine.open(child_id))
        return child_id

    rt.start = start_and_hold
    state = rt.tick(workflow=parent, run_id=run_id)
    held[0].close()

    assert (state.status, state.waiting and state.waiting.reason) == ("waiting", "subworkflow")
    driver = Driver(rt)
    driver.drive(run_id)
    driver.answer(run_id, "yes")
    assert driver.drive(run_id).output["out"]["output"] == {"out": "yes"}


def test_a_stop_signal_reaches_a_child(make):
    calls: list[int] = []

    def loop(run, ctx):
        calls.append(1)
        assert len(calls) < 50
        return StepPlan("loop", next_node="loop")

    parent = spec("p", a=asks(START, {"workflow_id": "loop"}, then="z"), z=done)
    rt = make(ok, spec("loop", loop=loop), parent)
    run_id = rt.start(workflow=parent)

    state = rt.tick(workflow=parent, run_id=run_id, stop=lambda: len(calls) >= 5)

    assert (state.status, len(calls)) == ("waiting", 5)


def test_a_child_is_started_anew_only_where_the_policy_lists_it(make):
    parent = spec("p", a=asks(START, {"workflow_id": "c"}))
    tries: list[str] = []

    def child_node(run, ctx):
        tries.append(run.run_id)
        raise RuntimeError("always")

    for listed, expected in (({}, 1), ({"start_subworkflow": 3}, 3)):
        tries.clear()
        policy = DefaultEffectPolicy(3, 0, effect_max_attempts=listed)
        rt = make(ok, spec("c", a=child_node), parent, effect_policy=policy)
        assert go(rt, parent).status is RunStatus.FAILED
        assert len(tries) == len(set(tries)) == expected


def test_notes_of_two_runs_at_once_are_both_kept(make):
    note = asks(EffectType.MEMORY_NOTE, {"note": "n", "scope": "global"})
    rt = make(clock=None)
    workflow = spec("w", a=note)
    runs = [rt.start(workflow=workflow) for _ in range(8)]
    states: list[RunState] = []
    threads = [
        threading.Thread(target=lambda r=r: states.append(rt.tick(workflow=workflow, run_id=r)))
        for r in runs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    spans = rt.get_state("global_memory").vars["_runtime"]["memory_spans"]
    assert [s.error for s in states if s.error] == []
    assert len(spans) == 8


def test_threads_on_one_run_execute_each_effect_once(make):
    calls: list[int] = []
    gate = threading.Barrier(4)

    def handler(run, effect):
        calls.append(1)
        return ok(run, effect)

    rt = make(handler, clock=None)
    workflow = spec("w", a=asks(LLM, {}, then="b"), b=asks(LLM, {}, then="z"), z=done)
    run_id = rt.start(workflow=workflow)

    def drive():
        gate.wait()
        while True:
            try:
                return rt.tick(workflow=workflow, run_id=run_id)
            except Busy:
                continue

    threads = [threading.Thread(target=drive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(calls) == 2
    assert rt.get_state(run_id).status is RunStatus.COMPLETED
