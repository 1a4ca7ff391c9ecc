"""What the end of a heads file says of its ledger; nobody has looked at a signature."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from abstractruntime.storage._files.jsonl import scan_lines

if TYPE_CHECKING:
    from abstractruntime.storage._files.fs import StoreFiles


class HeadsExtent(NamedTuple):
    """How much of a ledger heads claim to cover, and whose ledger the last one says that it is."""

    records: int = 0
    bytes: int = 0
    origin: str | None = None


def heads_extent(files: StoreFiles, path: str) -> HeadsExtent:
    """Give what the readable lines at the end of a heads file say they cover at most."""
    info = files.info(path)
    if info is None or not info.size:
        return HeadsExtent()
    records = covered = 0
    origin: str | None = None
    for line in scan_lines(files, path, offset=_tail_start(files, path, info.size)):
        try:
            head = json.loads(line.data)
            records, covered = max(records, int(head["size"])), max(covered, int(head["offset"]))
            origin = str(head["note"]).partition("\n")[0]
        except (ValueError, KeyError, TypeError):
            continue
    return HeadsExtent(records, covered, origin)


def _tail_start(files: StoreFiles, path: str, size: int) -> int:
    """Give the start of a line a few lines before the end."""
    start = max(0, size - 8192)
    if start == 0:
        return 0
    data = files.read(path, start) or b""
    return start + data.find(b"\n") + 1
