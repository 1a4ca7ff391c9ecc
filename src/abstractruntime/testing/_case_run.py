"""Running a case: in memory, with a clock that moves when told, and without a network."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.effect_host import EffectHost
from abstractruntime._runtime.listeners import Listeners, start_with_listeners
from abstractruntime._runtime.runtime import Runtime
from abstractruntime._runtime.trees import cancel_tree
from abstractruntime.agents import stub_agent
from abstractruntime.core.models import parse_moment
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.store import LedgerHead
from abstractruntime.effects.registry import builtin_handlers
from abstractruntime.errors import AbstractRuntimeError, UsageError
from abstractruntime.nodes.base import NodeError
from abstractruntime.rendering.run_document import build_run_document
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.testing._case_compare import Actual, CaseProblem, compare
from abstractruntime.testing._case_mocks import CaseHandlers
from abstractruntime.testing._case_model import Case, CaseStep
from abstractruntime.testing.clocks import FakeClock, SequentialIds
from abstractruntime.visualflow_compiler import Services, compile_visualflow_tree
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.listeners import listener_documents
from abstractruntime.workspace import Workspace

_RUN_ID: Final = "case"
_MOST_POLLS: Final = 50_000


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of a case; it passed when there is no problem."""

    case: Case
    problems: tuple[CaseProblem, ...]
    actual: Actual

    @property
    def ok(self) -> bool:
        return not self.problems


def run_case(
    case: Case,
    flows: Mapping[str, Any],
    *,
    entry: str | None = None,
    services: Services | None = None,
) -> CaseResult:
    """Run a flow as a case tells, and compare what comes of it.

    Model and tool calls are answered by the mocks of the case only. Files are those of the
    case, in a directory that is removed afterwards. Random numbers are the same each time.

    Args:
        case: The story.
        flows: Documents by flow id, each whatever `compile_visualflow` takes.
        entry: Flow to start; the case may name another. Default: the first.
        services: What nodes may use beside these: the sandbox of code nodes.

    Raises:
        FlowError: a document has errors.
        UsageError: the case names a flow or node that does not exist.
    """
    documents = {flow_id: FlowDocument.of(flow) for flow_id, flow in flows.items()}
    root = case.entry or entry or next(iter(documents), "")
    _require_flow(case, documents, root)
    with _workspace(case) as workspace:
        own = replace(
            services or Services(),
            random=random.Random(0),
            workspace=Workspace(workspace),
            artifacts=InMemoryArtifactStore(),
        )
        specs = compile_visualflow_tree(
            root_id=root, flows_by_id=documents, services=own, agents=stub_agent
        )
        registry = WorkflowRegistry()
        for spec in specs.values():
            registry.register(spec)
        _require_nodes(case, registry)
        listeners = [found.workflow_id for found in listener_documents(documents[root])]
        story = _Story(case, registry, listeners)
        problems = story.tell(root)
        labels = {node: name for d in documents.values() for node, name in d.labels.items()}
        actual = story.actual(labels)
    return CaseResult(case, (*problems, *compare(case.expect, actual)), actual)


def _require_flow(case: Case, flows: Mapping[str, FlowDocument], root: str) -> None:
    if root not in flows:
        raise UsageError(
            f"case {case.name!r} starts flow {root!r}, which is not there",
            hint=f"flows are {', '.join(flows) or 'none'}",
        )


def _require_nodes(case: Case, registry: WorkflowRegistry) -> None:
    """Refuse mocks of nodes that no workflow has; those of agents and listeners have nodes, too."""
    specs = [registry.get_or_raise(workflow_id) for workflow_id in registry.list_ids()]
    known = {f"{spec.workflow_id}:{node_id}" for spec in specs for node_id in spec.nodes}
    known |= {node_id for spec in specs for node_id in spec.nodes}
    unknown = sorted(set(case.nodes) - known)
    if unknown:
        raise UsageError(
            f"case {case.name!r} mocks node {unknown[0]!r}, which is in no flow",
            hint="mocks are by node id, or FLOW:NODE; to see the ids: art graph FLOW --json",
        )


@contextmanager
def _workspace(case: Case) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="art-case-") as name:
        root = Path(name)
        for path, text in case.files.items():
            _write(Workspace(root), path, text)
        yield root


def _write(workspace: Workspace, path: str, text: str) -> None:
    try:
        workspace.write(path, text.encode("utf-8"))
    except NodeError as cause:
        raise UsageError(
            f"files: {cause}", hint="files lie in the workspace of the case"
        ) from cause


class _Story:
    """One run of a case."""

    def __init__(self, case: Case, registry: WorkflowRegistry, listeners: list[str]) -> None:
        self._case = case
        self._registry = registry
        self._clock = FakeClock(case.clock) if case.clock else FakeClock()
        self._handlers = CaseHandlers(case)
        self._runtime = Runtime(
            run_store=InMemoryRunStore(),
            ledger_store=InMemoryLedgerStore(),
            workflow_registry=registry,
            artifact_store=InMemoryArtifactStore(),
            effect_handlers=self._handlers.handlers(),
            clock=self._clock,
            ids=SequentialIds(),
            trace_records=0,
        )
        self._handlers.fall_back_to(builtin_handlers(EffectHost(self._runtime)))
        self._polls = 0
        self._listeners = listeners
        self._driver = Driver(
            self._runtime, stop=self._is_over, listeners=Listeners(self._runtime, listeners)
        )

    def _is_over(self) -> bool:
        self._polls += 1
        return self._polls > _MOST_POLLS

    def tell(self, root: str) -> list[CaseProblem]:
        """Start the run and let happen what the case says; give what could not."""
        start_with_listeners(
            self._runtime,
            self._registry.get_or_raise(self._specced(root)),
            listeners=self._listeners,
            vars=self._case.input,
            session_id=_RUN_ID,
            run_id=_RUN_ID,
        )
        state = self._driver.drive(_RUN_ID)
        for at, step in enumerate(self._case.steps):
            where = f"steps/{at} ({step.action})"
            if state.status.is_terminal:
                left = len(self._case.steps) - at
                return [
                    CaseProblem(where, f"the run is {state.status.value}; {left} steps are left")
                ]
            try:
                _ACTIONS[step.action](self, step)
            except AbstractRuntimeError as cause:
                return [CaseProblem(where, f"{cause}; {cause.hint}" if cause.hint else str(cause))]
            state = self._driver.drive(_RUN_ID)
        return list(self._afterwards())

    def _specced(self, root: str) -> str:
        # A document may be filed under another id than its own.
        ids = self._registry.list_ids()
        return root if root in ids else ids[0]

    def _afterwards(self) -> Iterator[CaseProblem]:
        if self._is_over():
            yield CaseProblem("run", "it never came to rest; is there a loop without an end?")
        for text in self._handlers.unused():
            yield CaseProblem(*text.split(": ", 1))

    def actual(self, labels: Mapping[str, str]) -> Actual:
        tree = RunTree(self._runtime.engine, _RUN_ID)
        waits = [tree.state(wait.run_id) for wait in tree.open_waits()]
        document = build_run_document(
            state=tree.state(),
            ledger=LedgerHead(),
            leaf_waits=[(run.run_id, run.waiting) for run in waits if run.waiting],
            node_labels=labels,
        )
        return Actual(document, tuple(self._handlers.messages), dict(self._handlers.calls))

    # -- what may happen -----------------------------------------------------------------

    def answer(self, step: CaseStep) -> None:
        payload = step.value if isinstance(step.value, dict) else {"response": step.value}
        self._driver.answer(_RUN_ID, payload, wait_key=step.wait_key)

    def resume(self, step: CaseStep) -> None:
        self._driver.answer(_RUN_ID, step.value, wait_key=step.wait_key)

    def event(self, step: CaseStep) -> None:
        result = self._runtime.emit_event(
            name=step.value,
            payload=step.payload,
            scope=step.scope,
            session_id=_RUN_ID,
            run_id=_RUN_ID,
            workflow_id=self._runtime.engine.peek(_RUN_ID).workflow_id,
        )
        if not result["delivered"]:
            names = ", ".join(result.get("available_listeners_in_session", ())) or "nothing"
            raise UsageError(
                f"nobody waits for the event {step.value!r} in scope {step.scope}",
                hint=f"waited for: {names}",
            )

    def advance(self, step: CaseStep) -> None:
        self._clock.advance(step.value)

    def wake(self, _step: CaseStep) -> None:
        waits = RunTree(self._runtime.engine, _RUN_ID).open_waits()
        deadlines = [parse_moment(wait.until) for wait in waits if wait.until]
        if not deadlines:
            raise UsageError("the run waits for no moment", hint="wake is for timers and deadlines")
        left = min(deadlines) - self._clock.now()
        self._clock.advance(max(left, timedelta(0)).total_seconds())

    def cancel(self, step: CaseStep) -> None:
        cancel_tree(self._runtime, _RUN_ID, reason=step.value)


_ACTIONS: Final[Mapping[str, Callable[[_Story, CaseStep], None]]] = {
    "answer": _Story.answer,
    "resume": _Story.resume,
    "event": _Story.event,
    "advance": _Story.advance,
    "wake": _Story.wake,
    "cancel": _Story.cancel,
}
