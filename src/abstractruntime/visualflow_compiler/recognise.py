"""Telling flow documents from other JSON files that lie beside them."""

from __future__ import annotations

import json
from typing import Final

from abstractruntime._json_size import has_more_values
from abstractruntime.visualflow_compiler.document import MAX_DOCUMENT_BYTES, MAX_DOCUMENT_VALUES

_KEYS: Final = frozenset({"nodes", "edges", "entryNode"})
_MARKS: Final = tuple(f'"{key}"'.encode() for key in _KEYS)


def is_too_large(data: bytes) -> bool:
    """Say whether no flow document can be as large as this, be it in bytes or in values."""
    return len(data) > MAX_DOCUMENT_BYTES or has_more_values(data, MAX_DOCUMENT_VALUES)


def looks_like_flow(data: bytes) -> bool:
    """Say whether somebody who wrote these bytes meant a flow document.

    It is an object with nodes, edges or an entry node. What is no JSON counts when it has the
    key of one of them: a flow that was damaged, or saved in another encoding.
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
    return isinstance(value, dict) and not _KEYS.isdisjoint(value)
