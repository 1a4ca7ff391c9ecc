"""A parent that goes on after a child that ended badly, and one that does not."""

from __future__ import annotations

import pytest
from test_kernel_contract import (  # type: ignore[import-not-found]  # pytest puts this directory on the path
    asks,
    done,
    spec,
)

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import EffectType, StepPlan
from abstractruntime.core.run_tree import RunTree
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage.directory import open_store

START, ASK = EffectType.START_SUBWORKFLOW, EffectType.ASK_USER
GOES_ON = {"on_child_failure": "continue"}
WAITS = {"async": True, "wait": True}


def breaks(_run, _context):
    raise RuntimeError("out of order")


CHILDREN = (
    spec("bad", a=breaks),
    spec("enveloped", a=lambda run, context: ends_with_an_error(run, context)),
    spec("asking", a=asks(ASK, {"prompt": "?"}, then="z"), z=done),
)


def run_parent(tmp_path, child, **payload):
    call = {"workflow_id": child, "vars": {}, **payload}
    parent = spec("parent", a=asks(START, call, key="out", then="z"), z=done)
    registry = WorkflowRegistry()
    for workflow in (parent, *CHILDREN):
        registry.register(workflow)
    runtime = Runtime.on_engine(open_store(tmp_path), workflow_registry=registry)
    runtime.start(workflow=parent, run_id="parent-1", vars={})
    return runtime, Driver(runtime)


@pytest.mark.parametrize("how", [WAITS, {}], ids=["waiting", "in place"])
def test_a_failed_child_gives_its_failure_as_output(tmp_path, how):
    runtime, driver = run_parent(tmp_path, "bad", **how, **GOES_ON)

    state = driver.drive("parent-1")

    out = state.vars["out"]
    assert state.status == "completed"
    assert out["sub_run_id"] == RunTree(runtime.engine, "parent-1").members()[1].run_id
    assert out["output"]["success"] is False
    assert "out of order" in out["output"]["error"]


@pytest.mark.parametrize("how", [WAITS, {}], ids=["waiting", "in place"])
@pytest.mark.parametrize("policy", [{}, {"on_child_failure": "fail"}], ids=["default", "fail"])
def test_otherwise_the_parent_fails_with_its_child(tmp_path, how, policy):
    _, driver = run_parent(tmp_path, "bad", **how, **policy)

    state = driver.drive("parent-1")

    assert state.status == "failed"
    assert "out of order" in state.error


def test_a_cancelled_child_is_told_apart(tmp_path):
    runtime, driver = run_parent(tmp_path, "asking", **WAITS, **GOES_ON)
    driver.drive("parent-1")
    runtime.cancel_run(RunTree(runtime.engine, "parent-1").members()[1].run_id, reason="enough")

    output = driver.drive("parent-1").vars["out"]["output"]

    assert (output["success"], output["cancelled"]) == (False, True)
    assert "cancelled" in output["error"]


def ends_with_an_error(run, _context):
    run.vars["_flow_error"], run.vars["_flow_error_node"] = "out of order", "a"
    return StepPlan("a", complete_output={"error": "out of order", "success": False, "node": "a"})


@pytest.mark.parametrize("how", [WAITS, {}], ids=["waiting", "in place"])
def test_a_child_whose_node_failed_is_a_failed_child(tmp_path, how):
    """The ledger calls it completed; so does its status."""
    runtime, driver = run_parent(tmp_path, "enveloped", **how)

    state = driver.drive("parent-1")

    child = RunTree(runtime.engine, "parent-1").members()[1]
    assert (child.status, child.outcome) == ("completed", "failed")
    assert state.status == "failed"
    assert "'enveloped' failed: out of order" in state.error
