"""Large values of ledger lines, replaced by references to what is kept elsewhere.

A value above `LIMIT_BYTES` is replaced by `{"$blob": sha256, "size": bytes}`. A user's own key
`$blob` is stored as `$$blob`, `$$blob` as `$$$blob` and so on, so data never reads as a reference.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any

from abstractruntime._json import JsonObject, dump_line, isolate

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
        """Give `value` with large parts offloaded, the smallest that suffice; `keep` spares its top.

        What holds none is given as it is.
        """
        if type(value) is dict:
            value = self._packed_dict(value)
        elif type(value) is list:
            value = self._packed_list(value)
        elif type(value) is not str:
            return value
        if keep or (type(value) is str and len(value) < LIMIT_BYTES // _MOST_BYTES_PER_CHAR):
            return value
        data = dump_line(value)
        return self._store(data) if len(data) > LIMIT_BYTES else value

    def _packed_dict(self, value: JsonObject) -> JsonObject:
        changed = {}
        renamed = False
        for key, item in value.items():
            packed = self.pack(item)
            if packed is not item:
                changed[key] = packed
            renamed = renamed or _ESCAPED.fullmatch(key) is not None
        if renamed:
            return {
                (f"${k}" if _ESCAPED.fullmatch(k) else k): changed.get(k, v)
                for k, v in value.items()
            }
        return {**value, **changed} if changed else value

    def _packed_list(self, value: list[Any]) -> list[Any]:
        changed = {}
        for index, item in enumerate(value):
            packed = self.pack(item)
            if packed is not item:
                changed[index] = packed
        return [changed.get(i, item) for i, item in enumerate(value)] if changed else value

    def pack_commit(self, commit: JsonObject) -> JsonObject:
        """Give a commit whose large values are offloaded."""
        packed: JsonObject = {}
        for name, value in commit.items():
            if name in _STRUCTURE:
                packed[name] = {key: self.pack(item) for key, item in value.items()}
            else:
                packed[name] = self.pack(value)
        return packed

    def unpack(self, value: Any, known: JsonObject | None = None) -> Any:
        """Give `value` with every reference replaced by what it refers to.

        Args:
            known: What was read before, under its digest, and has not changed since; the texts
                of a value that is referred to twice are held once.

        Raises:
            IntegrityError: a blob is missing or has other content.
        """
        known = {} if known is None else known
        if type(value) is list:
            return [self.unpack(item, known) for item in value]
        if type(value) is not dict:
            return value
        if _KEY in value:
            return self._referred(value[_KEY], known)
        return {
            (k[1:] if k.startswith("$$") and _ESCAPED.fullmatch(k) else k): self.unpack(v, known)
            for k, v in value.items()
        }

    def _referred(self, digest: Any, known: JsonObject) -> Any:
        if isinstance(digest, str) and digest in known:
            return isolate(known[digest])
        value = self.unpack(self._load(digest), known)
        known[digest] = value
        return value


def reference(digest: str, size_bytes: int) -> JsonObject:
    return {_KEY: digest, "size": size_bytes}


def holds_references(line: bytes) -> bool:
    """Tell whether a stored line may hold a reference or an escaped key."""
    return MARK in line
