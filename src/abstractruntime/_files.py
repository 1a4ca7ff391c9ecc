"""The only module of the package that touches files: bounded reads and atomic writes."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from abstractruntime.errors import NotFound, StoreIOError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a whole file, refusing one of more than `limit` bytes.

    Raises:
        NotFound: there is no such file.
        UsageError: it is longer than `limit`, or a directory.
        StoreIOError: the operating system refused the read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as cause:
        raise NotFound(f"no file '{path}'", path=str(path)) from cause
    except IsADirectoryError as cause:
        raise UsageError(f"'{path}' is a directory, expected a file", path=str(path)) from cause
    except OSError as cause:
        raise StoreIOError(f"cannot read '{path}': {cause.strerror}", path=str(path)) from cause
    if len(data) > limit:
        raise UsageError(f"'{path}' is longer than {limit} bytes", path=str(path), limit=limit)
    return data


def write_atomic(path: Path, data: bytes, *, mode: int, replace: bool = True) -> None:
    """Write a file so that it appears whole or not at all, and survives a power cut.

    Raises:
        UsageError: `replace` is false and the file exists.
        StoreIOError: the operating system refused.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_synced(temporary, data, mode)
        _publish(temporary, path, replace=replace)
        _sync_directory(path.parent)
    except FileExistsError as cause:
        raise UsageError(
            f"'{path}' exists already", hint="choose another name", path=str(path)
        ) from cause
    except OSError as cause:
        raise StoreIOError(f"cannot write '{path}': {cause.strerror}", path=str(path)) from cause
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write_synced(path: Path, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _publish(temporary: Path, path: Path, *, replace: bool) -> None:
    if replace:
        temporary.replace(path)
    else:
        # A hard link fails when the name is taken, where a rename would overwrite.
        os.link(temporary, path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
