"""The bytes of a JSON value, of which a large one shares its long texts with the value itself.

A text cannot change, so whoever remembers a value need not hold its texts a second time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from abstractruntime.storage._store.plain import dump

LARGE_BYTES = 256 * 1024
_LONG_CHARS = 4 * 1024
# What stands where a long text was cut out.
_HOLE = b'""'
_Path: TypeAlias = "tuple[str | int, ...]"


class SharedTexts:
    """Bytes of which some stretches are kept as the text that they encode; compares as bytes do."""

    __slots__ = ("_parts", "_paths", "_size")
    __hash__ = None  # type: ignore[assignment] # as of everything that is compared by content

    def __init__(self, parts: list[bytes | str], paths: list[_Path], size: int) -> None:
        self._parts = parts
        self._paths = paths
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        if type(other) is not bytes:
            return NotImplemented
        if len(other) != self._size:
            return False
        at = 0
        for part in self.pieces():
            if not other.startswith(part, at):
                return False
            at += len(part)
        return True

    def pieces(self) -> Iterator[bytes]:
        """Give the bytes, one stretch after the other."""
        return (part if type(part) is bytes else dump(part) for part in self._parts)

    def value(self) -> Any:
        """Give the value: its texts are the very ones that were kept, everything else is fresh."""
        shape = b"".join([part if type(part) is bytes else _HOLE for part in self._parts])
        root = [json.loads(shape)]
        texts = (part for part in self._parts if type(part) is str)
        for path, text in zip(self._paths, texts, strict=True):
            *way, last = (0, *path)
            place: Any = root
            for token in way:
                place = place[token]
            place[last] = text
        return root[0]


Kept: TypeAlias = "bytes | SharedTexts"


def kept(value: Any, data: bytes) -> Kept:
    """Give `data`, which encodes `value`, in no more memory than it needs beside the value.

    Hazard: what orjson gives keeps the end of its buffer from being used again, up to 4 KiB
    for a value of one byte; it is good for comparing, and not to be kept.
    """
    if len(data) > LARGE_BYTES and (shared := _shared(value, data)) is not None:
        return shared
    return bytes(memoryview(data))


def pieces_of(data: Kept) -> Iterator[bytes]:
    """Give the bytes, one stretch after the other."""
    return iter((data,)) if type(data) is bytes else data.pieces()  # type: ignore[union-attr] # told apart by type()


def bytes_of(data: Kept) -> bytes:
    """Give the bytes as a whole."""
    return data if type(data) is bytes else b"".join(pieces_of(data))


def value_of(data: Kept) -> Any:
    """Give what the bytes encode, fresh but for long texts."""
    return json.loads(data) if type(data) is bytes else data.value()  # type: ignore[union-attr] # told apart by type()


def _shared(value: Any, data: bytes) -> SharedTexts | None:
    """Cut the long texts out; None when there are none."""
    found: list[tuple[_Path | None, str]] = []
    _collect(value, (), found)
    parts: list[bytes | str] = []
    paths: list[_Path] = []
    cut = end = 0
    for path, text in found:
        encoded = dump(text)
        # Invariant: in the order of their bytes, so what is found is never part of another one.
        start = data.find(encoded, end)
        if start < 0:
            return None
        end = start + len(encoded)
        if path is not None:
            parts += (data[cut:start], text)
            paths.append(path)
            cut = end
    return SharedTexts([*parts, data[cut:]], paths, len(data)) if paths else None


def _collect(value: Any, path: _Path, found: list[tuple[_Path | None, str]]) -> None:
    """Find the long texts in the order in which they are written; a key has no path."""
    kind = type(value)
    if kind is str:
        if len(value) >= _LONG_CHARS:
            found.append((path, value))
    elif kind is dict:
        for key, item in value.items():
            if len(key) >= _LONG_CHARS:
                found.append((None, key))
            _collect(item, (*path, key), found)
    elif kind is list:
        for index, item in enumerate(value):
            _collect(item, (*path, index), found)
