"""The kernel over the directory store: what a death at any commit may and may not change.

Each story is driven once without a fault. Then, for every append to any ledger, the
process dies with nothing, half or all of the bytes written; a fresh runtime drives on
from that disk. The final state must be the same, at most the one effect that was in
flight may have run again, and every ledger must still be one valid chain.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from faults import chained
from flow_builder import flow
from flow_builder import node as draw

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.listeners import Listeners
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.commands import Cancel, Command
from abstractruntime.core.models import Effect, EffectType, RunState, RunStatus, StepPlan
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.core.ports import EffectOutcome, RunQuery
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage._files.simfs import Image, SimAppendFile, SimFileSystem, crash_states
from abstractruntime.storage._store import lease
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import FakeClock
from abstractruntime.visualflow_compiler import compile_visualflow, compile_visualflow_tree
from abstractruntime.visualflow_compiler.listeners import listener_documents

ROOT, RUN = "/s", "root"
LLM = EffectType.LLM_CALL


def spec(name: str, **nodes: Any) -> WorkflowSpec:
    return WorkflowSpec(name, next(iter(nodes)), dict(nodes))


def asks(kind: EffectType, payload: dict, *, key: str | None = "out", then: str | None = None):
    return lambda run, ctx: StepPlan(run.current_node, Effect(kind, payload, key), then)


def done(run, ctx):
    public = {k: v for k, v in run.vars.items() if k[0] != "_"}
    return StepPlan(run.current_node, complete_output=json.loads(json.dumps({"vars": public})))


def count(run, ctx):
    run.vars["i"] = run.vars.get("i", 0) + 1
    if run.vars["i"] > 3:
        return done(run, ctx)
    return StepPlan("count", Effect(LLM, {"prompt": "same"}, f"r{run.vars['i']}"), "hop")


def hop(run, ctx):
    run.vars.setdefault("trail", []).append(run.vars["i"])
    return StepPlan("hop", next_node="count")


def child_call(name: str, **options: Any) -> dict:
    return {"workflow_id": name, "vars": {"x": 1}, **options}


def listen(run, ctx):
    """Wait for the event twice, then end with what came."""
    heard = run.vars.setdefault("heard", [])
    if run.vars.get("event"):
        heard.append(run.vars.pop("event"))
    if len(heard) == 2:
        return done(run, ctx)
    return StepPlan("listen", Effect(EffectType.WAIT_EVENT, {"name": "go"}, "event"), "listen")


def hear(run, ctx):
    """Keep an event, work on it, and listen again, until two came."""
    if run.vars.get("event"):
        run.vars.setdefault("heard", []).append(run.vars.pop("event")["payload"]["n"])
        return StepPlan("hear", next_node="work")
    wait = {"name": "go", "details": {"listen": True}}
    return StepPlan("hear", Effect(EffectType.WAIT_EVENT, wait, "event"), "hear")


def work(run, ctx):
    run.vars["i"] = len(run.vars["heard"])
    following = "hear" if run.vars["i"] < 2 else "z"
    return StepPlan("work", Effect(LLM, {"p": "work"}, "said"), following)


def emit(key: str, then: str):
    return asks(EffectType.EMIT_EVENT, {"name": "go", "payload": {"n": key}}, key=key, then=then)


def recurse(run, ctx):
    left = run.vars.get("n", 3)
    if not left:
        return StepPlan("recurse", Effect(LLM, {"p": "deepest"}, "out"), "z")
    call = {"workflow_id": "recursion", "vars": {"n": left - 1}}
    return StepPlan("recurse", Effect(START, call, "out"), "z")


def compiled(name: str, kind: str, **data: Any) -> WorkflowSpec:
    """Compile a flow of a start, one node and an end."""

    def pins(text: str) -> list[dict[str, str]]:
        return [
            {"id": p, "type": "execution" if p.startswith("exec") else "any"} for p in text.split()
        ]

    def node(node_id: str, node_type: str, ins: str, outs: str, **more: Any) -> dict[str, Any]:
        data = {"inputs": pins(ins), "outputs": pins(outs), **more}
        return {"id": node_id, "type": node_type, "data": data}

    def edge(source: str, target: str) -> dict[str, str]:
        ends = {"sourceHandle": "exec-out", "targetHandle": "exec-in"}
        return {"source": source, "target": target, **ends}

    nodes = [
        node("s", "on_flow_start", "", "exec-out"),
        node("n", kind, "exec-in prompt", "exec-out response", **data),
        node("e", "on_flow_end", "exec-in", ""),
    ]
    edges = [edge("s", "n"), edge("n", "e")]
    return compile_visualflow({"id": name, "nodes": nodes, "edges": edges})


def hearing_flow() -> dict[str, Any]:
    """Ask, then emit two events that a listener of the flow tells about."""
    way = "s > q; q > m; m > m2; m2 > e; on > say; on.payload > say.message"
    parts = [
        draw("s", "on_flow_start", "", "exec-out"),
        draw("q", "ask_user", "exec-in", "exec-out", pinDefaults={"prompt": "?"}),
        draw(
            "m", "emit_event", "exec-in", "exec-out", effectConfig={"name": "one", "scope": "run"}
        ),
        draw(
            "m2", "emit_event", "exec-in", "exec-out", effectConfig={"name": "two", "scope": "run"}
        ),
        draw("e", "on_flow_end", "exec-in"),
        draw("on", "on_event", "", "exec-out payload", eventConfig={"scope": "run"}),
        draw("say", "answer_user", "exec-in message", "exec-out"),
    ]
    return flow(*parts, edges=way, id="flow_hears")


LISTENERS = [listener.workflow_id for listener in listener_documents(hearing_flow())]
START = EffectType.START_SUBWORKFLOW
NOTE = EffectType.MEMORY_NOTE
ASK = asks(EffectType.ASK_USER, {"prompt": "?"}, then="z")
WORKFLOWS = [
    spec(
        "linear",
        a=asks(LLM, {"p": 1}, key="one", then="b"),
        b=asks(LLM, {"p": 2}, key="two", then="z"),
        z=done,
    ),
    spec("ends_on_effect", a=asks(LLM, {"p": 1})),
    spec("loop", count=count, hop=hop),
    spec("ask", a=asks(LLM, {"p": 1}, key="one", then="q"), q=ASK, z=done),
    spec("timer", a=asks(EffectType.WAIT_UNTIL, {"until": "2026-01-01T00:00:05Z"}, then="z"), z=done),
    spec("sync_child", a=asks(START, child_call("loop"), then="z"), z=done),
    spec("asking_child", a=asks(START, child_call("ask"), then="z"), z=done),
    spec("async_child", a=asks(START, child_call("ask", **{"async": True, "wait": True}), then="z"), z=done),
    spec("deep", a=asks(START, child_call("asking_child"), key="d", then="b"), b=asks(START, child_call("sync_child"), then="z"), z=done),
    spec("note", a=asks(NOTE, {"note": "hi", "keep_in_context": True}, then="b"), b=asks(LLM, {"p": 1}, then="z"), z=done),
    spec("session_note", a=asks(NOTE, {"note": "hi", "scope": "session"}, then="b"), b=asks(LLM, {"p": 1}, then="z"), z=done),
    spec("child_notes", a=asks(START, child_call("session_note"), then="z"), z=done),
    spec("failing_child", a=asks(START, child_call("bad", **{"async": True, "wait": True}), then="z"), z=done),
    spec("bad", a=asks(LLM, {"p": "always fails"}, then="z"), z=done),
    spec("recursion", recurse=recurse, z=done),
    spec("cancelled", a=asks(LLM, {"p": 1}, key="one", then="b"), b=asks(LLM, {"p": "cancels"}, key="two", then="c"), c=asks(LLM, {"p": 3}, then="z"), z=done),
    spec("listener", listen=listen),
    spec("emitter", a=asks(START, child_call("listener", **{"async": True}), key="c1", then="b"), b=asks(START, child_call("listener", **{"async": True}), key="c2", then="q"),
         q=asks(EffectType.ASK_USER, {"prompt": "ready?"}, then="e"), e=emit("one", "r"), r=asks(EffectType.ASK_USER, {"prompt": "again?"}, then="f"), f=emit("two", "z"), z=done),
    spec("busy_listener", hear=hear, work=work, z=done),
    spec("two_events", a=asks(START, child_call("busy_listener", **{"async": True}), key="c1", then="q"), q=asks(EffectType.ASK_USER, {"prompt": "ready?"}, then="e"),
         e=emit("one", "f"), f=emit("two", "z"), z=done),
    spec("tool_child", a=asks(START, child_call("ask", wrap_as_tool_result=True, tool_name="helper"), then="z"), z=done),
    compiled("flow_leaf", "ask_user", pinDefaults={"prompt": "p"}),
    compiled("flow_mid", "subflow", subflowId="flow_leaf"),
    compiled("flow_top", "subflow", subflowId="flow_mid"),
    compiled("flow_of_bad", "subflow", subflowId="bad"),
    *compile_visualflow_tree(flows_by_id={"flow_hears": hearing_flow()}).values(),
]  # fmt: skip


class TickingClock(FakeClock):
    """A clock on which no two moments are equal."""

    def now_iso(self) -> str:
        self.advance(0.001)
        return super().now_iso()


@dataclass
class World:
    """Everything outside the store: what a death of the process does not undo."""

    calls: Counter = field(default_factory=Counter)
    artifacts: InMemoryArtifactStore = field(default_factory=InMemoryArtifactStore)
    clock: FakeClock = field(default_factory=TickingClock)

    def llm(self, run: RunState, effect: Effect) -> EffectOutcome:
        name = f"{run.workflow_id}:{run.current_node}:{run.vars.get('i', 0)}"
        self.calls[name] += 1
        self.fs.mark(name)
        if effect.payload.get("p") == "cancels":
            self.engine.post(RUN, Command("c1", Cancel("enough")))
        if effect.payload.get("p") == "always fails":
            raise RuntimeError("no luck")
        if effect.payload.get("flaky", self.flaky) and self.calls[name] == 1:
            raise RuntimeError("first time")
        return EffectOutcome.completed({"said": name})

    flaky: bool = False
    fs: SimFileSystem = field(default_factory=SimFileSystem)

    def runtime(self, fs: SimFileSystem) -> Runtime:
        registry = WorkflowRegistry()
        for workflow in WORKFLOWS:
            registry.register(workflow)
        lease._claims.clear()
        self.fs = fs
        self.engine = open_store(ROOT, origin="test/0", fs=fs, clock=self.clock)
        return Runtime.on_engine(
            self.engine,
            effect_handlers={LLM: self.llm},
            workflow_registry=registry,
            artifact_store=self.artifacts,
            clock=self.clock,
            effect_policy=DefaultEffectPolicy(effect_max_attempts={"llm_call": 3}),
        )


def to_the_end(rt: Runtime, name: str) -> RunState:
    """Start the run if it does not exist, and drive it with its answers until it ends."""
    workflow = rt.workflow_registry.get(name)
    try:
        session = "sess" if name == "session_note" else None
        rt.start(workflow=workflow, run_id=RUN, session_id=session)
    except ValueError:
        pass
    own = LISTENERS if name == "flow_hears" else ()
    driver = Driver(rt, listeners=Listeners(rt, own))
    for _ in range(20):
        state = driver.drive(RUN, until="waiting")
        if state.status.is_terminal:
            return state
        driver.answer(RUN, {"response": "yes"})
    raise AssertionError(f"{name} does not end: {state}")


class Died(BaseException):
    pass


def cut_at(monkeypatch, number: int, part: str) -> None:
    """Let the process die in append `number`, with `part` of the bytes written."""
    seen = Counter()
    append = SimAppendFile.append

    def dying(self: SimAppendFile, data: bytes) -> int:
        seen["n"] += 1
        if seen["n"] < number:
            return append(self, data)
        if seen["n"] == number:
            keep = {
                "none": 0,
                "half": len(data) // 2,
                "line": data.find(b"\n") + 1,
                "all": len(data),
            }
            append(self, data[: keep[part]])
        raise Died

    monkeypatch.setattr(SimAppendFile, "append", dying)


def comparable(rt: Runtime) -> Any:
    """Give the final states of the tree, without ids and times that depend on the moment."""
    tree = [run.run_id for run in RunTree(rt.engine, RUN).members()]
    for run_id in tree:
        # A finished run whose closing record was cut off gets it when it is next owned.
        rt.tick(workflow=WORKFLOWS[0], run_id=run_id, max_steps=0)
    owners = [run.run_id for run in rt.engine.find(RunQuery()) if run.run_id not in tree]
    states = [rt.get_state(run_id) for run_id in tree + owners]
    text = json.dumps(
        [[s.workflow_id, s.status, s.current_node, s.vars, s.output, s.error] for s in states]
    )
    for i, state in enumerate(states):
        text = text.replace(state.run_id, f"<run {i}>")
    return json.loads(text)


def scrubbed(value: Any) -> Any:
    """Drop times and artifact ids, which differ between two tellings of a story."""
    volatile = {"created_at", "from_timestamp", "to_timestamp", "timestamp", "artifact_id"}
    volatile |= {
        "emitted_at",
        "delivered_to",
        "resumed",
        "span_id",
        "source_artifact_id",
        "message_id",
        "occurrence_id",
    }
    if isinstance(value, dict):
        return {k: scrubbed(v) for k, v in value.items() if k not in volatile}
    if isinstance(value, list):
        return [scrubbed(v) for v in value]
    if isinstance(value, str) and value.startswith("Stored memory_note"):
        return "Stored"
    return value


def chains_hold(image: Image) -> None:
    for path, data in image.items():
        if path.startswith(f"{ROOT}/ledger_"):
            assert data.endswith(b"\n")
            list(chained(path[len(f"{ROOT}/ledger_") : -len(".jsonl")], data))


STORIES = [
    "linear", "ends_on_effect", "loop", "ask", "timer", "sync_child", "asking_child",
    "async_child", "deep", "note", "session_note", "child_notes", "failing_child",
    "recursion", "flow_leaf", "flow_top", "flow_of_bad", "emitter", "two_events", "flow_hears", "tool_child",
]  # fmt: skip


def tell(name: str, flaky: bool) -> tuple[Any, Counter, int, SimFileSystem]:
    fs, world = SimFileSystem(), World(flaky=flaky)
    appends = Counter()
    rt = world.runtime(fs)
    to_the_end(rt, name)
    appends = sum(1 for call in fs.calls if call == "append")
    return scrubbed(comparable(rt)), world.calls, appends, fs


@pytest.mark.parametrize("flaky", [False, True], ids=["steady", "retrying"])
@pytest.mark.parametrize("name", STORIES)
def test_a_death_at_any_append_changes_nothing_but_the_call_in_flight(name, flaky, monkeypatch):
    expected, calls, appends, _ = tell(name, flaky)
    assert appends >= 3

    for number in range(1, appends + 1):
        for part in ("none", "half", "line", "all"):
            fs, world = SimFileSystem(), World(flaky=flaky)
            with monkeypatch.context() as patch:
                cut_at(patch, number, part)
                with pytest.raises(Died):
                    to_the_end(world.runtime(fs), name)
            fs = SimFileSystem(fs.image())
            rt = world.runtime(fs)
            to_the_end(rt, name)

            where = f"append {number}, {part} written"
            assert scrubbed(comparable(rt)) == expected, where
            extra = world.calls - calls
            assert not calls - world.calls, where
            assert sum(extra.values()) <= 1, f"{where}: repeated {dict(extra)}"
            chains_hold(fs.image())


def test_a_cancel_during_an_effect_holds_whenever_the_process_dies(monkeypatch):
    """The effect in flight may be lost with the run, but nothing behind it may start."""
    *_, appends, _ = tell("cancelled", flaky=False)
    for number in range(1, appends + 1):
        for part in ("none", "half", "line", "all"):
            fs, world = SimFileSystem(), World()
            with monkeypatch.context() as patch:
                cut_at(patch, number, part)
                with pytest.raises(Died):
                    to_the_end(world.runtime(fs), "cancelled")
            fs = SimFileSystem(fs.image())
            state = to_the_end(world.runtime(fs), "cancelled")

            where = f"append {number}, {part} written"
            assert (state.status, state.error) == (RunStatus.CANCELLED, "enough"), where
            assert world.calls["cancelled:c:0"] == 0, where
            assert sum(world.calls.values()) <= 3, where
            chains_hold(fs.image())


@pytest.mark.parametrize(
    "name", ["linear", "loop", "ask", "sync_child", "async_child", "child_notes"]
)
def test_a_power_cut_repeats_at_most_the_call_in_flight(name):
    expected, calls, _, fs = tell(name, flaky=True)
    per_point = 60 // len(fs.journal) + 1

    for marks, image in crash_states(fs.journal, random.Random(name), per_point=per_point):
        world = World(flaky=True)
        world.calls.update(marks)
        fs = SimFileSystem(image)
        rt = world.runtime(fs)
        to_the_end(rt, name)

        assert scrubbed(comparable(rt)) == expected, marks
        assert not calls - world.calls, marks
        assert sum((world.calls - calls).values()) <= 1, marks
        chains_hold(fs.image())


def test_every_death_is_really_tried():
    """The matrix above would be empty if a story stopped appending."""
    counted = {name: tell(name, flaky=False)[2] for name in STORIES}

    assert sum(counted.values()) > 100


@pytest.mark.parametrize("end", ["cancelled", "answered"])
def test_two_parents_of_one_workflow_have_children_of_their_own(end):
    rt = World().runtime(SimFileSystem())
    workflow = rt.workflow_registry.get("flow_top")
    first, second = (rt.start(workflow=workflow) for _ in range(2))
    driver = Driver(rt)
    for root in (first, second):
        driver.drive(root)
    leaf = RunTree(rt.engine, first).open_waits()[0].run_id
    if end == "cancelled":
        rt.cancel_run(leaf, reason="enough")
    else:
        driver.answer(first, {"response": "yes"})

    ended, other = driver.drive(first), driver.drive(second)

    expected = RunStatus.FAILED if end == "cancelled" else RunStatus.COMPLETED
    assert (ended.status, other.status) == (expected, RunStatus.WAITING)
    assert ("enough" in (ended.error or "")) == (end == "cancelled")
    assert (
        len(RunTree(rt.engine, first).members()) == len(RunTree(rt.engine, second).members()) == 3
    )
