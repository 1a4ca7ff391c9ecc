"""Agents, tools and memory sources whose process dies: the run ends as if nothing had happened.

Each story is told once without a fault. Then, for every append to any ledger, the process
dies with some of the bytes written, and another goes on from that disk. In between, a process
for every single step gives the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from flow_builder import end, flow, node, start
from test_kernel_contract import (  # type: ignore[import-not-found]  # pytest puts this directory on the path
    ROOT,
    RUN,
    Died,
    TickingClock,
    chains_hold,
    comparable,
    cut_at,
)
from test_memory_crash import labelled  # type: ignore[import-not-found]  # as above

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime._runtime.trees import hand_over_child
from abstractruntime.core.models import Effect, EffectType, StepPlan, WaitReason
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.effects import Handler
from abstractruntime.effects.tool_calls import ToolCalls
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage._store import lease
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.directory import open_store
from abstractruntime.testing import StubTools
from abstractruntime.visualflow_compiler import compile_visualflow_tree

MODEL = {"provider": "p", "model": "m"}
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}}
CALL = {"name": "add", "arguments": {"a": 1}}
EXECUTED = {"mode": "executed", "results": [{"success": True, "output": "by hand"}]}


def agent(**config: Any) -> Any:
    return node(
        "g", "agent", "exec-in prompt", "exec-out response success", agentConfig={**MODEL, **config}
    )


def asks_agent(**config: Any) -> Any:
    edges = "s > g; s.prompt > g.prompt; g > e; g.response > e.r; g.success > e.ok"
    return flow(start("prompt"), agent(**config), end("r", "ok"), edges=edges)


def calls_tool() -> Any:
    allowed = {"pinDefaults": {"tool_call": CALL, "allowed_tools": ["add"]}}
    return node("t", "call_tool", "exec-in tool_call allowed_tools", "exec-out result", **allowed)


LOOP = node("L", "loop", "exec-in items", "loop done item")
RECALL = {"pinDefaults": {"use_span_memory": True, "recall_level": "deep", "prompt": "blue"}}
STORIES: dict[str, Any] = {
    "asking": asks_agent(include_context=True),
    "structured": asks_agent(outputSchema={"enabled": True, "jsonSchema": SCHEMA}),
    "failing": asks_agent(tools=["fail"]),
    "agents in a loop": flow(
        start("items"), LOOP, agent(include_context=True), end("r"),
        edges="s > L; s.items > L.items; L.loop > g; L.item > g.prompt; L.done > e; g.response > e.r",
    ),
    "tools in a loop": flow(
        start("items"), LOOP, calls_tool(), end("r"),
        edges="s > L; s.items > L.items; L.loop > t; L.done > e; t.result > e.r",
    ),
    "tools by hand": flow(
        start("items"), calls_tool(), end("r"), edges="s > t; t > e; t.result > e.r"
    ),
    "recalling": flow(
        start("prompt"),
        node("n", "memory_note", "exec-in content", "exec-out", pinDefaults={"content": "blue sky"}),
        node("m", "llm_call", "exec-in prompt use_span_memory recall_level", "exec-out response",
             effectConfig=MODEL, **RECALL),
        end("r"),
        edges="s > n; n > m; m > e; m.response > e.r",
    ),
}  # fmt: skip
BY_HAND = "tools by hand"


def asking_agent(flow_id: str, node_id: str, config: Any) -> WorkflowSpec:
    """An agent that asks a person and then a tool, or fails where it has the tool `fail`."""

    def ask(run: Any, _context: Any) -> StepPlan:
        if run.vars["_runtime"]["allowed_tools"] == ["fail"]:
            raise RuntimeError("out of order")
        asked = Effect(EffectType.ASK_USER, {"prompt": run.vars["context"]["task"]}, "said")
        return StepPlan("ask", effect=asked, next_node="act")

    def act(_run: Any, _context: Any) -> StepPlan:
        called = Effect(EffectType.TOOL_CALLS, {"tool_calls": [CALL]}, "done")
        return StepPlan("act", effect=called, next_node="end")

    def finish(run: Any, _context: Any) -> StepPlan:
        seen = len(run.vars["context"]["messages"])
        answer = (
            f"{run.vars['said']['response']}, {run.vars['done']['results'][0]['output']}, {seen}"
        )
        return StepPlan("end", complete_output={"answer": answer, "iterations": 1, "messages": []})

    return WorkflowSpec(node_id, "ask", {"ask": ask, "act": act, "end": finish})


@dataclass
class World:
    """What a death of the process does not undo."""

    story: str
    tools: StubTools = field(default_factory=lambda: StubTools({"add": lambda a: a + 1}))
    artifacts: InMemoryArtifactStore = field(default_factory=InMemoryArtifactStore)
    clock: TickingClock = field(default_factory=TickingClock)

    def llm(self, _run: Any, effect: Effect) -> EffectOutcome:
        content = json.dumps({"label": str(effect.payload.get("messages"))})
        return EffectOutcome.completed({"content": content, "data": None, "usage": None})

    def runtime(self, fs: SimFileSystem) -> tuple[Runtime, Any]:
        """Give the runtime of a new process, and the workflow of the story."""
        specs = compile_visualflow_tree(flows_by_id={"f": STORIES[self.story]}, agents=asking_agent)
        registry = WorkflowRegistry()
        for workflow in specs.values():
            registry.register(workflow)
        lease._claims.clear()
        tools = ToolCalls(None if self.story == BY_HAND else self.tools)
        runtime = Runtime.on_engine(
            open_store(ROOT, origin="test/0", fs=fs, clock=self.clock),
            effect_handlers={
                EffectType.LLM_CALL: self.llm,
                EffectType.TOOL_CALLS: Handler(tools, external=True, state_free=True),
            },
            workflow_registry=registry,
            artifact_store=self.artifacts,
            clock=self.clock,
        )
        return runtime, specs["f"]

    def begin(self, fs: SimFileSystem) -> Runtime:
        runtime, workflow = self.runtime(fs)
        try:
            inputs = {"prompt": "go", "items": ["x", "y", "z"]}
            runtime.start(workflow=workflow, run_id=RUN, vars=inputs)
        except ValueError:
            pass  # an earlier process created it
        return runtime

    def tell(self, fs: SimFileSystem) -> Any:
        """Drive the story to its end, from wherever it is, and give the states it ends with."""
        runtime = self.begin(fs)
        driver = Driver(runtime)
        while not driver.drive(RUN).status.is_terminal:
            (wait,) = RunTree(runtime.engine, RUN).open_waits()
            answer = {"response": "yes"} if wait.reason is WaitReason.USER else EXECUTED
            driver.answer(wait.run_id, answer, wait_key=wait.wait_key)
        return self.ending(runtime)

    def tell_in_single_steps(self, fs: SimFileSystem) -> Any:
        """Tell it with a process for each step of any of the runs."""
        runtime = self.begin(fs)
        while not runtime.get_state(RUN).status.is_terminal:
            fs = SimFileSystem(fs.image())
            runtime, _ = self.runtime(fs)
            self.step(runtime)
        return self.ending(runtime)

    def step(self, runtime: Runtime) -> None:
        live = [
            runtime.get_state(r.run_id)
            for r in RunTree(runtime.engine, RUN).members(live_only=True)
        ]
        for run in reversed(live):
            wait = run.waiting
            if run.status.value == "running":
                workflow = runtime.find_workflow(run.workflow_id)
                runtime.tick(workflow=workflow, run_id=run.run_id, max_steps=1)
                return
            if wait and wait.reason is WaitReason.SUBWORKFLOW:
                if hand_over_child(runtime, run):
                    return
            elif wait:
                answer = {"response": "yes"} if wait.reason is WaitReason.USER else EXECUTED
                workflow = runtime.find_workflow(run.workflow_id)
                runtime.resume(
                    workflow=workflow, run_id=run.run_id, wait_key=wait.wait_key, payload=answer,
                    max_steps=0,
                )  # fmt: skip
                return

    def ending(self, runtime: Runtime) -> Any:
        state = runtime.get_state(RUN)
        assert state.status == "completed", state.error
        assert "_flow_error_node" not in state.vars, state.output
        return labelled(json.dumps(comparable(runtime)))


@pytest.mark.parametrize("story", STORIES)
def test_a_process_for_every_step_changes_nothing(story):
    assert World(story).tell_in_single_steps(SimFileSystem()) == World(story).tell(SimFileSystem())


@pytest.mark.parametrize("story", STORIES)
def test_a_death_at_any_append_changes_nothing(story, monkeypatch):
    calm, fs = World(story), SimFileSystem()
    expected = calm.tell(fs)
    made = {call["runtime_call_id"] for call in calm.tools.calls}

    for number in range(1, fs.calls.count("append") + 1):
        for part in ("none", "half", "all"):
            where = f"append {number}, {part} written"
            world, fs = World(story), SimFileSystem()
            with monkeypatch.context() as patch:
                cut_at(patch, number, part)
                with pytest.raises(Died):
                    world.tell(fs)
            fs = SimFileSystem(fs.image())

            assert world.tell(fs) == expected, where
            assert {call["runtime_call_id"] for call in world.tools.calls} == made, where
            assert len(world.tools.calls) <= len(calm.tools.calls) + 1, where
            chains_hold(fs.image())


def test_equal_calls_in_a_loop_are_calls_of_their_own():
    world = World("tools in a loop")

    world.tell(SimFileSystem())

    assert [call["arguments"] for call in world.tools.calls] == [{"a": 1}] * 3
    assert len({call["runtime_call_id"] for call in world.tools.calls}) == 3


@pytest.mark.parametrize(
    ("story", "output"),
    [
        ("asking", {"r": "yes, 2, 0", "ok": True, "success": True}),
        ("failing", {"ok": False, "success": True}),
        ("tools by hand", {"r": "by hand", "success": True}),
        ("agents in a loop", {"r": "yes, 2, 6", "success": True}),
    ],
)
def test_what_the_stories_end_with(story, output):
    world, fs = World(story), SimFileSystem()
    world.tell(fs)

    found = world.runtime(fs)[0].get_state(RUN).output

    assert output.items() <= found.items()
    assert "out of order" in found["r"] or story != "failing"


def test_recalled_notes_reach_the_model():
    world, fs = World("recalling"), SimFileSystem()
    world.tell(fs)

    assert "blue sky" in world.runtime(fs)[0].get_state(RUN).output["r"]
