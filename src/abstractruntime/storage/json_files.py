"""The file stores of 0.4.x: one JSON file per run, and one file of JSON lines per ledger.

Rules:
1. A checkpoint is replaced as a whole; a record is one line, written by one system call.
   Both survive power loss when the call returns, unless `sync` is False.
2. A line without LF was never acknowledged: it is not listed, and the next append moves
   it to `quarantine/`. A broken line with LF is damage, and reading it says so.
3. Both stores may share their directory with other processes, 0.4.x included.
4. A directory with `store.json` belongs to `open_store(path)`; nothing is written there.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from array import array
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject
from abstractruntime._ports_system import SystemClock
from abstractruntime.core.models import RunState, RunStatus, StepRecord
from abstractruntime.core.ports import RunQuery
from abstractruntime.errors import ChainBroken, IntegrityError, StoreError, UsageError
from abstractruntime.storage._files.fs import (
    FileInfo,
    RealFileSystem,
    StoreFiles,
    store_errors,
)
from abstractruntime.storage._files.jsonl import (
    JsonlFile,
    Line,
    Tail,
    last_line,
    parse_object,
    scan_lines,
)
from abstractruntime.storage._files.layout import (
    Layout,
    check_id,
    is_readable_id,
    run_id_of_checkpoint,
)
from abstractruntime.storage._files.quarantine import cut_torn_tail
from abstractruntime.storage._run_queries import (
    Row,
    RunQueries,
    encode,
    index_row,
    parse_run,
    select,
)
from abstractruntime.storage.base import LedgerStore

if TYPE_CHECKING:
    from abstractruntime.storage._files.fs import FileSystem

# Two writes within one tick of the file system's clock can leave equal times.
_TICK_NS = 50_000_000
_INDEXED_LEDGERS = 64

Records = list[dict[str, Any]]


class _Directory:
    """The files of one directory, and the check that it is not a directory store."""

    def __init__(self, base_dir: str | Path, *, sync: bool, fs: FileSystem | None) -> None:
        self.layout = Layout(str(Path(base_dir).absolute()))
        self.files = StoreFiles(fs or RealFileSystem(), sync=sync)
        self.files.ensure_dir(self.layout.root)

    def require_writable(self) -> None:
        if self.files.info(self.layout.store_file) is None:
            return
        raise UsageError(
            f"{self.layout.root!r} is a directory store, which JSON file stores must not write",
            hint=f"use Runtime.on_engine(open_store({self.layout.root!r}))",
            argument="base_dir",
            path=self.layout.root,
        )


# -- runs ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """A checkpoint file as it was when its row was read; a damaged one has no row."""

    info: FileInfo
    row: Row | None
    read_ns: int

    def is_current(self, info: FileInfo) -> bool:
        return self.info == info and self.read_ns - info.modified_ns > _TICK_NS


class JsonFileRunStore(RunQueries):
    """Keeps each run in `run_<id>.json`; queries look at changed files only.

    Args:
        base_dir: The directory; created when it is missing.
        sync: False leaves it to the operating system when files reach the disk.
        fs: The file system, for tests.
    """

    def __init__(
        self, base_dir: str | Path, *, sync: bool = True, fs: FileSystem | None = None
    ) -> None:
        self._directory = _Directory(base_dir, sync=sync, fs=fs)
        self._seen: dict[str, _Seen] = {}
        self._has_read_all = False
        self._lock = threading.Lock()

    def save(self, run: RunState) -> None:
        """Replace the checkpoint of a run.

        Raises:
            UsageError: the run id cannot be a file name, or the directory is a directory store.
            InvalidValue: the state holds something that is not JSON.
            StoreError: the file could not be written; the previous one is still there.
        """
        self._directory.require_writable()
        path = self._directory.layout.checkpoint(check_id(run.run_id))
        self._directory.files.write_atomic(path, encode(run.to_dict()))

    def load(self, run_id: str) -> RunState | None:
        """Give a run as a copy of the caller's own; None when there is none.

        Raises:
            IntegrityError: its file is damaged.
        """
        if not is_readable_id(run_id):
            return None
        path = self._directory.layout.checkpoint(run_id)
        data = self._directory.files.read(path)
        if data is None:
            return None
        return parse_run(run_id, lambda: json.loads(data), where=path)

    def list_children(
        self, *, parent_run_id: str, status: RunStatus | None = None
    ) -> list[RunState]:
        """Give the children of a run, oldest first."""
        # Compat: hosts patch `_iter_all_runs`, and expect it once in the life of a store.
        if not self._has_read_all:
            self._iter_all_runs()
            self._has_read_all = True
        return super().list_children(parent_run_id=parent_run_id, status=status)

    def _iter_all_runs(self) -> list[RunState]:
        run_ids = [row["run_id"] for row in self._every_row()]
        return self._load(run_ids, len(run_ids))

    def _rows(self, query: RunQuery) -> list[Row]:
        return select(self._every_row(), query)

    def _every_row(self) -> list[Row]:
        with self._lock:
            seen: dict[str, _Seen] = {}
            for info in self._directory.files.list(self._directory.layout.root):
                run_id = run_id_of_checkpoint(info.name)
                if run_id is None:
                    continue
                known = self._seen.get(run_id)
                is_current = known is not None and known.is_current(info)
                seen[run_id] = known if known and is_current else self._look(run_id, info)
            self._seen = seen
            return [entry.row for entry in seen.values() if entry.row is not None]

    def _look(self, run_id: str, info: FileInfo) -> _Seen:
        read_ns = time.time_ns()
        try:
            run = self.load(run_id)
        except IntegrityError:
            run = None
        return _Seen(info, index_row(run) if run is not None else None, read_ns)


# -- ledgers --------------------------------------------------------------------


@dataclass(slots=True)
class _LineIndex:
    """Where the records of a ledger start, as far as it has been read."""

    inode: int
    modified_ns: int = 0
    end: int = 0
    starts: array[int] = field(default_factory=lambda: array("Q"))


class JsonlLedgerStore(LedgerStore):
    """Keeps the records of each run in `ledger_<id>.jsonl`, one per line.

    Args:
        base_dir: The directory; created when it is missing.
        sync: False leaves it to the operating system when lines reach the disk.
        fs: The file system, for tests.
    """

    def __init__(
        self, base_dir: str | Path, *, sync: bool = True, fs: FileSystem | None = None
    ) -> None:
        self._directory = _Directory(base_dir, sync=sync, fs=fs)
        self._sync = sync
        self._named: set[str] = set()
        self._indexes: OrderedDict[str, _LineIndex] = OrderedDict()
        self._lock = threading.Lock()

    def append(self, record: StepRecord) -> None:
        """Add a record to the ledger of its run.

        Raises:
            UsageError: the run id cannot be a file name, or the directory is a directory store.
            InvalidValue: the record holds something that is not JSON.
            StoreError: the line could not be written; the ledger is as it was before.
            ChainBroken: the end of the ledger is damaged.
        """
        self._directory.require_writable()
        path = self._directory.layout.ledger(check_id(record.run_id))
        line = encode(record.to_dict()) + b"\n"
        handle = self._directory.files.create(path)
        try:
            # Another process may append between our look at the end and our line.
            with store_errors(path):
                handle.lock()
                size = handle.size()
            file = JsonlFile(path, handle, size)
            committed = self._committed_size(record.run_id, path, size)
            if committed < size:
                layout, files = self._directory.layout, self._directory.files
                cut_torn_tail(files, layout, SystemClock(), file, committed)
            file.append(line)
            if self._sync:
                _sync_or_cut(file, committed)
        finally:
            handle.close()
        if record.run_id not in self._named:
            # A process that died may have created the file without making its name durable.
            self._directory.files.sync_dir(self._directory.layout.root)
            self._named.add(record.run_id)

    def list(self, run_id: str) -> Records:
        """Give all records of a run in order; an unknown run has none.

        Raises:
            ChainBroken: a line is not a JSON object.
        """
        return self.list_after(run_id, after=0)

    def list_after(self, run_id: str, *, after: int) -> Records:
        """Give the records behind the first `after` ones, without reading those.

        Raises:
            ChainBroken: a line is not a JSON object.
        """
        if not is_readable_id(run_id):
            return []
        path = self._directory.layout.ledger(run_id)
        start = 0
        if after > 0:
            starts = self._index(run_id, path).starts
            if after >= len(starts):
                return []
            start = starts[after]
        tail = Tail()
        lines = list(scan_lines(self._directory.files, path, offset=start, tail=tail))
        self._check_tail(run_id, path, tail)
        return [_parse_record(run_id, line) for line in lines if line.data.strip()]

    def count(self, run_id: str) -> int:
        """Give the number of records without parsing them."""
        if not is_readable_id(run_id):
            return 0
        return len(self._index(run_id, self._directory.layout.ledger(run_id)).starts)

    def _index(self, run_id: str, path: str) -> _LineIndex:
        """Give the index of a ledger, extended to its present end."""
        with self._lock:
            info = self._directory.files.info(path)
            if info is None:
                self._indexes.pop(run_id, None)
                return _LineIndex(0)
            index = self._indexes.pop(run_id, None)
            if index is None or not self._is_prefix(index, info, path):
                index = _LineIndex(info.inode)
            if index.end < info.size:
                tail = Tail()
                for line in scan_lines(self._directory.files, path, offset=index.end, tail=tail):
                    if line.data.strip():
                        index.starts.append(line.offset)
                index.end = tail.committed
            index.modified_ns = info.modified_ns
            self._indexes[run_id] = index
            if len(self._indexes) > _INDEXED_LEDGERS:
                self._indexes.popitem(last=False)
            return index

    def _is_prefix(self, index: _LineIndex, info: FileInfo, path: str) -> bool:
        """Tell whether a file can have grown from what was indexed, and was not written anew."""
        if index.inode != info.inode or index.end > info.size:
            return False
        if index.end == info.size:
            return index.modified_ns == info.modified_ns
        return not index.end or self._directory.files.read(path, index.end - 1, 1) == b"\n"

    def _committed_size(self, run_id: str, path: str, size: int) -> int:
        """Give the length of the ledger up to its last complete line."""
        if not size:
            return 0
        last = last_line(self._directory.files, path, size)
        if last is not None and b"\x00" not in last.data:
            return size
        tail = Tail()
        for _ in scan_lines(self._directory.files, path, tail=tail):
            pass
        self._check_tail(run_id, path, tail)
        return tail.committed

    def _check_tail(self, run_id: str, path: str, tail: Tail) -> None:
        """Refuse an uncommitted end that holds more than the one line a crash can leave."""
        if not tail.torn_bytes:
            return
        torn = self._directory.files.read(path, tail.committed) or b""
        if b"\n" in torn[:-1]:
            raise _broken(run_id, tail.committed, "holds NUL bytes")


def _sync_or_cut(file: JsonlFile, size: int) -> None:
    try:
        file.sync()
    except StoreError:
        # Hazard: after a failed sync the pages of the line may be gone; later lines must not
        # be written behind a hole.
        with contextlib.suppress(StoreError):
            file.cut(size)
        raise


def _parse_record(run_id: str, line: Line) -> JsonObject:
    record = parse_object(line.data)
    if record is None:
        raise _broken(run_id, line.offset, "is not a JSON object")
    return record


def _broken(run_id: str, offset: int, what: str) -> ChainBroken:
    return ChainBroken(
        f"ledger of run {run_id!r}: the line at byte {offset} {what}",
        hint="restore the file from a backup, or move it away and start the run again",
        run_id=run_id,
        offset=offset,
    )
