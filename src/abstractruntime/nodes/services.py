"""What nodes may ask of the host: models, files of the workspace, randomness, a sandbox for code."""

from __future__ import annotations

import random as _random
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from abstractruntime._json import JsonValue


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


class CodeRunner(Protocol):
    """Runs author code outside this process."""

    def call(self, source: str, function: str, value: JsonValue) -> JsonValue:
        """Run `function(value)` of `source` and give its JSON result.

        Raises:
            NodeError: the code failed, or broke a limit; the text says which line.
        """
        ...


@runtime_checkable
class CodePool(Protocol):
    """Keeps apart the author code that belongs to different trees of runs or bundles."""

    def runner(self, tree: str, bundle: str) -> CodeRunner: ...


class RandomSource(Protocol):
    def randint(self, a: int, b: int, /) -> int: ...
    def random(self) -> float: ...
    def uniform(self, a: float, b: float, /) -> float: ...
    def choice(self, seq: Any, /) -> Any: ...
    def randrange(self, start: int, /) -> int: ...


class HostRandom:
    """The process-wide random source, which hosts may seed."""

    randint = staticmethod(_random.randint)
    random = staticmethod(_random.random)
    uniform = staticmethod(_random.uniform)
    choice = staticmethod(_random.choice)
    randrange = staticmethod(_random.randrange)
