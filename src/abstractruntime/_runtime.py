"""The composition root: 0.4.x signatures over an engine, the kernel and the handlers.

Every method opens the run it works on, calls the kernel, makes the result durable and
closes. Within one call chain a run is opened once: a handler that drives a child, or
asks about its own run, gets the log that is already open.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from abstractruntime._json import isolate
from abstractruntime._ports_system import SystemClock, SystemIds
from abstractruntime.core._kernel.effects import EffectRunner, Handler
from abstractruntime.core._kernel.loop import Kernel
from abstractruntime.core._kernel.records import RecordFactory
from abstractruntime.core.config import RuntimeConfig
from abstractruntime.core.models import (
    EffectType,
    JsonObject,
    RunState,
    RunStatus,
    format_time,
    utc_now,
)
from abstractruntime.core.policy import DefaultEffectPolicy, EffectPolicy
from abstractruntime.core.ports import Clock, Command, EffectOutcome, Engine, Ids, RunLog
from abstractruntime.core.spec import RunContext, WorkflowSpec
from abstractruntime.core.vars import LIMITS, RUNTIME
from abstractruntime.effects._registry import builtin_handlers, merge_handlers
from abstractruntime.errors import Busy, NotFound, UsageError

Handlers = Mapping[EffectType, Callable[..., EffectOutcome] | Handler]

_OPEN: ContextVar[dict[tuple[int, str], RunLog] | None] = ContextVar("open_run_logs", default=None)
_STOP: ContextVar[Callable[[], bool] | None] = ContextVar("stop_signal", default=None)

# How long a note waits for another run that just writes to the same index.
_OWNER_WAIT_S, _OWNER_PAUSE_S = 10.0, 0.01


def utc_now_iso() -> str:
    """Give the current time as UTC ISO-8601 with microseconds."""
    return format_time(utc_now())


@dataclass
class DefaultRunContext:
    """What node handlers get: the time."""

    clock: Clock | None = None

    def now_iso(self) -> str:
        return self.clock.now_iso() if self.clock else utc_now_iso()


class Runtime:
    """Starts, drives, answers and stops runs of one store."""

    def __init__(  # noqa: PLR0913 - the 0.4.x signature, keyword-only
        self,
        *,
        run_store: Any,
        ledger_store: Any,
        effect_handlers: Handlers | None = None,
        context: RunContext | None = None,
        workflow_registry: Any = None,
        artifact_store: Any = None,
        effect_policy: EffectPolicy | None = None,
        config: RuntimeConfig | None = None,
        chat_summarizer: Any = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self._engine: Engine = getattr(run_store, "engine", None) or _classic(
            run_store, ledger_store
        )
        self._run_store, self._ledger_store = run_store, ledger_store
        self._registry = workflow_registry
        self._artifact_store = artifact_store
        self._policy: EffectPolicy = effect_policy or DefaultEffectPolicy()
        self._config = config or RuntimeConfig()
        self._chat_summarizer = chat_summarizer
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._records = RecordFactory(self._clock, self._ids)
        effects = EffectRunner(
            handlers=merge_handlers(builtin_handlers(self), effect_handlers or {}),
            policy=lambda: self._policy,
            clock=self._clock,
            records=self._records,
        )
        self._kernel = Kernel(
            clock=self._clock,
            records=self._records,
            effects=effects,
            context=context or DefaultRunContext(self._clock),
        )

    @classmethod
    def on_engine(cls, engine: Engine, **options: Any) -> Runtime:
        """Build a runtime over an engine, such as `open_store(path)`; options as in `__init__`."""
        store = _EngineStore(engine)
        return cls(run_store=store, ledger_store=store, **options)

    # -- properties ----------------------------------------------------------

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def run_store(self) -> Any:
        return self._run_store

    @property
    def ledger_store(self) -> Any:
        return self._ledger_store

    @property
    def workflow_registry(self) -> Any:
        return self._registry

    @property
    def artifact_store(self) -> Any:
        return self._artifact_store

    @property
    def effect_policy(self) -> EffectPolicy:
        return self._policy

    @property
    def config(self) -> RuntimeConfig:
        return self._config

    def set_workflow_registry(self, registry: Any) -> None:
        self._registry = registry

    def set_artifact_store(self, store: Any) -> None:
        self._artifact_store = store

    def set_effect_policy(self, policy: EffectPolicy) -> None:
        self._policy = policy

    # -- running -------------------------------------------------------------

    def start(
        self,
        *,
        workflow: WorkflowSpec,
        vars: JsonObject | None = None,  # noqa: A002 - the 0.4.x name
        actor_id: str | None = None,
        session_id: str | None = None,
        parent_run_id: str | None = None,
        run_id: str | None = None,
        provenance: JsonObject | None = None,
    ) -> str:
        """Create a run durably at the entry node and give its id; nothing is executed yet.

        Args:
            provenance: Facts for the run's first record, such as the bundle digest.
            run_id: Chosen id, `[A-Za-z0-9_-]{1,128}`; default a random UUID.
        """
        run = RunState(
            run_id=run_id or self._ids.run_id(),
            workflow_id=workflow.workflow_id,
            status=RunStatus.RUNNING,
            current_node=workflow.entry_node,
            vars=self._initial_vars(vars or {}),
            created_at=self._clock.now_iso(),
            updated_at=self._clock.now_iso(),
            actor_id=actor_id,
            session_id=session_id,
            parent_run_id=parent_run_id,
        )
        facts = {
            "workflow_id": workflow.workflow_id,
            "entry_node": workflow.entry_node,
            **(provenance or {}),
        }
        log = self._engine.create(run, self._records.internal(run, "run_started", **facts))
        try:
            log.settle()
        finally:
            log.close()
        return run.run_id

    def _initial_vars(self, given: JsonObject) -> JsonObject:
        own = isolate(given)
        if own.get(LIMITS) is None:
            own[LIMITS] = self._config.to_limits_dict()
        runtime = own.get(RUNTIME)
        if not isinstance(runtime, dict):
            runtime = own[RUNTIME] = {}
        support = self._config.model_capabilities.get("tool_support")
        defaults = {
            "provider": self._config.provider,
            "model": self._config.model,
            "tool_support": support,
        }
        for name, value in defaults.items():
            if isinstance(value, str) and value.strip():
                runtime.setdefault(name, value.strip())
        if isinstance(support, str) and support.strip():
            runtime.setdefault("supports_native_tools", support.strip() == "native")
        result: JsonObject = own
        return result

    def tick(
        self,
        *,
        workflow: WorkflowSpec,
        run_id: str,
        max_steps: int | None = 100,
        stop: Callable[[], bool] | None = None,
    ) -> RunState:
        """Advance a run until it waits, ends, or has taken `max_steps` steps; None means no limit.

        Raises:
            NotFound, Busy, IntegrityError, StoreError
        """
        with self._driven(run_id) as log:
            token = _STOP.set(stop)
            try:
                self._kernel.advance(log, workflow, max_steps=max_steps, stop=stop)
            finally:
                _STOP.reset(token)
            return self._settled(log)

    def resume(
        self,
        *,
        workflow: WorkflowSpec,
        run_id: str,
        wait_key: str | None,
        payload: Any,
        max_steps: int | None = 100,
        actor: str | None = None,
    ) -> RunState:
        """Answer the open wait of a run, then advance it; `max_steps=0` only stores the answer.

        Raises:
            WaitMismatch: paused, not waiting, or waiting for another key.
        """
        with self._driven(run_id) as log:
            self._kernel.apply_commands(log)
            self._kernel.resume(log, payload, wait_key=wait_key, actor=actor)
            if max_steps is None or max_steps > 0:
                self._kernel.advance(log, workflow, max_steps=max_steps)
            return self._settled(log)

    def fail_wait(self, run_id: str, *, error: str, wait_key: str) -> RunState:
        """End a run whose open wait cannot be answered; a run that waits for something else is left."""
        with self._driven(run_id) as log:
            if log.run.waiting and log.run.waiting.wait_key == wait_key:
                self._kernel.fail_wait(log, error)
            return self._settled(log)

    def apply_commands(self, run_id: str) -> RunState:
        """Apply what others asked of a run while it was owned; nothing is executed."""
        with self._driven(run_id) as log:
            self._kernel.apply_commands(log)
            return self._settled(log)

    def cancel_run(self, run_id: str, *, reason: str | None = None) -> RunState:
        """Cancel a run; when someone else drives it, leave the request in its inbox."""
        return self._control(run_id, "cancel", reason, lambda log: self._kernel.cancel(log, reason))

    def pause_run(self, run_id: str, *, reason: str | None = None) -> RunState:
        """Pause a run at its next step."""
        return self._control(run_id, "pause", reason, lambda log: self._kernel.pause(log, reason))

    def resume_run(self, run_id: str) -> RunState:
        """Let a paused run go on; nothing is executed yet."""
        return self._control(run_id, "unpause", None, self._kernel.unpause)

    def _control(
        self, run_id: str, kind: str, reason: str | None, act: Callable[[RunLog], None]
    ) -> RunState:
        try:
            with self._driven(run_id) as log:
                act(log)
                return self._settled(log)
        except Busy:
            pass
        command = Command(str(uuid.uuid4()), kind, {"reason": reason}, self._clock.now_iso())
        self._engine.post(run_id, command)
        try:
            # Its owner may have looked into the inbox for the last time before the post.
            return self.apply_commands(run_id)
        except Busy:
            return self._engine.peek(run_id)

    # -- reading -------------------------------------------------------------

    def get_state(self, run_id: str) -> RunState:
        """Read a run; the copy is the caller's.

        Raises:
            NotFound: also a KeyError.
        """
        return self._engine.peek(run_id)

    def get_ledger(self, run_id: str) -> list[dict[str, Any]]:
        """Give all records of a run; an unknown run has none."""
        try:
            return [stored.record for stored in self._engine.records(run_id)]
        except NotFound:
            return []

    # -- children (the port of the start_subworkflow handler) -----------------

    def has_workflow(self, workflow_id: str) -> bool:
        return self._registry is not None and self._registry.get(workflow_id) is not None

    def ensure_child(
        self,
        *,
        run_id: str,
        workflow_id: str,
        vars: JsonObject,  # noqa: A002 - the 0.4.x name
        parent: RunState,
        session_id: str | None,
    ) -> RunState:
        try:
            return self._engine.peek(run_id)
        except NotFound:
            self.start(
                workflow=self._workflow(workflow_id),
                vars=vars,
                actor_id=parent.actor_id,
                session_id=session_id or parent.session_id,
                parent_run_id=parent.run_id,
                run_id=run_id,
            )
            return self._engine.peek(run_id)

    def drive_child(self, run_id: str) -> RunState:
        workflow = self._workflow(self._engine.peek(run_id).workflow_id)
        try:
            return self.tick(workflow=workflow, run_id=run_id, max_steps=None, stop=_STOP.get())
        except Busy:
            return self._engine.peek(run_id)

    # -- owners of shared memory (the port of the memory handlers) --------------

    def root_run_id(self, run_id: str) -> str:
        run = self._engine.peek(run_id)
        while run.parent_run_id is not None:
            run = self._engine.peek(run.parent_run_id)
        return run.run_id

    def read_owner(self, owner_id: str) -> RunState | None:
        try:
            return self._engine.peek(owner_id)
        except NotFound:
            return None

    @contextmanager
    def edit_owner(self, owner_id: str, workflow_id: str) -> Iterator[JsonObject]:
        self._ensure_owner(owner_id, workflow_id)
        with self._owned(owner_id, wait_s=_OWNER_WAIT_S) as log:
            yield log.run.vars
            log.commit(self._records.internal(log.run, "control", action="memory"))
            log.settle()

    def _ensure_owner(self, owner_id: str, workflow_id: str) -> None:
        deadline = self._clock.monotonic() + _OWNER_WAIT_S
        while self.read_owner(owner_id) is None:
            try:
                self._create_owner(owner_id, workflow_id)
            except UsageError:
                return  # someone else just created it
            except Busy:
                if self._clock.monotonic() >= deadline:
                    raise
                self._clock.sleep(_OWNER_PAUSE_S)

    def _create_owner(self, owner_id: str, workflow_id: str) -> None:
        now = self._clock.now_iso()
        run = RunState(
            run_id=owner_id,
            workflow_id=workflow_id,
            status=RunStatus.COMPLETED,
            current_node="done",
            vars={
                "context": {"task": "", "messages": []},
                "scratchpad": {},
                RUNTIME: {"memory_spans": []},
                "_temp": {},
                LIMITS: {},
            },
            output={"messages": []},
            created_at=now,
            updated_at=now,
        )
        first = self._records.internal(
            run, "run_started", workflow_id=workflow_id, entry_node="done"
        )
        log = self._engine.create(run, first)
        try:
            log.settle()
        finally:
            log.close()

    def _workflow(self, workflow_id: str) -> WorkflowSpec:
        spec = self._registry.get(workflow_id) if self._registry is not None else None
        if spec is None:
            raise NotFound(
                f"workflow {workflow_id!r} is not registered", kind="workflow", id=workflow_id
            )
        found: WorkflowSpec = spec
        return found

    # -- owning --------------------------------------------------------------

    @contextmanager
    def _driven(self, run_id: str) -> Iterator[RunLog]:
        """Own a run to advance it, which nobody may do who is called from a step of that run."""
        if self._open_log(run_id) is not None:
            raise Busy(
                f"run {run_id!r} is being driven by the caller",
                hint="let the step end first; a run cannot advance itself",
                run_id=run_id,
            )
        with self._owned(run_id) as log:
            yield log

    @contextmanager
    def _owned(self, run_id: str, *, wait_s: float = 0.0) -> Iterator[RunLog]:
        inherited = self._open_log(run_id)
        if inherited is not None:
            yield inherited
            return
        log = self._engine.open(run_id, wait_s=wait_s)
        token = _OPEN.set({**(_OPEN.get() or {}), (id(self._engine), run_id): log})
        try:
            yield log
        finally:
            _OPEN.reset(token)
            log.close()

    def _open_log(self, run_id: str) -> RunLog | None:
        return (_OPEN.get() or {}).get((id(self._engine), run_id))

    @staticmethod
    def _settled(log: RunLog) -> RunState:
        log.settle()
        run = log.run
        return replace(
            run,
            vars=isolate(run.vars),
            output=isolate(run.output),
            waiting=replace(run.waiting) if run.waiting else None,
        )


class _EngineStore:
    """Stands in for the pair of stores of a runtime that was given an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine


def _classic(run_store: Any, ledger_store: Any) -> Engine:
    from abstractruntime.storage.classic import ClassicEngine  # noqa: PLC0415 - only classic pairs need it

    if run_store is None or ledger_store is None:
        raise UsageError(
            "a runtime needs a run store and a ledger store",
            hint="or Runtime.on_engine(open_store(path))",
        )
    return ClassicEngine(run_store, ledger_store)
