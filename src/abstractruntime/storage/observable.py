"""Ledger stores that tell subscribers about every record.

Rules:
1. A subscriber is called in the appending thread, after the record was stored.
2. What a subscriber gets is the record as it was stored, and a copy of its own.
3. A subscriber that raises disturbs nobody; its last error is kept for whoever looks.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol, runtime_checkable

from abstractruntime._json import isolate
from abstractruntime.core.models import StepRecord
from abstractruntime.storage._decorating import CountingDecorator, append_stored
from abstractruntime.storage._store.observers import LedgerCallback, Observers, Unsubscribe
from abstractruntime.storage.base import LedgerStore


@runtime_checkable
class ObservableLedgerStoreProtocol(Protocol):
    """A ledger store that can be subscribed to."""

    def subscribe(self, callback: LedgerCallback, *, run_id: str | None = None) -> Unsubscribe: ...


class ObservableLedgerStore(CountingDecorator):
    """A ledger store that tells subscribers what the inner store was given.

    An inner store that can be subscribed to tells them itself, as a directory store does,
    whose engine writes records without asking a ledger store. `list_after` and other extras
    of the inner store are passed through.
    """

    def __init__(self, inner: LedgerStore) -> None:
        super().__init__(inner)
        self._observers = Observers()
        self.last_subscriber_error: Exception | None = None

    def append(self, record: StepRecord) -> None:
        """Store a record, then tell every subscriber of its run."""
        self.append_stored(record)

    def append_stored(self, record: StepRecord) -> StepRecord:
        kept = append_stored(self._inner, record)
        if self._observers.subscribers:
            self._observers.tell(kept.run_id, partial(isolate, kept.to_dict()))
            self.last_subscriber_error = self._observers.last_error
        return kept

    def subscribe(self, callback: LedgerCallback, *, run_id: str | None = None) -> Unsubscribe:
        """Call `callback` for every record from now on, of one run or of all.

        Returns:
            A function that ends the subscription; calling it again does nothing.
        """
        inner = getattr(self._inner, "subscribe", None)
        if callable(inner):
            stop: Unsubscribe = inner(callback, run_id=run_id)
            return stop
        return self._observers.subscribe(callback, run_id=run_id)

    def clear_subscribers(self) -> None:
        self._observers.clear()
