"""A run that may use no more rests before its next step, says so in its ledger, and can go on."""

from __future__ import annotations

from typing import Any

import pytest
from awkward_hosts import LLM, START, asks, done, go, ok, spec

from abstractruntime import Runtime, open_store
from abstractruntime._runtime.driver import Driver
from abstractruntime.core.config import RunLimits, RuntimeConfig
from abstractruntime.core.limits import reached_limit, run_limits
from abstractruntime.core.models import EffectType, RunStatus, StepPlan
from abstractruntime.core.ports import EffectOutcome, RunQuery
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import WaitMismatch
from abstractruntime.scheduler.registry import WorkflowRegistry

_NONE = dict.fromkeys(("steps", "ledger_bytes", "seconds", "depth", "runs", "failures"), 0)
CONTINUE = {"on_failure": "continue"}


def limited(**limits: int) -> RuntimeConfig:
    return RuntimeConfig(run_limits=RunLimits(**{**_NONE, **limits}))


def facts(state: Any) -> tuple[Any, ...]:
    reached = reached_limit(state.vars) or {}
    return reached.get("limit"), reached.get("used"), reached.get("max")


def endless(kind: Any = LLM, payload: Any = None):
    """A flow that never ends: one effect again and again."""
    return spec("w", a=asks(kind, payload or {}, then="a"))


def hops():
    return spec("w", a=lambda run, ctx: StepPlan("a", next_node="a"))


def calls_itself(**payload: Any):
    start = {"workflow_id": "w", "vars": {}, "async": True, "wait": True, **payload}
    return spec("w", a=asks(START, start, then="z"), z=done)


def drive(rt: Any, workflow: Any) -> Any:
    run_id = rt.start(workflow=workflow, vars={})
    return Driver(rt).drive(run_id)


@pytest.mark.parametrize("workflow", [endless(), hops()], ids=["effects", "hops"])
def test_a_run_rests_after_its_steps_and_goes_on_when_there_are_more(make, workflow):
    calls: list[str] = []

    def handler(run, effect):
        calls.append(run.current_node)
        return ok(run, effect)

    rt = make(handler, config=limited(steps=70))
    state = go(rt, workflow)

    assert (state.status, facts(state)) == (RunStatus.WAITING, ("steps", 70, 70))
    assert len(calls) in {0, 70}
    assert rt.tick(workflow=workflow, run_id=state.run_id).updated_at == state.updated_at

    rt.update_limits(state.run_id, {"steps": 75})
    raised = rt.get_state(state.run_id)
    assert (raised.status, reached_limit(raised.vars)) == (RunStatus.RUNNING, None)
    again = rt.tick(workflow=workflow, run_id=state.run_id)
    assert facts(again) == ("steps", 75, 75)
    assert len(calls) in {0, 75}


def test_the_ledger_says_which_limit_and_who_raised_it(make):
    if make.kind == "classic":
        pytest.skip("a classic ledger has no records of control")
    rt = make(config=limited(steps=2))
    run_id = go(rt, endless()).run_id
    rt.update_limits(run_id, {"steps": 9, "nonsense": 1, "depth": -1})

    said = [s.record["result"] for s in rt.engine.records(run_id)][-2:]
    limit = {"internal": "control", "action": "limited", "limit": "steps", "used": 2, "max": 2}
    assert said == [limit, {"internal": "control", "action": "limits", "updates": {"steps": 9}}]


def test_a_limit_that_is_still_too_low_lets_nothing_go_on(make):
    rt = make(config=limited(steps=5))
    run_id = go(rt, endless()).run_id
    rt.update_limits(run_id, {"steps": 4})
    rt.update_limits(run_id, {"steps": 5})
    rt.update_limits(run_id, {"failures": 9})

    state = rt.get_state(run_id)
    assert (state.status, facts(state)) == (RunStatus.WAITING, ("steps", 5, 5))
    rt.update_limits(run_id, {"steps": 0})
    assert rt.get_state(run_id).status is RunStatus.RUNNING


def test_no_answer_ends_the_rest_but_a_cancel_does(make):
    rt = make(config=limited(steps=5))
    run_id = go(rt, endless()).run_id
    with pytest.raises(WaitMismatch, match="rests at its limit of 5 steps"):
        rt.answer(run_id, {}, wait_key=None)

    state = rt.cancel_run(run_id)
    assert (state.status, reached_limit(state.vars)) == (RunStatus.CANCELLED, None)


def test_a_paused_run_whose_limit_is_raised_goes_on_when_it_is_let(make):
    rt, workflow = make(config=limited(steps=5)), endless()
    run_id = go(rt, workflow).run_id
    rt.pause_run(run_id)
    rt.update_limits(run_id, {"steps": 6})
    assert rt.tick(workflow=workflow, run_id=run_id).used["steps"] == 5

    rt.resume_run(run_id)
    assert facts(rt.tick(workflow=workflow, run_id=run_id)) == ("steps", 6, 6)


def test_the_size_of_a_ledger_and_the_time_of_driving_are_limits(make):
    def slow(run, effect):
        rt.clock.sleep(7)
        return ok(run, effect)

    rt = make(slow, config=limited(seconds=60))
    state = go(rt, endless())
    assert facts(state) == ("seconds", 63, 60)
    rt.clock.sleep(1000)  # nobody drives it
    rt.update_limits(state.run_id, {"seconds": 64})
    assert facts(rt.tick(workflow=endless(), run_id=state.run_id)) == ("seconds", 70, 64)
    rt.update_limits(state.run_id, {"seconds": 77})
    assert facts(rt.tick(workflow=endless(), run_id=state.run_id)) == ("seconds", 77, 77)

    rt = make(config=limited(ledger_bytes=4000, steps=50))
    limit, used, most = facts(go(rt, endless()))
    is_known = make.kind == "directory"
    assert (limit, most) == (("ledger_bytes", 4000) if is_known else ("steps", 50))
    assert used in range(4000, 6000) or not is_known


@pytest.mark.parametrize("keeps", ["large values", "artifacts"])
def test_what_lies_beside_a_ledger_counts_as_its_size(tmp_path, keeps):
    store = open_store(tmp_path)

    def handler(run, effect):
        text = f"{run.used['steps']:09}" * 50_000
        if keeps == "large values":
            return EffectOutcome.completed({"text": text})
        kept = store.artifacts.store(text.encode(), run_id=run.run_id)
        return EffectOutcome.completed({"ref": kept.artifact_id})

    config = limited(ledger_bytes=2_000_000, steps=50)
    rt = Runtime.on_engine(store, effect_handlers={LLM: handler}, config=config)
    state = go(rt, endless())

    kept_bytes = sum(p.stat().st_size for p in (tmp_path / "artifacts" / "blobs").iterdir())
    limit, used, _ = facts(state)
    assert (limit, used in range(2_000_000, 2_500_000)) == ("ledger_bytes", True)
    store.close()
    head = open_store(tmp_path).head(state.run_id)
    assert head.beside_bytes == kept_bytes
    assert head.all_bytes == head.bytes + kept_bytes


def test_events_that_nobody_has_taken_count_for_their_sender(tmp_path):
    """A listener that nobody drives: what a run sends it stays in the inbox."""
    listen = {"name": "x", "scope": "global", "details": {"listen": True}}
    listener = spec("l", a=asks(EffectType.WAIT_EVENT, listen, then="z"), z=done)
    registry = WorkflowRegistry()
    registry.register(listener)
    store, config = open_store(tmp_path), limited(ledger_bytes=2_000_000, steps=50)
    rt = Runtime.on_engine(store, workflow_registry=registry, config=config)
    go(rt, listener)

    event = {"name": "x", "scope": "global", "max_steps": 0, "payload": {"text": "y" * 100_000}}
    state = go(rt, endless(EffectType.EMIT_EVENT, event))

    waiting_bytes = sum(p.stat().st_size for p in (tmp_path / "inbox").rglob("*.json"))
    assert waiting_bytes > 300_000
    assert store.head(state.run_id).beside_bytes >= waiting_bytes
    assert facts(state)[0] == "ledger_bytes"


def test_a_value_that_is_kept_already_counts_once(tmp_path):
    answer = EffectOutcome.completed({"text": "x" * 400_000})
    for _ in range(3):  # each time another process
        with open_store(tmp_path) as store:
            config = limited(ledger_bytes=2_000_000, steps=20)
            rt = Runtime.on_engine(store, effect_handlers={LLM: lambda *_: answer}, config=config)
            workflow = endless()
            run_id = "r" if store.find(RunQuery()) else rt.start(workflow=workflow, run_id="r")
            rt.tick(workflow=workflow, run_id=run_id, max_steps=5)
            rt.tick(workflow=workflow, run_id=run_id, max_steps=1)

    assert open_store(tmp_path).head("r").beside_bytes in range(400_000, 401_000)


def test_who_goes_on_with_a_run_that_has_no_limits_gives_it_some(make):
    workflow = endless()
    rt = make()
    run_id = rt.start(workflow=workflow)
    rt.tick(workflow=workflow, run_id=run_id, max_steps=3)
    free = make(config=RuntimeConfig(run_limits=RunLimits(**_NONE))).start(workflow=workflow)

    later = make(config=limited(steps=5))
    state = later.tick(workflow=workflow, run_id=run_id)
    assert facts(state) == ("steps", 5, 5)
    if make.kind == "directory":
        said = [s.record["result"] for s in rt.engine.records(run_id) if s.record["result"]]
        given = {"internal": "control", "action": "limits", "updates": {**_NONE, "steps": 5}}
        assert said.count(given) == 1
    assert later.tick(workflow=workflow, run_id=free, max_steps=9).used is None


def test_a_child_has_the_limits_of_its_parent_also_where_they_are_none(make):
    workflow = spec("w", a=asks(START, {"workflow_id": "c", "async": True}, then="z"), z=done)
    rt = make(ok, workflow, spec("c", a=asks(LLM, {}, then="a")), config=limited())
    run_id = rt.start(workflow=workflow, vars={})
    Driver(rt, stop=iter([False] * 3 + [True] * 99).__next__).drive(run_id)

    child = next(run for run in _tree(rt, run_id) if run != run_id)
    assert rt.get_state(child).vars["_runtime"]["limits"] == _NONE


def test_nodes_that_fail_in_turns_are_counted_each(make):
    def handler(run, effect):
        return EffectOutcome.failed("no model")

    rt = make(handler, config=limited(failures=3))
    state = go(rt, spec("w", a=asks(LLM, CONTINUE, then="b"), b=asks(LLM, CONTINUE, then="a")))

    assert facts(state) == ("failures", 3, 3)
    assert state.used["failures"] == {"a": 3, "b": 2}


def test_a_node_that_fails_again_and_again_rests_its_run(make):
    answers = iter([False, False, True] + [False] * 9)

    def handler(run, effect):
        return ok(run, effect) if next(answers) else EffectOutcome.failed("no model")

    rt = make(handler, config=limited(failures=3))
    state = go(rt, endless(payload=CONTINUE))

    assert facts(state) == ("failures", 3, 3)
    assert len(list(answers)) == 6
    assert state.used["failures"] == {"a": 3}


@pytest.mark.parametrize("in_place", [True, False])
def test_children_that_end_badly_count_as_failures_of_the_node_that_calls_them(make, in_place):
    start = {"workflow_id": "child", "vars": {}, "on_child_failure": "continue"}
    if not in_place:
        start |= {"async": True, "wait": True}
    child = spec("child", a=asks(LLM, {}, then="z"), z=done)
    rt = make(
        lambda run, effect: EffectOutcome.failed("no model"),
        endless(START, start),
        child,
        config=limited(failures=4),
    )
    assert facts(drive(rt, endless(START, start))) == ("failures", 4, 4)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_tree_gets_no_deeper_and_no_larger_than_it_may(make, in_place):
    mode = {"async": False} if in_place else {}
    for limits in ({"depth": 3}, {"runs": 4}):
        workflow = calls_itself(**mode)
        rt = make(ok, workflow, config=limited(**limits))
        run_id = rt.start(workflow=workflow, vars={})
        Driver(rt).drive(run_id)

        members = [rt.get_state(run) for run in _tree(rt, run_id)]
        assert [run.status for run in members] == [RunStatus.WAITING] * 4
        (name,) = limits
        assert [facts(run) for run in members] == [(None,) * 3] * 3 + [
            (name, limits[name], limits[name])
        ]
        assert all(run_limits(run.vars) == limits for run in members)

        for run in members:
            rt.update_limits(run.run_id, {name: limits[name] + 1})
        Driver(rt).drive(run_id)
        assert len(_tree(rt, run_id)) == 5


def test_a_node_that_wanted_a_child_in_vain_leaves_no_trace_and_is_asked_again(make):
    def counts(run, ctx):
        run.vars["asked"] = run.vars.get("asked", 0) + 1
        return asks(START, {"workflow_id": "w", "async": True}, then="z")(run, ctx)

    workflow = spec("w", h=lambda run, ctx: StepPlan("h", next_node="a"), a=counts, z=done)
    child = spec("child", z=done)
    rt = make(ok, workflow, child, config=limited(runs=1))
    state = go(rt, workflow)
    assert (facts(state), state.current_node, state.vars.get("asked")) == (
        ("runs", 1, 1),
        "a",
        None,
    )

    rt.update_limits(state.run_id, {"runs": 5})
    after = rt.tick(workflow=workflow, run_id=state.run_id)
    assert (after.status, after.vars["asked"]) == (RunStatus.COMPLETED, 1)


def test_a_child_that_says_it_has_limits_has_those_of_its_parent(make):
    start = {"workflow_id": "child", "vars": {"_runtime": {"limits": {"steps": 10**9}}}}
    child = endless()
    child = spec("child", a=child.nodes["a"])
    workflow = spec("w", a=asks(START, {**start, "async": True, "wait": True}, then="z"), z=done)
    rt = make(ok, child, workflow, config=limited(steps=6))
    run_id = drive(rt, workflow).run_id

    assert [facts(rt.get_state(run)) for run in _tree(rt, run_id)] == [
        (None, None, None),
        ("steps", 6, 6),
    ]


def test_nor_has_a_child_of_a_free_parent_what_it_says(make):
    start = {"workflow_id": "child", "vars": {"_runtime": {"limits": {"steps": 1}}}}
    workflow = spec("w", a=asks(START, {**start, "async": True, "wait": True}, then="z"), z=done)
    rt = make(
        ok, spec("child", a=asks(LLM, {}, then="b"), b=asks(LLM, {}, then="z"), z=done), workflow
    )
    run_id = drive(rt, workflow).run_id

    assert [rt.get_state(run).status for run in _tree(rt, run_id)] == [RunStatus.COMPLETED] * 2


def test_an_attempt_that_was_begun_is_brought_to_its_end(make):
    class Died(BaseException):
        pass

    def dies(run, effect):
        raise Died

    rt, workflow = make(dies, config=limited(steps=1)), endless()
    run_id = rt.start(workflow=workflow, vars={})
    with pytest.raises(Died):
        rt.tick(workflow=workflow, run_id=run_id)

    calls = []
    again = make(lambda run, effect: calls.append(1) or ok(run, effect), config=limited(steps=1))
    assert facts(again.tick(workflow=workflow, run_id=run_id)) == ("steps", 1, 1)
    assert calls == [1]


def test_a_runtime_without_limits_counts_nothing(make):
    rt = make()
    state = rt.tick(workflow=hops(), run_id=rt.start(workflow=hops()), max_steps=500)
    assert (state.status, state.used, run_limits(state.vars)) == (RunStatus.RUNNING, None, {})


def _tree(rt: Any, root: str) -> list[str]:
    return [run.run_id for run in RunTree(rt.engine, root).members()]


@pytest.mark.parametrize("until", ["idle", "waiting", "done"])
def test_who_drives_a_limited_tree_does_not_wait_for_more(make, until):
    start = {"workflow_id": "child", "vars": {}, "async": True, "wait": True}
    workflow = spec("w", a=asks(START, start, then="z"), z=done)
    rt = make(ok, workflow, spec("child", **endless().nodes), config=limited(steps=3))
    run_id = rt.start(workflow=workflow, vars={})

    for _ in range(2):
        assert Driver(rt).drive(run_id, until=until).status is RunStatus.WAITING
    assert [facts(run) for run in RunTree(rt.engine, run_id).limited()] == [("steps", 3, 3)]
    with pytest.raises(WaitMismatch, match="rests at its limit of 3 steps"):
        Driver(rt).answer(run_id, "yes")


@pytest.mark.parametrize("failing", [True, False])
def test_a_node_that_fails_in_place_counts_as_one_that_fails(make, failing):
    """A node of a compiled flow after whose failure the flow goes on asks for no effect."""

    def again(run, ctx):
        return StepPlan("a", next_node="a", failed=failing)

    state = go(make(config=limited(failures=5, steps=40)), spec("w", a=again))

    assert facts(state) == (("failures", 5, 5) if failing else ("steps", 40, 40))
