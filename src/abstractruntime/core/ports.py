"""The ports of the kernel: everything it asks of the world.

A store gives an `Engine`; an engine gives one `RunLog` per owned run. Nothing here
assumes a file: the directory store, the classic pair of stores and a database
follow the same protocols.

Rules of a run log:
1. `run` is the only mutable copy of the state; `commit` computes what changed since
   the previous commit and writes it in the same transaction as the records.
2. A record that was committed is never written again; a record object may be
   committed twice only as STARTED and then with its outcome.
3. After `close` the log must not be used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from abstractruntime.core.commands import Command
from abstractruntime.core.models import (
    Effect,
    JsonObject,
    RunState,
    RunStatus,
    StepRecord,
    WaitReason,
    WaitState,
)
from abstractruntime.core.outcome import Outcome, outcome_of


class Clock(Protocol):
    def now(self) -> datetime: ...
    def now_iso(self) -> str: ...
    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class Ids(Protocol):
    def run_id(self) -> str: ...
    def step_id(self) -> str: ...
    def command_id(self) -> str: ...


class Barrier(Enum):
    """How much a commit must survive when it returns.

    NONE survives the death of the process. EXTERNAL stands before and after an
    effect that leaves the process. ACK stands before anything is reported.
    In mode `strict` EXTERNAL and ACK sync to the disk; in `relaxed` only ACK does, when the
    run waits or has ended; in `off` nothing does.
    """

    NONE = "none"
    EXTERNAL = "external"
    ACK = "ack"


class Position(NamedTuple):
    """Where a record lies: ordinal in its ledger and byte offset of its line."""

    seq: int
    offset: int


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One stored line: its position, its exact bytes without LF, and its content."""

    seq: int
    offset: int
    line: bytes
    record: JsonObject


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to find; unset fields do not restrict. Newest `updated_at` first.

    `outcome` finds runs by what became of them, as far as a run itself tells it.
    `due_at` finds waiting runs whose deadline is not after it, earliest first. `child_ended`
    finds runs that wait for a child which has ended, `listens_to` those that listen to one
    of these keys, even when they are busy now.
    """

    status: RunStatus | None = None
    wait_reason: WaitReason | None = None
    workflow_id: str | None = None
    session_id: str | None = None
    parent_run_id: str | None = None
    root_only: bool = False
    live_only: bool = False
    due_at: str | None = None
    wait_keys: tuple[str, ...] = ()
    wait_key_prefix: str | None = None
    listens_to: tuple[str, ...] = ()
    child_ended: bool = False
    has_commands: bool = False
    id_prefix: str | None = None
    limit: int = 100
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What a listing knows of a run without opening it."""

    run_id: str
    workflow_id: str
    status: RunStatus
    outcome: Outcome
    wait_reason: WaitReason | None
    wait_key: str | None
    wait_until: str | None
    parent_run_id: str | None
    actor_id: str | None
    session_id: str | None
    created_at: str
    updated_at: str
    listening: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: RunState) -> RunHeader:
        """Give the header of a run that was read."""
        wait = run.waiting
        return cls(
            run_id=run.run_id,
            workflow_id=run.workflow_id,
            status=run.status,
            outcome=outcome_of(run),
            wait_reason=wait.reason if wait else None,
            wait_key=wait.wait_key if wait else None,
            wait_until=wait.until if wait else None,
            parent_run_id=run.parent_run_id,
            actor_id=run.actor_id,
            session_id=run.session_id,
            created_at=run.created_at,
            updated_at=run.updated_at,
            listening=tuple(run.listening or ()),
        )


class RunLog(Protocol):
    """One run, owned until `close`."""

    run: RunState
    pending: StepRecord | None

    @property
    def ledger_bytes(self) -> int | None:
        """The size of the ledger, and of what the run wrote beside it; None where nobody knows it."""
        ...

    def next_occurrence(self) -> int:
        """Give the ordinal of the next effect occurrence of this run."""
        ...

    def commit(
        self,
        *records: StepRecord,
        barrier: Barrier = Barrier.NONE,
        wrote: str | None = None,
        plan: JsonObject | None = None,
        scan: bool = True,
        commands: tuple[str, ...] = (),
    ) -> Position:
        """Write the records and everything that changed in `run`, as one transaction.

        Args:
            records: In order, at least one; the first one carries the state change.
            barrier: What the commit must survive when it returns.
            wrote: JSON pointer below vars at which `run` already holds the record's result.
            plan: `{"next_node", "occ", ...}` of a STARTED record, so that recovery needs no node.
            scan: False when nothing but `wrote` can have changed in vars.
            commands: Ids of the commands that these records apply.

        Raises:
            InvalidValue: the state holds something that is not JSON; nothing was written.
            StoreError: nothing was acknowledged; the next open decides from the disk.
        """
        ...

    def reuse(
        self,
        outcome: StepRecord,
        *,
        barrier: Barrier = Barrier.NONE,
        wrote: str | None = None,
    ) -> Position:
        """Write what changed in `run` because of an outcome that `reusable` gave; `commit` for one.

        A log that keeps internal records says in one which outcome it was.
        """
        ...

    def take_commands(self) -> list[Command]:
        """Give the commands that no commit has applied yet, oldest first; they stay until one does.

        A run that has ended has none: whatever waits for it is void, and removed.
        """
        ...

    def set_aside(self, command_id: str) -> None:
        """Take a command that is not what it claims to be away, without it counting as applied.

        Another command under its id can still be applied.
        """
        ...

    def rollback(self) -> None:
        """Reset `run` to the last committed state; nothing on disk changes."""
        ...

    def reusable(self, key: str) -> StepRecord | None:
        """Give a completed record with this payload key that the saved state has not absorbed.

        A pair of stores can have one after a death between its two writes. Where a commit holds
        record and state, only a run that its host put back can.
        """
        ...

    def settle(self) -> None:
        """Make everything committed so far acknowledged: sync, checkpoint if due, sign the head."""
        ...

    def close(self) -> None: ...


class Engine(Protocol):
    """One store.

    `keeps_commands`: a posted command outlives this process, so that whoever drives the
    run next applies it.
    """

    @property
    def keeps_commands(self) -> bool: ...

    @property
    def runs(self) -> Any:
        """The runs as a 0.4.x `RunStore`."""
        ...

    @property
    def ledgers(self) -> Any:
        """The ledgers as a 0.4.x `LedgerStore`."""
        ...

    def create(self, run: RunState, first: StepRecord) -> RunLog:
        """Create a run durably and own it; an existing id raises `Busy` or `UsageError`."""
        ...

    def open(self, run_id: str, *, wait_s: float = 0.0) -> RunLog:
        """Own a run.

        Raises:
            NotFound, Busy, IntegrityError
        """
        ...

    def peek(self, run_id: str) -> RunState:
        """Read a run without owning it; the copy is isolated.

        Raises:
            NotFound, IntegrityError
        """
        ...

    def records(self, run_id: str, *, after: int = -1) -> Iterator[StoredRecord]:
        """Give the records with a `seq` above `after`, in order."""
        ...

    def recent(
        self, run_id: str, limit: int, *, most_bytes: int | None = None
    ) -> list[StoredRecord]:
        """Give the last `limit` records, in order, without reading those before them.

        Of those only as many as take no more than `most_bytes`, but the last one in any case.
        """
        ...

    def post(self, run_id: str, command: Command, *, sender: str | None = None) -> None:
        """Store a command durably for whoever owns the run now or next.

        Args:
            sender: The run that sends it, if one does: what that takes counts as its own.
        """
        ...

    def find(self, query: RunQuery) -> list[RunHeader]: ...


class Evidence(Protocol):
    """Keeps what tools brought in, before the outcome that refers to it is committed."""

    def record_tool_calls(
        self,
        *,
        run: RunState,
        node_id: str,
        tool_calls: list[Any],
        tool_results: list[Any],
        now_iso: str | None = None,
    ) -> object:
        """Store the raw parts of tool results; replaces them in place and indexes them in `run`.

        Never raises for what a tool returned; a failure becomes a warning in the run.
        """
        ...


@dataclass(frozen=True, slots=True)
class Retry:
    """What a handler says about the next attempt, after one that failed.

    Attributes:
        is_counted: The attempt takes one of those that the policy gives. One that is not counted
            is always repeated: the handler itself must bound how often.
        after_s: The pause before the next attempt; None: as the policy says. A longer one is a
            wait of the run, which survives the process.
        carry: JSON that the next attempt finds in `EffectContext.carried`.
    """

    is_counted: bool = True
    after_s: float | None = None
    carry: Any = None


@dataclass(frozen=True)
class EffectOutcome:
    """What an effect came to, as its handler says: completed, waiting or failed.

    A failure is repeated as the policy says, unless `is_final`; `retry` says more about how.
    """

    status: Literal["completed", "waiting", "failed"]
    result: Any = None
    wait: WaitState | None = None
    error: str | None = None
    retry: Retry | None = None
    is_final: bool = False

    @classmethod
    def completed(cls, result: Any = None) -> EffectOutcome:
        return cls("completed", result=result)

    @classmethod
    def waiting(cls, wait: WaitState) -> EffectOutcome:
        return cls("waiting", wait=wait)

    @classmethod
    def failed(
        cls, error: str, *, retry: Retry | None = None, is_final: bool = False
    ) -> EffectOutcome:
        return cls("failed", error=error, retry=retry, is_final=is_final)


@runtime_checkable
class EffectHandler(Protocol):
    """A host's handler, as in 0.4.x; a two-argument form without the next node also works."""

    def __call__(
        self, run: RunState, effect: Effect, default_next_node: str | None, /
    ) -> EffectOutcome: ...
