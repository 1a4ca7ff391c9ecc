"""What could wedge a run, or hold up others: odd commands, odd trees, odd reports."""

from __future__ import annotations

import pytest
from awkward_hosts import LLM, START, asks, done, go, ok, spec

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime._runtime.trees import cancel_tree
from abstractruntime.core.commands import Command, SetLimits
from abstractruntime.core.models import EffectType, RunStatus, StepPlan
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import Busy, IntegrityError, InvalidValue
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.storage.offloading import OffloadingRunStore

ASK = spec("ask", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=done)
LISTEN = spec("listen", a=asks(EffectType.WAIT_EVENT, {"name": "go"}, then="z"), z=done)
CALL = spec("call", a=asks(LLM, {}, then="z"), z=done)


# -- commands ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "payload", "left_as"),
    [
        ("limits", {"updates": [1]}, "waiting"),
        ("limits", {"updates": None}, "waiting"),
        ("fail_wait", {"wait_key": "another"}, "waiting"),
        ("fail_wait", {}, "failed"),
        ("resume", {"wait_key": 7}, "waiting"),
        ("cancel", {"reason": {"a": 1}}, "cancelled"),
        ("dance", {"now": True}, "waiting"),
    ],
)
def test_no_command_blocks_those_behind_it(make, kind, payload, left_as):
    rt = make(ok, ASK)
    run_id = go(rt, ASK).run_id
    rt.engine.post(run_id, Command.from_dict({"id": "odd", "kind": kind, "payload": payload}))
    rt.engine.post(run_id, Command("next", SetLimits({"max_tokens": 7})))

    state = rt.tick(workflow=ASK, run_id=run_id)

    assert state.status == left_as
    if left_as == "waiting":
        assert rt.get_limit_status(run_id)["tokens"]["max"] == 7


def test_a_command_that_is_not_json_is_refused_at_once(make):
    rt = make(ok, ASK)
    run_id = go(rt, ASK).run_id

    with pytest.raises(InvalidValue, match="/payload/updates/max_tokens"):
        rt.engine.post(run_id, Command("c", SetLimits({"max_tokens": {1}})))

    assert rt.tick(workflow=ASK, run_id=run_id).status == "waiting"


def test_an_event_that_is_not_json_is_not_reported_as_delivered(make):
    listener = spec(
        "l", a=asks(EffectType.WAIT_EVENT, {"name": "go", "scope": "global"}, then="z"), z=done
    )
    rt = make(ok, listener)
    go(rt, listener)

    told = rt.emit_event(name="go", scope="global", payload={"x": {1}})

    assert (told["delivered"], told["resumed"][0]["status"]) == (0, "error")


def test_a_command_after_a_hop_that_cannot_be_stored_fails_the_run(make):
    def hop(run, ctx):
        run.vars["bad"] = {1}
        rt.engine.post(run.run_id, Command("c", SetLimits({"max_tokens": 7})))
        return StepPlan("a", next_node="z")

    rt = make()

    state = go(rt, spec("w", a=hop, z=done))

    assert (state.status, "not JSON" in state.error) == (RunStatus.FAILED, True)


def test_one_event_id_may_name_several_events(make):
    flow = spec(
        "orders",
        a=asks(EffectType.WAIT_EVENT, {"name": "created", "scope": "global"}, then="b"),
        b=asks(EffectType.WAIT_EVENT, {"name": "paid", "scope": "global"}, then="z"),
        z=done,
    )
    rt = make(ok, flow)
    run_id = go(rt, flow).run_id

    for name in ("created", "paid"):
        rt.emit_event(name=name, scope="global", event_id="order-17", max_steps=10)

    assert rt.get_state(run_id).status == "completed"


# -- what hosts report ---------------------------------------------------------------


@pytest.mark.parametrize("count", ["abc", [3], float("1e400") - 1, {}], ids=["text", "list", "inf", "object"])  # fmt: skip
def test_a_token_count_that_is_none_is_passed_over(make, count):
    calls = []

    def model(run, effect):
        calls.append(1)
        return EffectOutcome.completed({"usage": {"total_tokens": count}})

    state = go(make(model), CALL)

    assert len(calls) == 1
    # JSON has no infinity, so that answer is none at all.
    assert state.status == ("failed" if isinstance(count, float) else "completed")


@pytest.mark.parametrize(
    ("method", "answer", "error"),
    [
        ("max_attempts", None, "policy raised TypeError"),
        ("max_attempts", "2", "after 2 attempts"),
        ("backoff_seconds", None, "policy raised TypeError"),
        ("backoff_seconds", float("nan"), "after 2 attempts"),
        ("idempotency_key", None, "gave the key None"),
        ("idempotency_key", 7, "gave the key 7"),
    ],
)
def test_a_policy_that_answers_nonsense_ends_the_run(make, method, answer, error):
    policy = DefaultEffectPolicy(default_max_attempts=2)
    setattr(policy, method, lambda *args, **options: answer)
    rt = make(lambda run, effect: EffectOutcome.failed("no"), effect_policy=policy)

    state = go(rt, CALL)

    assert (state.status, error in state.error) == (RunStatus.FAILED, True)


# -- trees ---------------------------------------------------------------------------


def test_a_parent_that_the_store_does_not_hold_ends_the_tree(make):
    rt = make(ok, LISTEN)
    run_id = rt.start(workflow=LISTEN, parent_run_id="elsewhere")

    state = rt.tick(workflow=LISTEN, run_id=run_id)

    assert state.waiting is not None
    assert state.waiting.wait_key == f"evt:session:{run_id}:go"


@pytest.mark.parametrize("ring", [("a",), ("a", "b"), ("a", "b", "c")], ids=len)
def test_runs_that_are_their_own_ancestors_hang_nothing(make, ring):
    rt = make(ok, LISTEN)
    for run_id, above in zip(ring, ring[1:] + ring[:1], strict=True):
        rt.start(workflow=LISTEN, run_id=run_id, parent_run_id=above)

    assert RunTree(rt.engine, "a").root() in ring
    assert {run.run_id for run in RunTree(rt.engine, "a").members()} == set(ring)
    assert rt.tick(workflow=LISTEN, run_id="a").status == "waiting"
    assert {state.run_id for state in cancel_tree(rt, "a")} == set(ring)


def test_a_tree_has_as_many_runs_as_it_has(make):
    rt = make(ok, ASK)
    root = rt.start(workflow=ASK)
    children = [rt.start(workflow=ASK, parent_run_id=root) for _ in range(120)]

    assert {run.run_id for run in RunTree(rt.engine, root).members()} == {root, *children}


TWO_CHILDREN = spec(
    "two",
    a=asks(START, {"workflow_id": "call", "async": True}, key="one", then="b"),
    b=asks(START, {"workflow_id": "call", "async": True}, key="two", then="c"),
    c=asks(EffectType.ASK_USER, {"prompt": "?"}),
)


@pytest.mark.parametrize("owned", ["one", "two"])
def test_a_run_that_somebody_else_drives_holds_up_no_other_of_its_tree(make, owned):
    rt = make(ok, CALL, TWO_CHILDREN)
    root = go(rt, TWO_CHILDREN)
    children = {name: root.vars[name]["sub_run_id"] for name in ("one", "two")}
    log = rt.engine.open(children[owned])

    with pytest.raises(Busy, match=children[owned]):
        Driver(rt).drive(root.run_id)

    log.close()
    other = children["two" if owned == "one" else "one"]
    assert rt.get_state(other).status == "completed"
    Driver(rt).drive(root.run_id)
    assert rt.get_state(children[owned]).status == "completed"


def test_a_damaged_run_holds_up_no_other_of_its_tree(make, monkeypatch):
    rt = make(ok, CALL, TWO_CHILDREN)
    root = go(rt, TWO_CHILDREN)
    other, broken = (root.vars[name]["sub_run_id"] for name in ("one", "two"))
    advance = rt.advance

    def advances(*, run_id, **options):
        if run_id == broken:
            raise IntegrityError("damaged")
        advance(run_id=run_id, **options)

    monkeypatch.setattr(rt, "advance", advances)

    with pytest.raises(IntegrityError, match="damaged"):
        Driver(rt).drive(root.run_id)

    assert rt.get_state(other).status == "completed"


def test_a_damaged_run_keeps_no_other_of_its_tree_from_being_cancelled(make, monkeypatch):
    rt = make(ok, CALL, TWO_CHILDREN)
    root = go(rt, TWO_CHILDREN)
    broken, other = (root.vars[name]["sub_run_id"] for name in ("one", "two"))
    cancel = rt.cancel_run

    def cancel_run(run_id, **options):
        if run_id == broken:
            raise InvalidValue("damaged")
        return cancel(run_id, **options)

    monkeypatch.setattr(rt, "cancel_run", cancel_run)

    with pytest.raises(InvalidValue, match="damaged"):
        cancel_tree(rt, root.run_id)

    assert {rt.get_state(run).status for run in (root.run_id, other)} == {RunStatus.CANCELLED}


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "handed over"])
def test_a_parent_gets_what_its_child_came_to_however_large(in_place):
    artifacts, ledgers = InMemoryArtifactStore(), InMemoryLedgerStore()
    runs = OffloadingRunStore(InMemoryRunStore(), artifact_store=artifacts, max_inline_bytes=100)
    large = {"text": "x" * 1000}
    child = spec("child", a=lambda run, ctx: StepPlan("a", complete_output=large))
    payload = {"workflow_id": "child", "async": not in_place, "wait": not in_place}
    parent = spec("parent", a=asks(START, payload, then="b"), b=asks(EffectType.ASK_USER, {"prompt": "?"}))  # fmt: skip
    registry = WorkflowRegistry()
    registry.register(child)
    registry.register(parent)
    rt = Runtime(run_store=runs, ledger_store=ledgers, artifact_store=artifacts, workflow_registry=registry)  # fmt: skip

    state = Driver(rt).drive(rt.start(workflow=parent))

    assert state.vars["out"]["output"] == large
    assert rt.get_state(state.vars["out"]["sub_run_id"]).output != large


class Speechless(Exception):
    def __str__(self):
        raise ValueError("no words")


@pytest.mark.parametrize("where", ["node", "handler"])
def test_an_exception_without_words_is_a_failure_like_any_other(make, where):
    def raises(*_):
        raise Speechless

    node = raises if where == "node" else asks(LLM, {}, then="z")
    state = go(make(raises), spec("w", a=node, z=done))

    assert state.status is RunStatus.FAILED
    assert "Speechless" in state.error
