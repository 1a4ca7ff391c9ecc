"""Snapshots of the runs of a directory store."""

from __future__ import annotations

import pytest

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import Effect, EffectType, RunStatus, StepPlan
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.errors import Busy, IntegrityError, NotFound, UsageError
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage._care.run_snapshots import state_at
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import SequentialIds


def flow():
    def tool(name, next_node):
        def node(run, ctx):
            effect = Effect(EffectType.TOOL_CALLS, {"tool_calls": [{"name": name}]}, name)
            return StepPlan(run.current_node, effect=effect, next_node=next_node)

        return node

    def ask(run, ctx):
        effect = Effect(EffectType.ASK_USER, {"prompt": "?"}, "answer")
        return StepPlan("ask", effect=effect, next_node="after")

    def end(run, ctx):
        return StepPlan("end", complete_output={"answer": run.vars["answer"]})

    nodes = {"start": tool("one", "ask"), "ask": ask, "after": tool("two", "end"), "end": end}
    return WorkflowSpec("w", "start", nodes)


class Host:
    def __init__(self, path):
        self.store = open_store(path)
        self.calls = []
        self.runtime = Runtime.on_engine(
            self.store, effect_handlers={EffectType.TOOL_CALLS: self.perform}
        )
        self.run_id = self.runtime.start(workflow=flow())

    def perform(self, run, effect, next_node=None):
        self.calls.append(effect.payload["tool_calls"][0]["name"])
        return EffectOutcome.completed({"n": len(self.calls)})

    def tick(self, **options):
        return self.runtime.tick(workflow=flow(), run_id=self.run_id, **options)

    def answer(self, text):
        key = self.store.peek(self.run_id).waiting.wait_key
        return self.runtime.resume(
            workflow=flow(), run_id=self.run_id, wait_key=key, payload={"text": text}
        )


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path / "store")
    yield host
    host.store.close()


def test_a_snapshot_gets_its_id_from_the_ids_of_the_store(host, tmp_path):
    with open_store(tmp_path / "store", ids=SequentialIds()) as store:
        assert store.snapshots.create(host.run_id, name="n").snapshot_id == "step-0001"


def test_a_snapshot_holds_the_state_and_names_its_record(host):
    waiting = host.tick()
    taken = host.store.snapshots.create(host.run_id, name="before", tags=["Demo"])

    assert taken.run_state["vars"]["one"] == {"n": 1}
    assert taken.run_state["status"] == waiting.status
    assert taken.step_id == list(host.store.records(host.run_id))[-1].record["step_id"]
    assert [s.name for s in host.store.snapshots.list(tag="demo")] == ["before"]
    assert host.store.snapshots.list(run_id="other") == []
    assert host.store.snapshots.stored.load(taken.snapshot_id).run_state == taken.run_state


def test_every_record_has_its_state(host):
    host.tick()
    host.answer("x")
    statuses = [state_at(host.store, host.run_id, seq)[0].status.value for seq in range(4)]

    assert statuses[0] == "running"
    assert state_at(host.store, host.run_id)[0] == host.store._recovery.load(host.run_id).run()
    assert "one" not in state_at(host.store, host.run_id, 1)[0].vars


@pytest.mark.parametrize("run_id, step", [("absent", None), (None, 99), (None, -1)], ids=str)
def test_unknown_runs_and_records_are_not_found(host, run_id, step):
    with pytest.raises(NotFound):
        host.store.snapshots.create(run_id or host.run_id, name="n", step=step)


def test_a_finished_run_is_put_back_to_its_question(host):
    host.tick()
    taken = host.store.snapshots.create(host.run_id, name="question")
    assert host.answer("first").output == {"answer": {"text": "first"}}

    restored = host.store.snapshots.restore(taken.snapshot_id)
    assert restored.status is RunStatus.WAITING
    assert host.store.ledgers.list(host.run_id)[-1]["result"]["action"] == "restore_snapshot"
    assert host.answer("second").output == {"answer": {"text": "second"}}
    # The call behind the question has an equal payload, so its outcome is reused.
    assert host.calls == ["one", "two"]


def test_only_outcomes_since_the_snapshot_are_reused(host):
    host.tick()
    host.answer("x")
    after_first = next(
        s.seq
        for s in host.store.records(host.run_id)
        if s.record["status"] == "completed" and s.record["effect"]
    )
    taken = host.store.snapshots.create(host.run_id, name="n", step=after_first)
    host.store.snapshots.restore(taken.snapshot_id)
    run = host.store.runs.load(host.run_id)
    run.current_node = "start"
    host.store.runs.save(run)
    host.tick()

    assert host.calls == ["one", "two", "one"]


def test_a_running_run_is_not_put_back(host):
    taken = host.store.snapshots.create(host.run_id, name="n")
    with pytest.raises(UsageError, match="is running"):
        host.store.snapshots.restore(taken.snapshot_id)


def test_a_driven_run_is_not_put_back(host):
    host.tick()
    taken = host.store.snapshots.create(host.run_id, name="n")
    log = host.store.open(host.run_id)
    with pytest.raises(Busy):
        host.store.snapshots.restore(taken.snapshot_id)
    log.close()


@pytest.mark.parametrize(
    "state", [{}, {"run_id": "x"}, {"run_id": "x", "workflow_id": "w", "status": "completed", "current_node": "n"}],
    ids=["empty", "incomplete", "another run"],
)  # fmt: skip
def test_a_damaged_snapshot_is_refused(host, state):
    host.tick()
    taken = host.store.snapshots.create(host.run_id, name="n")
    taken.run_state = state
    host.store.snapshots.stored.save(taken)
    with pytest.raises(IntegrityError):
        host.store.snapshots.restore(taken.snapshot_id)


def test_an_unknown_snapshot_is_not_found(host):
    with pytest.raises(NotFound, match="no snapshot 'absent'"):
        host.store.snapshots.restore("absent")


def test_a_parent_that_is_put_back_to_its_child_gets_the_end_of_it_again(tmp_path):
    def starts(run, ctx):
        payload = {"workflow_id": "child", "async": True, "wait": True}
        effect = Effect(EffectType.START_SUBWORKFLOW, payload, "got")
        return StepPlan("a", effect=effect, next_node="b")

    def asks(run, ctx):
        return StepPlan(run.current_node, effect=Effect(EffectType.ASK_USER, {"prompt": "?"}))

    parent = WorkflowSpec("parent", "a", {"a": starts, "b": asks})
    child = WorkflowSpec("child", "c", {"c": asks})
    registry = WorkflowRegistry()
    for workflow in (parent, child):
        registry.register(workflow)
    store = open_store(tmp_path / "s")
    runtime = Runtime.on_engine(store, workflow_registry=registry)
    run_id = runtime.start(workflow=parent)
    driver = Driver(runtime)
    child_id = driver.drive(run_id).waiting.details["sub_run_id"]
    snapshot = store.snapshots.create(run_id, name="waits")
    runtime.resume(workflow=child, run_id=child_id, wait_key=None, payload="yes")
    first = driver.drive(run_id)

    store.snapshots.restore(snapshot.snapshot_id)
    second = driver.drive(run_id)

    assert first.current_node == second.current_node == "b"
    assert first.vars["got"] == second.vars["got"]
