"""A file system in memory that remembers what a power cut may take away.

`SimFileSystem` journals its verbs. `crash_states` gives the disks that may be found after
a power cut: a prefix of the journal with any legal subset of what was not synced.

Rules of the model:
1. A file keeps what it held at its last sync. Bytes appended since may be lost, cut at
   any byte, or be zeros from the start of an append on: systems write the blocks of a file
   back in any order.
2. A directory keeps the names it held at its last sync. Each later creation, rename or
   removal may or may not have happened, whatever became of the data of the file.
3. Syncing a file does not sync its name; syncing a directory does not sync its files.
4. A directory is a name too: without it, nothing below it is found.
5. A cut is one more thing that happens in any order. Until the next sync the bytes that it
   took away may still stand behind those that were written over them.

Faults: `fail_at[n] = errno` makes the n-th call fail before it does anything. Locks always
succeed and databases are in memory: both are caches or advice, not promises.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from abstractruntime.storage._files.fs import FileInfo

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

Verb = Literal["data", "cut", "sync", "link", "unlink", "mkdir", "sync_dir", "mark"]
Image = dict[str, bytes]


@dataclass(slots=True)
class _Inode:
    number: int
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One journalled verb: `inode` with its data or name, or a mark of the test."""

    verb: Verb
    inode: int = 0
    path: str = ""
    data: bytes = b""
    size: int = 0
    note: Any = None


@dataclass(slots=True)
class Mutations:
    """Deliberate mistakes, to prove that the model finds them."""

    skip_file_sync: bool = False
    skip_new_file_sync: bool = False
    skip_dir_sync: bool = False


class SimFileSystem:
    """The `FileSystem` port over dictionaries.

    Args:
        image: Files that are there and durable from the start.
        mutations: Syncs that silently do nothing.
    """

    def __init__(self, image: Image | None = None, mutations: Mutations | None = None) -> None:
        self.journal: list[JournalEntry] = []
        self.calls: list[str] = []
        self.fail_at: dict[int, int] = {}
        self._mutations = mutations or Mutations()
        self._inodes = 0
        self._files: dict[str, _Inode] = {}
        self._dirs: set[str] = {"/"}
        for path, data in (image or {}).items():
            self._add_parents(path)
            self._files[path] = self._new_inode(data)

    def mark(self, note: Any) -> None:
        """Put a fact into the journal, such as what was acknowledged by now."""
        self.journal.append(JournalEntry("mark", note=note))

    def image(self) -> Image:
        """Give all files as they are now."""
        return {path: inode.content for path, inode in self._files.items()}

    # -- the port ------------------------------------------------------------

    def open_append(self, path: str, *, create: bool = False) -> SimAppendFile | None:
        self._call("open_append")
        inode = self._files.get(path)
        if inode is None:
            if not create:
                return None
            inode = self._link_new(path)
        return SimAppendFile(self, inode)

    def write_new(self, path: str, data: bytes, *, sync: bool) -> None:
        self._call("write_new")
        inode = self._link_new(path)
        inode.content = data
        self.journal.append(JournalEntry("data", inode.number, data=data))
        if sync:
            self._call("sync")
            if not self._mutations.skip_new_file_sync:
                self.journal.append(JournalEntry("sync", inode.number))

    def replace(self, source: str, target: str) -> None:
        self._call("replace")
        if source not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
        inode = self._files.pop(source)
        self._files[target] = inode
        self.journal.append(JournalEntry("link", inode.number, target, data=source.encode()))

    def remove(self, path: str) -> None:
        self._call("remove")
        if self._files.pop(path, None) is not None:
            self.journal.append(JournalEntry("unlink", path=path))

    def sync_dir(self, path: str) -> None:
        self._call("sync_dir")
        if not self._mutations.skip_dir_sync:
            self.journal.append(JournalEntry("sync_dir", path=path))

    def make_dir(self, path: str) -> bool:
        self._call("make_dir")
        if path in self._dirs:
            return False
        self._dirs.add(path)
        self.journal.append(JournalEntry("mkdir", path=path))
        return True

    def remove_dir(self, path: str) -> bool:
        self._call("remove_dir")
        entries = (_parent(name) for name in (*self._files, *self._dirs))
        if path not in self._dirs or path in entries:
            return False
        # The model keeps no directory entries of directories: an empty one is no promise.
        self._dirs.discard(path)
        return True

    def info(self, path: str) -> FileInfo | None:
        self._call("info")
        inode = self._files.get(path)
        if inode is not None:
            return FileInfo(_name(path), len(inode.content), inode.number)
        return FileInfo(_name(path), 0, 0, is_dir=True) if path in self._dirs else None

    def size(self, path: str) -> int | None:
        info = self.info(path)
        return info.size if info else None

    def read(self, path: str, offset: int = 0, size: int = -1) -> bytes | None:
        self._call("read")
        inode = self._files.get(path)
        if inode is None:
            return None
        return inode.content[offset:] if size < 0 else inode.content[offset : offset + size]

    def names(self, path: str) -> list[str]:
        return [entry.name for entry in self.list(path)]

    def list(self, path: str) -> list[FileInfo]:
        self._call("list")
        files = [
            FileInfo(_name(p), len(inode.content), inode.number)
            for p, inode in self._files.items()
            if _parent(p) == path
        ]
        dirs = [p for p in self._dirs if p != "/" and _parent(p) == path]
        return files + [FileInfo(_name(p), 0, 0, is_dir=True) for p in dirs]

    def real_path(self, path: str) -> str:
        # Two simulated disks are two places, although their paths are alike.
        return path

    def is_writable(self, path: str) -> bool:
        return path in self._dirs

    def lock(self, path: str, note: bytes) -> SimLock:  # noqa: ARG002 - the port's signature
        self._call("lock")
        return SimLock()

    def lock_note(self, path: str) -> None:  # noqa: ARG002 - as above
        self._call("lock_note")

    def database_path(self, path: str) -> str:  # noqa: ARG002 - as above
        return ":memory:"

    # -- inside --------------------------------------------------------------

    def _call(self, verb: str) -> None:
        self.calls.append(verb)
        code = self.fail_at.pop(len(self.calls) - 1, None)
        if code is not None:
            raise OSError(code, os.strerror(code))

    def _new_inode(self, content: bytes = b"") -> _Inode:
        self._inodes += 1
        return _Inode(self._inodes, content)

    def _link_new(self, path: str) -> _Inode:
        if _parent(path) not in self._dirs:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        inode = self._files[path] = self._new_inode()
        self.journal.append(JournalEntry("link", inode.number, path))
        return inode

    def _add_parents(self, path: str) -> None:
        while path != "/":
            path = _parent(path)
            self._dirs.add(path)


class SimAppendFile:
    """An open file of a `SimFileSystem`."""

    def __init__(self, fs: SimFileSystem, inode: _Inode) -> None:
        self._fs = fs
        self._inode = inode

    def append(self, data: bytes) -> int:
        self._fs._call("append")  # noqa: SLF001 - one unit
        self._inode.content += data
        self._fs.journal.append(JournalEntry("data", self._inode.number, data=data))
        return len(data)

    def size(self) -> int:
        self._fs._call("size")  # noqa: SLF001 - one unit
        return len(self._inode.content)

    def inode(self) -> int:
        return self._inode.number

    def sync(self) -> None:
        self._fs._call("sync")  # noqa: SLF001 - one unit
        if not self._fs._mutations.skip_file_sync:  # noqa: SLF001 - one unit
            self._fs.journal.append(JournalEntry("sync", self._inode.number))

    def truncate(self, size: int) -> None:
        self._fs._call("truncate")  # noqa: SLF001 - one unit
        self._inode.content = self._inode.content[:size]
        self._fs.journal.append(JournalEntry("cut", self._inode.number, size=size))

    def lock(self) -> None:
        """Nobody else is there."""

    def close(self) -> None:
        """Nothing is buffered."""


class SimLock:
    """A lock that is always free."""

    def leave(self, note: bytes) -> None:
        """Nobody reads it."""

    def close(self) -> None:
        """Nothing is held."""

    def abandon(self) -> None:
        """Nothing is held."""


# -- crash states -------------------------------------------------------------


@dataclass(slots=True)
class _Disk:
    """What is certain, and what is pending, at one point of a journal."""

    safe_data: dict[int, bytes] = field(default_factory=dict)
    pending_data: dict[int, list[JournalEntry]] = field(default_factory=dict)
    safe_names: dict[str, int] = field(default_factory=dict)
    pending_names: dict[str, list[JournalEntry]] = field(default_factory=dict)
    unsafe_dirs: set[str] = field(default_factory=set)
    marks: list[Any] = field(default_factory=list)

    def apply(self, entry: JournalEntry) -> None:
        if entry.verb in ("data", "cut"):
            self.pending_data.setdefault(entry.inode, []).append(entry)
        elif entry.verb == "sync":
            self.safe_data[entry.inode] = self._full(entry.inode)
            self.pending_data.pop(entry.inode, None)
        elif entry.verb == "mkdir":
            self.unsafe_dirs.add(entry.path)
        elif entry.verb in ("link", "unlink"):
            self.pending_names.setdefault(_parent(entry.path), []).append(entry)
        elif entry.verb == "sync_dir":
            for change in self.pending_names.pop(entry.path, ()):
                _rename(self.safe_names, change)
            self.unsafe_dirs -= {path for path in self.unsafe_dirs if _parent(path) == entry.path}
        elif entry.verb == "mark":
            self.marks.append(entry.note)

    def _full(self, inode: int) -> bytes:
        data = self.safe_data.get(inode, b"")
        for entry in self.pending_data.get(inode, ()):
            data = data + entry.data if entry.verb == "data" else data[: entry.size]
        return data

    def crash(self, rng: random.Random) -> Image:
        """Give one disk that a power cut at this point may leave."""
        names = dict(self.safe_names)
        for changes in self.pending_names.values():
            odds = rng.choice((0.0, 0.5, 1.0))
            for change in changes:
                if rng.random() < odds:
                    _rename(names, change)
        for lost in sorted(self.unsafe_dirs):
            if rng.random() >= 0.5:
                names = {p: i for p, i in names.items() if not p.startswith(f"{lost}/")}
        cache: dict[int, bytes] = {}
        for inode in set(names.values()):
            cache[inode] = self._survivor(inode, rng)
        return {path: cache[inode] for path, inode in names.items()}

    def _survivor(self, inode: int, rng: random.Random) -> bytes:
        data = self.safe_data.get(inode, b"")
        pending = self.pending_data.get(inode)
        if not pending:
            return data
        floor, below = len(data), b""
        zero_odds = rng.choice((0.0, 0.0, 0.3, 1.0))
        for entry in pending:
            if entry.verb == "cut":
                below = data + below[len(data) :]
                data, floor = data[: entry.size], min(floor, entry.size)
            elif rng.random() < zero_odds:
                size = len(entry.data)
                zeros = rng.choice((size, rng.randint(0, size)))
                data += bytes(zeros) + entry.data[zeros:]
            else:
                data += entry.data
        kept = data[: rng.choice((len(data), floor, rng.randint(floor, len(data))))]
        return kept + rng.choice((b"", below[len(kept) :]))


def crash_states(
    journal: list[JournalEntry], rng: random.Random, *, per_point: int
) -> Iterator[tuple[list[Any], Image]]:
    """Give, for every point of a journal, `per_point` possible disks and the marks so far."""
    disk = _Disk()
    for entry in journal:
        disk.apply(entry)
        for _ in range(per_point):
            yield list(disk.marks), disk.crash(rng)


def _rename(names: dict[str, int], change: JournalEntry) -> None:
    if change.verb == "unlink":
        names.pop(change.path, None)
        return
    names[change.path] = change.inode
    if change.data:
        names.pop(change.data.decode(), None)


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _name(path: str) -> str:
    return path.rpartition("/")[2]
