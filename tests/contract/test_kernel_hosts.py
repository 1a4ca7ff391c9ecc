"""Awkward nodes, handlers and hosts: nothing they do loses, doubles or wedges a run."""

from __future__ import annotations

import pytest
from awkward_hosts import LLM, asks, done, go, ok, spec
from faults import chained

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import (
    Effect,
    EffectType,
    RunStatus,
    StepPlan,
    WaitReason,
    WaitState,
)
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.errors import (
    InvalidValue,
    StoreIOError,
    UsageError,
)
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage._store.memory import LogMemory
from abstractruntime.storage.directory import open_store

# -- what nodes and handlers give -----------------------------------------------


@pytest.mark.parametrize("plan", [None, "b", {"next_node": "b"}], ids=["none", "text", "dict"])
def test_a_node_that_gives_no_plan_fails_the_run(make, plan):
    state = go(make(), spec("w", a=lambda run, ctx: plan), max_steps=None)

    assert state.status is RunStatus.FAILED
    assert "expected a StepPlan" in (state.error or "")


@pytest.mark.parametrize(
    "outcome",
    [
        None,
        {"status": "completed"},
        EffectOutcome("interrupted"),
        EffectOutcome("done"),
        EffectOutcome("waiting"),
        EffectOutcome("waiting", wait={"reason": "user"}),
        EffectOutcome.waiting(WaitState(WaitReason.UNTIL, until="tomorrow")),
        EffectOutcome.waiting(WaitState(WaitReason.USER, result_key=".")),
        EffectOutcome.waiting(WaitState(WaitReason.USER, details={"x": object()})),
        EffectOutcome("failed", error=ValueError("x")),
        EffectOutcome.completed({"x": float("nan")}),
    ],
    ids=[
        "none", "dict", "status-interrupted", "status-unknown", "no-wait", "wait-dict",
        "bad-until", "bad-result-key", "wait-not-json", "error-object", "nan",
    ],
)  # fmt: skip
def test_a_handler_that_gives_nonsense_fails_the_run_after_one_call(make, outcome):
    calls = []
    rt = make(lambda run, effect: (calls.append(1), outcome)[1])

    state = go(rt, spec("w", a=asks(LLM, {})))

    assert (state.status, len(calls)) == (RunStatus.FAILED, 1)


@pytest.mark.parametrize("key", [".", "..", 5], ids=repr)
def test_a_result_key_that_names_no_place_fails_before_the_effect(make, key):
    rt = make(lambda run, effect: pytest.fail("executed"))

    assert go(rt, spec("w", a=asks(LLM, {}, key=key))).status is RunStatus.FAILED


@pytest.mark.parametrize("output", [{"x": object()}, {"x": float("inf")}], ids=["object", "inf"])
def test_an_output_that_is_not_json_fails_the_run(make, output):
    rt = make()

    state = go(rt, spec("w", a=lambda run, ctx: StepPlan("a", complete_output=output)))

    assert state.status is RunStatus.FAILED
    assert not [r for r in rt.get_ledger(state.run_id) if (r["result"] or {}).get("completed")]


def test_variables_that_are_not_json_stop_the_run_before_the_effect(make):
    def node(run, ctx):
        run.vars["bad"] = {1, 2}
        return StepPlan("a", Effect(LLM, {}), "z")

    state = go(make(lambda run, effect: pytest.fail("executed")), spec("w", a=node, z=done))

    assert state.status is RunStatus.FAILED
    assert "bad" not in state.vars


def test_a_failing_node_takes_back_its_own_changes_only(make):
    def hop(to):
        def node(run, ctx):
            run.vars.setdefault("trail", []).append(run.current_node)
            return StepPlan(run.current_node, next_node=to)

        return node

    def fails(run, ctx):
        run.vars["trail"].append("half")
        raise RuntimeError("boom")

    state = go(make(), spec("w", a=hop("b"), b=hop("c"), c=fails))

    assert (state.status, state.current_node) == (RunStatus.FAILED, "c")
    assert state.vars["trail"] == ["a", "b"]


@pytest.mark.parametrize("attempts", [0, -1], ids=repr)
def test_a_policy_without_attempts_still_concludes(make, attempts):
    rt = make(effect_policy=DefaultEffectPolicy(default_max_attempts=attempts))

    assert go(rt, spec("w", a=asks(LLM, {}))).status.is_terminal


@pytest.mark.parametrize(
    "effect",
    ["effect", Effect("nope"), Effect(LLM, [1]), Effect(LLM, {1, 2})],
    ids=["text", "unknown-type", "list-payload", "set-payload"],
)
def test_a_plan_with_no_real_effect_fails_the_run(make, effect):
    rt = make(lambda run, effect: pytest.fail("executed"))

    state = go(rt, spec("w", a=lambda run, ctx: StepPlan("a", effect)))

    assert state.status is RunStatus.FAILED
    assert "'a'" in (state.error or "")


@pytest.mark.parametrize("value", [None, [1]], ids=repr)
def test_a_node_cannot_replace_the_variables_by_something_else(make, value):
    def node(run, ctx):
        run.vars = value
        return StepPlan("a", next_node="z")

    state = go(make(), spec("w", a=node, z=done))

    assert (state.status, "_limits" in state.vars) == (RunStatus.FAILED, True)


# -- exceptions between open and close --------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit], ids=lambda e: e.__name__)
def test_an_interrupt_in_a_handler_releases_the_run_and_repeats_the_effect(make, error):
    calls = []

    def handler(run, effect):
        calls.append(1)
        if len(calls) == 1:
            raise error
        return ok(run, effect)

    rt, workflow = make(handler), spec("w", a=asks(LLM, {}))
    run_id = rt.start(workflow=workflow)
    with pytest.raises(error):
        rt.tick(workflow=workflow, run_id=run_id)

    assert rt.get_state(run_id).status is RunStatus.RUNNING
    assert rt.get_ledger(run_id)[-1]["status"] == "started"
    assert make(handler).tick(workflow=workflow, run_id=run_id).status is RunStatus.COMPLETED
    assert len(calls) == 2


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_an_interrupt_right_after_an_append_keeps_the_chain_whole(monkeypatch, number):
    fs = SimFileSystem()
    rt = Runtime.on_engine(open_store("/s", origin="t/0", fs=fs), effect_handlers={LLM: ok})
    workflow = spec("w", a=asks(LLM, {}, then="z"), z=done)
    run_id = rt.start(workflow=workflow, run_id="r")
    seen, note = [], LogMemory.note

    def interrupted(self, *arguments):
        seen.append(1)
        if len(seen) == number:
            raise KeyboardInterrupt
        note(self, *arguments)

    monkeypatch.setattr(LogMemory, "note", interrupted)
    for _ in range(3):
        try:
            rt.tick(workflow=workflow, run_id=run_id)
        except KeyboardInterrupt:
            continue

    assert rt.get_state(run_id).status is RunStatus.COMPLETED
    assert list(chained("r", fs.image()["/s/ledger_r.jsonl"]))


def test_a_disk_error_in_a_child_is_not_the_outcome_of_the_parents_effect(make):
    def handler(run, effect):
        raise StoreIOError("no space")

    rt = make(handler)
    workflow = spec("w", a=asks(LLM, {}))
    run_id = rt.start(workflow=workflow)
    with pytest.raises(StoreIOError):
        rt.tick(workflow=workflow, run_id=run_id)

    assert make().tick(workflow=workflow, run_id=run_id).status is RunStatus.COMPLETED


# -- starting, answering, sharing ------------------------------------------------------


def test_an_existing_run_is_not_started_over(make):
    rt, workflow = make(), spec("w", z=done)
    rt.start(workflow=workflow, run_id="r", vars={"x": 1})

    with pytest.raises(UsageError, match="exists already"):
        rt.start(workflow=workflow, run_id="r")

    assert rt.get_state("r").vars["x"] == 1


@pytest.mark.parametrize("max_steps", [0, 1, None], ids=repr)
def test_what_a_caller_does_to_a_returned_state_stays_with_the_caller(make, max_steps):
    workflow = spec(
        "w", a=asks(EffectType.ASK_USER, {"prompt": "?", "choices": ["y"]}, then="z"), z=done
    )
    rt = make()
    big = {"text": ["x" * 1000] * 1000}
    run_id = rt.start(workflow=workflow, vars={"big": big})
    big["text"].clear()
    for call in (rt.tick, rt.tick):
        state = call(workflow=workflow, run_id=run_id)
        state.vars["big"]["text"].clear()
        state.waiting.choices.append("n")
        state.waiting.wait_key = "stolen"
    answer = {"deep": [1]}
    state = rt.resume(
        workflow=workflow, run_id=run_id, wait_key=None, payload=answer, max_steps=max_steps
    )
    state.vars["out"]["deep"].append(2)
    answer["deep"].append(3)
    rt.get_state(run_id).vars["big"]["text"].clear()

    end = rt.tick(workflow=workflow, run_id=run_id)
    assert len(end.vars["big"]["text"]) == 1000
    assert end.output == {"out": {"deep": [1]}}


@pytest.mark.parametrize(
    "payload", [(1, 2), {1: "x"}, {"t": (1,)}], ids=["tuple", "number-key", "nested"]
)
def test_an_answer_is_stored_as_json(make, payload):
    import json

    for then in ("z", None):
        rt = make()
        workflow = spec("w", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then=then), z=done)
        run_id = go(rt, workflow).run_id
        end = rt.resume(workflow=workflow, run_id=run_id, wait_key=None, payload=payload)
        expected = json.loads(json.dumps(payload))
        assert end.vars["out"] == expected
        assert make().get_state(run_id).vars["out"] == expected


@pytest.mark.parametrize("payload", [float("nan"), {"x": object()}], ids=["nan", "object"])
def test_an_answer_that_is_not_json_leaves_the_wait_open(make, payload):
    rt = make()
    workflow = spec("w", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=done)
    run_id = go(rt, workflow).run_id
    before = rt.get_ledger(run_id)

    with pytest.raises(InvalidValue):
        rt.resume(workflow=workflow, run_id=run_id, wait_key=None, payload=payload)

    assert rt.get_ledger(run_id) == before
    assert (
        rt.resume(workflow=workflow, run_id=run_id, wait_key=None, payload=1).status == "completed"
    )
