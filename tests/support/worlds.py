"""Drives a document in one process, or in one process for each step, and gives what came of it.

What lies outside the processes is a world: the disk, the clock, the files, and whoever answers. A
new process opens the store anew, reads and compiles the bundle anew, and knows nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.listeners import Listeners, start_with_listeners
from abstractruntime._runtime.runtime import Runtime
from abstractruntime._runtime.trees import hand_over_child
from abstractruntime.agents import stub_agent
from abstractruntime.cli._packing import Request, compile_bundle
from abstractruntime.core.models import RunStatus, parse_moment
from abstractruntime.core.run_tree import RunTree
from abstractruntime.sandbox import default_runner
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.signing import TrustStore
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage._store import lease
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.directory import open_store
from abstractruntime.testing import FakeClock, SequentialIds
from abstractruntime.visualflow_compiler import Services, compile_visualflow_tree
from abstractruntime.visualflow_compiler.listeners import listener_documents
from abstractruntime.workflow_bundle import verify_bundle
from abstractruntime.workspace import Workspace

# Id of the run that is started, and of its session.
RUN = "case"


@cache
def packed(path: Path) -> bytes:
    """Give the unsigned bundle of a document and of those that it runs."""
    return compile_bundle(Request(path))[0].data


class People(Protocol):
    """Who answers, and what comes in: everything of a world that is a story's own."""

    clock: FakeClock

    def inputs(self, document: Any) -> dict[str, Any]: ...
    def services(self, own: Services) -> Services: ...
    def handlers(self) -> Mapping[Any, Any]: ...

    def meet(self, process: Process) -> None:
        """See each new process before it does anything."""

    def go_on(self, process: Process) -> bool:
        """Let something happen where nothing goes on by itself; False when nothing will."""
        ...


@dataclass
class World:
    """One story of one bundle."""

    bundle: bytes
    files: Path
    people: People
    most_steps: int = 1000
    fs: SimFileSystem = field(default_factory=SimFileSystem)
    ids: SequentialIds = field(default_factory=SequentialIds)
    artifacts: InMemoryArtifactStore = field(default_factory=InMemoryArtifactStore)

    def open(self) -> Process:
        """Start a process: what was on the disk is all that it knows."""
        bundle = verify_bundle(self.bundle, TrustStore(), allow_unsigned=True).bundle
        documents = bundle.flow_documents()
        entry = str(bundle.manifest.default_entrypoint)
        services = Services(
            workspace=Workspace(self.files),
            artifacts=self.artifacts,
            code=default_runner(),  # what is run here is our own, so one worker will do
        )
        registry = WorkflowRegistry()
        specs = compile_visualflow_tree(
            root_id=entry,
            flows_by_id=documents,
            services=self.people.services(services),
            agents=stub_agent,
        )
        for spec in specs.values():
            registry.register(spec)
        runtime = self._runtime(registry)
        document = documents[entry]
        listeners = tuple(found.workflow_id for found in listener_documents(document))
        process = Process(runtime, specs[entry], document, listeners)
        self.people.meet(process)
        return process

    def _runtime(self, registry: WorkflowRegistry) -> Runtime:
        lease._claims.clear()
        self.fs = SimFileSystem(self.fs.image())
        clock = self.people.clock
        return Runtime.on_engine(
            open_store("/s", durability="off", origin="test/0", fs=self.fs, clock=clock),
            workflow_registry=registry,
            effect_handlers=self.people.handlers(),
            artifact_store=self.artifacts,
            clock=clock,
            ids=self.ids,
            trace_records=0,
        )

    def tell(self, *, restarting: bool) -> Process:
        """Run to where nothing goes on any more, or to a limit; give the last process."""
        process, last = self.open(), RUN
        start_with_listeners(
            process.runtime,
            process.workflow,
            listeners=process.listener_ids,
            vars=self.people.inputs(process.document),
            session_id=RUN,
            run_id=RUN,
        )
        for _ in range(self.most_steps):
            process = self.open() if restarting else process
            stepped = process.step(last)
            if stepped is None and (process.is_over() or not self.people.go_on(process)):
                process.driver.drive(RUN)  # closes the listeners; nothing else is left
                break
            last = stepped or RUN
        return process


@dataclass
class Process:
    runtime: Runtime
    workflow: Any
    document: Any
    listener_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        listeners = Listeners(self.runtime, self.listener_ids)
        self.driver = Driver(self.runtime, listeners=listeners)

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
        return {
            "status": runs[0].status.value,
            "error": runs[0].error,
            "output": runs[0].output,
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


class WithoutChance:
    """Services of a story in which nothing is drawn by lot."""

    def services(self, own: Services) -> Services:
        return replace(own, random=FirstChoice())
