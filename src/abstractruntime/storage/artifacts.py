"""Content-addressed artifacts: large or opaque values that runs refer to.

An artifact id is a hash over run and bytes; the bytes themselves are stored once per
content, under their SHA-256 (`blob_id`), and are checked against it when loaded.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abstractruntime._json import dump_line
from abstractruntime.core.models import format_time, utc_now
from abstractruntime.errors import IntegrityError
from abstractruntime.storage._fs import RealFileSystem, store_errors

_ID = re.compile(r"[A-Za-z0-9_-]+\Z")


def utc_now_iso() -> str:
    return format_time(utc_now())


def compute_artifact_id(content: bytes, *, run_id: str | None = None) -> str:
    """Give 32 hex digits over the run id and the content."""
    owner = (run_id or "").strip()
    prefix = owner.encode() + b"\x00" if owner else b""
    return hashlib.sha256(prefix + content).hexdigest()[:32]


def compute_blob_id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def validate_artifact_id(artifact_id: str) -> None:
    """Refuse ids that could name a path.

    Raises:
        ValueError: empty, or anything but letters, digits, `-` and `_`.
    """
    if not artifact_id:
        raise ValueError("artifact_id cannot be empty")
    if not _ID.match(artifact_id):
        raise ValueError(f"Invalid artifact_id {artifact_id!r}: use letters, digits, '-' and '_'")


def artifact_ref(artifact_id: str) -> dict[str, str]:
    return {"$artifact": artifact_id}


def is_artifact_ref(value: Any) -> bool:
    return isinstance(value, dict) and "$artifact" in value


def get_artifact_id(ref: dict[str, Any]) -> str:
    return str(ref["$artifact"])


def resolve_artifact(ref: Any, store: ArtifactStore) -> Artifact | None:
    """Give the artifact that a reference names, or None."""
    return store.load(get_artifact_id(ref)) if is_artifact_ref(ref) else None


@dataclass
class ArtifactMetadata:
    artifact_id: str
    content_type: str
    size_bytes: int
    created_at: str
    blob_id: str | None = None
    run_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ArtifactMetadata:
        """Read metadata.

        Raises:
            KeyError: one of the first four fields is absent.
        """
        required = {n: data[n] for n in ("artifact_id", "content_type", "size_bytes", "created_at")}
        return cls(
            **required,
            blob_id=data.get("blob_id"),
            run_id=data.get("run_id"),
            tags=dict(data.get("tags") or {}),
        )


@dataclass
class Artifact:
    metadata: ArtifactMetadata
    content: bytes

    @property
    def artifact_id(self) -> str:
        return self.metadata.artifact_id

    @property
    def content_type(self) -> str:
        return self.metadata.content_type

    def as_text(self, encoding: str = "utf-8") -> str:
        return self.content.decode(encoding)

    def as_json(self) -> Any:
        return json.loads(self.content)


class ArtifactStore(ABC):
    """Stores bytes with metadata; subclasses provide the five primitives."""

    @abstractmethod
    def _put(self, metadata: ArtifactMetadata, content: bytes) -> None: ...

    @abstractmethod
    def load(self, artifact_id: str) -> Artifact | None: ...

    @abstractmethod
    def get_metadata(self, artifact_id: str) -> ArtifactMetadata | None: ...

    @abstractmethod
    def delete(self, artifact_id: str) -> bool: ...

    @abstractmethod
    def list_all(self, *, limit: int = 1000) -> list[ArtifactMetadata]:
        """Give metadata, newest first."""

    def store(
        self,
        content: bytes,
        *,
        content_type: str = "application/octet-stream",
        run_id: str | None = None,
        tags: dict[str, str] | None = None,
        artifact_id: str | None = None,
    ) -> ArtifactMetadata:
        """Store bytes; equal bytes of one run get the same id, and new metadata."""
        own_id = artifact_id or compute_artifact_id(content, run_id=run_id)
        validate_artifact_id(own_id)
        metadata = ArtifactMetadata(
            artifact_id=own_id,
            content_type=content_type,
            size_bytes=len(content),
            created_at=utc_now_iso(),
            blob_id=compute_blob_id(content),
            run_id=(run_id or "").strip() or None,
            tags=dict(tags or {}),
        )
        self._put(metadata, content)
        return metadata

    def exists(self, artifact_id: str) -> bool:
        return self.get_metadata(artifact_id) is not None

    def list_by_run(self, run_id: str) -> list[ArtifactMetadata]:
        return [m for m in self.list_all(limit=0) if m.run_id == run_id]

    def delete_by_run(self, run_id: str) -> int:
        return sum(self.delete(m.artifact_id) for m in self.list_by_run(run_id))

    def search(
        self,
        *,
        run_id: str | None = None,
        content_type: str | None = None,
        tags: dict[str, str] | None = None,
        limit: int = 1000,
    ) -> list[ArtifactMetadata]:
        """Give the newest artifacts that match every given filter."""
        found = [
            m
            for m in self.list_all(limit=0)
            if (run_id is None or m.run_id == run_id)
            and (content_type is None or m.content_type == content_type)
            and all(m.tags.get(k) == v for k, v in (tags or {}).items())
        ]
        return found[:limit] if limit > 0 else found

    def store_text(
        self,
        text: str,
        *,
        content_type: str = "text/plain",
        encoding: str = "utf-8",
        run_id: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> ArtifactMetadata:
        return self.store(
            text.encode(encoding), content_type=content_type, run_id=run_id, tags=tags
        )

    def store_json(
        self, data: Any, *, run_id: str | None = None, tags: dict[str, str] | None = None
    ) -> ArtifactMetadata:
        return self.store(
            dump_line(data), content_type="application/json", run_id=run_id, tags=tags
        )

    def load_text(self, artifact_id: str, encoding: str = "utf-8") -> str | None:
        artifact = self.load(artifact_id)
        return artifact.as_text(encoding) if artifact else None

    def load_json(self, artifact_id: str) -> Any:
        artifact = self.load(artifact_id)
        return artifact.as_json() if artifact else None


class InMemoryArtifactStore(ArtifactStore):
    def __init__(self) -> None:
        self._artifacts: dict[str, Artifact] = {}

    def _put(self, metadata: ArtifactMetadata, content: bytes) -> None:
        self._artifacts[metadata.artifact_id] = Artifact(metadata, bytes(content))

    def load(self, artifact_id: str) -> Artifact | None:
        return self._artifacts.get(artifact_id)

    def get_metadata(self, artifact_id: str) -> ArtifactMetadata | None:
        artifact = self.load(artifact_id)
        return artifact.metadata if artifact else None

    def delete(self, artifact_id: str) -> bool:
        return self._artifacts.pop(artifact_id, None) is not None

    def list_all(self, *, limit: int = 1000) -> list[ArtifactMetadata]:
        return _newest([a.metadata for a in self._artifacts.values()], limit)


class FileArtifactStore(ArtifactStore):
    """Keeps `artifacts/blobs/<sha256>.bin` and `artifacts/refs/<id>.meta` below a directory."""

    def __init__(self, base_dir: str | Path) -> None:
        self._fs = RealFileSystem()
        self._base = Path(base_dir).absolute()
        self._blobs = self._base / "artifacts" / "blobs"
        self._refs = self._base / "artifacts" / "refs"

    def _put(self, metadata: ArtifactMetadata, content: bytes) -> None:
        with store_errors(str(self._base)):
            for directory in (self._base, self._blobs.parent, self._blobs, self._refs):
                self._fs.make_dir(str(directory))
            # Invariant: the blob is whole and synced before anything names it.
            self._replace(self._blobs / f"{metadata.blob_id}.bin", content)
            self._replace(self._ref(metadata.artifact_id), dump_line(metadata.to_dict()))

    def _replace(self, path: Path, content: bytes) -> None:
        temp = str(path.with_name(f".{path.name}.tmp"))
        self._fs.write_new(temp, content, sync=True)
        self._fs.replace(temp, str(path))
        self._fs.sync_dir(str(path.parent))

    def _ref(self, artifact_id: str) -> Path:
        validate_artifact_id(artifact_id)
        return self._refs / f"{artifact_id}.meta"

    def load(self, artifact_id: str) -> Artifact | None:
        """Read an artifact.

        Raises:
            IntegrityError: its bytes are missing, or are not those that were stored.
        """
        metadata = self.get_metadata(artifact_id)
        if metadata is None:
            return None
        path = str(self._blobs / f"{metadata.blob_id}.bin")
        content = self._fs.read(path)
        if content is None or compute_blob_id(content) != metadata.blob_id:
            raise IntegrityError(
                f"the content of artifact {artifact_id!r} is missing or does not match its digest",
                hint="restore it from a backup",
                path=path,
            )
        return Artifact(metadata, content)

    def get_metadata(self, artifact_id: str) -> ArtifactMetadata | None:
        data = self._fs.read(str(self._ref(artifact_id)))
        return ArtifactMetadata.from_dict(json.loads(data)) if data is not None else None

    def delete(self, artifact_id: str) -> bool:
        existed = self.exists(artifact_id)
        self._fs.remove(str(self._ref(artifact_id)))
        return existed

    def list_all(self, *, limit: int = 1000) -> list[ArtifactMetadata]:
        names = [entry.name for entry in self._fs.list(str(self._refs))]
        ids = [
            name.removesuffix(".meta")
            for name in names
            if name.endswith(".meta") and name[0] != "."
        ]
        return _newest([m for m in map(self.get_metadata, ids) if m], limit)


def _newest(found: list[ArtifactMetadata], limit: int) -> list[ArtifactMetadata]:
    ordered = sorted(found, key=lambda m: m.created_at, reverse=True)
    return ordered[:limit] if limit > 0 else ordered
