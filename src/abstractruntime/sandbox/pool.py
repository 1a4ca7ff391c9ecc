"""Code workers by what they serve: one for one tree of runs of one bundle, and for nothing else.

Rules:
1. A worker that served one key never serves another: what code leaves behind in it, even
   code that broke out of Python, meets code of the same bundle in the same tree only.
2. It ends with the tree: when that rests or has ended, or when others need the place.
3. A spare is a worker that has served nobody. It is started while others work, and is handed
   to the next key, so that the first call of a run does not wait for a process.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.core.resting import WATCHERS
from abstractruntime.sandbox._bwrap import find_bwrap
from abstractruntime.sandbox._process import Launch, WorkerLost, WorkerProcess
from abstractruntime.sandbox.limits import Limits
from abstractruntime.sandbox.runner import CodeFailed, InProcessRunner, WorkerRunner

__all__ = [
    "PooledRunner",
    "WorkerPool",
    "default_pool",
    "find_bwrap",
    "program_pool",
    "sandbox_report",
]

Key = tuple[str, str]

_WORKERS_KEPT = 4


class WorkerPool:
    """Gives a code runner by tree of runs and bundle; safe to use from several threads.

    At most `kept` workers live while none of them is busy.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        kept: int = _WORKERS_KEPT,
        launch: Launch | None = None,
    ) -> None:
        self._launch = launch or Launch(limits or Limits())
        self._kept = kept
        self._lock = threading.Lock()
        self._runners: OrderedDict[Key, _Served] = OrderedDict()
        self._spare: WorkerProcess | None = None
        self._keys = 0
        WATCHERS.add(self)
        _POOLS.add(self)

    def runner(self, tree: str, bundle: str) -> PooledRunner:
        """Give whoever runs the code of one bundle in one tree of runs."""
        return PooledRunner(self, (tree, bundle))

    def layers(self) -> JsonObject:
        """Tell what confines code: `{backend, layers, missing, abi, filter}`; may start the spare.

        Raises:
            CodeFailed: no worker can be started.
        """
        with self._lock:
            try:
                if self._spare is None:
                    self._spare = self._start()
                return dict(self._spare.report)
            except WorkerLost as lost:
                self._drop_spare()
                raise CodeFailed(f"Runtime error: {lost}") from None

    def release(self, tree: str) -> None:
        """End the workers of a tree; one that works just now ends after its call."""
        with self._lock:
            found = [key for key in self._runners if key[0] == tree]
            served = [self._runners.pop(key) for key in found]
            idle = [item for item in served if not item.users]
            for item in served:
                item.is_over = True
        for item in idle:
            item.runner.close()

    def close(self) -> None:
        """End all workers; a later call starts others."""
        with self._lock:
            trees = {tree for tree, _ in self._runners}
            self._drop_spare()
        for tree in trees:
            self.release(tree)

    @contextmanager
    def serving(self, key: Key) -> Iterator[WorkerRunner]:
        """Give the runner of a key while the block lasts."""
        with self._lock:
            served = self._runners.get(key)
            if served is None:
                self._keys += 1
                served = self._runners[key] = _Served(WorkerRunner(start=self._take))
            self._runners.move_to_end(key)
            served.users += 1
            idle = self._spill()
        for runner in idle:
            runner.close()
        try:
            yield served.runner
        finally:
            with self._lock:
                served.users -= 1
                is_over = served.is_over and not served.users
                self._see_to_spare()
            if is_over:
                served.runner.close()

    def _spill(self) -> list[WorkerRunner]:
        """Give up runners until few are left, those longest unused first."""
        spare = len(self._runners) - self._kept
        idle = [key for key, served in self._runners.items() if not served.users]
        return [self._runners.pop(key).runner for key in idle[: max(0, spare)]]

    def _take(self) -> WorkerProcess:
        """Give a worker that has served nobody."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            with contextlib.suppress(WorkerLost):
                if spare.is_usable():
                    return spare
            spare.stop()
        return self._start()

    def _see_to_spare(self) -> None:
        """Start the next worker, unless one tree is all there is, as in `art run`."""
        if self._spare is None and self._keys > 1:
            with contextlib.suppress(WorkerLost):  # whoever needs one is told why
                self._spare = self._start()

    def hides_parent(self) -> bool:
        """Say whether other processes cannot look into this one; a pool of a program sees to it."""
        return self._launch.hides_parent and _hide_this_process()

    def _start(self) -> WorkerProcess:
        # Invariant: no code runs before its parent is hidden, whichever command it runs for.
        self.hides_parent()
        return WorkerProcess(self._launch)

    def _drop_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.stop()

    def _after_fork(self) -> None:
        # Hazard: another thread of the parent may have held the lock at the moment of the fork.
        self._lock = threading.Lock()
        # The runners forget their workers themselves.
        self._runners.clear()
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.forget()


class _Served:
    """The runner of one key, and how many calls use it."""

    __slots__ = ("is_over", "runner", "users")

    def __init__(self, runner: WorkerRunner) -> None:
        self.runner = runner
        self.users = 0
        self.is_over = False


class PooledRunner:
    """Runs author code for one key of a pool; holds no worker between calls."""

    def __init__(self, pool: WorkerPool, key: Key) -> None:
        self._pool, self._key = pool, key

    def call(self, source: str, function: str, value: JsonValue) -> JsonValue:
        """Run `function(value)` of `source` and give its JSON result, which shares nothing.

        Raises:
            CodeFailed: the code failed, broke a limit, or gave something that is not JSON.
        """
        with self._pool.serving(self._key) as runner:
            return runner.call(source, function, value)


_POOLS: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


@cache
def default_pool() -> WorkerPool:
    """Give the pool that this process shares; its workers start at the first call."""
    return WorkerPool()


@cache
def program_pool(bwrap: str | None = None) -> WorkerPool:
    """Give the pool that a program shares: this process is hidden before a worker of it starts.

    A host of the library decides for itself, and has `default_pool`.

    Args:
        bwrap: The program that gives its workers namespaces of their own.
    """
    return WorkerPool(launch=Launch(bwrap=bwrap, hides_parent=True))


def sandbox_report(home: object) -> JsonObject:
    """Tell what confines code nodes in their home, see `WorkerPool.layers`; may start a worker."""
    if not isinstance(home, WorkerPool):
        return InProcessRunner().layers()
    try:
        report = home.layers()
    except CodeFailed:
        # Whoever calls code is told why; nothing that calls none needs it.
        return {**InProcessRunner().layers(), "backend": "none"}
    where = "layers" if home.hides_parent() else "missing"
    return {**report, where: [*report[where], "hidden-parent"]}


def _hide_this_process() -> bool:
    try:
        from abstractruntime.sandbox import _prctl  # noqa: PLC0415 - only programs pay for it
    except (ImportError, OSError, AttributeError):
        return False
    return _prctl.hide_process()


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool._after_fork()  # noqa: SLF001 - the module's own class


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_all)
