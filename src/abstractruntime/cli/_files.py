"""Writing what a command was asked to write."""

from __future__ import annotations

from pathlib import Path

from abstractruntime._files import write_atomic
from abstractruntime.errors import NotFound


def write_result(path: Path, data: bytes, *, mode: int, replace: bool = True) -> None:
    """Write a file whole or not at all, in a directory that exists.

    Raises:
        NotFound: there is no such directory; a misspelt path must not become a new place.
        UsageError: `replace` is false and the file exists.
        StoreIOError: the operating system refused.
    """
    if not path.parent.is_dir():
        raise NotFound(
            f"no directory '{path.parent}' to write '{path.name}' into",
            hint=f"make it: mkdir -p {path.parent}",
            path=str(path.parent),
        )
    write_atomic(path, data, mode=mode, replace=replace)
