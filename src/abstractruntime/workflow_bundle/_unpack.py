"""Writing members into a directory without ever leaving it.

Every component is opened relative to the directory above it and never through a link, so a
directory that is replaced while files are written cannot redirect them.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from abstractruntime.errors import StoreIOError, UsageError
from abstractruntime.workflow_bundle.models import require_safe_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


def write_members(members: Mapping[str, bytes], target: Path, *, overwrite: bool) -> None:
    """Write every member below `target`.

    Raises:
        UsageError: `target` is a link, a file stands in the way, or a component is a link.
        StoreIOError: the operating system refused a write.
    """
    if target.is_symlink():
        raise UsageError(f"'{target}' is a link, expected a directory", path=str(target))
    for name in members:
        require_safe_path(name, "member")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in sorted(members):
            _write_member(target, name, members[name], overwrite=overwrite)
    except FileExistsError as cause:
        raise UsageError(
            f"'{name}' exists already below '{target}'",
            hint="unpack into an empty directory, or overwrite",
            path=name,
        ) from cause
    except OSError as cause:
        if cause.errno in (errno.ELOOP, errno.ENOTDIR):
            raise UsageError(f"a link or file stands in the way of '{name}'", path=name) from cause
        raise StoreIOError(f"cannot write '{name}': {cause.strerror}", path=name) from cause


def _write_member(target: Path, name: str, content: bytes, *, overwrite: bool) -> None:
    *folders, leaf = name.split("/")
    with _opened(os.open(target, _DIRECTORY)) as base, contextlib.ExitStack() as stack:
        current = base
        for folder in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o755, dir_fd=current)
            current = stack.enter_context(_opened(os.open(folder, _DIRECTORY, dir_fd=current)))
        if overwrite:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(leaf, dir_fd=current)
        with os.fdopen(os.open(leaf, _NEW_FILE, 0o644, dir_fd=current), "wb") as file:
            file.write(content)


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
