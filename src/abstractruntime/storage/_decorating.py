"""What the ledger decorators share: what the inner store kept, and its optional methods."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from abstractruntime.core.models import JsonObject, StepRecord
from abstractruntime.errors import AbstractRuntimeError
from abstractruntime.storage.base import LedgerStore


class CannotSubscribeError(AbstractRuntimeError, RuntimeError, AttributeError):
    """The store below tells nobody about its records.

    Compat: 0.4.x raised RuntimeError on the call; being an AttributeError as well, it makes
    `hasattr(store, "subscribe")` tell the truth.
    """

    code = "cannot_subscribe"


def append_stored(store: LedgerStore, record: StepRecord) -> StepRecord:
    """Append a record and give it as the store kept it, which may be another object."""
    own = getattr(store, "append_stored", None)
    if callable(own):
        kept: StepRecord = own(record)
        return kept
    store.append(record)
    return record


def count_records(store: LedgerStore, run_id: str) -> int:
    """Give the number of records of a run, by counting them where the store has no `count`."""
    count = getattr(store, "count", None)
    return int(count(run_id)) if callable(count) else len(store.list(run_id))


def bind_subscribe(outer: LedgerStore, inner: LedgerStore) -> None:
    """Give `outer` the inner store's `subscribe`, if there is one.

    It is set on the instance because `isinstance` with a protocol does not ask `__getattr__`.
    """
    subscribe = getattr(inner, "subscribe", None)
    if callable(subscribe):
        outer.__dict__["subscribe"] = subscribe


class LedgerDecorator(LedgerStore):
    """A ledger store over another one, whose other methods it passes through."""

    def __init__(self, inner: LedgerStore) -> None:
        self._inner = inner

    @property
    def inner(self) -> LedgerStore:
        return self._inner

    @abstractmethod
    def append_stored(self, record: StepRecord) -> StepRecord:
        """Do what `append` does, and give the record as the inner store kept it."""

    def list(self, run_id: str) -> list[JsonObject]:
        """Give the records as the inner store keeps them."""
        return self._inner.list(run_id)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "subscribe" and not hasattr(self._inner, name):
            raise CannotSubscribeError(
                f"{type(self._inner).__name__} below {type(self).__name__} has no subscribers",
                hint="wrap it in ObservableLedgerStore",
            )
        return getattr(self._inner, name)


class CountingDecorator(LedgerDecorator):
    """A decorator that always has the methods which count, whatever the inner store has."""

    def count(self, run_id: str) -> int:
        """Give the number of records, by counting them where the inner store has no `count`."""
        return count_records(self._inner, run_id)

    def count_many(self, run_ids: Iterable[str]) -> dict[str, int]:
        """Give the number of records of each run; empty where the inner store cannot tell."""
        count_many = getattr(self._inner, "count_many", None)
        return dict(count_many(run_ids)) if callable(count_many) else {}

    def metrics_many(self, run_ids: Iterable[str]) -> dict[str, JsonObject]:
        """Give steps, calls and tokens of each run; empty where the inner store cannot tell."""
        metrics_many = getattr(self._inner, "metrics_many", None)
        return dict(metrics_many(run_ids)) if callable(metrics_many) else {}
