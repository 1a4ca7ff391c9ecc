"""Values in messages."""

from __future__ import annotations

from abstractruntime._json import JsonValue, dump_line

_LONGEST = 60


def shown_value(value: JsonValue) -> str:
    """Give the beginning of a value as JSON."""
    return str(dump_line(value), "utf-8", "replace")[:_LONGEST]
