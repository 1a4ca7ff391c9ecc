"""How much a JSON text holds, before anything is made of it.

The code worker loads this file by path, so it imports the standard library only.
"""

from __future__ import annotations

import re

_PARTS = re.compile(rb'"[^"]*"|[,:\[{]')
# An object or list takes about as much memory as so many numbers.
PER_CONTAINER = 4
_COUNTS = {b",": 1, b":": 1, b"[": PER_CONTAINER, b"{": PER_CONTAINER}


def has_more_values(data: bytes, limit: int) -> bool:
    """Tell whether a JSON text holds more than `limit` values, before anything is made of it.

    What counts are commas, colons and, four times, opening brackets outside texts: never less than
    the values but one, and about as much as they take in memory.
    """
    brackets = data.count(b"[") + data.count(b"{")
    if data.count(b",") + data.count(b":") + PER_CONTAINER * brackets <= limit:
        return False
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    found = 0
    for part in _PARTS.finditer(data):
        found += _COUNTS.get(part[0], 0)
        if found > limit:
            return True
    return False
