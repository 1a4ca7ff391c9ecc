"""The only module of the package that touches files: bounded reads, atomic writes, and whose a file is."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from abstractruntime.errors import (
    AbstractRuntimeError,
    NotFound,
    Refused,
    StoreIOError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUPERUSER = 0


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why what a file says may not be what its reader wants, and what mends that."""

    path: Path
    reason: str
    fix: str


def doubt_about(path: Path) -> Doubt | None:
    """Say whether somebody else could have made, changed or replaced a file or directory.

    It, the directory it lies in and, for a link, what it leads to must belong to whoever runs
    this, or to the superuser, and nobody else may write to them. What is not there is in nobody's
    hands but those of its directory.
    """
    real = Path(os.path.realpath(path))
    places = dict.fromkeys((path.parent, path, real.parent, real))
    return next((doubt for place in places if (doubt := doubt_of_place(place))), None)


def doubt_of_place(place: Path) -> Doubt | None:
    """Say the same of a file or directory alone, wherever it lies."""
    try:
        found = place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as cause:
        reason = f"'{place}' cannot be looked at: {cause.strerror}"
        return Doubt(place, reason, "see whose it is")
    if found.st_uid not in (os.geteuid(), _SUPERUSER):
        reason = f"'{place}' belongs to user {found.st_uid}"
        return Doubt(
            place,
            reason,
            f"look at it, as others filled it; then remove it, or take it over: chown {os.geteuid()} {place}",
        )
    if others_may_write(found):
        reason = f"'{place}' can be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
        return Doubt(place, reason, f"chmod go-w {place}")
    return None


def others_may_write(found: os.stat_result) -> bool:
    """Say whether anybody but the owner may write; a group of one's own is nobody else."""
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_own_group(found.st_gid)


@lru_cache(maxsize=16)
def _is_own_group(gid: int) -> bool:
    """Say whether a group is the one that a user has for himself, where the umask is 002."""
    import grp  # noqa: PLC0415 - hardly ever needed
    import pwd  # noqa: PLC0415 - as above

    try:
        me, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    is_mine = (group.gr_gid, group.gr_name) == (me.pw_gid, me.pw_name)
    return is_mine and set(group.gr_mem) <= {me.pw_name}


def read_unshared(path: Path, limit: int, *, what: str) -> bytes:
    """Read a whole file of at most `limit` bytes that nobody else could have written.

    Raises:
        NotFound: there is no such file.
        Refused: somebody else could have; says what mends that.
        UsageError: it is longer than `limit`, or no file.
        StoreIOError: the operating system refused the read.
    """
    if doubt := doubt_about(path):
        raise Refused(f"{what} is not used: {doubt.reason}", hint=doubt.fix, path=str(doubt.path))
    return read_bounded(path, limit)


def make_private_directory(path: Path) -> None:
    """Make a directory and those above it that are missing, for nobody else, whatever the umask."""
    for missing in (*reversed(path.parents), path):
        if not missing.exists():
            missing.mkdir(mode=0o700, exist_ok=True)


# Makes a directory a store, whoever may open it.
STORE_FILE: Final = "store.json"
_READ_AT_ONCE = 1 << 20
_OPEN_ALREADY = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a whole file, refusing one of more than `limit` bytes before it is held.

    Raises:
        NotFound: there is no such file.
        UsageError: it is longer than `limit`, or no regular file; see `open_file`.
        StoreIOError: the operating system refused the read.
    """
    with open_file(path) as file:
        return read_stream(file, limit, name=f"'{path}'", path=str(path))


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a regular file to read, or a pipe that this process was given, as `/dev/fd/3`.

    Hazard: opening any other pipe waits for whoever writes to it, and devices never end.

    Raises:
        NotFound: there is no such file.
        UsageError: it is a directory, a pipe, a socket or a device.
        StoreIOError: the operating system refused to open or to read it.
    """
    try:
        with os.fdopen(_opened(path), "rb") as file:
            yield file
    except FileNotFoundError as cause:
        raise NotFound(f"no file '{path}'", path=str(path)) from cause
    except OSError as cause:
        if isinstance(cause, AbstractRuntimeError):
            raise
        raise StoreIOError(f"cannot read '{path}': {cause.strerror}", path=str(path)) from cause


def _opened(path: Path) -> int:
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    name = os.path.abspath(path)  # noqa: PTH100 - links must not be followed here
    # A socket cannot be opened at all, and says so in words about devices.
    _require_file(path, os.stat(path), is_given=name.startswith(_OPEN_ALREADY))  # noqa: PTH116
    descriptor = os.open(path, flags)
    try:
        found = os.fstat(descriptor)
        _require_file(path, found, is_given=name.startswith(_OPEN_ALREADY))
        if not stat.S_ISREG(found.st_mode):
            os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_file(path: Path, found: os.stat_result, *, is_given: bool) -> None:
    kind = next((name for fits, name in _KINDS if fits(found.st_mode)), None)
    if kind is None or (is_given and kind != "a directory"):
        return
    raise UsageError(f"'{path}' is {kind}, expected a file", path=str(path))


def marks_store(head: bytes) -> bool:
    """Tell whether the first bytes of a `STORE_FILE` are those of a store's."""
    return b"art-store/" in head


def read_start(path: Path, size: int) -> bytes:
    """Read a file, or its first `size` bytes if it is longer; raises as `open_file` does."""
    with open_file(path) as file:
        return file.read(size)


def lines_of(file: IO[bytes], limit: int) -> Iterator[bytes]:
    """Give the lines of a file; one of more than `limit` bytes comes in pieces, the first longer."""
    return iter(partial(file.readline, limit + 2), b"")


def read_stream(file: IO[bytes], limit: int, *, name: str, **details: str) -> bytes:
    """Read the rest of a stream, refusing one of more than `limit` bytes before it is held.

    Raises:
        UsageError: it is longer.
    """
    data = bytearray()
    while block := file.read(min(_READ_AT_ONCE, limit + 1 - len(data))):
        data += block
        if len(data) > limit:
            raise UsageError(
                f"{name} is longer than {limit} bytes",
                hint="give less, or name a file that the flow reads itself",
                **details,
                limit=limit,
            )
    return bytes(data)


def write_atomic(path: Path, data: bytes, *, mode: int, replace: bool = True) -> None:
    """Write a file so that it appears whole or not at all, and survives a power cut.

    Raises:
        UsageError: `replace` is false and the file exists.
        StoreIOError: the operating system refused.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        make_private_directory(path.parent)
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
