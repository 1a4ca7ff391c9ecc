"""Putting a runtime together: store, workflows and effect handlers; and who drives which run."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.listeners import Listeners
from abstractruntime._runtime.runtime import Runtime
from abstractruntime._text import shell_word
from abstractruntime.cli._authority import believed_origin
from abstractruntime.cli._bundles import installed_bundle
from abstractruntime.cli._consent import require_granted, workspace_of
from abstractruntime.cli._keyring import read_trust
from abstractruntime.cli._limits import limits_of
from abstractruntime.cli._models import HINT, effect_policy, model_client
from abstractruntime.cli._sandbox import require_confined
from abstractruntime.core.config import RuntimeConfig
from abstractruntime.core.models import Effect, EffectType, RunState
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.run_tree import RunTree
from abstractruntime.effects import Handler
from abstractruntime.effects.tool_calls import ToolCalls
from abstractruntime.errors import Untrusted

if TYPE_CHECKING:
    from abstractruntime.cli._interrupts import StopFlag
    from abstractruntime.cli._program import Program
    from abstractruntime.cli._progress import Progress
    from abstractruntime.cli._session import Session
    from abstractruntime.core.origin import RunOrigin
    from abstractruntime.core.store import Store

_DRIVERS_KEPT = 32


def make_runtime(session: Session, engine: Store, program: Program) -> Runtime:
    handlers = {
        EffectType.LLM_CALL: _llm_handler(session),
        # Without tools of its own, the command line shows the calls and takes the results.
        EffectType.TOOL_CALLS: Handler(ToolCalls(), external=True, state_free=True),
    }
    return Runtime.on_engine(
        engine,
        workflow_registry=program.registry,
        effect_handlers=handlers,
        effect_policy=effect_policy(session.config),
        artifact_store=engine.artifacts,
        config=RuntimeConfig(run_limits=limits_of(session.config)),
        # Node traces cost a read per tick, and no command shows them.
        trace_records=0,
    )


def _llm_handler(session: Session) -> Any:
    client = model_client(session)
    if client is None:
        return _no_model
    from abstractruntime.llm.handler import LLMHandler

    return LLMHandler(client)


def _no_model(run: RunState, _effect: Effect, _next_node: str | None = None) -> EffectOutcome:
    return EffectOutcome.failed(
        f"node '{run.current_node}' calls a model and none is configured; {HINT}", is_final=True
    )


def program_of_run(session: Session, engine: Store, tree: RunTree) -> Program:
    """Compile what a run executes, as it was when the run started.

    Waits up to the configured `lock_timeout` for whoever drives the run now.

    Raises:
        Untrusted: the bundle was put on the denied list since.
        Refused: it says that it may do more than others, and nobody knows who wrote that; or its code would be confined less than when it began, or than the configuration asks.
        Busy: another process drives the run.
    """
    if wait_s := session.config.get("lock_timeout"):
        engine.open(tree.run_id, wait_s=wait_s).close()
    return _compiled(session, engine, tree)


def _compiled(session: Session, engine: Store, tree: RunTree) -> Program:
    # Whoever looks for runs that can go on, and finds none, needs no compiler.
    from abstractruntime.cli._program import code_services, compile_program

    if engine.admit is not None:
        engine.admit(tree.run_id)
    bundle = installed_bundle(engine, tree)
    root = tree.root()
    origin = believed_origin(session, engine, root)
    require_allowed(session, bundle.digest or "", tree.run_id, origin.signers)
    require_granted(bundle.documents.values(), origin, root)
    services = code_services(
        trust_code=origin.trusts_code,
        sandbox=_home_of(session, origin),
        workspace=workspace_of(session, origin),
        artifacts=engine.artifacts,
    )
    program = compile_program(bundle, tree.state(root).workflow_id, services=services)
    if program.has_code:
        require_confined(session, services.code)
    return program


def _home_of(session: Session, origin: RunOrigin) -> str:
    """Give where code goes on that is not trusted: never less strictly than it began."""
    began = (origin.sandbox or {}).get("backend")
    return "bwrap" if "bwrap" in (began, session.config.get("sandbox")) else "worker"


def require_allowed(
    session: Session, digest: str, run_id: str, signers: tuple[str, ...] = ()
) -> None:
    """Refuse a bundle that lost what let its run start.

    Args:
        session: Has the trust store, and the policy for what a revoked key signed.
        digest: The bundle.
        run_id: The run that is to go on.
        signers: Who vouched for the bundle when the run was started.

    Raises:
        Untrusted: it was put on the denied list since, or too few of its signers are left.
    """
    trust = read_trust(session)
    revoked = trust.revoked_of(signers)
    left = len(signers) - len(revoked)
    if revoked and left < trust.policy.threshold and session.config.get("on_revoked") == "refuse":
        raise Untrusted(
            f"bundle {digest} of run {run_id!r} was signed by {', '.join(revoked)}, revoked since",
            hint=f"end it: art cancel {shell_word(run_id)}; or let it end by itself: ART_ON_REVOKED=finish",
            run_id=run_id,
            digest=digest,
            signers=list(revoked),
            rule="revoked",
        )
    if digest in trust.denied_digests:
        raise Untrusted(
            f"bundle {digest} is on the denied list",
            hint=f"cancel the run, or see its bundle: art show {shell_word(run_id)}",
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


def leaves_listeners(engine: Store, tree: RunTree) -> bool:
    """Tell whether to leave them: also when the root has ended before, and whoever drove it did."""
    root = tree.root()
    return engine.origin(root).keep_listeners or tree.state(root).status.is_terminal


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
        progress: Progress | None = None,
    ) -> None:
        self._session, self._engine, self._stop = session, engine, stop
        self._progress = progress
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
        tree = RunTree(self._engine, root)
        origin, state = believed_origin(self._session, self._engine, root), tree.state()
        digest = origin.bundle_digest
        keep = self._keep_listeners or origin.keep_listeners or state.status.is_terminal
        code = (origin.trusts_code, _home_of(self._session, origin))
        files = workspace_of(self._session, origin)
        key = (digest, state.workflow_id, code, keep, files, origin.grants)
        driver = self._known.pop(key, None)
        if driver is None:
            # Whoever looks after many runs waits for none of them.
            program = _compiled(self._session, self._engine, tree)
            runtime, driver = make_driver(
                self._session, self._engine, program, self._stop, keep_listeners=keep
            )
            if self._progress is not None:
                self._progress.watch(runtime, program.labels)
        elif digest is not None:
            require_allowed(self._session, digest, root, origin.signers)
        self._known[key] = driver
        while len(self._known) > _DRIVERS_KEPT:
            self._known.popitem(last=False)
        return driver
