"""A file of a store as a binary stream."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from abstractruntime.storage._files.fs import StoreFiles

_BUFFER_BYTES = 1 << 20


def open_stream(files: StoreFiles, path: str) -> IO[bytes]:
    """Open a file to be read from its start; one that is not there is empty."""
    return io.BufferedReader(_Bytes(files, path), _BUFFER_BYTES)


class _Bytes(io.RawIOBase):
    def __init__(self, files: StoreFiles, path: str) -> None:
        self._files = files
        self._path = path
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what io gives
        data = self._files.read(self._path, self._offset, len(buffer)) or b""
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)
