"""What the ledger decorators share: what the inner store kept, and its optional methods."""

from __future__ import annotations

from typing import Any

from abstractruntime.core.models import StepRecord
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


def bind_subscribe(outer: LedgerStore, inner: LedgerStore) -> None:
    """Give `outer` the inner store's `subscribe`, if there is one.

    It is set on the instance because `isinstance` with a protocol does not ask `__getattr__`.
    """
    subscribe = getattr(inner, "subscribe", None)
    if callable(subscribe):
        outer.__dict__["subscribe"] = subscribe


def inner_attribute(outer: LedgerStore, inner: LedgerStore, name: str) -> Any:
    """Give an optional method of the inner store, for a decorator's `__getattr__`."""
    if name.startswith("_"):
        raise AttributeError(name)
    if name == "subscribe" and not hasattr(inner, name):
        raise CannotSubscribeError(
            f"{type(inner).__name__} below {type(outer).__name__} has no subscribers",
            hint="wrap it in ObservableLedgerStore",
        )
    return getattr(inner, name)
