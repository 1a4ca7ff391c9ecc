"""The file system port and its real implementation.

Only this module syncs, renames or locks files of a store, and `beneath` opens them for it. A
verb raises `OSError` as the operating system does, except that a missing file or directory is
an answer (None or an empty list). `store_errors` turns the rest into errors a user can read.
"""

# Paths are text here: the port is called for every record, and a Path object costs more.
# ruff: noqa: PTH120, PTH208

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from abstractruntime.errors import StoreError, StoreFull, StoreIOError
from abstractruntime.storage._files.beneath import Beneath, NotOfAStore
from abstractruntime.storage._files.locks import HeldLock, best_locks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from abstractruntime.storage._files.locks import LockKind

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP})
_NOT_VACANT = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

# macOS has no fdatasync.
_sync_data = getattr(os, "fdatasync", os.fsync)

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
_MOST_NAMES = 4096


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A directory entry: its name, size and identity; `modified_ns` is 0 where unknown."""

    name: str
    size: int
    inode: int
    is_dir: bool = False
    modified_ns: int = 0


class AppendFile(Protocol):
    """An open file that only grows at its end, or is cut back there."""

    def append(self, data: bytes) -> int:
        """Write at the end with one system call; gives the bytes taken, which may be fewer."""
        ...

    def size(self) -> int: ...
    def inode(self) -> int: ...
    def sync(self) -> None: ...
    def truncate(self, size: int) -> None: ...
    def lock(self) -> None:
        """Wait until nobody else has this file locked, and lock it; `close` unlocks."""
        ...

    def close(self) -> None: ...


class FileLock(Protocol):
    """A held exclusive lock; `close` releases it, `abandon` drops it in a forked child."""

    def leave(self, note: bytes) -> None:
        """Replace the note, which whoever takes the lock next can read."""
        ...

    def close(self) -> None: ...
    def abandon(self) -> None: ...


class FileSystem(Protocol):
    """What a store needs of a file system. Paths are absolute text."""

    def open_append(self, path: str, *, create: bool = False) -> AppendFile | None:
        """Open for appending; None when it does not exist and `create` is False."""
        ...

    def write_new(self, path: str, data: bytes, *, sync: bool) -> None:
        """Write a whole file, replacing what a crash may have left under this name."""
        ...

    def replace(self, source: str, target: str) -> None: ...
    def remove(self, path: str) -> None: ...
    def sync_dir(self, path: str) -> None: ...
    def make_dir(self, path: str) -> bool:
        """Create one directory; True when it was not there."""
        ...

    def remove_dir(self, path: str) -> bool:
        """Remove one directory; False when it is not empty, or not there."""
        ...

    def info(self, path: str) -> FileInfo | None: ...
    def size(self, path: str) -> int | None: ...
    def read(self, path: str, offset: int = 0, size: int = -1) -> bytes | None: ...
    def names(self, path: str) -> list[str]: ...
    def list(self, path: str) -> list[FileInfo]: ...
    def real_path(self, path: str) -> str: ...
    def is_writable(self, path: str) -> bool: ...
    def lock(self, path: str, note: bytes) -> FileLock | None:
        """Try to lock exclusively and leave `note` in the file; None when someone holds it."""
        ...

    def lock_note(self, path: str) -> bytes | None:
        """Give the note of whoever holds a lock, taking nothing; None when nobody does."""
        ...

    def database_path(self, path: str) -> str:
        """Give the name under which SQLite opens this file."""
        ...


class RealFileSystem:
    """The file system of this machine; files 0600, directories 0700.

    What somebody replaced by a link or a pipe is an error: a store may have come from anywhere.

    Args:
        locks: By default the best this system has.
        root: The directory below which nothing is a link; by default only last names are looked at.
    """

    def __init__(self, locks: LockKind | None = None, *, root: str | None = None) -> None:
        self._locks = locks or best_locks()
        self._below = Beneath(root)

    def open_append(self, path: str, *, create: bool = False) -> _RealAppendFile | None:
        flags = os.O_WRONLY | os.O_APPEND | (os.O_CREAT if create else 0)
        try:
            return _RealAppendFile(self._below.open_file(path, flags, FILE_MODE))
        except FileNotFoundError:
            if create:
                raise
            return None

    def write_new(self, path: str, data: bytes, *, sync: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = self._below.open_file(path, flags, FILE_MODE)
        try:
            _write_all(descriptor, data)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, source: str, target: str) -> None:
        with self._below.spot(source) as (old, old_in), self._below.spot(target) as (new, new_in):
            os.replace(old, new, src_dir_fd=old_in, dst_dir_fd=new_in)

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._below.spot(path) as (name, directory):
            os.unlink(name, dir_fd=directory)

    def sync_dir(self, path: str) -> None:
        with self._below.open_directory(path) as descriptor:
            os.fsync(descriptor)

    def make_dir(self, path: str) -> bool:
        try:
            with self._below.spot(path) as (name, directory):
                os.mkdir(name, DIRECTORY_MODE, dir_fd=directory)
        except FileExistsError:
            return False
        return True

    def remove_dir(self, path: str) -> bool:
        try:
            with self._below.spot(path) as (name, directory):
                os.rmdir(name, dir_fd=directory)
        except OSError as error:
            if error.errno in _NOT_VACANT:
                return False
            raise
        return True

    def info(self, path: str) -> FileInfo | None:
        try:
            found = self._below.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _file_info(file_name(path), found)

    def size(self, path: str) -> int | None:
        try:
            return self._below.stat(path).st_size
        except FileNotFoundError:
            return None

    def read(self, path: str, offset: int = 0, size: int = -1) -> bytes | None:
        try:
            descriptor = self._below.open_file(path, os.O_RDONLY, FILE_MODE)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            file.seek(offset)
            return file.readall() if size < 0 else _read_exactly(file.fileno(), size)

    def names(self, path: str) -> list[str]:
        # Asked at every step of a run for its inbox, which is hardly ever there.
        if not os.access(path, os.F_OK):
            return []
        try:
            with self._below.open_directory(path) as descriptor:
                return os.listdir(descriptor)
        except FileNotFoundError:
            return []

    def list(self, path: str) -> list[FileInfo]:
        found = []
        try:
            with self._below.open_directory(path) as descriptor, os.scandir(descriptor) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        found.append(_file_info(entry.name, entry.stat(follow_symlinks=False)))
        except FileNotFoundError:
            return []
        return found

    def real_path(self, path: str) -> str:
        return os.path.realpath(path)

    def is_writable(self, path: str) -> bool:
        return os.access(path, os.W_OK)

    def lock(self, path: str, note: bytes) -> HeldLock | None:
        descriptor = self._below.open_file(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
        try:
            if self._locks.take(descriptor, note):
                return HeldLock(self._locks, descriptor)
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def lock_note(self, path: str) -> bytes | None:
        try:
            descriptor = self._below.open_file(path, os.O_RDONLY, FILE_MODE)
        except FileNotFoundError:
            return None
        try:
            return self._locks.note(descriptor)
        finally:
            os.close(descriptor)

    def database_path(self, path: str) -> str:
        return path


class _RealAppendFile:
    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def inode(self) -> int:
        return os.fstat(self._descriptor).st_ino

    def sync(self) -> None:
        _sync_data(self._descriptor)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def lock(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _file_info(name: str, of: os.stat_result) -> FileInfo:
    return FileInfo(name, of.st_size, of.st_ino, stat.S_ISDIR(of.st_mode), of.st_mtime_ns)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_exactly(descriptor: int, size: int) -> bytes:
    parts = []
    while size > 0:
        part = os.read(descriptor, size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def file_name(path: str) -> str:
    """Give the last part of a path."""
    return path.rpartition("/")[2]


def to_store_error(cause: OSError, path: str, *, needed: int = 0) -> StoreError:
    """Give the error a user can act on for what the operating system said."""
    if isinstance(cause, NotOfAStore):
        return StoreIOError(
            f"'{cause.path}' is {cause.kind}, expected {cause.expected}",
            hint="remove it, and put what was there back from a backup; a store follows no links",
            path=cause.path,
        )
    reason = os.strerror(cause.errno) if cause.errno else str(cause)
    name = file_name(path)
    if cause.errno in _FULL:
        return StoreFull(
            f"no space left to write {name!r}: {needed} more bytes are needed",
            hint="free some space, then repeat the command",
            path=path,
            bytes_needed=needed,
        )
    hint = "see `art doctor`; the next open decides from the bytes on disk"
    if cause.errno in _NO_LOCKS:
        hint = "use a local disk, or --no-lock when no other process uses the store"
    if cause.errno in _DENIED:
        hint = "check owner and permissions of the store directory"
    return StoreIOError(
        f"cannot access {name!r}: {reason.lower()}", hint=hint, path=path, errno=cause.errno
    )


@contextlib.contextmanager
def store_errors(path: str, *, needed: int = 0) -> Iterator[None]:
    """Raise `StoreFull` or `StoreIOError` for an `OSError` of the block."""
    try:
        yield
    except StoreError:
        raise
    except OSError as cause:
        raise to_store_error(cause, path, needed=needed) from cause


class StoreFiles:
    """A `FileSystem` whose failures are store errors, plus the atomic write every file here uses.

    `sync` False leaves everything to the operating system, as durability `off` asks.
    """

    def __init__(self, fs: FileSystem, *, sync: bool = True) -> None:
        self.fs = fs
        self._sync = sync
        # Names that this process made durable, or found so; forgetting one costs a sync.
        self._durable: set[str] = set()

    def open_append(self, path: str) -> AppendFile | None:
        """Open a file for appending; None when it is not there."""
        with store_errors(path):
            return self.fs.open_append(path)

    def create(self, path: str) -> AppendFile:
        """Open a file for appending, whether it is there or not."""
        with store_errors(path):
            file = self.fs.open_append(path, create=True)
        assert file is not None  # noqa: S101 - created
        return file

    def write_atomic(self, path: str, data: bytes, *, sync: bool | None = None) -> None:
        """Put a complete file under `path`: temp file, sync, rename, directory sync."""
        sync = self._sync if sync is None else sync
        # Hazard: two writers of one content must not share a temp file.
        temp = f"{path}.{os.getpid()}-{threading.get_ident()}.tmp"
        with store_errors(path, needed=len(data)):
            try:
                self.fs.write_new(temp, data, sync=sync)
                self.fs.replace(temp, path)
            except OSError:
                with contextlib.suppress(OSError):
                    self.fs.remove(temp)
                raise
            if sync:
                self.fs.sync_dir(os.path.dirname(path))
                self._note_durable(path)

    def sync_dir(self, path: str) -> None:
        if self._sync:
            with store_errors(path):
                self.fs.sync_dir(path)

    def sync_name(self, path: str) -> None:
        """Make the name of something that is there durable; free when this process knows it is.

        Whoever made the name may have died, or failed, before the sync of its directory, so
        what is found must not be built upon before this.
        """
        if self._sync and path not in self._durable:
            self.sync_dir(os.path.dirname(path))
            self._note_durable(path)

    def sync_file(self, path: str, *, is_named: bool = False) -> None:
        """Make what anybody wrote to a file so far durable, and its name unless `is_named` is so."""
        file = self.open_append(path) if self._sync else None
        if file is None:
            return
        try:
            with store_errors(path):
                file.sync()
        finally:
            file.close()
        if not is_named:
            self.sync_name(path)

    def _note_durable(self, path: str) -> None:
        if len(self._durable) >= _MOST_NAMES:
            self._durable.clear()
        self._durable.add(path)

    def ensure_dir(self, path: str, *, durable: bool = True) -> None:
        """Create a directory and its parents durably; one look-up when this process did so before.

        `durable` False leaves the last name to the operating system, for what a power cut may
        take away.
        """
        is_found = self.info(path) is not None
        if not is_found:
            self._durable.discard(path)
            # Invariant: a name below a directory is made only after that directory's own name
            # is durable, so the parents of one that is found need no sync.
            self.ensure_dir(os.path.dirname(path))
            with store_errors(path):
                self.fs.make_dir(path)
        if not durable:
            return
        try:
            self.sync_name(path)
        except StoreIOError as error:
            # Compat: a directory may have been prepared for us below one that we cannot open.
            if not is_found or error.details.get("errno") not in _DENIED:
                raise

    def remove(self, path: str) -> None:
        self._durable.discard(path)
        with store_errors(path):
            self.fs.remove(path)

    def remove_dir(self, path: str) -> bool:
        """Remove one directory; False when it is not empty, or not there."""
        self._durable.discard(path)
        with store_errors(path):
            return self.fs.remove_dir(path)

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, replacing what has it; a power cut may undo that."""
        self._durable -= {source, target}
        with store_errors(source):
            self.fs.replace(source, target)

    def info(self, path: str) -> FileInfo | None:
        with store_errors(path):
            return self.fs.info(path)

    def sizes(self, paths: Iterable[str]) -> list[int | None]:
        """Give the sizes of many files; None for those that are not there."""
        with store_errors("store"):
            return [self.fs.size(path) for path in paths]

    def read(self, path: str, offset: int = 0, size: int = -1) -> bytes | None:
        with store_errors(path):
            return self.fs.read(path, offset, size)

    def names(self, path: str) -> list[str]:
        try:
            return self.fs.names(path)
        except OSError as cause:
            raise to_store_error(cause, path) from cause

    def list(self, path: str) -> list[FileInfo]:
        with store_errors(path):
            return self.fs.list(path)

    def lock(self, path: str, note: bytes) -> FileLock | None:
        with store_errors(path):
            return self.fs.lock(path, note)

    def lock_note(self, path: str) -> bytes | None:
        with store_errors(path):
            return self.fs.lock_note(path)
