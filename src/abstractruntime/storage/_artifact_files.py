"""The files of artifacts below a store directory: blobs by digest, metadata by id.

What an interrupted collection of the store left aside counts as if it were in its place.
"""

from __future__ import annotations

from collections.abc import Iterator

from abstractruntime.storage._files.file_lock import StoreLock
from abstractruntime.storage._files.fs import FileInfo, RealFileSystem, StoreFiles
from abstractruntime.storage._files.layout import Layout
from abstractruntime.storage._store.blobs import ASIDE, read_kept

_METADATA, _CONTENT = ".meta", ".bin"


class ArtifactFiles:
    """Reads and writes what an artifact consists of; ids have been checked by the caller."""

    def __init__(self, root: str) -> None:
        self.layout = Layout(root)
        self.files = StoreFiles(RealFileSystem(root=root))
        self.lock = StoreLock(self.files, self.layout.store_lock)
        self._refs = self.layout.refs
        self._legacy = f"{root}/artifacts"

    def put(self, artifact_id: str, blob_id: str, content: bytes, metadata: bytes) -> bool:
        """Write blob and metadata durably; False when the blob was there, whole, and is kept."""
        self.files.ensure_dir(self.layout.blobs)
        self.files.ensure_dir(self._refs)
        blob = self.layout.blob(blob_id)
        # Invariant: from finding the blob to naming it nobody collects garbage, and the blob
        # is whole and synced before anything names it.
        with self.lock.held():
            is_new = self.files.read(blob) != content
            if is_new:
                self.files.write_atomic(blob, content)
            else:
                self.files.sync_name(blob)
            self.files.write_atomic(self._ref(artifact_id), metadata)
        return is_new

    def read_metadata(self, artifact_id: str) -> bytes | None:
        data = read_kept(self.files, self._ref(artifact_id))
        return data if data is not None else self.files.read(self._old(artifact_id, _METADATA))

    def read_content(self, artifact_id: str, blob_id: str | None) -> bytes | None:
        """Give the bytes; the layout before blobs kept them under the artifact's id."""
        if blob_id is None:
            return self.files.read(self._old(artifact_id, _CONTENT))
        return read_kept(self.files, self.layout.blob(blob_id))

    def content_size(self, artifact_id: str, blob_id: str | None) -> int | None:
        """Give how long the content is; None where it is not in its place."""
        old = self._old(artifact_id, _CONTENT)
        found = self.files.info(old if blob_id is None else self.layout.blob(blob_id))
        return None if found is None else found.size

    def has(self, artifact_id: str) -> bool:
        ref = self._ref(artifact_id)
        paths = (ref, ref + ASIDE, self._old(artifact_id, _METADATA))
        return any(self.files.info(path) is not None for path in paths)

    def delete(self, artifact_id: str) -> bool:
        existed = self.has(artifact_id)
        for path in (self._ref(artifact_id), self._ref(artifact_id) + ASIDE):
            self.files.remove(path)
        for suffix in (_METADATA, _CONTENT):
            self.files.remove(self._old(artifact_id, suffix))
        return existed

    def all_metadata(self) -> Iterator[tuple[str, bytes]]:
        """Give id and metadata of every artifact, of the present layout and the older one."""
        seen = set()
        for directory in (self._refs, self._legacy):
            for name in sorted(self.files.names(directory)):
                artifact_id, found, rest = name.rpartition(_METADATA)
                is_metadata = found and rest in ("", ASIDE) and not name.startswith(".")
                if not is_metadata or artifact_id in seen:
                    continue
                data = self.files.read(f"{directory}/{name}")
                if data is not None:
                    seen.add(artifact_id)
                    yield artifact_id, data

    def blobs(self) -> list[tuple[str, FileInfo]]:
        """Give digest, size and age of every blob file."""
        found = []
        for name in self.files.names(self.layout.blobs):
            blob_id = name.removesuffix(_CONTENT)
            info = self.files.info(f"{self.layout.blobs}/{name}")
            if blob_id != name and info is not None:
                found.append((blob_id, info))
        return found

    def _ref(self, artifact_id: str) -> str:
        return f"{self._refs}/{artifact_id}{_METADATA}"

    def _old(self, artifact_id: str, suffix: str) -> str:
        return f"{self._legacy}/{artifact_id}{suffix}"
