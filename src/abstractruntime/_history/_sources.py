"""Where a history is read from: a pair of 0.4.x stores, or an engine.

Both answer the same four questions and never change anything.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from abstractruntime._json import dump_line, load_strict, normalise
from abstractruntime.core.ports import RunHeader, RunQuery
from abstractruntime.core.record_fields import STARTS_CHILD, started_child
from abstractruntime.errors import AbstractRuntimeError, NotFound, StoreError, UsageError
from abstractruntime.storage.folding import run_of_records
from abstractruntime.storage.large_values import holds_references

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from abstractruntime._json import JsonObject
    from abstractruntime.core.models import RunState
    from abstractruntime.core.ports import Engine

MAX_DESCENDANTS: Final = 5000

_STORE_FAILURES: Final = (OSError, LookupError, ValueError, RuntimeError, sqlite3.Error)


class HistoryError(StoreError, RuntimeError):
    """A store could not be read while a history was collected.

    Compat: 0.4.x raised RuntimeError; it still catches this.
    """

    code = "history"


@dataclass(frozen=True, slots=True)
class Line:
    """One record with its exact stored bytes; None where a store keeps no bytes."""

    record: JsonObject
    stored: bytes | None = None

    @property
    def odd_text(self) -> str | None:
        """Give the stored text if it is not what the record renders to.

        Compat: 0.4.x wrote lines with spaces after separators.
        """
        if self.stored is None or self.stored == dump_line(self.record):
            return None
        return self.stored.decode()


class HistorySource(Protocol):
    def load(self, run_id: str) -> RunState: ...
    def lines(self, run_id: str) -> Iterable[Line]: ...
    def run_of(self, lines: Sequence[Line]) -> RunState | None: ...
    def children(self, run_id: str) -> list[str]: ...
    def session_roots(self, session_id: str, limit: int) -> list[RunState]: ...


class ClassicSource:
    """Reads a `RunStore` and a `LedgerStore`; queries need a queryable run store."""

    def __init__(self, run_store: Any, ledger_store: Any) -> None:
        self._runs = run_store
        self._ledgers = ledger_store

    def load(self, run_id: str) -> RunState:
        with _reading(f"run '{run_id}'"):
            run: RunState | None = self._runs.load(run_id)
        if run is None:
            raise NotFound(f"no run '{run_id}' in this store", kind="run", id=run_id)
        return run

    def lines(self, run_id: str) -> Iterable[Line]:
        with _reading(f"ledger of run '{run_id}'"):
            records = self._ledgers.list(run_id)
        return [Line(normalise(record)) for record in records]

    def run_of(self, lines: Sequence[Line]) -> RunState | None:  # noqa: ARG002 - no commits here
        return None

    def children(self, run_id: str) -> list[str]:
        return [run.run_id for run in self._query("list_children", parent_run_id=run_id)]

    def session_roots(self, session_id: str, limit: int) -> list[RunState]:
        found = self._query("list_runs", limit=limit)
        return [
            run
            for run in found
            if (run.session_id or "").strip() == session_id and not run.parent_run_id
        ]

    def _query(self, method: str, **arguments: Any) -> list[RunState]:
        """Run one query; a store that cannot answer it has nothing to tell."""
        query = getattr(self._runs, method, None)
        if query is None:
            return []
        with _reading(f"run store ({method})"):
            try:
                return list(query(**arguments))
            except NotImplementedError:
                return []


class EngineSource:
    """Reads an engine; records come from the stored bytes, so their hashes hold."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def load(self, run_id: str) -> RunState:
        return self._engine.peek(run_id)

    def lines(self, run_id: str) -> Iterable[Line]:
        return (
            Line(load_strict(stored.line), stored.line) for stored in self._engine.records(run_id)
        )

    def run_of(self, lines: Sequence[Line]) -> RunState | None:
        """Give the run as these lines leave it, which may be behind what `load` gives."""
        if any(holds_references(line.stored or b"") for line in lines):
            return None
        return run_of_records(line.record for line in lines)

    def children(self, run_id: str) -> list[str]:
        found = self._engine.find(RunQuery(parent_run_id=run_id, limit=MAX_DESCENDANTS))
        runs = {run.run_id: run for run in found}
        # A listing is only a cache: what the records of the run name counts as well.
        for stored in self._engine.records(run_id):
            child = started_child(stored.record) if STARTS_CHILD in stored.line else None
            if child is not None and child not in runs:
                with suppress(NotFound, UsageError):
                    runs[child] = RunHeader.of(self._engine.peek(child))
        own = [run for run in runs.values() if run.parent_run_id == run_id]
        return [run.run_id for run in sorted(own, key=lambda run: (run.created_at, run.run_id))]

    def session_roots(self, session_id: str, limit: int) -> list[RunState]:
        query = RunQuery(session_id=session_id, root_only=True, limit=limit)
        return [self._engine.peek(header.run_id) for header in self._engine.find(query)]


def descendants(source: HistorySource, run_id: str) -> list[str]:
    """Give the run and everything below it, breadth first; at most 5000 descendants."""
    found = {run_id: None}
    queue = [run_id]
    for parent in queue:
        for child in source.children(parent):
            if child not in found and len(found) <= MAX_DESCENDANTS:
                found[child] = None
                queue.append(child)
    return queue


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except AbstractRuntimeError:
        raise
    except _STORE_FAILURES as cause:
        raise HistoryError(
            f"{what} could not be read: {cause}", hint="check the store with `art doctor`"
        ) from cause
