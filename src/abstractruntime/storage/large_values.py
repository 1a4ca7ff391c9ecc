"""Large values of ledger lines, replaced by references to what is kept elsewhere.

A value above `LIMIT_BYTES` is replaced by `{"$blob": sha256, "size": bytes}`. A user's own key
`$blob` is stored as `$$blob`, `$$blob` as `$$$blob` and so on, so data never reads as a reference.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Final

from abstractruntime._json import JsonObject, copied, dump_line
from abstractruntime._json_size import PER_CONTAINER
from abstractruntime.errors import IntegrityError

LIMIT_BYTES = 256 * 1024
# Of one record, and of the variables of a run; see `weight_of`.
MAX_RECORD_WEIGHT: Final = 8_000_000
MAX_STATE_WEIGHT: Final = 4_000_000
_WEIGHTY = (dict, list, str)
_CHARS_PER_WEIGHT = 32
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

    def unpack(self, value: Any, reading: Reading | None = None) -> Any:
        """Give `value` with every reference replaced by what it refers to.

        Args:
            reading: Of the record that the value is part of.

        Raises:
            IntegrityError: a blob is missing or has other content, or the record holds more values
                than one may.
        """
        reading = reading or Reading()
        if type(value) is list:
            return [self.unpack(item, reading) for item in value]
        if type(value) is not dict:
            return value
        if _KEY in value:
            return self._referred(value[_KEY], reading)
        return {
            (k[1:] if k.startswith("$$") and _ESCAPED.fullmatch(k) else k): self.unpack(v, reading)
            for k, v in value.items()
        }

    def _referred(self, digest: Any, reading: Reading) -> Any:
        if isinstance(digest, str) and digest in reading.known:
            value, weight = reading.known[digest]
            reading.take(weight)
            return copied(value)
        before, stored = reading.taken, self._load(digest)
        reading.take(weight_of(stored))
        value = self.unpack(stored, reading)
        reading.known[digest] = value, reading.taken - before
        return value


@dataclass(slots=True)
class Reading:
    """What the references of one record came to so far, and how much that is.

    A text that is referred to twice is held once; other values are as many as the references.
    """

    known: dict[str, tuple[Any, int]] = field(default_factory=dict)
    taken: int = 0

    def take(self, weight: int) -> None:
        """Count values that are about to be made.

        Raises:
            IntegrityError: no record holds so many.
        """
        self.taken += weight
        if self.taken > MAX_RECORD_WEIGHT:
            raise IntegrityError(
                f"its references stand for more than {MAX_RECORD_WEIGHT} values",
                hint="no record is written like that; do not trust where it came from",
                limit=MAX_RECORD_WEIGHT,
            )


def weight_of(value: Any) -> int:
    """Give about how much memory a value takes; what no record holds is not counted to its end.

    An object or list counts 4, a member of an object 2 more, an item of a list 1 more, and a text
    1 for each 32 characters.
    """
    weight, level = 0, [value]
    while level and weight <= MAX_RECORD_WEIGHT:
        item = level.pop()
        if type(item) is dict:
            weight += PER_CONTAINER + 2 * len(item)
            level += [child for child in item.values() if type(child) in _WEIGHTY]
        elif type(item) is list:
            weight += PER_CONTAINER + len(item)
            level += [child for child in item if type(child) in _WEIGHTY]
        elif type(item) is str:
            weight += len(item) // _CHARS_PER_WEIGHT
    return weight


def reference(digest: str, size_bytes: int) -> JsonObject:
    return {_KEY: digest, "size": size_bytes}


def holds_references(line: bytes) -> bool:
    """Tell whether a stored line may hold a reference or an escaped key."""
    return MARK in line
