"""Exclusive locks on open files that can be asked who holds them, without taking them.

Rules:
1. Whoever takes a lock leaves a note in the file. The note only tells people who holds it.
2. Everybody who shares a store uses one kind of lock: the two kinds do not see each other.
3. Asking never makes an attempt to take the lock fail.
"""

# Paths are text here, as in the port.
# ruff: noqa: PTH123

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import os
import struct
import time
from typing import Final, Protocol

_READ_MOST: Final = 64 * 1024
_TAKEN: Final = frozenset({errno.EAGAIN, errno.EACCES})


class LockKind(Protocol):
    """One way in which an operating system locks files."""

    def take(self, descriptor: int, note: bytes) -> bool:
        """Try to lock, and leave a note; False when somebody holds it."""
        ...

    def free(self, descriptor: int) -> None: ...

    def note(self, descriptor: int) -> bytes | None:
        """Give the note of the holder, empty when it has left none yet; None without a holder."""
        ...


class DescriptionLocks:
    """Locks of open file descriptions, as Linux has them: they can be asked about.

    Byte 0 is the lock. Byte 1 is held as well while the note is being written, so that nobody
    takes the note of the holder before for that of the present one.
    """

    # A holder that writes its note may have to wait for a processor.
    _PATIENCE_S: Final = 0.5
    _YIELDS: Final = 100

    def take(self, descriptor: int, note: bytes) -> bool:
        try:
            _set(descriptor, fcntl.F_WRLCK, 0, 2)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        with contextlib.suppress(OSError):
            _write_note(descriptor, note)
        _set(descriptor, fcntl.F_UNLCK, 1, 1)
        return True

    def free(self, descriptor: int) -> None:
        _set(descriptor, fcntl.F_UNLCK, 0, 2)

    def note(self, descriptor: int) -> bytes | None:
        deadline = time.monotonic() + self._PATIENCE_S
        turn = 0
        while time.monotonic() < deadline:
            if not _is_held(descriptor, 0):
                return None
            note = os.pread(descriptor, _READ_MOST, 0)
            if not _is_held(descriptor, 1) and note == os.pread(descriptor, _READ_MOST, 0):
                return note
            turn += 1
            if turn < self._YIELDS:
                os.sched_yield()
            else:
                time.sleep(0.001)
        return b""


class FlockLocks:
    """Locks by `flock`, which every system has and none can be asked about.

    The note stands in: it is there while the lock is held, and cleared before it is freed, unless
    it says itself that its holder has `ended`. One whose process is gone was left by a crash.
    """

    def take(self, descriptor: int, note: bytes) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with contextlib.suppress(OSError):
            _write_note(descriptor, note)
        return True

    def free(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):
            if not _has_ended(os.pread(descriptor, _READ_MOST, 0)):
                os.ftruncate(descriptor, 0)
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def note(self, descriptor: int) -> bytes | None:
        note = os.pread(descriptor, _READ_MOST, 0)
        return note if note and not _has_ended(note) and _may_live(note) else None


class HeldLock:
    """A lock that is held until `close`; `abandon` drops it in a forked child."""

    __slots__ = ("_descriptor", "_kind")

    def __init__(self, kind: LockKind, descriptor: int) -> None:
        self._kind = kind
        self._descriptor = descriptor

    def leave(self, note: bytes) -> None:
        with contextlib.suppress(OSError):
            _write_note(self._descriptor, note)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        # Hazard: a child that was just forked, or has not reached its exec yet, holds the same
        # lock; closing only our descriptor would leave the run owned until the child's is closed.
        with contextlib.suppress(OSError):
            self._kind.free(descriptor)
        os.close(descriptor)

    def abandon(self) -> None:
        # Hazard: freeing it in a forked child would free the lock of its parent; closing the
        # inherited descriptor only drops the child's reference to it.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@functools.cache
def best_locks() -> LockKind:
    """Give the kind of locks that this system is best at."""
    if not hasattr(fcntl, "F_OFD_GETLK"):
        return FlockLocks()
    try:
        with open(os.devnull, "rb", buffering=0) as file:
            _is_held(file.fileno(), 0)
    except OSError:
        return FlockLocks()
    return DescriptionLocks()


def boot_id() -> str | None:
    """Give the identity of this start of the machine, where the system tells."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _set(descriptor: int, kind: int, start: int, size: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(kind, start, size))


def _is_held(descriptor: int, byte: int) -> bool:
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, byte, 1))
    return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)


def _flock(kind: int, start: int, size: int) -> bytes:
    """Give a `struct flock`: type, whence, start, length, and the process, which must be 0."""
    return struct.pack("hhqqi", kind, os.SEEK_SET, start, size, 0)


def _write_note(descriptor: int, note: bytes) -> None:
    os.pwrite(descriptor, note, 0)
    os.ftruncate(descriptor, len(note))


def _has_ended(note: bytes) -> bool:
    try:
        return bool(json.loads(note).get("ended"))
    except (ValueError, AttributeError):
        return False


def _may_live(note: bytes) -> bool:
    try:
        facts = json.loads(note)
        if facts.get("host") not in (None, os.uname().nodename):
            return True
        if facts.get("boot_id") not in (None, boot_id()):
            return False
        os.kill(facts["pid"], 0)
    except ProcessLookupError:
        return False
    except (ValueError, KeyError, TypeError, AttributeError, OSError, OverflowError):
        return True
    return True
