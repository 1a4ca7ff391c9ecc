"""Short exclusive locks on a file of a store, for one append or one rename.

Unlike a run's lease nobody keeps such a lock: whoever finds it taken waits. The lock file
is never unlinked, since two processes could then lock two different files of one name.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from typing import TYPE_CHECKING

from abstractruntime._json import dump_line
from abstractruntime._ports_system import SystemClock
from abstractruntime.errors import Busy
from abstractruntime.storage._files.fs import file_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abstractruntime.core.ports import Clock
    from abstractruntime.storage._files.fs import FileLock, StoreFiles

_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.02
_DEFAULT_WAIT_S = 30.0

_held: set[FileLock] = set()


class StoreLock:
    """A lock file that excludes other threads and other processes while it is held.

    Args:
        files: The store's file system.
        path: The lock file; its directory is created when it is missing.
        clock: Gives the pauses between tries.
        wait_s: How long to wait for a holder before giving up.
    """

    def __init__(
        self,
        files: StoreFiles,
        path: str,
        *,
        clock: Clock | None = None,
        wait_s: float = _DEFAULT_WAIT_S,
    ) -> None:
        self._files = files
        self._path = path
        self._clock = clock or SystemClock()
        self._wait_s = wait_s
        self._mutex = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for the block.

        Raises:
            Busy: someone else kept it for the whole waiting time.
            StoreIOError: the lock file cannot be opened, or the file system has no locks.
        """
        if not self._mutex.acquire(timeout=self._wait_s):
            raise self._busy()
        try:
            lock = self._acquire()
            _held.add(lock)
            try:
                yield
            finally:
                _held.discard(lock)
                lock.close()
        finally:
            self._mutex.release()

    def _acquire(self) -> FileLock:
        directory = os.path.dirname(self._path)  # noqa: PTH120 - store paths are text
        self._files.ensure_dir(directory, durable=False)
        note = dump_line({"pid": os.getpid()})
        deadline = self._clock.monotonic() + self._wait_s
        pause = _FIRST_PAUSE_S
        while (lock := self._files.lock(self._path, note)) is None:
            if self._clock.monotonic() >= deadline:
                raise self._busy()
            self._clock.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(_LONGEST_PAUSE_S, pause * 2)
        return lock

    def _busy(self) -> Busy:
        return Busy(
            f"{file_name(self._path)!r} has been locked for {self._wait_s:g} seconds",
            hint="see which process holds it, then repeat",
            path=self._path,
        )


def _abandon_all() -> None:
    # Hazard: a forked child shares the descriptor of a lock that its parent holds, and would
    # keep it locked after the parent is done.
    for lock in _held:
        lock.abandon()
    _held.clear()


os.register_at_fork(after_in_child=_abandon_all)
