"""Who is told that a tree of runs rests; whoever drives it need not know who that is."""

from __future__ import annotations

import weakref
from typing import Protocol

__all__ = ["WATCHERS", "Watcher", "release"]


class Watcher(Protocol):
    """Keeps something for trees of runs."""

    def release(self, tree: str) -> None: ...


WATCHERS: weakref.WeakSet[Watcher] = weakref.WeakSet()


def release(tree: str) -> None:
    """Give up what is kept for a tree of runs, as it rests or has ended."""
    for watcher in list(WATCHERS):
        watcher.release(tree)
