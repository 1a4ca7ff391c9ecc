"""Content-addressed artifacts: large or opaque values that runs refer to.

An artifact id is a hash over run and bytes; the bytes themselves are stored once per
content, under their SHA-256 (`blob_id`), and are checked against it when loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abstractruntime._json import dump_line
from abstractruntime.core.models import format_time, utc_now
from abstractruntime.errors import IntegrityError
from abstractruntime.storage._artifact_files import ArtifactFiles
from abstractruntime.storage._artifact_gc import collect_garbage

DEFAULT_LIMIT = 1000

_ID = re.compile(r"[A-Za-z0-9_-]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DESCRIPTION = frozenset({"$artifact", "sha256", "size_bytes", "content_type", "run_id"})


def utc_now_iso() -> str:
    return format_time(utc_now())


def compute_artifact_id(content: bytes, *, run_id: str | None = None) -> str:
    """Give 32 hex digits over the run id and the content."""
    owner = (run_id or "").strip()
    prefix = owner.encode() + b"\x00" if owner else b""
    return hashlib.sha256(prefix + content).hexdigest()[:32]


def compute_blob_id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def is_artifact_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def validate_artifact_id(artifact_id: str) -> None:
    """Refuse ids that could name a path.

    Raises:
        ValueError: empty, or anything but letters, digits, `-` and `_`.
    """
    if not artifact_id:
        raise ValueError("artifact_id cannot be empty")
    if not is_artifact_id(artifact_id):
        raise ValueError(f"Invalid artifact_id {artifact_id!r}: use letters, digits, '-' and '_'")


def artifact_ref(artifact_id: str) -> dict[str, str]:
    return {"$artifact": artifact_id}


def is_artifact_ref(value: Any) -> bool:
    return isinstance(value, dict) and "$artifact" in value


def get_artifact_id(ref: dict[str, Any]) -> str:
    return str(ref["$artifact"])


def describe_artifact(metadata: ArtifactMetadata, content: bytes) -> dict[str, Any]:
    """Give a reference that also says what it must resolve to, and for which run."""
    return {
        **artifact_ref(metadata.artifact_id),
        "sha256": metadata.blob_id or compute_blob_id(content),
        "size_bytes": metadata.size_bytes,
        "content_type": metadata.content_type,
        "run_id": metadata.run_id,
    }


def is_described_ref(value: Any) -> bool:
    """Tell whether a value is a reference as `describe_artifact` makes them."""
    return is_artifact_ref(value) and value.keys() == _DESCRIPTION


def resolve_artifact(ref: Any, store: ArtifactStore) -> Artifact | None:
    """Give the artifact that a reference names, or None.

    Raises:
        IntegrityError: the reference says what it names, and that is something else.
    """
    if not is_artifact_ref(ref):
        return None
    artifact = store.load(get_artifact_id(ref))
    if artifact is None or not is_described_ref(ref):
        return artifact
    if compute_blob_id(artifact.content) != ref["sha256"]:
        raise _mismatch(ref, "has other content than the reference says")
    if artifact.metadata.run_id != ref["run_id"]:
        raise _mismatch(ref, f"belongs to run {artifact.metadata.run_id!r}")
    return artifact


def _mismatch(ref: dict[str, Any], what: str) -> IntegrityError:
    return IntegrityError(
        f"artifact {ref['$artifact']!r} {what}",
        hint="restore the artifacts directory from a backup",
        artifact_id=ref["$artifact"],
        expected=ref["sha256"],
        run_id=ref["run_id"],
    )


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
        return cls(
            artifact_id=str(data["artifact_id"]),
            content_type=str(data["content_type"]),
            size_bytes=int(data["size_bytes"]),
            created_at=str(data["created_at"]),
            blob_id=data.get("blob_id"),
            run_id=data.get("run_id"),
            tags={str(k): str(v) for k, v in (data.get("tags") or {}).items()},
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
    """Stores bytes with metadata."""

    @abstractmethod
    def store(
        self,
        content: bytes,
        *,
        content_type: str = "application/octet-stream",
        run_id: str | None = None,
        tags: dict[str, str] | None = None,
        artifact_id: str | None = None,
    ) -> ArtifactMetadata:
        """Store bytes; equal bytes of one run get the same id, and new metadata.

        Args:
            content: The bytes.
            content_type: Their media type.
            run_id: The run that owns them.
            tags: What they can be searched by.
            artifact_id: An id of your own; whatever has it is replaced.

        Raises:
            ValueError: the id could name a path; nothing was stored.
        """

    @abstractmethod
    def load(self, artifact_id: str) -> Artifact | None: ...

    @abstractmethod
    def get_metadata(self, artifact_id: str) -> ArtifactMetadata | None: ...

    @abstractmethod
    def exists(self, artifact_id: str) -> bool: ...

    @abstractmethod
    def delete(self, artifact_id: str) -> bool:
        """Forget an artifact; False when there was none."""

    @abstractmethod
    def list_by_run(self, run_id: str) -> list[ArtifactMetadata]:
        """Give the metadata of one run's artifacts, newest first."""

    @abstractmethod
    def list_all(self, *, limit: int = DEFAULT_LIMIT) -> list[ArtifactMetadata]:
        """Give metadata, newest first; a limit of 0 or less means the default."""

    def delete_by_run(self, run_id: str) -> int:
        """Forget the artifacts of a run and give their number."""
        return sum(self.delete(m.artifact_id) for m in self.list_by_run(run_id))

    def search(
        self,
        *,
        run_id: str | None = None,
        content_type: str | None = None,
        tags: dict[str, str] | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> list[ArtifactMetadata]:
        """Give the newest artifacts that match every given filter."""
        source = self.list_all(limit=sys.maxsize) if run_id is None else self.list_by_run(run_id)
        found = [
            m
            for m in source
            if (content_type is None or m.content_type == content_type)
            and all(m.tags.get(k) == v for k, v in (tags or {}).items())
        ]
        return found[: _page_size(limit)]

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


class _ListedArtifactStore(ArtifactStore):
    """What the stores here share: an artifact is described before it is put somewhere."""

    def store(
        self,
        content: bytes,
        *,
        content_type: str = "application/octet-stream",
        run_id: str | None = None,
        tags: dict[str, str] | None = None,
        artifact_id: str | None = None,
    ) -> ArtifactMetadata:
        """Store bytes; equal bytes of one run get the same id, and new metadata.

        A durable store keeps them durably, and writes a blob that was damaged since again.

        Raises:
            ValueError: the id could name a path; nothing was stored.
            StoreError: nothing names the bytes, if they were written at all.
        """
        metadata = _describe(content, content_type, run_id, tags, artifact_id)
        self._put(metadata, bytes(content))
        return metadata

    @abstractmethod
    def _put(self, metadata: ArtifactMetadata, content: bytes) -> None: ...

    def list_by_run(self, run_id: str) -> list[ArtifactMetadata]:
        return [m for m in self._newest() if m.run_id == run_id.strip()]

    def list_all(self, *, limit: int = DEFAULT_LIMIT) -> list[ArtifactMetadata]:
        """Give metadata, newest first; artifacts whose metadata cannot be read are left out."""
        return self._newest()[: _page_size(limit)]

    def _newest(self) -> list[ArtifactMetadata]:
        return sorted(self._readable(), key=lambda m: m.created_at, reverse=True)

    @abstractmethod
    def _readable(self) -> Iterable[ArtifactMetadata]: ...


class InMemoryArtifactStore(_ListedArtifactStore):
    """Keeps artifacts for the life of the process; ids are checked as durable stores do."""

    def __init__(self) -> None:
        self._artifacts: dict[str, Artifact] = {}
        self._mutex = threading.Lock()

    def _put(self, metadata: ArtifactMetadata, content: bytes) -> None:
        with self._mutex:
            self._artifacts[metadata.artifact_id] = Artifact(_copied(metadata), content)

    def load(self, artifact_id: str) -> Artifact | None:
        validate_artifact_id(artifact_id)
        with self._mutex:
            artifact = self._artifacts.get(artifact_id)
        return artifact and Artifact(_copied(artifact.metadata), artifact.content)

    def get_metadata(self, artifact_id: str) -> ArtifactMetadata | None:
        artifact = self.load(artifact_id)
        return artifact.metadata if artifact else None

    def exists(self, artifact_id: str) -> bool:
        return self.load(artifact_id) is not None

    def delete(self, artifact_id: str) -> bool:
        validate_artifact_id(artifact_id)
        with self._mutex:
            return self._artifacts.pop(artifact_id, None) is not None

    def _readable(self) -> list[ArtifactMetadata]:
        with self._mutex:
            return [_copied(artifact.metadata) for artifact in self._artifacts.values()]


class FileArtifactStore(_ListedArtifactStore):
    """Keeps `artifacts/blobs/<sha256>.bin` and `artifacts/refs/<id>.meta` below a directory.

    It may be the directory of `open_store`, whose ledgers keep their large values among the
    same blobs. Artifacts of the older layout, `artifacts/<id>.bin` and `.meta`, are read and
    deleted.

    Args:
        base_dir: The directory; it is created with the first artifact.
        verify_content: Check the SHA-256 of what is loaded.
    """

    def __init__(self, base_dir: str | Path, *, verify_content: bool = True) -> None:
        self._files = ArtifactFiles(str(Path(base_dir).expanduser().absolute()))
        self._verify = verify_content
        self._on_added: Callable[[str, int], None] | None = None

    def tell(self, on_added: Callable[[str, int], None]) -> None:
        """Call `on_added` with a run and how many bytes were written for it that were not there before."""
        self._on_added = on_added

    def _put(self, metadata: ArtifactMetadata, content: bytes) -> None:
        text = json.dumps(metadata.to_dict(), ensure_ascii=False, indent=2)
        is_new = self._files.put(
            metadata.artifact_id, str(metadata.blob_id), content, text.encode()
        )
        if is_new and metadata.run_id and self._on_added is not None:
            self._on_added(metadata.run_id, len(content))

    def load(self, artifact_id: str) -> Artifact | None:
        """Read an artifact.

        Raises:
            IntegrityError: its bytes are missing, or are not those that were stored.
        """
        metadata = self.get_metadata(artifact_id)
        if metadata is None:
            return None
        # What is longer than it says is not read: somebody put it there to fill the memory.
        size = self._files.content_size(artifact_id, metadata.blob_id)
        if self._verify and size is not None and size != metadata.size_bytes:
            raise _damaged(artifact_id, "the content does not match its digest")
        content = self._files.read_content(artifact_id, metadata.blob_id)
        if content is None:
            raise _damaged(artifact_id, "the content is missing")
        if self._verify and not _fits(metadata, content):
            raise _damaged(artifact_id, "the content does not match its digest")
        return Artifact(metadata, content)

    def get_metadata(self, artifact_id: str) -> ArtifactMetadata | None:
        """Read the metadata of an artifact.

        Raises:
            IntegrityError: it is there but cannot be read.
        """
        validate_artifact_id(artifact_id)
        data = self._files.read_metadata(artifact_id)
        return None if data is None else _parse(artifact_id, data)

    def exists(self, artifact_id: str) -> bool:
        validate_artifact_id(artifact_id)
        return self._files.has(artifact_id)

    def delete(self, artifact_id: str) -> bool:
        """Forget an artifact; its bytes stay until `gc`, as others may share them."""
        validate_artifact_id(artifact_id)
        return self._files.delete(artifact_id)

    def gc(self, *, dry_run: bool = True, grace_s: float | None = None) -> dict[str, Any]:
        """Remove blobs that neither an artifact nor a ledger of this directory names.

        Args:
            dry_run: Only tell what would go.
            grace_s: Spare blobs younger than this. By default an hour where runs keep their
                large values in the same directory, and no less, since those name a blob after
                writing it; otherwise 0, as artifacts are written under the lock that this takes.

        Returns:
            `{dry_run, blobs_total, blobs_referenced, blobs_deleted, bytes_reclaimed, errors}`.

        Raises:
            IntegrityError: some metadata cannot be read, so nothing was removed.
            UsageError: the grace period is too short for a directory with runs.
            Busy: another process kept the store locked.
        """
        return collect_garbage(
            self._files,
            self._named_blobs,
            dry_run=dry_run,
            grace_s=grace_s,
            now_s=utc_now().timestamp(),
        )

    def _named_blobs(self) -> set[str]:
        every = (_parse(name, data) for name, data in self._files.all_metadata())
        return {metadata.blob_id for metadata in every if metadata.blob_id}

    def _readable(self) -> Iterable[ArtifactMetadata]:
        for artifact_id, data in self._files.all_metadata():
            with contextlib.suppress(IntegrityError):
                yield _parse(artifact_id, data)


def _describe(
    content: bytes,
    content_type: str,
    run_id: str | None,
    tags: dict[str, str] | None,
    artifact_id: str | None,
) -> ArtifactMetadata:
    own_id = artifact_id or compute_artifact_id(content, run_id=run_id)
    validate_artifact_id(own_id)
    return ArtifactMetadata(
        artifact_id=own_id,
        content_type=content_type,
        size_bytes=len(content),
        created_at=utc_now_iso(),
        blob_id=compute_blob_id(content),
        run_id=(run_id or "").strip() or None,
        tags={str(key): str(value) for key, value in (tags or {}).items()},
    )


def _copied(metadata: ArtifactMetadata) -> ArtifactMetadata:
    return ArtifactMetadata(**{**metadata.to_dict(), "tags": dict(metadata.tags)})


def _fits(metadata: ArtifactMetadata, content: bytes) -> bool:
    if metadata.blob_id is None:
        return len(content) == metadata.size_bytes
    return compute_blob_id(content) == metadata.blob_id


def _parse(artifact_id: str, data: bytes) -> ArtifactMetadata:
    try:
        metadata = ArtifactMetadata.from_dict(json.loads(data))
        if metadata.blob_id is not None and not _DIGEST.fullmatch(metadata.blob_id):
            raise ValueError("blob_id is no SHA-256")
        metadata.artifact_id = artifact_id
        return metadata
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise _damaged(artifact_id, "its metadata cannot be read") from cause


def _damaged(artifact_id: str, what: str) -> IntegrityError:
    return IntegrityError(
        f"artifact {artifact_id!r} is damaged: {what}",
        hint="store the same content again, restore it from a backup, or delete it",
        artifact_id=artifact_id,
    )


def _page_size(limit: int) -> int:
    return limit if limit > 0 else DEFAULT_LIMIT
