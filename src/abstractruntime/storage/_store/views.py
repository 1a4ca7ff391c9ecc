"""A directory store as a pair of 0.4.x stores.

`Runtime(run_store=engine.runs, ledger_store=engine.ledgers)` drives the engine itself. The
views are for hosts that read and write runs directly; what they write is committed under
the lease of the run, as everything else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from abstractruntime.core.models import RunState, RunStatus, StepRecord, WaitReason
from abstractruntime.core.origin import first_record
from abstractruntime.core.ports import Engine, RunHeader, RunQuery
from abstractruntime.core.records import RecordFactory
from abstractruntime.core.store import LedgerHead
from abstractruntime.core.usage import ledger_metrics
from abstractruntime.errors import NotFound
from abstractruntime.storage._files.layout import is_id
from abstractruntime.storage._run_queries import INDEX_COLUMNS, Row, RunQueries, page_size, plain
from abstractruntime.storage._store.host_edits import commit_state, isolated_run
from abstractruntime.storage.base import LedgerStore
from abstractruntime.storage.large_values import holds_references

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.core.ports import StoredRecord
    from abstractruntime.storage._store.observers import LedgerCallback, Unsubscribe
    from abstractruntime.storage._store.run_log import DirectoryRunLog
    from abstractruntime.storage._store.services import Services

HOST_SAVE = "host_save"
_PAGE = 1000

Records = list[dict[str, Any]]


class ViewedEngine(Engine, Protocol):
    """The engine behind the views, whose logs also take what a host writes by itself."""

    @property
    def services(self) -> Services: ...
    def create(self, run: RunState, first: StepRecord) -> DirectoryRunLog: ...
    def open(self, run_id: str, *, wait_s: float = 0.0) -> DirectoryRunLog: ...
    def head(self, run_id: str) -> LedgerHead: ...
    def resolve(self, record: JsonObject) -> JsonObject: ...
    def subscribe(self, callback: LedgerCallback, *, run_id: str | None = None) -> Unsubscribe: ...


class RunsView(RunQueries):
    """The runs of a directory store; `load` gives a copy that the caller owns."""

    def __init__(self, engine: ViewedEngine) -> None:
        self.engine = engine

    def save(self, run: RunState) -> None:
        """Commit how a run differs from what is stored, creating it where there is none.

        The last save wins, as in every 0.4.x store. A finished run that is saved as live goes on
        from where it was put, and reuses the outcomes of earlier effects with equal payloads.

        Raises:
            Busy: someone drives the run, perhaps the caller itself.
            UsageError: the run has an effect without outcome, and the save moves it elsewhere.
            InvalidValue: the state holds something that is not JSON.
        """
        state = isolated_run(run)
        try:
            log = self.engine.open(run.run_id)
        except NotFound:
            self._create(state)
            return
        with contextlib.closing(log):
            commit_state(log, self._records(), state, action=HOST_SAVE)

    def _create(self, run: RunState) -> None:
        records = self._records()
        first = first_record(records, run, {"origin": HOST_SAVE})
        with contextlib.closing(self.engine.create(run, first)) as log:
            if run.status.is_terminal:
                log.append_bare(records.terminal_status(run))
            log.settle()

    def _records(self) -> RecordFactory:
        return RecordFactory(self.engine.services.clock, self.engine.services.ids)

    def load(self, run_id: str) -> RunState | None:
        """Read a run; None when there is none.

        Raises:
            IntegrityError: its files contradict each other.
        """
        if not is_id(run_id):
            return None
        try:
            return self.engine.peek(run_id)
        except NotFound:
            return None

    def _rows(self, query: RunQuery) -> Iterable[Row]:
        # Hosts also ask by the text of a status or reason.
        status = RunStatus(query.status) if query.status is not None else None
        reason = WaitReason(query.wait_reason) if query.wait_reason is not None else None
        return map(_row, self.engine.find(replace(query, status=status, wait_reason=reason)))


class LedgerView(LedgerStore):
    """The ledgers of a directory store, as they are stored: large values are references."""

    def __init__(self, engine: ViewedEngine) -> None:
        self.engine = engine

    def append(self, record: StepRecord) -> None:
        """Commit a record of the host's own to an existing run; it changes nothing in its state.

        Raises:
            NotFound: no such run.
            Busy: someone drives the run.
        """
        with contextlib.closing(self.engine.open(record.run_id)) as log:
            log.append_bare(replace(record))
            log.settle()

    def list(self, run_id: str) -> Records:
        return [stored.record for stored in self._stored(run_id)]

    def list_after(self, *, run_id: str, after: int, limit: int = _PAGE) -> tuple[Records, int]:
        """Give the records behind the first `after` ones, and the `after` of the next page."""
        found: Records = []
        for stored in self._stored(run_id, after=after - 1):
            if len(found) == page_size(limit, _PAGE):
                break
            found.append(stored.record)
        return found, after + len(found)

    def count(self, run_id: str) -> int:
        """Give the number of records, from the end of the ledger alone."""
        try:
            return self.engine.head(run_id).records if is_id(run_id) else 0
        except NotFound:
            return 0

    def count_many(self, run_ids: Iterable[str]) -> dict[str, int]:
        """Give the number of records by run; unknown runs are left out."""
        counts = {run_id: self.count(run_id) for run_id in run_ids}
        return {run_id: count for run_id, count in counts.items() if count}

    def metrics_many(self, run_ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """Give `{steps, llm_calls, tool_calls, tokens_total}` by run; unknown runs are left out."""
        found = {}
        for run_id in run_ids:
            records = [self._resolved(stored) for stored in self._stored(run_id)]
            if records:
                found[run_id] = ledger_metrics(records)
        return found

    def subscribe(self, callback: LedgerCallback, *, run_id: str | None = None) -> Unsubscribe:
        """Call `callback` with every record that this process commits; see `engine.subscribe`."""
        return self.engine.subscribe(callback, run_id=run_id)

    def clear_subscribers(self) -> None:
        self.engine.services.observers.clear()

    def _stored(self, run_id: str, *, after: int = -1) -> Iterable[StoredRecord]:
        if not is_id(run_id):
            return
        try:
            yield from self.engine.records(run_id, after=after)
        except NotFound:
            return

    def _resolved(self, stored: StoredRecord) -> JsonObject:
        if holds_references(stored.line):
            return self.engine.resolve(stored.record)
        return stored.record


def _row(header: RunHeader) -> Row:
    return {name: plain(getattr(header, name)) for name in INDEX_COLUMNS}
