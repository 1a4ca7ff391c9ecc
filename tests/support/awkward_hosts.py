"""Runtimes over one store of either kind, and the nodes and flows that tests drive with them."""

from __future__ import annotations

from typing import Any

import pytest

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import (
    Effect,
    EffectType,
    RunState,
    StepPlan,
)
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.directory import open_store
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.testing.clocks import FakeClock

LLM, TOOL = EffectType.LLM_CALL, EffectType.TOOL_CALLS
START = EffectType.START_SUBWORKFLOW


def spec(name: str, **nodes: Any) -> WorkflowSpec:
    return WorkflowSpec(name, next(iter(nodes)), dict(nodes))


def asks(kind: EffectType, payload: dict, *, key: str | None = "out", then: str | None = None):
    return lambda run, ctx: StepPlan(run.current_node, Effect(kind, payload, key), then)


def done(run, ctx):
    return StepPlan(run.current_node, complete_output={"out": run.vars.get("out")})


def ok(run, effect):
    return EffectOutcome.completed({"ok": True})


@pytest.fixture(params=["directory", "classic"])
def make(request):
    """Make runtimes over one store; each stands for a process of its own."""
    fs, clock = SimFileSystem(), FakeClock()
    stores = InMemoryRunStore(), InMemoryLedgerStore()

    def runtime(handler=ok, *specs: WorkflowSpec, **options: Any) -> Runtime:
        registry = WorkflowRegistry()
        for one in specs:
            registry.register(one)
        options = {
            "effect_handlers": {LLM: handler},
            "workflow_registry": registry,
            "artifact_store": InMemoryArtifactStore(),
            "clock": clock,
            **options,
        }
        if request.param == "directory":
            # Threads that wait for each other need time to pass for the store, too.
            store = open_store("/s", origin="t/0", fs=fs, clock=options["clock"])
            return Runtime.on_engine(store, **options)
        return Runtime(run_store=stores[0], ledger_store=stores[1], **options)

    runtime.fs, runtime.clock, runtime.kind = fs, clock, request.param
    return runtime


def go(rt: Runtime, workflow: WorkflowSpec, **options: Any) -> RunState:
    run_id = rt.start(workflow=workflow)
    return rt.tick(workflow=workflow, run_id=run_id, **options)
