"""Keeping what is cut off the end of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abstractruntime.core.models import format_time
from abstractruntime.storage._files.fs import file_name

if TYPE_CHECKING:
    from abstractruntime.core.ports import Clock
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.jsonl import JsonlFile
    from abstractruntime.storage._files.layout import Layout


def quarantine_tail(
    files: StoreFiles, layout: Layout, clock: Clock, path: str, offset: int, *, name: str = ""
) -> None:
    """Copy everything from `offset` on to the quarantine, durably; the file stays as it is.

    `name` is what the copy is called there, the file's own name by default.
    """
    torn = files.read(path, offset) or b""
    stamp = format_time(clock.now()).replace("+00:00", "Z").replace(":", "")
    files.ensure_dir(layout.quarantine)
    files.write_atomic(layout.quarantined(name or file_name(path), stamp), torn)


def cut_torn_tail(
    files: StoreFiles, layout: Layout, clock: Clock, file: JsonlFile, size: int
) -> None:
    """Move everything behind `size` to the quarantine; both ends are durable then."""
    quarantine_tail(files, layout, clock, file.path, size)
    file.cut(size)
