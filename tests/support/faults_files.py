"""A disk whose n-th call goes wrong."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from abstractruntime.storage._files.simfs import SimFileSystem

READS = frozenset({"info", "size", "read", "names", "list", "lock"})
WRITES = frozenset({"append", "write_new"})


class Exited(BaseException):
    """The process is gone; nothing it would still do reaches the disk."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at which call, counted from 0."""

    kind: str
    index: int


def _error() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def _full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _error_before(files: FaultyFiles, act: Callable[[], Any], args: tuple[Any, ...]) -> Any:
    raise _error()


def _error_after(files: FaultyFiles, act: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    act(*args)
    raise _error()


def _short_write(files: FaultyFiles, act: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    if not args or not isinstance(args[-1], bytes):
        raise _full()
    *path, data = args
    taken = act(*path, data[: len(data) // 2])
    if path:
        raise _full()
    files.is_full = True
    return taken


def _exit_before(files: FaultyFiles, act: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    files.is_dead = True
    raise Exited


def _exit_after(files: FaultyFiles, act: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    act(*args)
    files.is_dead = True
    raise Exited


FAULTS: dict[str, Callable[..., Any]] = {
    "error before": _error_before,
    "error after": _error_after,
    "short write": _short_write,
    "exit before": _exit_before,
    "exit after": _exit_after,
}


def faults_of(calls: list[str]) -> Iterator[Fault]:
    """Give every fault of every call that can leave a disk of its own.

    Only writes can be short. A read changes nothing, so an exit around it leaves what an
    exit after the change before it leaves, and it fails in one way only.
    """
    for index, verb in enumerate(calls):
        for kind in ("error before",) if verb in READS else FAULTS:
            if kind != "short write" or verb in WRITES:
                yield Fault(kind, index)


class Worst(random.Random):
    """Chance at a power cut: whatever may be lost is lost."""

    def choice(self, seq: Any) -> Any:
        return min(seq)

    def random(self) -> float:
        return 1.0

    def randint(self, a: int, b: int) -> int:
        return a


class FaultyFiles:
    """The `FileSystem` port over a simulated disk; the calls of `faults` go wrong."""

    def __init__(self, disk: SimFileSystem, faults: tuple[Fault, ...] = ()) -> None:
        self.disk = disk
        self.calls: list[str] = []
        self.is_dead = False
        self.is_full = False
        self._faults = {fault.index: FAULTS[fault.kind] for fault in faults}

    def __getattr__(self, verb: str) -> Any:
        return partial(self.do, verb, getattr(self.disk, verb))

    def real_path(self, path: str) -> str:
        return path

    def database_path(self, path: str) -> str:
        return ":memory:"

    def open_append(self, path: str, *, create: bool = False) -> FaultyHandle | None:
        opened = self.do("open_append", partial(self.disk.open_append, create=create), path)
        return FaultyHandle(self, opened) if opened is not None else None

    def write_new(self, path: str, data: bytes, *, sync: bool) -> None:
        self.do("write_new", partial(self.disk.write_new, sync=False), path, data)
        if sync:
            handle = self.disk.open_append(path)
            assert handle is not None
            self.do("sync", self._sync_new, handle)

    def heal(self) -> None:
        """Let nothing go wrong from now on."""
        self._faults, self.is_full = {}, False

    def _sync_new(self, handle: Any) -> None:
        if not self.disk._mutations.skip_new_file_sync:
            handle.sync()

    def do(self, verb: str, act: Callable[..., Any], *args: Any) -> Any:
        if self.is_dead:
            raise Exited
        self.calls.append(verb)
        if self.is_full and verb in WRITES:
            self.is_full = False
            raise _full()
        fault = self._faults.get(len(self.calls) - 1)
        return fault(self, act, args) if fault else act(*args)


class FaultyHandle:
    """An open file of a `FaultyFiles`."""

    def __init__(self, files: FaultyFiles, handle: Any) -> None:
        self._files = files
        self._handle = handle

    def __getattr__(self, verb: str) -> Any:
        return partial(self._files.do, verb, getattr(self._handle, verb))

    def inode(self) -> int:
        return int(self._handle.inode())

    def close(self) -> None:
        """Nothing is buffered."""
