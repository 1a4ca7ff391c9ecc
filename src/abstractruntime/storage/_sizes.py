"""How long values are as compact JSON, without writing them."""

from __future__ import annotations

from typing import Any

import orjson

from abstractruntime._json import dump_line

_PASS = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS


def is_surely_below(value: Any, limit: int) -> bool:
    """Tell quickly that a value, and so every part of it, is shorter than `limit` bytes.

    False also for values that hold bytes or anything else that is not JSON.
    """
    try:
        data = orjson.dumps(value, option=_PASS)
    except TypeError:
        return False
    # orjson writes `1e16` for `1e+16`: never less than four fifths of the standard form.
    return len(data) * 5 <= limit * 4


def text_size(text: str) -> int:
    """Give the length of a text as UTF-8; lone surrogates count three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def scalar_size(value: Any) -> int | None:
    """Give the length of a value that is no container; None when it is not JSON."""
    try:
        return len(dump_line(value))
    except (TypeError, ValueError, RecursionError):
        return None


def key_size(key: Any) -> int | None:
    """Give the length of an object key, which JSON writes as text."""
    if isinstance(key, str):
        return scalar_size(key)
    if key is None or isinstance(key, bool | int | float):
        inner = scalar_size(key)
        return None if inner is None else inner + 2
    return None


def container_size(items: list[int | None]) -> int | None:
    """Give the length of an array, or of an object whose items are `"key":value` pairs."""
    total = 2 + max(0, len(items) - 1)
    for item in items:
        if item is None:
            return None
        total += item
    return total
