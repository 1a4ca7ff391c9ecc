"""The engine over a pair of 0.4.x stores: public records first, then the state.

A pair cannot write record and state in one transaction. What lies between them is
bridged by `RunState.ledger_seq`: the number of records that the saved state has
absorbed. A completed effect beyond it is reused instead of being repeated.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from abstractruntime._json import dump_line, isolate, normalise
from abstractruntime.core.commands import Command
from abstractruntime.core.models import (
    JsonObject,
    RunState,
    RunStatus,
    StepRecord,
    StepStatus,
    WaitReason,
)
from abstractruntime.core.outcome import outcome_of
from abstractruntime.core.ports import Barrier, Position, RunHeader, RunQuery, StoredRecord
from abstractruntime.core.records import is_extension, is_terminal_status
from abstractruntime.core.vars import is_paused
from abstractruntime.errors import Busy, NotFound, UsageError
from abstractruntime.storage._decorating import count_records
from abstractruntime.storage.base import LedgerStore, QueryableRunStore, RunStore

# How many runs a query reads that the store itself cannot narrow down.
_SCAN_LIMIT = 10_000


class ClassicEngine:
    """Drives runs of any `RunStore` and `LedgerStore`; exclusion is per process."""

    keeps_commands = False

    def __init__(self, run_store: RunStore, ledger_store: LedgerStore) -> None:
        self.runs = run_store
        self.ledgers = ledger_store
        self._locks: dict[str, threading.Lock] = {}
        self._commands: dict[str, dict[str, Command]] = {}
        self._guard = threading.Lock()

    def create(self, run: RunState, first: StepRecord) -> ClassicRunLog:  # noqa: ARG002 - no start record in 0.4.x ledgers
        lock = self._acquire(run.run_id, 0.0)
        try:
            if self.runs.load(run.run_id) is not None:
                raise UsageError(
                    f"run {run.run_id!r} exists already",
                    hint="choose another run id, or none",
                    argument="run_id",
                    run_id=run.run_id,
                )
            run.ledger_seq = 0
            self.runs.save(run)
            return ClassicRunLog(self, run, lock)
        except BaseException:
            lock.release()
            raise

    def open(self, run_id: str, *, wait_s: float = 0.0) -> ClassicRunLog:
        lock = self._acquire(run_id, wait_s)
        try:
            return ClassicRunLog(self, self.peek(run_id), lock)
        except BaseException:
            lock.release()
            raise

    def peek(self, run_id: str) -> RunState:
        run = self.runs.load(run_id)
        if run is None:
            raise NotFound(
                f"Unknown run_id: {run_id}", kind="run", id=run_id, hint="list runs: art runs"
            )
        return run

    def records(self, run_id: str, *, after: int = -1) -> Iterator[StoredRecord]:
        for seq, record in enumerate(self.ledgers.list(run_id)):
            if seq > after:
                yield StoredRecord(seq, seq, dump_line(record), record)

    def recent(
        self,
        run_id: str,
        limit: int,
        *,
        most_bytes: int | None = None,  # noqa: ARG002 - all of it is in memory anyway
    ) -> list[StoredRecord]:
        return list(self.records(run_id))[-limit:] if limit > 0 else []

    def post(
        self,
        run_id: str,
        command: Command,
        *,
        sender: str | None = None,  # noqa: ARG002 - it is kept nowhere
    ) -> None:
        """Queue a command in this process; a pair has nowhere to keep it longer.

        Raises:
            NotFound: no such run.
            InvalidValue: its payload is not JSON.
        """
        self.peek(run_id)
        own = Command.from_dict(isolate(normalise(command.to_dict())))
        with self._guard:
            queue = self._commands.setdefault(run_id, {})
            queue.setdefault(command.id, own)

    def commands(self, run_id: str) -> list[Command]:
        with self._guard:
            return list(self._commands.get(run_id, {}).values())

    def discard_commands(self, run_id: str, ids: tuple[str, ...]) -> None:
        with self._guard:
            for command_id in ids:
                self._commands.get(run_id, {}).pop(command_id, None)

    def find(self, query: RunQuery) -> list[RunHeader]:
        store = self.runs
        if not isinstance(store, QueryableRunStore):
            raise UsageError(
                f"{type(store).__name__} cannot be queried", hint="use a QueryableRunStore"
            )
        limit = query.limit if _is_plain(query) else _SCAN_LIMIT
        if query.parent_run_id is not None:
            runs = store.list_children(parent_run_id=query.parent_run_id, status=query.status)
        elif query.due_at is not None:
            runs = store.list_due_wait_until(now_iso=query.due_at, limit=limit)
        else:
            runs = store.list_runs(
                status=query.status,
                wait_reason=query.wait_reason,
                workflow_id=query.workflow_id,
                limit=limit,
            )
        found = [RunHeader.of(run) for run in runs if self._matches(run, query)]
        return found[: query.limit] if query.limit > 0 else found

    def _matches(self, run: RunState, query: RunQuery) -> bool:
        return (
            _matches(run, query)
            and (not query.has_commands or bool(self.commands(run.run_id)))
            and (not query.child_ended or self._child_has_ended(run))
        )

    def _child_has_ended(self, run: RunState) -> bool:
        wait = run.waiting
        if run.status is not RunStatus.WAITING or wait is None:
            return False
        if wait.reason is not WaitReason.SUBWORKFLOW:
            return False
        child = self.runs.load((wait.wait_key or "").removeprefix("subworkflow:"))
        return child is not None and child.status.is_terminal

    def _acquire(self, run_id: str, wait_s: float) -> threading.Lock:
        with self._guard:
            lock = self._locks.setdefault(run_id, threading.Lock())
        acquired = lock.acquire(timeout=wait_s) if wait_s > 0 else lock.acquire(blocking=False)
        if not acquired:
            raise Busy(
                f"run {run_id!r} is being driven in this process",
                hint="try again later",
                run_id=run_id,
            )
        return lock


class ClassicRunLog:
    """One owned run of a classic pair."""

    def __init__(self, engine: ClassicEngine, run: RunState, lock: threading.Lock) -> None:
        self.run = run
        self.pending: StepRecord | None = None
        self._engine = engine
        self._lock = lock
        self._absorbed = run.ledger_seq
        self._was_paused = is_paused(run.vars)
        self._is_checked = False
        self._position = count_records(engine.ledgers, run.run_id)
        self._reusable = self._index_tail()

    @property
    def ledger_bytes(self) -> None:
        """Unknown: a ledger store says nothing of sizes."""
        return None

    def next_occurrence(self) -> int:
        """Give the number of records that the saved state has absorbed: a death does not move it."""
        absorbed = self.run.ledger_seq
        return self._position if absorbed is None else absorbed

    def commit(
        self,
        *records: StepRecord,
        barrier: Barrier = Barrier.NONE,  # noqa: ARG002 - a pair has no sync to order
        wrote: str | None = None,  # noqa: ARG002 - the whole state is saved
        plan: JsonObject | None = None,
        scan: bool = True,  # noqa: ARG002
        commands: tuple[str, ...] = (),
    ) -> Position:
        public = [r for r in records if not is_extension(r.effect, r.result)]
        self._clean(public)
        if plan is not None:
            # Recovery plans anew, from the variables as they were before the node.
            for record in public:
                self._append(record)
            return Position(self._position - 1, self._position - 1)
        # A commit of hops or control leaves an outcome beyond it to be reused.
        return self._write(public, commands, absorbs=bool(public))

    def reuse(
        self,
        outcome: StepRecord,  # noqa: ARG002 - it lies in the ledger; the state absorbs it
        *,
        barrier: Barrier = Barrier.NONE,  # noqa: ARG002
        wrote: str | None = None,  # noqa: ARG002
    ) -> Position:
        self._clean([])
        return self._write([], (), absorbs=True)

    def _write(
        self, records: list[StepRecord], commands: tuple[str, ...], *, absorbs: bool
    ) -> Position:
        """Append the records and save the state, unless a host changed it meanwhile."""
        stored = self._engine.runs.load(self.run.run_id)
        if stored is not None and self._is_outranked_by(stored):
            return self._yield_to(stored, records)
        for record in records:
            if not is_terminal_status(record):
                self._append(record)
        if absorbs:
            self.run.ledger_seq = self._position
        self._engine.runs.save(self.run)
        self._was_paused, self._is_checked = is_paused(self.run.vars), True
        for record in records:
            if is_terminal_status(record):
                self._append(record)
        self._engine.discard_commands(self.run.run_id, commands)
        return Position(self._position - 1, self._position - 1)

    def _clean(self, records: list[StepRecord]) -> None:
        """Normalise everything that is about to be written, before any of it is."""
        run = self.run
        run.vars = normalise(run.vars, "/vars")
        run.output = normalise(run.output, "/output")
        if run.waiting is not None:
            run.waiting.details = normalise(run.waiting.details, "/waiting/details")
        for record in records:
            record.effect = normalise(record.effect, "/effect")
            record.result = normalise(record.result, "/result")

    def _is_outranked_by(self, stored: RunState) -> bool:
        """Tell whether a host cancelled or paused the run in the store since this log last saw it."""
        run = self.run
        if RunStatus.CANCELLED in (run.status, stored.status):
            return run.status is not RunStatus.CANCELLED
        return is_paused(stored.vars) and not self._was_paused and not is_paused(run.vars)

    def _yield_to(self, stored: RunState, records: list[StepRecord]) -> Position:
        """Keep what an effect came to in the ledger, to be reused, and take the host's state over."""
        for record in records:
            if record.idempotency_key and not is_terminal_status(record):
                self._append(record)
        self._take_over(stored)
        return Position(self._position - 1, self._position - 1)

    def _take_over(self, stored: RunState) -> None:
        for name, value in vars(stored).items():
            setattr(self.run, name, value)
        self._was_paused = is_paused(stored.vars)

    def take_commands(self) -> list[Command]:
        """Give posted commands, after taking over a cancel or pause that a host saved directly."""
        run_id = self.run.run_id
        # A commit has just looked; the next one looks again before it writes.
        stored = None if self._is_checked else self._engine.runs.load(run_id)
        self._is_checked = False
        if stored is not None and self._is_outranked_by(stored):
            self._take_over(stored)
        waiting = self._engine.commands(run_id)
        if waiting and self.run.status.is_terminal:
            self._engine.discard_commands(run_id, tuple(command.id for command in waiting))
            return []
        return waiting

    def set_aside(self, command_id: str) -> None:
        self._engine.discard_commands(self.run.run_id, (command_id,))

    def rollback(self) -> None:
        stored = self._engine.runs.load(self.run.run_id)
        if stored is not None:
            self._take_over(stored)

    def reusable(self, key: str) -> StepRecord | None:
        queue = self._reusable.get(key)
        if not queue:
            return None
        record, restore = queue.pop(0), getattr(self._engine.ledgers, "restore", None)
        # What the store moved into artifacts belongs back in place before a node gets it.
        return StepRecord.from_dict(restore(record.to_dict())) if callable(restore) else record

    def settle(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        self._lock.release()

    def _append(self, record: StepRecord) -> None:
        self._engine.ledgers.append(record)
        self._position += 1

    def _index_tail(self) -> dict[str, list[StepRecord]]:
        """Index completed effects that the saved state has not absorbed, first in first out.

        Compat: a host may set a finished run back to RUNNING and tick it again (0.4.x
        constraint C5); then every earlier completed effect is reusable.
        """
        if self.run.status is not RunStatus.RUNNING:
            return {}
        store, run_id = self._engine.ledgers, self.run.run_id
        tail = _list_after(store, run_id, self._absorbed or 0)
        last = tail[-1:] or (
            _list_after(store, run_id, self._position - 1) if self._position else []
        )
        if last and is_terminal_status(StepRecord.from_dict(last[-1])):
            tail = store.list(run_id)
        index: dict[str, list[StepRecord]] = {}
        for data in tail:
            key = data.get("idempotency_key")
            if key and data["status"] == StepStatus.COMPLETED:
                index.setdefault(key, []).append(StepRecord.from_dict(data))
        return index


def _is_plain(query: RunQuery) -> bool:
    """Tell whether a query asks only what the store itself filters by."""
    asked = {
        name
        for name in RunQuery.__dataclass_fields__
        if getattr(query, name) != RunQuery.__dataclass_fields__[name].default
    }
    return asked <= {"status", "wait_reason", "workflow_id", "limit"} and query.limit > 0


def _matches(run: RunState, query: RunQuery) -> bool:
    key = (run.waiting.wait_key if run.waiting else None) or ""
    return (
        (not query.wait_keys or key in query.wait_keys)
        and (not query.wait_key_prefix or key.startswith(query.wait_key_prefix))
        and (not query.listens_to or not set(query.listens_to).isdisjoint(run.listening or ()))
        and (query.wait_reason is None or (run.waiting and run.waiting.reason) is query.wait_reason)
        and (query.workflow_id is None or run.workflow_id == query.workflow_id)
        and (query.session_id is None or run.session_id == query.session_id)
        and not (query.live_only and run.status.is_terminal)
        and (not query.root_only or run.parent_run_id is None)
        and (query.id_prefix is None or run.run_id.startswith(query.id_prefix))
        and (query.status is None or run.status is query.status)
        and (query.outcome is None or outcome_of(run) is query.outcome)
    )


def _list_after(store: LedgerStore, run_id: str, after: int) -> list[dict[str, Any]]:
    list_after = getattr(store, "list_after", None)
    if not callable(list_after):
        return store.list(run_id)[after:]
    page = list_after(run_id=run_id, after=after)
    if isinstance(page, list):
        return page
    # Compat: some stores give pages, as `(records, cursor)`.
    found: list[dict[str, Any]] = []
    while page[0]:
        found += page[0]
        page = list_after(run_id=run_id, after=page[1])
    return found
