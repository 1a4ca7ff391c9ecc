"""Named copies of a run's state, kept for people: bookmarks, not checkpoints.

A snapshot knows nothing of the ledger. To restore one, a host builds a `RunState` from
`run_state` and saves it.
"""

from __future__ import annotations

import contextlib
import copy
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from abstractruntime._json import isolate, normalise
from abstractruntime._ports_system import SystemIds
from abstractruntime.core.models import RunState, format_time, utc_now
from abstractruntime.errors import IntegrityError
from abstractruntime.storage._files.fs import RealFileSystem, StoreFiles, file_name
from abstractruntime.storage._files.layout import check_id

_PREFIX, _SUFFIX = "snapshot_", ".json"


class DamagedSnapshotError(IntegrityError, ValueError, KeyError):
    """A snapshot file is not what was saved.

    Compat: 0.4.x let ValueError (bad JSON) and KeyError (missing id) out.
    """

    code = "damaged_snapshot"


def _now_text() -> str:
    return format_time(utc_now())


@dataclass
class Snapshot:
    """A copy of one run's state under a name."""

    snapshot_id: str
    run_id: str
    step_id: str | None = None
    name: str = ""
    description: str | None = None
    tags: list[str] = field(default_factory=list)
    created_at: str = field(default_factory=_now_text)
    updated_at: str = field(default_factory=_now_text)
    run_state: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_run(
        cls,
        *,
        run: RunState,
        name: str,
        description: str | None = None,
        tags: list[str] | None = None,
        step_id: str | None = None,
    ) -> Snapshot:
        """Copy a run under a fresh id; later changes of the run do not show in the copy."""
        return cls(
            snapshot_id=SystemIds().run_id(),
            run_id=run.run_id,
            step_id=step_id,
            name=name,
            description=description,
            tags=list(tags or ()),
            run_state=copy.deepcopy(run.to_dict()),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the stored form; `tags` and `run_state` are shared, not copied."""
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Snapshot:
        """Read the stored form; unknown keys are ignored.

        Raises:
            KeyError: snapshot id or run id is missing.
        """
        known = {name: data[name] for name in _FIELDS if name in data}
        known.update(snapshot_id=str(data["snapshot_id"]), run_id=str(data["run_id"]))
        known["tags"] = list(data.get("tags") or ())
        known["run_state"] = dict(data.get("run_state") or {})
        return cls(**known)


_FIELDS = tuple(item.name for item in fields(Snapshot))


class SnapshotStore(ABC):
    """Keeps snapshots; `save` replaces, and stamps `updated_at` on the caller's object."""

    @abstractmethod
    def save(self, snapshot: Snapshot) -> None: ...

    @abstractmethod
    def load(self, snapshot_id: str) -> Snapshot | None: ...

    @abstractmethod
    def delete(self, snapshot_id: str) -> bool:
        """Forget a snapshot; False when there was none."""

    @abstractmethod
    def list(
        self,
        *,
        run_id: str | None = None,
        tag: str | None = None,
        query: str | None = None,
        limit: int = 100,
    ) -> list[Snapshot]:
        """Give the newest snapshots that match every given filter.

        Args:
            run_id: Only of this run.
            tag: Only with this tag, in any case.
            query: Only with this text in name or description, in any case.
            limit: How many at most; 0 or less gives none.
        """


class _FilteredSnapshotStore(SnapshotStore):
    """Lists snapshots by looking at all of them."""

    @abstractmethod
    def _readable(self) -> Iterable[Snapshot]: ...

    def list(
        self,
        *,
        run_id: str | None = None,
        tag: str | None = None,
        query: str | None = None,
        limit: int = 100,
    ) -> list[Snapshot]:
        """Give the newest snapshots that match every given filter; unreadable ones are left out."""
        found = [
            snapshot
            for snapshot in self._readable()
            if (run_id is None or snapshot.run_id == run_id)
            and (not tag or _has_tag(snapshot, tag))
            and (not query or _mentions(snapshot, query))
        ]
        found.sort(key=lambda snapshot: str(snapshot.created_at), reverse=True)
        return found[: max(0, limit)]


class InMemorySnapshotStore(_FilteredSnapshotStore):
    """Keeps snapshots for the life of the process, as copies."""

    def __init__(self) -> None:
        self._snapshots: dict[str, dict[str, Any]] = {}
        self._mutex = threading.Lock()

    def save(self, snapshot: Snapshot) -> None:
        data = isolate(_stamped(snapshot))
        with self._mutex:
            self._snapshots[snapshot.snapshot_id] = data

    def load(self, snapshot_id: str) -> Snapshot | None:
        check_id(snapshot_id, "snapshot")
        with self._mutex:
            data = self._snapshots.get(snapshot_id)
        return Snapshot.from_dict(isolate(data)) if data is not None else None

    def delete(self, snapshot_id: str) -> bool:
        check_id(snapshot_id, "snapshot")
        with self._mutex:
            return self._snapshots.pop(snapshot_id, None) is not None

    def _readable(self) -> Iterable[Snapshot]:
        with self._mutex:
            found = list(self._snapshots.values())
        return (Snapshot.from_dict(isolate(data)) for data in found)


class SnapshotFiles(_FilteredSnapshotStore):
    """Keeps each snapshot in `snapshot_<id>.json` in one directory of a file system."""

    def __init__(self, base: str, files: StoreFiles) -> None:
        self._base = base
        self._files = files

    def save(self, snapshot: Snapshot) -> None:
        """Write a snapshot durably.

        Raises:
            ValueError: the id cannot stand in a file name, or the state is not JSON.
            StoreError: the previous version, if any, is still there.
        """
        path = self._path(snapshot.snapshot_id)
        text = json.dumps(_stamped(snapshot), ensure_ascii=False, indent=2)
        self._files.ensure_dir(self._base)
        self._files.write_atomic(path, text.encode())

    def load(self, snapshot_id: str) -> Snapshot | None:
        """Read a snapshot.

        Raises:
            UsageError: the id cannot stand in a file name.
            DamagedSnapshotError: the file is not JSON, or lacks an id.
        """
        path = self._path(snapshot_id)
        data = self._files.read(path)
        return None if data is None else _parse(data, path)

    def delete(self, snapshot_id: str) -> bool:
        path = self._path(snapshot_id)
        existed = self._files.info(path) is not None
        self._files.remove(path)
        return existed

    def _readable(self) -> Iterable[Snapshot]:
        for name in self._files.names(self._base):
            if not (name.startswith(_PREFIX) and name.endswith(_SUFFIX)):
                continue
            path = f"{self._base}/{name}"
            data = self._files.read(path)
            if data is not None:
                with contextlib.suppress(DamagedSnapshotError):
                    yield _parse(data, path)

    def _path(self, snapshot_id: str) -> str:
        return f"{self._base}/{_PREFIX}{check_id(snapshot_id, 'snapshot')}{_SUFFIX}"


class JsonSnapshotStore(SnapshotFiles):
    """Keeps each snapshot in `snapshot_<id>.json` below a directory, replaced as a whole.

    Ids are 1 to 128 letters, digits, `_` or `-`; others are refused, as they could name a path.
    """

    def __init__(self, base_dir: str | Path) -> None:
        base = str(Path(base_dir).expanduser().absolute())
        super().__init__(base, StoreFiles(RealFileSystem()))


def _stamped(snapshot: Snapshot) -> dict[str, Any]:
    """Give what is to be stored of a snapshot, after checking it and stamping `updated_at`."""
    check_id(snapshot.snapshot_id, "snapshot")
    state = normalise(snapshot.run_state, "/run_state")
    snapshot.updated_at = _now_text()
    return {**snapshot.to_dict(), "run_state": state}


def _parse(data: bytes, path: str) -> Snapshot:
    try:
        return Snapshot.from_dict(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise DamagedSnapshotError(
            f"{file_name(path)!r} is not a snapshot: {cause}",
            hint="restore it from a backup, or delete it",
            path=path,
        ) from cause


def _has_tag(snapshot: Snapshot, tag: str) -> bool:
    return tag.strip().lower() in {str(own).strip().lower() for own in snapshot.tags}


def _mentions(snapshot: Snapshot, query: str) -> bool:
    text = query.strip().lower()
    return any(text in str(part or "").lower() for part in (snapshot.name, snapshot.description))
