"""Telling flow documents from other JSON files that lie beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from abstractruntime._json import JsonValue
from abstractruntime._json_size import has_more_values
from abstractruntime.visualflow_compiler.document import MAX_DOCUMENT_BYTES, MAX_DOCUMENT_VALUES

_KEYS: Final = frozenset({"nodes", "edges", "entryNode"})
_MARKS: Final = tuple(f"{quote}{key}{quote}".encode() for key in _KEYS for quote in "\"'")


def is_too_large(data: bytes) -> bool:
    """Say whether no flow document can be as large as this, be it in bytes or in values."""
    return len(data) > MAX_DOCUMENT_BYTES or has_more_values(data, MAX_DOCUMENT_VALUES)


def looks_like_flow(data: bytes) -> bool:
    """Say whether somebody who wrote these bytes meant a flow document.

    It is an object with nodes, edges or an entry node. What is no JSON counts when it has the
    key of one of them: a flow that was damaged, written in another notation, or saved in another
    encoding. So does a flow that lies in a list, or in an object that holds it alone.
    """
    if data.startswith(b"PK\x03\x04"):
        return False  # an archive holds its documents as they are
    # UTF-16 puts a zero byte between the letters.
    plain = data.replace(b"\0", b"")
    if is_too_large(data) or not any(mark in plain for mark in _MARKS):
        return False
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return True
    return _is_flow(value) or any(map(_is_whole_flow, _wrapped(value)))


def _is_flow(value: JsonValue) -> bool:
    return isinstance(value, dict) and not _KEYS.isdisjoint(value)


def _is_whole_flow(value: JsonValue) -> bool:
    return isinstance(value, dict) and {"nodes", "edges"} <= value.keys()


def _wrapped(value: JsonValue) -> Iterable[JsonValue]:
    """Give what a list holds, or an object with a single key."""
    if isinstance(value, list):
        return value
    return value.values() if isinstance(value, dict) and len(value) == 1 else ()
