"""How much a JSON text holds, before anything is made of it.

The code worker loads this file by path, so it imports the standard library only.
"""

from __future__ import annotations

import re

_PARTS = re.compile(rb'"[^"]*"|[,\[{]')


def has_more_values(data: bytes, limit: int) -> bool:
    """Tell whether a JSON text holds more than `limit` values, before anything is made of it.

    What counts are commas and opening brackets outside texts, which are never fewer than the
    values but one; a text costs no memory of its own here.
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") <= limit:
        return False
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    found = 0
    for part in _PARTS.finditer(data):
        found += part[0][:1] != b'"'
        if found > limit:
            return True
    return False
