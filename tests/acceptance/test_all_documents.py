"""Every published flow document: compiled, packed, run with stubs, and run again in single steps.

The second run has a process for each step: the store is opened anew, the bundle is read and
compiled anew. Outputs, effects and variables must come out the same. People answer with the
first choice or "yes", time passes when nothing else can go on, and nothing else arrives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.listeners import Listeners, start_with_listeners
from abstractruntime._runtime.runtime import Runtime
from abstractruntime._runtime.trees import hand_over_child
from abstractruntime.agents import stub_agent
from abstractruntime.cli._bundles import Request, compile_bundle
from abstractruntime.core.models import EffectType, RunStatus, WaitReason, parse_moment
from abstractruntime.core.run_tree import RunTree
from abstractruntime.effects import Handler
from abstractruntime.effects.tool_calls import ToolCalls
from abstractruntime.errors import FlowError
from abstractruntime.llm.handler import LLMHandler
from abstractruntime.llm.port import LLMReply, LLMRequest
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.signing import TrustStore
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage._store import lease
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.directory import open_store
from abstractruntime.testing import FakeClock, SequentialIds, StubGraph, StubLLM, StubTools
from abstractruntime.visualflow_compiler import Services, compile_visualflow_tree
from abstractruntime.visualflow_compiler.listeners import listener_documents
from abstractruntime.workflow_bundle import verify_bundle
from abstractruntime.workspace import Workspace

FLOWS = Path(__file__).parents[2].parent / "shared" / "flows"
NAMES = sorted(path.stem for path in FLOWS.glob("*.json"))
RUN = "run"
TEXTS = ("requirements_md", "plan_md", "report_md", "findings_md", "summary_md")
AGREED = {**dict.fromkeys(TEXTS, "All of it."), "success": True, "done": True, "approved": True}
MOST_STEPS = 100
SHORTER = {"6c23b88a": 50}  # its texts quote each other and double with every turn
MOST_ANSWERS = 6
PAST = [{"role": "user", "content": f"message {number}"} for number in range(8)]
SAMPLES = {"number": 2, "boolean": True, "array": ["a"], "object": {}, "tools": ["look"]}

# The one error of each document that does not compile, and why the document is at fault.
REFUSED = {"bff163ad": ("VF002", "it gives one pin two defaults, and readers differ which counts")}

# Where the others come to rest; all that are not here run to their end.
WAITS_FOR = {
    "61e7c1a4": "user",
    "a49d80c3": "until",
    "a8f5b5f8": "user",
    "acagent_ask_demo": "event",
    "b16c5a46": "user",
}
# They end with an error envelope: a template names what is not there, and three documents
# look for `result` in the `result` of an agent, which has `response`.
ENVELOPES = {
    "d1914129": "'role, winner, why'",
    "masm_coder": "parse_json requires a non-empty 'text' input.",
    "masm_deep_researcher": "parse_json requires a non-empty 'text' input.",
    "masm_reviewer": "parse_json requires a non-empty 'text' input.",
}
# They go on as long as the model says so, and this one always does.
LOOPS = {
    "31eae641", "53d568fc", "6c23b88a", "84aa8534", "ac-advanced-agent",
    "c91fec16", "d6f30991",
}  # fmt: skip

pytestmark = pytest.mark.skipif(
    not FLOWS.is_dir(), reason=f"published flow documents are not at {FLOWS}"
)


@cache
def packed(name: str) -> bytes:
    data, _ = compile_bundle(Request(FLOWS / f"{name}.json"))
    return data


class Model(StubLLM):
    """Agrees where it is asked for JSON, and else repeats what it is asked."""

    def __init__(self) -> None:
        summary = {"summary": "Hellos.", "key_points": [], "confidence": 1}
        rules = {"STRICT JSON": AGREED, "Keep decisions": summary}
        super().__init__({question: json.dumps(answer) for question, answer in rules.items()})

    def complete(self, request: LLMRequest) -> LLMReply:
        reply = super().complete(request)
        text = re.sub(r'"task_id": ?""', '"task_id":"task_1"', reply.content or "")
        data = json.loads(text) if reply.data is not None else None
        return replace(reply, content=text, data=data)


class FirstChoice:
    """A random source that does not notice a new process."""

    def randint(self, a: int, _b: int) -> int:
        return a

    def random(self) -> float:
        return 0.5

    def uniform(self, a: float, _b: float) -> float:
        return a

    def choice(self, seq: Any) -> Any:
        return seq[0]

    def randrange(self, _start: int) -> int:
        return 0


class OneModel:
    def providers(self) -> list[str]:
        return ["stub"]

    def models(self, _provider: str) -> list[str]:
        return ["stub"]


@dataclass
class World:
    """What lies outside the processes, and how people and time behave."""

    name: str
    files: Path
    fs: SimFileSystem = field(default_factory=SimFileSystem)
    clock: FakeClock = field(default_factory=FakeClock)
    ids: SequentialIds = field(default_factory=SequentialIds)
    graph: StubGraph = field(default_factory=StubGraph)
    artifacts: InMemoryArtifactStore = field(default_factory=InMemoryArtifactStore)
    answers: int = 0

    def open(self) -> Process:
        """Start a process: what was on the disk is all that it knows."""
        bundle = verify_bundle(packed(self.name), TrustStore(), allow_unsigned=True).bundle
        documents = bundle.flow_documents()
        entry = str(bundle.manifest.default_entrypoint)
        services = Services(
            random=FirstChoice(),
            catalog=OneModel(),
            workspace=Workspace(self.files),
            artifacts=self.artifacts,
        )
        registry = WorkflowRegistry()
        specs = compile_visualflow_tree(
            root_id=entry, flows_by_id=documents, services=services, agents=stub_agent
        )
        for spec in specs.values():
            registry.register(spec)
        runtime = self._runtime(registry)
        document = documents[entry]
        listeners = tuple(found.workflow_id for found in listener_documents(document))
        return Process(runtime, specs[entry], document, Listeners(runtime, listeners), listeners)

    def _runtime(self, registry: WorkflowRegistry) -> Runtime:
        lease._claims.clear()
        self.fs = SimFileSystem(self.fs.image())
        tools = ToolCalls(StubTools(default=lambda tool, _arguments: f"{tool} did it"))
        return Runtime.on_engine(
            open_store("/s", durability="off", origin="test/0", fs=self.fs, clock=self.clock),
            workflow_registry=registry,
            effect_handlers={
                EffectType.LLM_CALL: LLMHandler(Model()),
                EffectType.TOOL_CALLS: Handler(tools, external=True, state_free=True),
                **self.graph.handlers(),
            },
            artifact_store=self.artifacts,
            clock=self.clock,
            ids=self.ids,
            trace_records=0,
        )

    def tell(self, *, restarting: bool) -> Any:
        """Run the document to where nothing goes on by itself, or a limit; give what came of it."""
        process, last = self.begin(), RUN
        for _ in range(SHORTER.get(self.name, MOST_STEPS)):
            process = self.open() if restarting else process
            stepped = process.step(last)
            if stepped is None and (process.is_over() or not self.go_on(process)):
                process.driver.drive(RUN)  # closes the listeners; nothing else is left
                break
            last = stepped or RUN
        return process.ending()

    def begin(self) -> Process:
        process = self.open()
        start_with_listeners(
            process.runtime,
            process.workflow,
            listeners=process.listener_ids,
            vars={**dict(inputs_of(process.document)), "context": {"messages": PAST}},
            session_id="session",
            run_id=RUN,
        )
        return process

    def go_on(self, process: Process) -> bool:
        """Let a person answer, or else time pass; False when only others could go on."""
        self.answers += 1
        waits = RunTree(process.runtime.engine, RUN).open_waits()
        asked = [wait for wait in waits if wait.reason is WaitReason.USER]
        deadlines = [parse_moment(wait.until) for wait in waits if wait.until]
        if self.answers > MOST_ANSWERS:
            return False
        if asked:
            answer = {"response": asked[0].choices[0] if asked[0].choices else "yes"}
            process.driver.answer(asked[0].run_id, answer, wait_key=asked[0].wait_key)
        elif deadlines:
            left = max(min(deadlines) - self.clock.now(), timedelta(0))
            self.clock.advance(left.total_seconds())
        return bool(asked or deadlines)


@dataclass
class Process:
    runtime: Runtime
    workflow: Any
    document: Any
    listeners: Listeners
    listener_ids: tuple[str, ...]

    @property
    def driver(self) -> Driver:
        return Driver(self.runtime, listeners=self.listeners)

    def is_over(self) -> bool:
        return self.runtime.engine.peek(RUN).status.is_terminal

    def step(self, last: str) -> str | None:
        """Take one step of the run that took the last one, or else of the newest that can."""
        engine = self.runtime.engine
        runs = [engine.peek(run.run_id) for run in RunTree(engine, RUN).members()]
        runs.sort(key=lambda run: run.run_id == last)
        for run in reversed(runs):
            wait = run.waiting
            due = wait and wait.until and parse_moment(wait.until) <= self.runtime.clock.now()
            if run.status is RunStatus.RUNNING or due:
                workflow = self.runtime.find_workflow(run.workflow_id)
                self.runtime.tick(workflow=workflow, run_id=run.run_id, max_steps=1)
                return run.run_id
            if hand_over_child(self.runtime, run):
                return run.run_id
        return None

    def ending(self) -> dict[str, Any]:
        """Give what came of all runs: outputs and variables, and the effects in their order."""
        engine = self.runtime.engine
        runs = [engine.peek(run.run_id) for run in RunTree(engine, RUN).members()]
        envelope = runs[0].output
        return {
            "status": runs[0].status.value,
            "error": runs[0].error,
            "envelope": envelope.get("error") if isinstance(envelope, dict) else None,
            "waits": sorted(wait.reason.value for wait in RunTree(engine, RUN).open_waits()),
            "outputs": labelled([(run.run_id, run.output) for run in runs]),
            "effects": labelled({run.run_id: list(self._effects(run.run_id)) for run in runs}),
            "state": labelled([[run.status.value, run.current_node, run.vars] for run in runs]),
        }

    def _effects(self, run_id: str) -> Iterator[tuple[Any, ...]]:
        for stored in self.runtime.engine.records(run_id):
            record = stored.record
            effect = record.get("effect")
            if effect:
                yield record["node_id"], record["status"], effect["type"], effect.get("payload")


def labelled(value: Any) -> str:
    """Give the text of a value, with random ids numbered by first appearance."""
    seen: dict[str, str] = {}
    text = json.dumps(value, sort_keys=True)
    return re.sub(r"[0-9a-f]{32}", lambda found: seen.setdefault(found[0], f"<{len(seen)}>"), text)


def inputs_of(document: Any) -> Iterator[tuple[str, Any]]:
    """Give a sample for each input that has no default of its own; limits are 2."""
    for node in document["nodes"]:
        data = node["data"]
        pins = data.get("outputs", ()) if node["type"] == "on_flow_start" else ()
        for pin in pins:
            name, kind = pin["id"], pin["type"]
            sample = "stub" if name in ("provider", "model") else SAMPLES.get(kind, "hello")
            has_default = name in data.get("pinDefaults", {}) and not name.startswith("max_")
            if kind != "execution" and not has_default:
                yield name, sample


@pytest.mark.parametrize("name", NAMES)
def test_a_process_for_every_step_changes_nothing(name, tmp_path):
    if name in REFUSED:
        with pytest.raises(FlowError) as refusal:
            packed(name)
        errors = [item.code for item in refusal.value.findings if item.severity == "error"]
        assert errors == [REFUSED[name][0]]
        return

    calm = World(name, tmp_path).tell(restarting=False)
    hasty = World(name, tmp_path).tell(restarting=True)

    assert hasty == calm
    if name in LOOPS:
        assert calm["status"] in ("running", "waiting")
    else:
        status = "waiting" if name in WAITS_FOR else "completed"
        assert (calm["status"], calm["error"]) == (status, None)
        assert calm["waits"] == WAITS_FOR.get(name, "").split()
        assert calm["envelope"] == ENVELOPES.get(name)
