"""Large values of ledger lines, replaced by references to what is kept elsewhere.

A value above `LIMIT_BYTES` is replaced by `{"$blob": sha256, "size": bytes}`. A user's own key
`$blob` is stored as `$$blob`, `$$blob` as `$$$blob` and so on, so data never reads as a reference.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any

from abstractruntime._json import JsonObject, dump_line

LIMIT_BYTES = 256 * 1024
_MOST_BYTES_PER_CHAR = 6
MARK = b'$blob"'

_KEY = "$blob"
_ESCAPED = re.compile(r"\$+blob")
# These parts of a commit are read one by one, so they stay in the line themselves.
_STRUCTURE = frozenset({"init", "set", "app"})


class LargeValues(ABC):
    """Replaces large values by references, and back."""

    @abstractmethod
    def _store(self, data: bytes) -> JsonObject:
        """Keep the JSON of a value durably, and give its reference."""

    @abstractmethod
    def _load(self, digest: Any) -> Any:
        """Give a value that was kept."""

    def pack(self, value: Any, *, keep: bool = False) -> Any:
        """Give `value` with large parts offloaded, the smallest that suffice; `keep` spares its top."""
        if type(value) is dict:
            value = {
                (f"${k}" if _ESCAPED.fullmatch(k) else k): self.pack(v) for k, v in value.items()
            }
        elif type(value) is list:
            value = [self.pack(item) for item in value]
        elif type(value) is not str:
            return value
        if keep or (type(value) is str and len(value) < LIMIT_BYTES // _MOST_BYTES_PER_CHAR):
            return value
        data = dump_line(value)
        return self._store(data) if len(data) > LIMIT_BYTES else value

    def pack_commit(self, commit: JsonObject) -> JsonObject:
        """Give a commit whose large values are offloaded."""
        packed: JsonObject = {}
        for name, value in commit.items():
            if name in _STRUCTURE:
                packed[name] = {key: self.pack(item) for key, item in value.items()}
            else:
                packed[name] = self.pack(value)
        return packed

    def unpack(self, value: Any) -> Any:
        """Give `value` with every reference replaced by what it refers to.

        Raises:
            IntegrityError: a blob is missing or has other content.
        """
        if type(value) is list:
            return [self.unpack(item) for item in value]
        if type(value) is not dict:
            return value
        if _KEY in value:
            return self.unpack(self._load(value[_KEY]))
        return {
            (k[1:] if k.startswith("$$") and _ESCAPED.fullmatch(k) else k): self.unpack(v)
            for k, v in value.items()
        }


def reference(digest: str, size_bytes: int) -> JsonObject:
    return {_KEY: digest, "size": size_bytes}


def holds_references(line: bytes) -> bool:
    """Tell whether a stored line may hold a reference or an escaped key."""
    return MARK in line
