"""The command inbox of 0.4.x hosts: a durable list of requests, and a cursor into it.

Rules, the same for every store:
1. A `command_id` is accepted once; a repeat is answered with the first one's `seq`.
2. `seq` starts at 1, grows by one, and counts over all runs.
3. What `append` accepted is durable and will be listed; a line that a crash left without
   its end was never accepted, and is cut off by the next append.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right, insort
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from abstractruntime._json import MAX_DEPTH
from abstractruntime._ports_system import random_hex
from abstractruntime.core.models import format_time, utc_now
from abstractruntime.errors import UsageError
from abstractruntime.storage._files.file_lock import StoreLock
from abstractruntime.storage._files.fs import RealFileSystem, StoreFiles
from abstractruntime.storage._files.jsonl import JsonlFile
from abstractruntime.storage._run_queries import page_size

DEFAULT_PAGE = 1000


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """One request to a run; `seq` is given by the store."""

    command_id: str
    run_id: str
    type: str
    payload: dict[str, Any]
    ts: str
    client_id: str | None = None
    seq: int = 0

    def to_json(self) -> dict[str, Any]:
        """Give the stored form; `payload` is shared, not copied."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class CommandAppendResult:
    """Whether a command is new, and where it, or the first one of its id, stands."""

    accepted: bool
    duplicate: bool
    seq: int


@runtime_checkable
class CommandStore(Protocol):
    def append(self, record: CommandRecord) -> CommandAppendResult:
        """Store a command once per `command_id`.

        Raises:
            ValueError: run id or type is blank, or the payload is not JSON.
        """
        ...

    def list_after(
        self, *, after: int, limit: int = DEFAULT_PAGE
    ) -> tuple[list[CommandRecord], int]:
        """Give commands behind a cursor, and the cursor behind the last one given."""
        ...

    def get_last_seq(self) -> int: ...


@runtime_checkable
class CommandCursorStore(Protocol):
    def load(self) -> int: ...
    def save(self, cursor: int) -> None: ...


def validated_command(record: CommandRecord) -> CommandRecord:
    """Give the command as it is stored: trimmed, with an id and a time, its payload copied.

    Raises:
        ValueError: run id or type is blank, or the payload is not JSON.
    """
    run_id, kind = _trimmed(record.run_id), _trimmed(record.type)
    if not run_id:
        raise UsageError("run_id must be non-empty", argument="run_id")
    if not kind:
        raise UsageError("type must be non-empty", argument="type")
    if not isinstance(record.payload, dict):
        raise _not_json()
    return replace(
        record,
        command_id=_trimmed(record.command_id) or random_hex(),
        run_id=run_id,
        type=kind,
        payload=_copied(record.payload, 0),
        ts=_trimmed(record.ts) or format_time(utc_now()),
    )


def _trimmed(value: str | None) -> str:
    return str(value or "").strip()


def _copied(value: Any, depth: int) -> Any:
    """Copy a JSON value; NaN and infinities pass, as they do in 0.4.x."""
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise _not_json()
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= MAX_DEPTH:
        raise _not_json()
    if isinstance(value, list):
        return [_copied(item, depth + 1) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {_copied(key, depth): _copied(item, depth + 1) for key, item in value.items()}
    raise _not_json()


def _not_json() -> UsageError:
    return UsageError(
        "payload must be a JSON-serializable dict",
        hint="use text keys, lists instead of tuples, and no objects",
        argument="payload",
    )


class InMemoryCommandStore:
    """Keeps commands for the life of the process."""

    def __init__(self) -> None:
        self._records: list[CommandRecord] = []
        self._seqs: dict[str, int] = {}
        self._mutex = threading.Lock()

    def append(self, record: CommandRecord) -> CommandAppendResult:
        command = validated_command(record)
        with self._mutex:
            known = self._seqs.get(command.command_id)
            if known is not None:
                return CommandAppendResult(accepted=False, duplicate=True, seq=known)
            seq = len(self._records) + 1
            self._records.append(replace(command, seq=seq))
            self._seqs[command.command_id] = seq
        return CommandAppendResult(accepted=True, duplicate=False, seq=seq)

    def list_after(
        self, *, after: int, limit: int = DEFAULT_PAGE
    ) -> tuple[list[CommandRecord], int]:
        start = max(0, after)
        with self._mutex:
            found = self._records[start : start + page_size(limit, DEFAULT_PAGE)]
        copies = [replace(record, payload=_copied(record.payload, 0)) for record in found]
        return copies, copies[-1].seq if copies else after

    def get_last_seq(self) -> int:
        with self._mutex:
            return len(self._records)


class _Line(NamedTuple):
    seq: int
    offset: int
    size: int


class JsonlCommandStore:
    """Keeps commands as lines of one file that several processes may append to.

    A line that is no command is passed over, as in 0.4.x; the file is never rewritten.
    Memory holds ids and positions, not payloads.
    """

    def __init__(self, base_dir: str | Path, *, filename: str = "commands.jsonl") -> None:
        if filename in {"", ".", ".."} or "\x00" in filename or Path(filename).name != filename:
            raise UsageError(
                f"{filename!r} is not a plain file name",
                hint="such as commands.jsonl",
                argument="filename",
            )
        base = str(Path(base_dir).expanduser().absolute())
        self._base = base
        self._path = f"{base}/{filename}"
        self._files = StoreFiles(RealFileSystem())
        self._lock = StoreLock(self._files, f"{base}/locks/{filename}.lock")
        self._mutex = threading.Lock()
        self._forget()
        self._catch_up()

    def append(self, record: CommandRecord) -> CommandAppendResult:
        """Store a command durably, once per `command_id`.

        Raises:
            ValueError: run id or type is blank, or the payload is not JSON.
            StoreError: it was not acknowledged; a repeat tells whether it counts.
            Busy: another process kept the file locked.
        """
        command = validated_command(record)
        with self._lock.held(), self._mutex:
            # Invariant: the lock is held from here to the sync, so no other process can take
            # the same seq, or accept the same id, in between.
            torn = self._catch_up()
            known = self._seqs.get(command.command_id)
            if known is not None:
                # The append that left it there may have failed at its sync.
                self._files.sync_file(self._path)
                return CommandAppendResult(accepted=False, duplicate=True, seq=known)
            seq = self._last_seq() + 1
            self._write(_line(replace(command, seq=seq)), torn=torn)
            self._catch_up()
        return CommandAppendResult(accepted=True, duplicate=False, seq=seq)

    def list_after(
        self, *, after: int, limit: int = DEFAULT_PAGE
    ) -> tuple[list[CommandRecord], int]:
        """Give commands behind a cursor, and the cursor behind the last one given."""
        with self._mutex:
            self._catch_up()
            start = bisect_right(self._lines, after, key=lambda line: line.seq)
            page = self._lines[start : start + page_size(limit, DEFAULT_PAGE)]
        found = self._read(page)
        return found, found[-1].seq if found else after

    def get_last_seq(self) -> int:
        with self._mutex:
            self._catch_up()
            return self._last_seq()

    def _forget(self) -> None:
        self._seqs: dict[str, int] = {}
        self._lines: list[_Line] = []
        self._committed = 0

    def _last_seq(self) -> int:
        return self._lines[-1].seq if self._lines else 0

    def _catch_up(self) -> int:
        """Index the lines that were committed since the last look; gives the bytes behind them."""
        info = self._files.info(self._path)
        size = info.size if info else 0
        if size < self._committed:
            self._forget()
        if size == self._committed:
            return 0
        data = self._files.read(self._path, self._committed) or b""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._index(line)
            self._committed += len(line) + 1
        return len(rest)

    def _index(self, line: bytes) -> None:
        command = _parse(line)
        if command is None:
            return
        self._seqs.setdefault(command.command_id, command.seq)
        # Compat: processes of 0.4.x could give one seq twice; both lines stay listed.
        insort(self._lines, _Line(command.seq, self._committed, len(line)))

    def _write(self, data: bytes, *, torn: int) -> None:
        self._files.ensure_dir(self._base)
        file = JsonlFile(self._path, self._files.create(self._path), self._committed)
        try:
            if torn:
                file.cut(self._committed)
            file.append(data)
            file.sync()
        finally:
            file.close()
        self._files.sync_name(self._path)

    def _read(self, page: list[_Line]) -> list[CommandRecord]:
        if not page:
            return []
        start = min(line.offset for line in page)
        end = max(line.offset + line.size for line in page)
        block = self._files.read(self._path, start, end - start) or b""
        parsed = (_parse(block[at - start : at - start + size]) for _, at, size in page)
        return [command for command in parsed if command is not None]


def _line(command: CommandRecord) -> bytes:
    return json.dumps(command.to_json(), ensure_ascii=False).encode() + b"\n"


def _parse(line: bytes) -> CommandRecord | None:
    try:
        data = json.loads(line)
        seq = int(data["seq"])
        command_id = str(data["command_id"])
        payload = data.get("payload")
        client_id = data.get("client_id")
        return CommandRecord(
            command_id=command_id,
            run_id=str(data.get("run_id") or ""),
            type=str(data.get("type") or ""),
            payload=payload if isinstance(payload, dict) else {},
            ts=str(data.get("ts") or ""),
            client_id=None if client_id is None else str(client_id),
            seq=seq,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


class InMemoryCommandCursorStore:
    """Keeps a cursor for the life of the process."""

    def __init__(self, initial: int = 0) -> None:
        self._cursor = int(initial)

    def load(self) -> int:
        return self._cursor

    def save(self, cursor: int) -> None:
        self._cursor = int(cursor)


class JsonFileCommandCursorStore:
    """Keeps a cursor in a file of its own, replaced as a whole; it may also go back."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).expanduser().absolute()
        self._files = StoreFiles(RealFileSystem())

    def load(self) -> int:
        """Give the saved cursor; 0 when there is none, or none that can be read.

        Starting over is safe: commands are applied once per id.
        """
        data = self._files.read(str(self._path))
        try:
            saved = json.loads(data or b"{}")
            return int(saved.get("cursor") or 0)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return 0

    def save(self, cursor: int) -> None:
        body = {"cursor": int(cursor), "updated_at": format_time(utc_now())}
        self._files.ensure_dir(str(self._path.parent))
        self._files.write_atomic(str(self._path), json.dumps(body, indent=2).encode())
