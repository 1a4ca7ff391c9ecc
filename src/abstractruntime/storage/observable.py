"""Ledger stores that tell subscribers about every record.

Rules:
1. A subscriber is called in the appending thread, after the record was stored.
2. What a subscriber gets is the record as it was stored, and a copy of its own.
3. A subscriber that raises disturbs nobody; its last error is kept for whoever looks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias, runtime_checkable

from abstractruntime._json import isolate
from abstractruntime.core.models import JsonObject, StepRecord
from abstractruntime.storage._decorating import append_stored, inner_attribute
from abstractruntime.storage.base import LedgerStore

LedgerCallback: TypeAlias = Callable[[JsonObject], None]
Unsubscribe: TypeAlias = Callable[[], None]


@runtime_checkable
class ObservableLedgerStoreProtocol(Protocol):
    """A ledger store that can be subscribed to."""

    def subscribe(self, callback: LedgerCallback, *, run_id: str | None = None) -> Unsubscribe: ...


class ObservableLedgerStore(LedgerStore):
    """A ledger store that tells subscribers what the inner store was given.

    An inner store that can be subscribed to tells them itself, as a directory store does,
    whose engine writes records without asking a ledger store. `list_after` and other extras
    of the inner store are passed through.
    """

    def __init__(self, inner: LedgerStore) -> None:
        self._inner = inner
        self._subscribers: dict[object, tuple[LedgerCallback, str | None]] = {}
        self._mutex = threading.Lock()
        self.last_subscriber_error: Exception | None = None

    @property
    def inner(self) -> LedgerStore:
        return self._inner

    def append(self, record: StepRecord) -> None:
        """Store a record, then tell every subscriber of its run."""
        self.append_stored(record)

    def append_stored(self, record: StepRecord) -> StepRecord:
        """Do what `append` does, and give the record as the inner store kept it."""
        kept = append_stored(self._inner, record)
        self._notify(kept)
        return kept

    def _notify(self, record: StepRecord) -> None:
        with self._mutex:
            callbacks = [
                callback
                for callback, run_id in self._subscribers.values()
                if run_id is None or run_id == record.run_id
            ]
        if not callbacks:
            return
        stored = record.to_dict()
        for callback in callbacks:
            try:
                callback(isolate(stored))
            except Exception as error:  # noqa: BLE001 - a subscriber must not stop a run whose record is stored
                self.last_subscriber_error = error

    def list(self, run_id: str) -> list[JsonObject]:
        return self._inner.list(run_id)

    def subscribe(self, callback: LedgerCallback, *, run_id: str | None = None) -> Unsubscribe:
        """Call `callback` for every record from now on, of one run or of all.

        Returns:
            A function that ends the subscription; calling it again does nothing.
        """
        inner = getattr(self._inner, "subscribe", None)
        if callable(inner):
            stop: Unsubscribe = inner(callback, run_id=run_id)
            return stop
        ticket = object()
        with self._mutex:
            self._subscribers[ticket] = (callback, run_id)

        def unsubscribe() -> None:
            with self._mutex:
                self._subscribers.pop(ticket, None)

        return unsubscribe

    def clear_subscribers(self) -> None:
        with self._mutex:
            self._subscribers.clear()

    def count(self, run_id: str) -> int:
        """Give the number of records, by counting them where the inner store has no `count`."""
        count = getattr(self._inner, "count", None)
        return int(count(run_id)) if callable(count) else len(self._inner.list(run_id))

    def count_many(self, run_ids: Iterable[str]) -> dict[str, int]:
        """Give the number of records of each run; empty where the inner store cannot tell."""
        count_many = getattr(self._inner, "count_many", None)
        return dict(count_many(run_ids)) if callable(count_many) else {}

    def metrics_many(self, run_ids: Iterable[str]) -> dict[str, JsonObject]:
        """Give steps, calls and tokens of each run; empty where the inner store cannot tell."""
        metrics_many = getattr(self._inner, "metrics_many", None)
        return dict(metrics_many(run_ids)) if callable(metrics_many) else {}

    def __getattr__(self, name: str) -> Any:
        return inner_attribute(self, self._inner, name)
