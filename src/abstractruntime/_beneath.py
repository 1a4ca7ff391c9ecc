"""Paths below a directory, opened part by part, so that neither link nor race leads out of it.

Rules:
1. Every part is opened from the descriptor of the one before, and nothing is followed: a link is
   read and walked like what was given. Whoever swaps a directory for a link gains nothing.
2. `..` goes back to the descriptor that the walk came from, never above the first one.
3. What is not there, and what is behind a file, is walked by name.
"""

# Names are relative to descriptors here, and text.
# ruff: noqa: PTH117

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Enter = Callable[[int], None]

_MOST_LINKS = 40
# A directory that may be searched but not read can be walked where the system knows O_PATH.
_WALK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Escape(Exception):  # noqa: N818 - an answer for the module that gives it words
    """A path leads out of its directory."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a path ends.

    Attributes:
        names: The way from the root, without links and `..`.
        directory: The descriptor of the last directory on it.
        missing: What comes behind that: nothing, one file, or names that do not exist.
    """

    names: tuple[str, ...]
    directory: int
    missing: tuple[str, ...] = ()


def parts_below(root: str, path: str) -> list[str]:
    """Give the parts of a path from `root`, which is a real path; relative ones begin there.

    Raises:
        Escape: it is absolute and leads elsewhere.
    """
    if not os.path.isabs(path):
        return path.split("/")
    for found in (path, os.path.realpath(path)):
        if found == root or found.startswith(f"{root.rstrip('/')}/"):
            return found[len(root) :].split("/")
    raise Escape


@contextmanager
def walked(root: str, parts: list[str], enter: Enter) -> Iterator[Spot]:
    """Walk from a root and give where that ends; the descriptors live as long as the block.

    Args:
        root: A directory, as a real path.
        parts: What `parts_below` gives.
        enter: Is told each directory that is entered, the root too; what it raises ends the walk.

    Raises:
        Escape: a link or `..` leads out.
        OSError: the operating system refused; there may be no root.
    """
    walk = _Walk(root, enter)
    try:
        walk.begin()
        walk.go(parts)
        names = (*walk.names, *walk.missing)
        yield Spot(names, walk.descriptors[-1], tuple(walk.missing))
    finally:
        walk.close()


class _Walk:
    def __init__(self, root: str, enter: Enter) -> None:
        self._root = root
        self._enter = enter
        self.names: list[str] = []
        self.missing: list[str] = []
        self.descriptors: list[int] = []

    def begin(self) -> None:
        self._open(self._root, None)

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())

    def go(self, parts: list[str]) -> None:
        todo = deque(parts)
        links = 0
        while todo:
            part = todo.popleft()
            if part in {"", "."}:
                continue
            if part == "..":
                self._back()
            elif self.missing or not self._step(part):
                target = None if self.missing else self._link(part)
                if target is None:
                    self.missing.append(part)
                    continue
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                if os.path.isabs(target):
                    self._restart()
                    target = "/".join(parts_below(self._root, target))
                todo.extendleft(reversed(target.split("/")))

    def _step(self, part: str) -> bool:
        """Enter a directory; False when there is none of this name."""
        try:
            self._open(part, self.descriptors[-1])
        except OSError as cause:
            if cause.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                raise
            return False
        return True

    def _open(self, part: str, beside: int | None) -> None:
        self.descriptors.append(os.open(part, _WALK, dir_fd=beside))
        if beside is not None:
            self.names.append(part)
        self._enter(self.descriptors[-1])

    def _link(self, part: str) -> str | None:
        try:
            return os.readlink(part, dir_fd=self.descriptors[-1])
        except OSError:
            return None

    def _back(self) -> None:
        if self.missing:
            self.missing.pop()
        elif self.names:
            self.names.pop()
            os.close(self.descriptors.pop())
        else:
            raise Escape

    def _restart(self) -> None:
        while self.names:
            self._back()


def make_directories(spot: Spot) -> int:
    """Make the missing directories before the last name; gives a descriptor that the caller closes."""
    current = os.dup(spot.directory)
    try:
        for name in spot.missing[:-1]:
            # Another process may be faster; what is no directory cannot be opened as one.
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=current)
            below = os.open(name, _WALK, dir_fd=current)
            os.close(current)
            current = below
    except OSError:
        os.close(current)
        raise
    return current


class Entry(NamedTuple):
    """What lies in a directory; a link is neither a file nor a directory."""

    name: str
    is_file: bool
    is_dir: bool


def entries(directory: int) -> list[Entry]:
    """Give what lies in a directory, by name."""
    readable = os.open(".", _READ, dir_fd=directory)
    try:
        with os.scandir(readable) as found:
            return sorted(
                Entry(e.name, e.is_file(follow_symlinks=False), e.is_dir(follow_symlinks=False))
                for e in found
            )
    finally:
        os.close(readable)


@contextmanager
def entered(directory: int, name: str) -> Iterator[int]:
    """Open a directory in another one; no link is followed."""
    descriptor = os.open(name, _WALK, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(directory: int, name: str) -> int | None:
    """Open a regular file to read it; None when it is something else, which is left alone.

    Raises:
        OSError: the operating system refused, or it became a link.
    """
    # Opening a pipe would wait, and opening a device may do something.
    if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return None
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=directory)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def write_file(directory: int, name: str, data: bytes, *, mode: int) -> None:
    """Write a file so that it appears whole or not at all, whatever had its name."""
    temporary = f".{name[:200]}.{os.urandom(8).hex()}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, mode, dir_fd=directory)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    readable = os.open(".", _READ, dir_fd=directory)
    try:
        os.fsync(readable)
    finally:
        os.close(readable)
