"""What built-in effect handlers may do beyond their own run: children, memory owners, events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from abstractruntime._runtime.call_chain import CallChain
from abstractruntime._runtime.reads import with_large_values
from abstractruntime._runtime.tree_context import RuntimeContext
from abstractruntime.core.commands import Command
from abstractruntime.core.models import JsonObject, RunState, RunStatus
from abstractruntime.core.origin import first_record
from abstractruntime.core.ports import Clock, Engine, RunHeader, RunQuery
from abstractruntime.core.records import RecordFactory
from abstractruntime.core.run_tree import root_of
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.core.traces import project_traces
from abstractruntime.core.vars import LIMITS, RUNTIME
from abstractruntime.effects.events import Listener
from abstractruntime.errors import AbstractRuntimeError, Busy, NotFound, StoreError, UsageError

STOP_SIGNAL: ContextVar[Callable[[], bool] | None] = ContextVar("stop_signal", default=None)

# How long a note waits for another run that just writes to the same index.
_OWNER_WAIT_S, _OWNER_PAUSE_S = 10.0, 0.01
_TRACED_RECORDS = 10_000


class HostedRuntime(Protocol):
    """What the host ports need of the runtime whose handlers they serve."""

    @property
    def engine(self) -> Engine: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def chain(self) -> CallChain: ...
    @property
    def trees(self) -> RuntimeContext: ...
    @property
    def records(self) -> RecordFactory: ...
    @property
    def workflow_registry(self) -> Any: ...
    @property
    def artifact_store(self) -> Any: ...
    @property
    def chat_summarizer(self) -> Any: ...
    def find_workflow(self, workflow_id: str) -> WorkflowSpec | None: ...
    def start(self, *args: Any, **options: Any) -> str: ...
    def tick(self, *args: Any, **options: Any) -> RunState: ...
    def apply_commands(self, run_id: str) -> RunState: ...


class EffectHost:
    """The host ports of `effects`, over one runtime."""

    def __init__(self, runtime: HostedRuntime) -> None:
        self._runtime = runtime
        self._engine = runtime.engine
        self._chain = runtime.chain
        self._clock = runtime.clock
        self._records = runtime.records

    @property
    def artifact_store(self) -> Any:
        return self._runtime.artifact_store

    @property
    def chat_summarizer(self) -> Any:
        return self._runtime.chat_summarizer

    # -- children --------------------------------------------------------------

    def has_registry(self) -> bool:
        return self._runtime.workflow_registry is not None

    def has_workflow(self, workflow_id: str) -> bool:
        return self._runtime.find_workflow(workflow_id) is not None

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
            self._runtime.start(
                workflow=self._workflow(workflow_id),
                vars=vars,
                actor_id=parent.actor_id,
                session_id=session_id or parent.session_id,
                parent_run_id=parent.run_id,
                run_id=run_id,
            )
            self._runtime.trees.child_begun(parent)
            return self._engine.peek(run_id)

    def drive_child(self, run_id: str) -> RunState:
        workflow = self._workflow(self._engine.peek(run_id).workflow_id)
        try:
            child = self._runtime.tick(
                workflow=workflow, run_id=run_id, max_steps=None, stop=STOP_SIGNAL.get()
            )
        except Busy:
            child = self._engine.peek(run_id)
        return with_large_values(self._engine, child)

    def node_traces(self, run_id: str) -> JsonObject:
        stored = self._engine.recent(run_id, _TRACED_RECORDS)
        return project_traces(record.record for record in stored)

    def _workflow(self, workflow_id: str) -> WorkflowSpec:
        spec = self._runtime.find_workflow(workflow_id)
        if spec is None:
            raise NotFound(
                f"workflow {workflow_id!r} is not registered", kind="workflow", id=workflow_id
            )
        return spec

    # -- the tree that a run belongs to ------------------------------------------

    def root_run_id(self, run_id: str) -> str:
        return root_of(self.peek, run_id)

    def may_reach(self, from_run: RunState, target_run_id: str) -> bool:
        """Tell whether a run may look into another: of the same tree, or the same session."""
        if target_run_id == from_run.run_id:
            return True
        target = self.peek(target_run_id)
        if from_run.session_id and from_run.session_id == target.session_id:
            return True
        return self.root_run_id(from_run.run_id) == self.root_run_id(target_run_id)

    def peek(self, run_id: str) -> RunState:
        """Read a run; one that this chain drives is read as it is now."""
        log = self._chain.open_log(run_id)
        return log.run if log is not None else self._engine.peek(run_id)

    # -- memory of other runs ----------------------------------------------------

    def read_owner(self, owner_id: str) -> RunState | None:
        try:
            return self.peek(owner_id)
        except NotFound:
            return None

    @contextmanager
    def edit_run(self, run_id: str) -> Iterator[RunState]:
        """Own an existing run briefly; changes to its variables and output are committed.

        Raises:
            NotFound, Busy
        """
        with self._chain.owned(run_id, wait_s=_OWNER_WAIT_S) as log:
            yield log.run
            log.commit(self._records.internal(log.run, "control", action="memory"))
            log.settle()

    @contextmanager
    def edit_owner(self, owner_id: str, workflow_id: str) -> Iterator[JsonObject]:
        self._ensure_owner(owner_id, workflow_id)
        with self.edit_run(owner_id) as owner:
            yield owner.vars

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
        with closing(self._engine.create(run, first_record(self._records, run))) as log:
            log.settle()

    # -- events ------------------------------------------------------------------

    def listeners(self, query: RunQuery) -> list[RunHeader]:
        return self._engine.find(query)

    def deliver(
        self, listener: Listener, command: Command, *, max_steps: int, sender: str | None
    ) -> JsonObject:
        """Hand an event to one waiting run, and give `{run_id, status[, error]}`.

        The command is stored first, under an id that a repeated delivery repeats, so that
        the event is applied once whoever dies in between. Where commands do not outlive the
        process, only a run whose workflow is registered can go on, and others are skipped.
        """
        run_id = listener.run_id
        workflow = self._runtime.find_workflow(listener.workflow_id)
        if workflow is None and not self._engine.keeps_commands:
            error = "workflow_not_registered"
            return {"run_id": run_id, "status": "skipped", "error": error}
        try:
            self._engine.post(run_id, command, sender=sender)
            status = self._take_up(run_id, workflow, max_steps)
        except StoreError:
            # Invariant: a disk that fails is no outcome; the emission is repeated, to the same runs.
            raise
        except AbstractRuntimeError as error:
            return {"run_id": run_id, "status": "error", "error": str(error)}
        return {"run_id": run_id, "status": status.value}

    def _take_up(self, run_id: str, workflow: WorkflowSpec | None, max_steps: int) -> RunStatus:
        try:
            state = self._runtime.apply_commands(run_id)
            if workflow is None or max_steps <= 0:
                return RunStatus.RUNNING
            if state.status is RunStatus.RUNNING:
                state = self._runtime.tick(workflow=workflow, run_id=run_id, max_steps=max_steps)
        except Busy:
            return RunStatus.RUNNING  # its owner takes the command
        return state.status
