"""What nodes may ask of the host: model discovery, files of the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Catalog(Protocol):
    """What a host knows of providers and models."""

    def providers(self) -> list[str]:
        """Give the names of the providers that are available."""
        ...

    def models(self, provider: str) -> list[str]:
        """Give the names of a provider's models, without the provider."""
        ...


@dataclass(frozen=True, slots=True)
class FileListing:
    """Paths below a folder, relative to the workspace, sorted; `truncated` when there are more."""

    paths: tuple[str, ...]
    truncated: bool


class Files(Protocol):
    """The files that a run may touch; every path is checked.

    Every method raises `NodeError` for a path that leaves the workspace, and for what the
    operating system refuses.
    """

    def read(self, path: str, *, limit: int) -> bytes:
        """Give the content of a file of at most `limit` bytes."""
        ...

    def write(self, path: str, data: bytes) -> str:
        """Write a file whole or not at all, with its folders, and give its absolute path."""
        ...

    def list_files(self, folder: str, *, pattern: str, recursive: bool, limit: int) -> FileListing:
        """Give the files of a folder whose names match a pattern with `*` and `?`."""
        ...
