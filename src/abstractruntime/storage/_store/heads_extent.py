"""What the end of a heads file says of its ledger; nobody has looked at a signature."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from abstractruntime.storage._files.jsonl import scan_lines

if TYPE_CHECKING:
    from abstractruntime.storage._files.fs import StoreFiles


class HeadsExtent(NamedTuple):
    """How much of a ledger the lines of a heads file claim to cover."""

    records: int = 0
    bytes: int = 0


def heads_extent(files: StoreFiles, path: str) -> HeadsExtent:
    """Give what the readable lines at the end of a heads file say they cover at most."""
    info = files.info(path)
    if info is None or not info.size:
        return HeadsExtent()
    records = covered = 0
    for line in scan_lines(files, path, offset=_tail_start(files, path, info.size)):
        try:
            head = json.loads(line.data)
            records, covered = max(records, int(head["size"])), max(covered, int(head["offset"]))
        except (ValueError, KeyError, TypeError):
            continue
    return HeadsExtent(records, covered)


def _tail_start(files: StoreFiles, path: str, size: int) -> int:
    """Give the start of a line a few lines before the end."""
    start = max(0, size - 8192)
    if start == 0:
        return 0
    data = files.read(path, start) or b""
    return start + data.find(b"\n") + 1
