"""A look at a tree of runs: what belongs to it, and how often a run is read for it."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest.mock import Mock

import pytest
from awkward_hosts import asks, done, spec

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import Effect, EffectType, RunState, RunStatus, StepPlan
from abstractruntime.core.ports import RunHeader, RunQuery
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.errors import IntegrityError, NotFound
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import FakeClock


class Shelf:
    """As much of an engine as a tree needs: runs by id, parent and status, oldest first."""

    def __init__(self, *runs: tuple[str, str | None, str]) -> None:
        self.reads: Counter[str] = Counter()
        self.searches = 0
        self.runs = {
            run_id: RunState(
                run_id=run_id,
                workflow_id="w",
                status=RunStatus(status),
                current_node="n",
                vars={},
                created_at=f"{at:03}",
                parent_run_id=parent,
            )
            for at, (run_id, parent, status) in enumerate(runs)
        }

    def peek(self, run_id: str) -> RunState:
        self.reads[run_id] += 1
        if run_id not in self.runs:
            raise NotFound(run_id, kind="run", id=run_id)
        return self.runs[run_id]

    def find(self, query: RunQuery) -> list[RunHeader]:
        self.searches += 1
        found = [run for run in self.runs.values() if run.parent_run_id == query.parent_run_id]
        return [RunHeader.of(run) for run in reversed(found)]


def a_family() -> Any:
    return Shelf(
        ("top", None, "running"),
        ("over", "top", "completed"),
        ("below", "over", "running"),
        ("leaf", "top", "waiting"),
    )


def test_members_come_parents_first_and_oldest_first():
    tree = RunTree(a_family(), "top")
    assert [run.run_id for run in tree.members()] == ["top", "over", "leaf", "below"]
    assert [run.run_id for run in tree.members(live_only=True)] == ["top", "leaf"]


def test_a_run_is_read_and_searched_for_once():
    shelf = a_family()
    tree = RunTree(shelf, "below").from_root()
    for _ in range(3):
        tree.states()
        tree.open_waits()
        tree.root()

    assert shelf.reads == {"below": 1, "over": 1, "top": 1, "leaf": 1}
    assert shelf.searches == 4


@pytest.mark.parametrize(
    "runs, root",
    [
        ([("a", None, "running")], "a"),
        ([("a", "b", "running"), ("b", "c", "running"), ("c", None, "running")], "c"),
        ([("a", "elsewhere", "running")], "a"),
        ([("a", "b", "running"), ("b", "a", "running")], "b"),
    ],
    ids=["alone", "grandchild", "parent-of-another-store", "ring"],
)
def test_root(runs, root):
    assert RunTree(Shelf(*runs), "a").root() == root


def test_only_the_forgiving_root_stands_in_for_a_run_that_cannot_be_read():
    damaged = a_family()
    damaged.runs.pop("below")
    with pytest.raises(NotFound):
        RunTree(damaged, "below").root()
    assert RunTree(damaged, "below").root_or_self() == "below"


def make_runtime(workflow: WorkflowSpec) -> Runtime:
    clock, registry = FakeClock(), WorkflowRegistry()
    registry.register(workflow)
    engine = open_store("/s", origin="t/0", fs=SimFileSystem(), clock=clock)
    return Runtime.on_engine(engine, workflow_registry=registry, clock=clock)


def test_driving_reads_a_run_once_per_pass(monkeypatch):
    workflow = spec("asks", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=done)
    runtime = make_runtime(workflow)
    runtime.start(workflow=workflow, run_id="r")
    driver, reads = Driver(runtime), []
    peek = runtime.engine.peek
    monkeypatch.setattr(runtime.engine, "peek", lambda run_id: reads.append(run_id) or peek(run_id))

    assert driver.drive("r").status is RunStatus.WAITING
    assert len(reads) == 2  # the pass that moved it, and the one that found nothing to do
    driver.answer("r", {"response": "yes"})
    assert len(reads) == 3
    assert driver.drive("r").status is RunStatus.COMPLETED
    assert len(reads) == 5


def test_a_damaged_run_is_driven_into_its_error(monkeypatch):
    quick = spec("quick", z=done)
    runtime = make_runtime(quick)
    runtime.start(workflow=quick, run_id="r")

    def damaged(_run_id: str) -> RunState:
        raise IntegrityError("bad line")

    monkeypatch.setattr(runtime.engine, "peek", damaged)
    with pytest.raises(IntegrityError, match="bad line"):
        Driver(runtime).drive("r")


def test_driving_a_chain_of_children_costs_in_line_with_its_depth(monkeypatch):
    def cost(depth: int) -> int:
        def calls(run, ctx):
            left = run.vars["left"]
            if not left:
                return StepPlan("a", complete_output={"depth": 0})
            payload = {"workflow_id": "w", "vars": {"left": left - 1}, "async": True, "wait": True}
            return StepPlan("a", Effect(EffectType.START_SUBWORKFLOW, payload), "z")

        workflow = spec("w", a=calls, z=done)
        runtime = make_runtime(workflow)
        asked: list[Mock] = []
        for name in ("peek", "find"):
            counted = Mock(side_effect=getattr(runtime.engine, name))
            monkeypatch.setattr(runtime.engine, name, counted)
            asked.append(counted)
        root = runtime.start(workflow=workflow, vars={"left": depth})
        assert Driver(runtime).drive(root).status is RunStatus.COMPLETED
        return sum(counted.call_count for counted in asked)

    small, large = cost(10), cost(80)
    assert large < 10 * small
