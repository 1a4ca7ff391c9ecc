"""The composition root: 0.4.x signatures over an engine, the kernel and the handlers.

Every method opens the run it works on, calls the kernel, makes the result durable and
closes. Within one call chain a run is opened once: a handler that drives a child, or
asks about its own run, gets the log that is already open.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from abstractruntime._json import isolate
from abstractruntime._ports_system import SystemClock, SystemIds
from abstractruntime._runtime.call_chain import CallChain
from abstractruntime._runtime.claims import Claims
from abstractruntime._runtime.effect_host import STOP_SIGNAL, EffectHost
from abstractruntime._runtime.kept_source import keep_source
from abstractruntime._runtime.reads import RuntimeReads
from abstractruntime._runtime.tree_context import RuntimeContext
from abstractruntime.core._kernel import EffectRunner, Kernel, Watch
from abstractruntime.core.commands import (
    Answer,
    Cancel,
    Command,
    Pause,
    Request,
    SetLimits,
    Unpause,
)
from abstractruntime.core.config import RuntimeConfig
from abstractruntime.core.event_keys import build_event_wait_key
from abstractruntime.core.handlers import Handler
from abstractruntime.core.limits import limits_given_by, set_limits, stated_limits
from abstractruntime.core.models import (
    EffectType,
    JsonObject,
    RunState,
    RunStatus,
)
from abstractruntime.core.origin import RunOrigin, first_record
from abstractruntime.core.policy import DefaultEffectPolicy, EffectPolicy
from abstractruntime.core.ports import Clock, EffectOutcome, Engine, Evidence, Ids, RunLog
from abstractruntime.core.records import RecordFactory
from abstractruntime.core.spec import RunContext, WorkflowSpec
from abstractruntime.core.traces import project_traces
from abstractruntime.core.vars import NODE_TRACES, get_runtime, initial_vars
from abstractruntime.effects.events import (
    LISTENER_LIMIT,
    Event,
    as_event_payload,
    deliver_event,
    find_listeners,
)
from abstractruntime.effects.registry import (
    INTERNAL_WORKFLOWS,
    builtin_handlers,
    merge_handlers,
)
from abstractruntime.errors import Busy, NotFound, UsageError

Handlers = Mapping[EffectType, Callable[..., EffectOutcome] | Handler]

TRACED_RECORDS = 200


class Runtime(RuntimeReads):
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
        trace_records: int = TRACED_RECORDS,
        engine: Engine | None = None,
    ) -> None:
        """Put a runtime over a pair of stores.

        Args:
            run_store: A `RunStore`, or a view of a directory store.
            ledger_store: The `LedgerStore` beside it.
            effect_handlers: Put over the built-in ones.
            context: What node handlers get; default the time.
            workflow_registry: Anything with `get(workflow_id)`; children and events need it.
            artifact_store: Where notes, archives and evidence are kept.
            effect_policy: Attempts, pauses and keys of effects; default one attempt.
            config: Limits and model facts of new runs.
            chat_summarizer: Summarises messages when memory is compacted.
            clock: Time, for tests.
            ids: Ids of runs, steps and commands, for tests.
            trace_records: From how many recent records `tick` and `resume` give node traces.
            engine: The engine behind the stores; see `on_engine`.
        """
        self._engine: Engine = (
            engine or getattr(run_store, "engine", None) or _classic(run_store, ledger_store)
        )
        self._run_store, self._ledger_store = run_store, ledger_store
        self._registry = workflow_registry
        self._artifact_store = artifact_store
        self._policy: EffectPolicy = effect_policy or DefaultEffectPolicy()
        self._config = config or RuntimeConfig()
        self._chat_summarizer = chat_summarizer
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._trace_records = trace_records
        self.records = RecordFactory(self._clock, self._ids)
        self.chain = CallChain(self._engine)
        # Told of each step before it is done, for whoever shows how a long run goes.
        self.on_step: Callable[[RunState, RunLog], None] = lambda *_: None
        self._host = EffectHost(self)
        self.trees = RuntimeContext(self._clock, self._host.peek, self._engine)
        effects = EffectRunner(
            handlers=merge_handlers(builtin_handlers(self._host), effect_handlers or {}),
            policy=lambda: self._policy,
            clock=self._clock,
            records=self.records,
        )
        self._kernel = Kernel(
            clock=self._clock,
            records=self.records,
            effects=effects,
            context=context or self.trees,
            watch=Watch(self.trees, self._tell_step, limits_given_by(self._config)),
            evidence=self._evidence,
            objection=Claims(self._engine, self.get_node_traces).objection,
        )

    @classmethod
    def on_engine(cls, engine: Engine, **options: Any) -> Runtime:
        """Build a runtime over an engine, such as `open_store(path)`; options as in `__init__`."""
        return cls(run_store=engine.runs, ledger_store=engine.ledgers, engine=engine, **options)

    # -- properties ----------------------------------------------------------

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def ids(self) -> Ids:
        return self._ids

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

    @property
    def chat_summarizer(self) -> Any:
        return self._chat_summarizer

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
        provenance: RunOrigin | JsonObject | None = None,
    ) -> str:
        """Create a run durably at the entry node and give its id; nothing is executed yet.

        A store that keeps bundles keeps the documents of a compiled flow with the first run that
        is started from them, so that others can go on with it.

        Args:
            provenance: Facts for the run's first record, such as the bundle digest.
            run_id: Chosen id, `[A-Za-z0-9_-]{1,128}`; default a random UUID.
        """
        run = RunState(
            run_id=run_id or self._ids.run_id(),
            workflow_id=workflow.workflow_id,
            status=RunStatus.RUNNING,
            current_node=workflow.entry_node,
            vars=self._initial_vars(vars, workflow.kept, parent_run_id),
            created_at=self._clock.now_iso(),
            updated_at=self._clock.now_iso(),
            actor_id=actor_id,
            session_id=session_id,
            parent_run_id=parent_run_id,
        )
        first = first_record(self.records, run, provenance)
        if parent_run_id is None:
            keep_source(self._engine, workflow, first)
        with closing(self._engine.create(run, first)) as log:
            log.settle()
        return run.run_id

    def _initial_vars(
        self, given: JsonObject | None, kept: frozenset[str], parent_run_id: str | None
    ) -> JsonObject:
        """Give the variables of a new run; a child has the limits of its parent."""
        own = initial_vars({} if given is None else given, self._config)
        for name in kept:
            own.pop(name, None)
        limits = limits_given_by(self._config)
        if parent_run_id is not None:
            with contextlib.suppress(NotFound):  # Compat: its store may not hold it.
                limits = stated_limits(self._host.peek(parent_run_id).vars)
        set_limits(own, limits)
        return own

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
        with self._advanced(workflow, run_id, max_steps, stop) as log:
            return self._settled(log, traced=True)

    def advance(
        self,
        *,
        workflow: WorkflowSpec,
        run_id: str,
        max_steps: int | None = 100,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        """Advance a run as `tick` does, for whoever needs no copy of what it came to."""
        with self._advanced(workflow, run_id, max_steps, stop) as log:
            log.settle()

    @contextmanager
    def _advanced(
        self,
        workflow: WorkflowSpec,
        run_id: str,
        max_steps: int | None,
        stop: Callable[[], bool] | None,
    ) -> Iterator[RunLog]:
        """Give the log of a run that was advanced; whoever takes it settles it."""
        with self.chain.driven(run_id) as log:
            token = STOP_SIGNAL.set(stop)
            try:
                self._kernel.advance(log, workflow, max_steps=max_steps, stop=stop)
            finally:
                STOP_SIGNAL.reset(token)
            yield log
            run = log.run
        self.trees.note(run)

    def answer(
        self,
        run_id: str,
        payload: Any,
        *,
        wait_key: str | None,
        actor: str | None = None,
        occurrence: int | None = None,
    ) -> RunState:
        """Store the answer to the open wait of a run; nothing goes on yet.

        Only `retry`, which answers a question about an effect in doubt, repeats that at once.

        Args:
            wait_key: The wait that is meant; None for whichever is open.
            actor: Who answers, for the record.
            occurrence: The wait that is meant, where the same key may wait again; see `WaitState`.

        Raises:
            WaitMismatch: paused, not waiting, or waiting for something else.
            InvalidValue: the payload is not JSON.
            NotFound, Busy
        """
        with self.chain.driven(run_id) as log:
            self._kernel.answer(log, Answer(wait_key, payload, actor, occurrence))
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
        occurrence: int | None = None,
    ) -> RunState:
        """Answer the open wait of a run, see `answer`, then advance it by up to `max_steps` steps."""
        with self.chain.driven(run_id) as log:
            self._kernel.answer(log, Answer(wait_key, payload, actor, occurrence))
            if max_steps is None or max_steps > 0:
                self._kernel.advance(log, workflow, max_steps=max_steps)
            state = self._settled(log, traced=True)
        self.trees.note(state)
        return state

    def apply_commands(self, run_id: str) -> RunState:
        """Apply what others asked of a run while it was owned; nothing is executed."""
        with self.chain.driven(run_id) as log:
            self._kernel.apply_commands(log)
            return self._settled(log)

    def cancel_run(self, run_id: str, *, reason: str | None = None) -> RunState:
        """Cancel a run; when someone else drives it, leave the request in its inbox."""
        return self._control(run_id, Cancel(reason))

    def pause_run(self, run_id: str, *, reason: str | None = None) -> RunState:
        """Pause a run at its next step."""
        return self._control(run_id, Pause(reason))

    def resume_run(self, run_id: str) -> RunState:
        """Let a paused run go on; nothing is executed yet."""
        return self._control(run_id, Unpause())

    def update_limits(self, run_id: str, updates: JsonObject) -> None:
        """Set limits of a run; names that are no limits are left out.

        A run that rests at a limit can go on when that is above what it has used.
        """
        self._control(run_id, SetLimits(dict(updates)))

    def _control(self, run_id: str, request: Request) -> RunState:
        """Ask something of a run: at once when nobody owns it, else by its inbox."""
        try:
            with self.chain.driven(run_id) as log:
                self._kernel.apply(log, request)
                return self._settled(log)
        except Busy:
            command = Command(self._ids.command_id(), request, self._clock.now_iso())
            return self.post(run_id, command)

    def post(self, run_id: str, command: Command) -> RunState:
        """Store a command and apply it unless the run is owned; its owner then applies it.

        The command counts once, however often one with its id is posted.

        Raises:
            NotFound
        """
        self._engine.post(run_id, command)
        try:
            # An owner may have looked into the inbox for the last time before the post.
            return self.apply_commands(run_id)
        except Busy:
            return self._engine.peek(run_id)

    def emit_event(  # noqa: PLR0913 - the fields of an event, keyword-only
        self,
        *,
        name: str,
        payload: Any = None,
        scope: str = "session",
        session_id: str | None = None,
        workflow_id: str | None = None,
        run_id: str | None = None,
        event_id: str | None = None,
        max_steps: int = 0,
        limit: int = LISTENER_LIMIT,
    ) -> JsonObject:
        """Hand an event from outside to the runs that wait for it.

        Args:
            event_id: Names this event among those of its key; emitting it again delivers
                nothing twice to a run, as long as that remembers it: its last 64 commands in
                a directory store, none in a classic pair.
            max_steps: How far each listener is driven at once.

        Returns:
            `{wait_key, name, scope, delivered, delivered_to, resumed}`.

        Raises:
            ValueError: blank name, unknown scope, or no id for the scope.
            UsageError: there are listeners, but the runtime has no workflow registry.
        """
        key = build_event_wait_key(
            scope=scope, name=name, session_id=session_id, workflow_id=workflow_id, run_id=run_id
        )
        # One id may name several events, such as what happens to one order.
        emission = f"{key}:{event_id}" if event_id else self._ids.command_id()
        event = Event(
            name=name.strip(),
            scope=scope,
            wait_key=key,
            session_id=session_id,
            payload=as_event_payload(payload),
            emitted_at=self._clock.now_iso(),
            emitter={"source": "external"},
            delivery_id=f"event:{emission}",
            event_id=event_id,
        )
        found = find_listeners(self._host, event, limit=limit)
        if found and self._registry is None and not self._engine.keeps_commands:
            raise UsageError(
                f"{event.wait_key!r} has listeners, but the runtime has no workflow registry",
                hint="give the runtime a workflow_registry",
            )
        return deliver_event(self._host, event, found, max_steps=max_steps)

    # -- workflows -----------------------------------------------------------

    def _evidence(self) -> Evidence | None:
        if self._artifact_store is None:
            return None
        from abstractruntime.evidence import EvidenceRecorder  # noqa: PLC0415 - only tool calls need it

        return EvidenceRecorder(artifact_store=self._artifact_store)

    def find_workflow(self, workflow_id: str) -> WorkflowSpec | None:
        """Give a registered workflow, or one of the runtime's own, such as summarising a chat."""
        spec = self._registry.get(workflow_id) if self._registry is not None else None
        found: WorkflowSpec | None = spec or INTERNAL_WORKFLOWS.get(workflow_id)
        return found

    def _tell_step(self, run: RunState, log: RunLog) -> None:
        self.on_step(run, log)

    def _settled(self, log: RunLog, *, traced: bool = False) -> RunState:
        log.settle()
        run = log.run
        own = isolate(run.vars)
        if traced and self._trace_records:
            recent = self._engine.recent(run.run_id, self._trace_records)
            get_runtime(own)[NODE_TRACES] = isolate(project_traces(r.record for r in recent))
        return replace(
            run,
            vars=own,
            output=isolate(run.output),
            waiting=replace(run.waiting) if run.waiting else None,
        )


def _classic(run_store: Any, ledger_store: Any) -> Engine:
    from abstractruntime.storage.classic import ClassicEngine  # noqa: PLC0415 - only classic pairs need it

    if run_store is None or ledger_store is None:
        raise UsageError(
            "a runtime needs a run store and a ledger store",
            hint="or Runtime.on_engine(open_store(path))",
        )
    return ClassicEngine(run_store, ledger_store)
