"""Opening what lies below a store, wherever the store may have come from.

Rules:
1. Below the root no part of a path is a link: directories are opened one from the other, and
   none is followed. The root itself is whatever its caller chose.
2. What is opened is a regular file. Opening never waits, as it would for a pipe.
"""

# Paths are text here, as in the port, and names are relative to descriptors.
# ruff: noqa: PTH116

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# A directory that may be searched but not read can be walked where the system knows O_PATH.
_WALK: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SAFE: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0)
# What opening a link, a pipe without a reader, a socket or a directory comes to.
_ODD: Final = frozenset({errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR, errno.EOPNOTSUPP})
_KINDS: Final = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class NotOfAStore(OSError):  # noqa: N818 - store errors give it words
    """Something stands where a store keeps a file or a directory, and is neither."""

    def __init__(self, path: str, kind: str, expected: str) -> None:
        super().__init__(errno.ELOOP if kind == "a link" else errno.EINVAL, kind, path)
        self.path = path
        self.kind = kind
        self.expected = expected


class Spot(NamedTuple):
    """A name, and the descriptor of the directory that it is in; None for a name from anywhere."""

    name: str
    directory: int | None


class Beneath:
    """The files and directories below one root; without a root every path is taken as it is."""

    def __init__(self, root: str | None) -> None:
        self._start = None if root is None else f"{root.rstrip('/')}/"

    @contextlib.contextmanager
    def spot(self, path: str) -> Iterator[Spot]:
        """Give where a path ends, having followed nothing below the root.

        Raises:
            NotOfAStore: a directory on the way is a link.
        """
        start = self._start
        if start is None or self._is_near(path):
            yield Spot(path, None)
            return
        *parts, name = path[len(start) :].split("/")
        current = os.open(start, _WALK & ~os.O_NOFOLLOW)
        try:
            at = start
            for part in parts:
                at = f"{at}{part}/"
                below = _enter(part, current, at[:-1], _WALK)
                os.close(current)
                current = below
            yield Spot(name, current)
        finally:
            os.close(current)

    def open_file(self, path: str, flags: int, mode: int) -> int:
        """Open a regular file without waiting.

        Raises:
            NotOfAStore: it is none, or a directory on the way is a link.
        """
        if self._is_near(path):
            # Nearly all are: ledgers and checkpoints.
            descriptor = _opened(Spot(path, None), path, flags, mode)
        else:
            with self.spot(path) as spot:
                descriptor = _opened(spot, path, flags, mode)
        found = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(found):
            os.close(descriptor)
            raise NotOfAStore(path, _kind_of(found), "a file")
        return descriptor

    def _is_near(self, path: str) -> bool:
        """Say whether there is no directory between the root and a name, or there is no root."""
        start = self._start
        if start is None or not path.startswith(start):
            return True
        return path.find("/", len(start)) < 0

    @contextlib.contextmanager
    def open_directory(self, path: str) -> Iterator[int]:
        """Open a directory to read or sync it; below the root a link to one is refused."""
        is_below = self._start is not None and path.startswith(self._start)
        with self.spot(path) as (name, directory):
            descriptor = _enter(name, directory, path, _READ | (os.O_NOFOLLOW if is_below else 0))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def stat(self, path: str) -> os.stat_result:
        """Look at what has a name; a link below the root is looked at itself."""
        start = self._start
        if start is None or not path.startswith(start):
            return os.stat(path)
        if self._is_near(path):
            # Asked for every ledger of a store, one after the other.
            return os.stat(path, follow_symlinks=False)
        with self.spot(path) as (name, directory):
            return os.stat(name, dir_fd=directory, follow_symlinks=False)


def _opened(spot: Spot, path: str, flags: int, mode: int) -> int:
    try:
        return os.open(spot.name, flags | _SAFE, mode, dir_fd=spot.directory)
    except OSError as cause:
        if cause.errno in _ODD and (kind := _kind(*spot)) not in (None, "a file"):
            raise NotOfAStore(path, str(kind), "a file") from cause
        raise


def _enter(name: str, directory: int | None, path: str, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=directory)
    except NotADirectoryError as cause:
        if (kind := _kind(name, directory)) == "a link":
            raise NotOfAStore(path, kind, "a directory") from cause
        raise


def _kind(name: str, directory: int | None) -> str | None:
    try:
        return _kind_of(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return None


def _kind_of(mode: int) -> str:
    return next((kind for fits, kind in _KINDS if fits(mode)), "a device")
