"""Files of large values, beside the ledger under their digest.

A file is durable before the line that names it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from abstractruntime._json import JsonObject, load_strict
from abstractruntime.errors import IntegrityError
from abstractruntime.storage._files.layout import is_id
from abstractruntime.storage.large_values import LargeValues, reference

if TYPE_CHECKING:
    from abstractruntime.core.ports import Clock
    from abstractruntime.storage._files.fs import FileInfo, StoreFiles
    from abstractruntime.storage._files.layout import Layout

# A file that is referred to again is written again once it is this old, so that the garbage
# collection, which spares what is younger than an hour, never takes it away meanwhile.
REFRESH_S = 600
# What the garbage collection holds in its hands has this suffix.
ASIDE = ".gc"


class Blobs(LargeValues):
    """The blob files of one store; without a clock, files that are there are never refreshed."""

    def __init__(self, files: StoreFiles, layout: Layout, clock: Clock | None = None) -> None:
        self._files = files
        self._layout = layout
        self._clock = clock
        # Of files that were not there before.
        self.added_bytes = 0

    def counting(self) -> Blobs:
        """Give the same files with a count of their own."""
        return Blobs(self._files, self._layout, self._clock)

    def _store(self, data: bytes) -> JsonObject:
        digest = hashlib.sha256(data).hexdigest()
        path = self._layout.blob(digest)
        known = self._files.info(path)
        is_new = known is None or known.size != len(data)
        if is_new:
            self.added_bytes += len(data)
        if known is None or is_new or self._is_old(known):
            self._files.ensure_dir(self._layout.blobs)
            self._files.write_atomic(path, data)
        else:
            # Invariant: a line never refers to a file that a power cut may take away.
            self._files.sync_name(path)
        return reference(digest, len(data))

    def _is_old(self, file: FileInfo) -> bool:
        if self._clock is None or not file.modified_ns:
            return False
        return self._clock.now().timestamp() - file.modified_ns / 1e9 > REFRESH_S

    def read(self, digest: str) -> bytes | None:
        """Give what is kept under a digest, unchecked; None when nothing is."""
        return read_kept(self._files, self._layout.blob(digest)) if is_id(digest) else None

    def _load(self, digest: Any) -> Any:
        data = self.read(str(digest))
        if data is None or hashlib.sha256(data).hexdigest() != digest:
            raise IntegrityError(
                f"blob {digest!r} is {'missing' if data is None else 'not what its name says'}",
                hint="restore artifacts/blobs from a backup",
                digest=digest,
            )
        # The long way holds a text once more, as the text of its JSON.
        return orjson.loads(data) if data.startswith(b'"') else load_strict(data)


def read_kept(files: StoreFiles, path: str) -> bytes | None:
    """Read a file, wherever an interrupted collection left it."""
    data = files.read(path)
    return data if data is not None else files.read(path + ASIDE)
