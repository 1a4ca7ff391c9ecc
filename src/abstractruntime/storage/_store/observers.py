"""Subscribers of a store: they hear of every record that this process adds to it.

Rules:
1. A subscriber is called in the adding thread, after the record was stored; in a directory
   store one without a barrier may then still be lost to a power cut.
2. What it gets is the record as it was stored, and a copy of its own.
3. A subscriber that raises disturbs nobody; its last error is kept for whoever looks.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from abstractruntime._json import JsonObject

LedgerCallback: TypeAlias = Callable[[JsonObject], None]
Unsubscribe: TypeAlias = Callable[[], None]


# Compared by identity: a callback that is subscribed twice is two subscribers.
@dataclass(frozen=True, slots=True, eq=False)
class _Subscriber:
    callback: LedgerCallback
    run_id: str | None


class Observers:
    """The subscribers of one store; `subscribers` is empty while nobody listens."""

    __slots__ = ("_mutex", "last_error", "subscribers")

    def __init__(self) -> None:
        self.subscribers: tuple[_Subscriber, ...] = ()
        self.last_error: Exception | None = None
        self._mutex = threading.Lock()

    def subscribe(self, callback: LedgerCallback, *, run_id: str | None = None) -> Unsubscribe:
        """Call `callback` with every record, or with those of one run, until it is undone.

        Returns:
            What ends it; calling that again changes nothing.
        """
        subscriber = _Subscriber(callback, run_id)
        with self._mutex:
            self.subscribers = (*self.subscribers, subscriber)

        def unsubscribe() -> None:
            with self._mutex:
                self.subscribers = tuple(s for s in self.subscribers if s is not subscriber)

        return unsubscribe

    def clear(self) -> None:
        """Forget every subscriber."""
        with self._mutex:
            self.subscribers = ()

    def publish(self, run_id: str, lines: Sequence[bytes]) -> None:
        """Tell the subscribers of a run about stored lines, in their order."""
        for line in lines:
            self.tell(run_id, partial(json.loads, line))

    def tell(self, run_id: str, copy: Callable[[], JsonObject]) -> None:
        """Tell the subscribers of a run about a record, each by a copy of its own."""
        for subscriber in self.subscribers:
            if subscriber.run_id in (None, run_id):
                try:
                    subscriber.callback(copy())
                except Exception as error:  # noqa: BLE001 - an observer must not break the run it observes
                    self.last_error = error
