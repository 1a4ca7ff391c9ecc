"""The bundles of a store: what runs were started from, by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout


class Bundles:
    """The bundle files of one store; see `core.store.BundleStore`."""

    def __init__(self, files: StoreFiles, layout: Layout) -> None:
        self._files = files
        self._layout = layout

    def put(self, digest: str, data: bytes) -> None:
        # Written even when it is there: garbage collection leaves alone what is young.
        self._files.ensure_dir(self._layout.bundles)
        self._files.write_atomic(self.address(digest), data)

    def get(self, digest: str, *, limit: int) -> bytes | None:
        return self._files.read(self.address(digest), size=limit)

    def address(self, digest: str) -> str:
        return self._layout.bundle(digest)
