"""Putting a runtime together: store, workflows, effect handlers, code, and the stop signal."""

from __future__ import annotations

import os
import signal
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject
from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.listeners import Listeners
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.agents import stub_agent
from abstractruntime.cli._bundles import Loaded, entry_of
from abstractruntime.cli._consent import workspace_of
from abstractruntime.cli._keyring import read_trust
from abstractruntime.core.models import Effect, EffectType, RunState
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.run_tree import RunTree
from abstractruntime.effects import Handler
from abstractruntime.effects.tool_calls import ToolCalls
from abstractruntime.errors import ExitCode, IntegrityError, NotFound, Untrusted, UsageError
from abstractruntime.nodes.registry import facts_of
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.visualflow_compiler import Services, compile_visualflow_tree
from abstractruntime.visualflow_compiler.listeners import listener_documents
from abstractruntime.workflow_bundle.reader import MAX_ARCHIVE_BYTES, read_bundle
from abstractruntime.workspace import Workspace

if TYPE_CHECKING:
    from abstractruntime.cli._config import Config
    from abstractruntime.cli._session import Session
    from abstractruntime.core.spec import WorkflowSpec
    from abstractruntime.core.store import Store
    from abstractruntime.nodes.services import Artifacts
    from abstractruntime.visualflow_compiler.document import FlowDocument

_DRIVERS_KEPT = 32
_SIGNALS = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
}


@dataclass(frozen=True)
class Program:
    """The workflows of one bundle, compiled, and the names of their nodes."""

    entry: str
    registry: WorkflowRegistry
    labels: Mapping[str, str]
    has_code: bool = False
    listeners: tuple[str, ...] = ()

    @property
    def workflow(self) -> WorkflowSpec:
        return self.registry.get_or_raise(self.entry)


@dataclass
class StopFlag:
    """Set by SIGINT and SIGTERM; the driver asks between records, which is when `on_poll` runs."""

    code: ExitCode | None = None
    on_poll: Callable[[], None] | None = None

    def __call__(self) -> bool:
        self.poll()
        return self.code is not None

    def poll(self) -> None:
        if self.on_poll is not None:
            self.on_poll()


@contextmanager
def stop_on_signals(*, patience_s: float | None = None) -> Iterator[StopFlag]:
    """Turn the first SIGINT or SIGTERM into a stop at a record boundary; the second one kills.

    Args:
        patience_s: How long the effect in flight may take after the first one; then the
            process ends, and the effect is in doubt, as after a crash. Default: for ever.
    """
    flag = StopFlag()

    def stop(number: int, _frame: FrameType | None) -> None:
        flag.code = _SIGNALS[signal.Signals(number)]
        for signaled in _SIGNALS:
            signal.signal(signaled, signal.SIG_DFL)
        if patience_s is not None:
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, give_up)
            signal.setitimer(signal.ITIMER_REAL, patience_s)

    def give_up(_number: int, _frame: FrameType | None) -> None:
        # Hazard: raising here could end up in a handler of the flow; the store survives a kill.
        os._exit(int(flag.code or ExitCode.INTERRUPTED))

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield flag
    finally:
        if signal.SIGALRM in before:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in before.items():
            signal.signal(number, handler)


def compile_program(loaded: Loaded, entry: str | None, *, services: Services) -> Program:
    """Compile the flow to start and every flow it runs.

    Raises:
        FlowError: a document does not compile.
        NotFound: the bundle has no such entry.
    """
    chosen = entry_of(loaded.bundle, entry)
    documents = loaded.bundle.documents
    registry = WorkflowRegistry()
    specs = compile_visualflow_tree(
        root_id=chosen, flows_by_id=documents, services=services, agents=stub_agent
    )
    for spec in specs.values():
        registry.register(spec)
    elements = [e for document in documents.values() for e in document.flow.elements]
    has_code = any(facts_of(e.type).runs_code for e in elements)
    listeners = tuple(found.workflow_id for found in listener_documents(documents[chosen]))
    return Program(chosen, registry, node_labels(documents.values()), has_code, listeners)


def node_labels(documents: Iterable[FlowDocument]) -> dict[str, str]:
    """Give the names that authors gave to nodes, by node id."""
    return {name: label for d in documents for name, label in d.labels.items()}


def code_services(
    *,
    trust_code: bool,
    sandbox: str,
    workspace: Workspace | None = None,
    artifacts: Artifacts | None = None,
) -> Services:
    """Give what nodes may use; code runs in a confined worker unless it is trusted.

    Args:
        trust_code: Run code in this process.
        sandbox: Where code runs otherwise.
        workspace: The files that nodes may touch.
        artifacts: What their values may refer to.
    """
    services = Services(workspace=workspace, artifacts=artifacts)
    if not trust_code and sandbox != "in-process":
        return services
    from abstractruntime.sandbox import InProcessRunner

    return replace(services, code=InProcessRunner())


def sandbox_report(*, in_process: bool) -> JsonObject:
    """Tell what confines code nodes: `{backend, layers, missing, abi}`; may start the worker."""
    from abstractruntime.sandbox import CodeFailed, InProcessRunner, default_runner

    if in_process:
        return InProcessRunner().layers()
    try:
        return default_runner().layers()
    except CodeFailed:
        # Whoever calls code is told why; nothing that calls none needs it.
        return {"backend": "none", "layers": [], "missing": ["process"], "abi": 0}


def make_runtime(session: Session, engine: Store, program: Program) -> Runtime:
    handlers = {
        EffectType.LLM_CALL: llm_handler(session.config),
        # Without tools of its own, the command line shows the calls and takes the results.
        EffectType.TOOL_CALLS: Handler(ToolCalls(), external=True, state_free=True),
    }
    return Runtime.on_engine(
        engine,
        workflow_registry=program.registry,
        effect_handlers=handlers,
        effect_policy=effect_policy(session.config),
        artifact_store=engine.artifacts,
        # Node traces cost a read per tick, and no command shows them.
        trace_records=0,
    )


def control_runtime(engine: Store) -> Runtime:
    """Give a runtime that stops, pauses and tells runs of any bundle; it executes nothing."""
    return Runtime.on_engine(engine, trace_records=0)


def effect_policy(config: Config) -> DefaultEffectPolicy:
    """Give how often effects are tried, and what becomes of one in doubt."""
    attempts = max(1, int(config.get("llm.attempts")))
    return DefaultEffectPolicy(
        effect_max_attempts={EffectType.LLM_CALL.value: attempts},
        on_unknown=config.get("on_unknown"),
    )


def llm_handler(config: Config) -> Any:
    """Give the handler of model calls that the configuration names.

    Raises:
        UsageError: the configuration is incomplete.
    """
    script = config.get("llm.script")
    if script is None:
        if config.get("llm.handler") is None:
            return _no_model
        raise UsageError(
            "llm.handler is 'stub', but llm.script names no file of answers",
            hint="set llm.script in art.yaml, or pass --llm-stub FILE",
            argument="llm.script",
        )
    from abstractruntime.llm.handler import LLMHandler
    from abstractruntime.testing.stub_llm import StubLLM

    return LLMHandler(StubLLM.from_file(script))


def _no_model(run: RunState, _effect: Effect, _next_node: str | None = None) -> EffectOutcome:
    return EffectOutcome.failed(
        f"node '{run.current_node}' calls a model and none is configured;"
        " set llm.handler and llm.script in art.yaml, or pass --llm-stub FILE"
    )


# -- bundles of runs ---------------------------------------------------------------


def install_bundle(engine: Store, loaded: Loaded) -> None:
    """Keep the bundle in the store, so that its runs can go on without the original file."""
    engine.bundles.put(loaded.digest, loaded.data)


def installed_bundle(engine: Store, run_id: str) -> Loaded:
    """Give the bundle that a run, or the root above it, was started from.

    Raises:
        NotFound: the store does not hold it.
        IntegrityError: it holds another one under this digest.
    """
    root = RunTree(engine, run_id).root()
    digest = engine.origin(root).bundle_digest
    if digest is None:
        raise NotFound(
            f"run {run_id!r} was not started from a bundle",
            hint="go on with it in the program that started it",
            kind="bundle",
            run_id=run_id,
        )
    path = engine.bundles.address(digest)
    data = engine.bundles.get(digest, limit=MAX_ARCHIVE_BYTES + 1)
    if data is None:
        raise NotFound(
            f"bundle '{path}' is missing; run {root!r} was started from it",
            hint="put the original bundle back under this name",
            path=path,
            run_id=run_id,
        )
    bundle = read_bundle(data, Path(path))
    if bundle.digest != digest:
        raise IntegrityError(
            f"bundle '{path}' has another digest than run {root!r} was started from",
            hint="put the original bundle back",
            expected=digest,
            found=bundle.digest,
            path=path,
        )
    return Loaded(data, bundle, digest)


def program_of_run(session: Session, engine: Store, run_id: str) -> Program:
    """Compile what a run executes, as it was when the run started.

    Waits up to the configured `lock_timeout` for whoever drives the run now.

    Raises:
        Untrusted: the bundle was put on the denied list since.
        Busy: another process drives the run.
    """
    if wait_s := session.config.get("lock_timeout"):
        engine.open(run_id, wait_s=wait_s).close()
    return _compiled(session, engine, run_id)


def _compiled(session: Session, engine: Store, run_id: str) -> Program:
    loaded = installed_bundle(engine, run_id)
    require_allowed(session, loaded.digest, run_id)
    root = RunTree(engine, run_id).from_root()
    origin = engine.origin(root.run_id)
    services = code_services(
        trust_code=origin.trusts_code,
        sandbox="worker",
        workspace=workspace_of(origin),
        artifacts=engine.artifacts,
    )
    return compile_program(loaded, root.state().workflow_id, services=services)


def require_allowed(session: Session, digest: str, run_id: str) -> None:
    """Refuse a bundle that was put on the denied list after its run was started.

    Raises:
        Untrusted: it was.
    """
    if digest in read_trust(session).denied_digests:
        raise Untrusted(
            f"bundle {digest} is on the denied list",
            hint=f"cancel the run, or see its bundle: art show {run_id}",
            run_id=run_id,
            digest=digest,
        )


def make_driver(
    session: Session,
    engine: Store,
    program: Program,
    stop: StopFlag,
    *,
    keep_listeners: bool = False,
) -> tuple[Runtime, Driver]:
    runtime = make_runtime(session, engine, program)
    listeners = Listeners(runtime, program.listeners, keep=keep_listeners)
    return runtime, Driver(runtime, stop=stop, listeners=listeners)


def leaves_listeners(engine: Store, root: str) -> bool:
    """Tell whether to leave them: also when the root has ended before, and whoever drove it did."""
    return engine.origin(root).keep_listeners or engine.peek(root).status.is_terminal


class Drivers:
    """Drivers of the runs of a store, compiled once per bundle.

    With `keep_listeners`, those of a root that ends live on, whatever it was started with.
    """

    def __init__(
        self,
        session: Session,
        engine: Store,
        stop: StopFlag,
        *,
        keep_listeners: bool = False,
    ) -> None:
        self._session, self._engine, self._stop = session, engine, stop
        self._keep_listeners = keep_listeners
        self._known: OrderedDict[tuple[object, ...], Driver] = OrderedDict()

    def find(self, root: str) -> Driver:
        """Give who drives the tree of a root.

        Raises:
            NotFound: the store does not hold its bundle.
            Untrusted: the bundle was put on the denied list since.
            IntegrityError: the run is damaged.
        """
        if cause := self._engine.health.damage(root):
            raise cause
        origin, state = self._engine.origin(root), self._engine.peek(root)
        digest = origin.bundle_digest
        keep = self._keep_listeners or origin.keep_listeners or state.status.is_terminal
        key = (digest, state.workflow_id, origin.trusts_code, keep, workspace_of(origin))
        driver = self._known.pop(key, None)
        if driver is None:
            # Whoever looks after many runs waits for none of them.
            program = _compiled(self._session, self._engine, root)
            _, driver = make_driver(
                self._session, self._engine, program, self._stop, keep_listeners=keep
            )
        elif digest is not None:
            require_allowed(self._session, digest, root)
        self._known[key] = driver
        while len(self._known) > _DRIVERS_KEPT:
            self._known.popitem(last=False)
        return driver
