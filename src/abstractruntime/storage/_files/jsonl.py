"""Append-only files of JSON lines: writing, syncing, and finding what survived.

Rules:
1. A line is committed if and only if it ends with LF; one append is one system call.
2. The writer knows the length of the file. Any other length means someone else wrote.
3. A failed sync ends the writer. The system may have dropped the pages, so a second
   sync that succeeds proves nothing.
4. A cut is durable before anything is written where it was made, whatever else is synced.
   Otherwise a power cut may leave new bytes with old ones behind them, which is no torn tail.
5. Lines never hold NUL. Bytes from the first NUL on are what a power cut left of lines
   that nobody was told about, like a line without LF.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abstractruntime.errors import LedgerForked, StoreError, StoreIOError, WriterPoisoned
from abstractruntime.storage._files.fs import file_name, to_store_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abstractruntime._json import JsonObject
    from abstractruntime.storage._files.fs import AppendFile, StoreFiles

_BLOCK = 1 << 20


class JsonlFile:
    """The one descriptor that a run's ledger, or its heads file, is written through."""

    __slots__ = ("_dirty", "_file", "_poisoned", "path", "size")

    def __init__(self, path: str, file: AppendFile, size: int) -> None:
        self.path = path
        self.size = size
        self._file = file
        # What is found on opening may be in the page cache only.
        self._dirty = True
        self._poisoned = False

    @property
    def is_poisoned(self) -> bool:
        return self._poisoned

    def append(self, data: bytes) -> int:
        """Write committed lines at the end and give the offset where they start.

        Raises:
            LedgerForked: the file is not as long as this writer left it.
            StoreFull: no space; the file was cut back to its previous length.
            WriterPoisoned: an earlier sync failed.
        """
        if self._poisoned:
            self._refuse()
        file, offset = self._file, self.size
        try:
            actual = file.size()
            if actual != offset:
                self._report_fork(actual)
            self._dirty = True
            taken = file.append(data)
            if taken != len(data):
                taken += file.append(data[taken:])
        except OSError as cause:
            if isinstance(cause, LedgerForked):
                raise
            self._cut_back()
            raise to_store_error(cause, self.path, needed=len(data)) from cause
        if taken != len(data):
            self._cut_back()
            raise StoreIOError(
                f"only {taken} of {len(data)} bytes could be written to {file_name(self.path)!r}",
                hint="free some space, then repeat the command",
                path=self.path,
            )
        self.size = offset + taken
        return offset

    def sync(self) -> None:
        """Make everything appended so far survive power loss.

        Raises:
            StoreIOError: the sync failed; this writer is poisoned.
            WriterPoisoned: an earlier sync failed.
        """
        if self._poisoned:
            self._refuse()
        if not self._dirty:
            return
        try:
            self._file.sync()
        except OSError as cause:
            # Hazard: after a failed sync Linux may drop the dirty pages and let the next one
            # succeed; trying again would turn a visible error into silent loss.
            self._poisoned = True
            raise to_store_error(cause, self.path) from cause
        self._dirty = False

    def cut(self, size: int) -> None:
        """Cut the file to `size`, durably.

        Raises:
            StoreIOError: that failed; this writer is poisoned.
        """
        try:
            self._file.truncate(size)
            self._file.sync()
        except OSError as cause:
            self._poisoned = True
            raise to_store_error(cause, self.path) from cause
        self.size = size

    def is_current(self, inode: int | None) -> bool:
        """Tell whether the path still names this file at the length this writer left it."""
        try:
            return inode == self._file.inode() and self._file.size() == self.size
        except OSError:
            return False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def _cut_back(self) -> None:
        with contextlib.suppress(StoreError):
            self.cut(self.size)

    def _refuse(self) -> None:
        raise WriterPoisoned(
            f"an earlier sync of {file_name(self.path)!r} failed",
            hint="open the run again; recovery decides from the bytes on disk",
            path=self.path,
        )

    def _report_fork(self, actual: int) -> None:
        self._poisoned = True
        raise LedgerForked(
            f"{file_name(self.path)!r} is {actual} bytes long, expected {self.size}:"
            " someone else wrote to it",
            hint="find the other writer, then: art ledger verify",
            path=self.path,
            expected=self.size,
            found=actual,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A committed line without its LF, and where it starts."""

    offset: int
    data: bytes


@dataclass(slots=True)
class Tail:
    """Where the committed lines of a scan end, and where the file ends."""

    committed: int = 0
    end: int = 0

    @property
    def torn_bytes(self) -> int:
        return self.end - self.committed


def scan_lines(
    files: StoreFiles, path: str, *, offset: int = 0, tail: Tail | None = None
) -> Iterator[Line]:
    """Give the committed lines from `offset` on; afterwards `tail` says where they end."""
    tail = tail or Tail()
    tail.committed = tail.end = offset
    rest = b""
    while block := files.read(path, tail.end, _BLOCK):
        tail.end += len(block)
        lines = (rest + block).split(b"\n") if rest else block.split(b"\n")
        rest = lines.pop()
        for data in lines:
            if b"\x00" in data:
                tail.end = _file_size(files, path, tail.end)
                return
            yield Line(tail.committed, data)
            tail.committed += len(data) + 1


def _file_size(files: StoreFiles, path: str, least: int) -> int:
    info = files.info(path)
    return max(least, info.size if info else 0)


def last_line(files: StoreFiles, path: str, size: int) -> Line | None:
    """Give the committed line that ends at `size`; None when none ends there."""
    span = 4096
    while size > 0:
        start = max(0, size - span)
        data = files.read(path, start, size - start) or b""
        if len(data) != size - start or not data.endswith(b"\n"):
            return None
        cut = data.rfind(b"\n", 0, -1)
        if cut >= 0 or start == 0:
            return Line(start + cut + 1, data[cut + 1 : -1])
        span *= 8
    return None


def last_committed(files: StoreFiles, path: str) -> Line | None:
    """Give the last committed line; looks at the end only, unless the tail is torn.

    Zeros further up, which opening would cut off, are not noticed.
    """
    info = files.info(path)
    if info is None or not info.size:
        return None
    line = last_line(files, path, info.size)
    if line is not None and b"\x00" not in line.data:
        return line
    line = None
    for line in scan_lines(files, path):  # noqa: B007 - the last one is the answer
        pass
    return line


def last_lines(
    files: StoreFiles, path: str, limit: int, *, most_bytes: int | None = None
) -> list[Line]:
    """Give the last `limit` committed lines in order; reads back from the end only as far as needed.

    Of those only as many as take no more than `most_bytes`, but the last one in any case.
    """
    last = last_committed(files, path)
    if last is None or limit <= 0:
        return []
    end = last.offset + len(last.data) + 1
    bound = end if most_bytes is None else max(most_bytes, end - last.offset) + 1
    span = 16 * 1024
    while True:
        start = max(0, end - min(span, bound))
        data = files.read(path, start, end - start) or b""
        if start == 0 or span >= bound or data.count(b"\n") > limit:
            break
        span *= 4
    if start:
        cut = data.index(b"\n") + 1
        start, data = start + cut, data[cut:]
    lines = []
    for line in data.split(b"\n")[:-1]:
        lines.append(Line(start, line))
        start += len(line) + 1
    return lines[-limit:]


def parse_object(data: bytes | str) -> JsonObject | None:
    """Read a JSON object as 0.4.x wrote it, NaN and infinities included; None for anything else."""
    try:
        found = json.loads(data)
    except (ValueError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
