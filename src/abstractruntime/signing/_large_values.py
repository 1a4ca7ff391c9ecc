"""The large values that the lines of a ledger refer to: each must be there, and be what was recorded.

A reference is `{"$blob": sha256, "size": bytes}`; what is kept may refer to more. Each digest is
looked up once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Final

from abstractruntime.signing.record_checks import Defect

_KEY: Final = "$blob"
_MARK: Final = b'$blob"'
_PARTS: Final = ("effect", "result", "commit")


class LargeValueWatch:
    """Follows the references of one ledger; `read` gives what is kept under a digest."""

    def __init__(
        self, read: Callable[[str], bytes | None], report: Callable[[Defect], None]
    ) -> None:
        self._read = read
        self._report = report
        self._seen: set[str] = set()

    def check(self, line: bytes, record: int, offset: int) -> None:
        """Follow every reference in a line; one that is no record has none."""
        if _MARK not in line:
            return
        content = _parse(line)
        if not isinstance(content, dict):
            return
        todo = list(_references([content.get(part) for part in _PARTS]))
        while todo:
            digest, size = todo.pop()
            if digest in self._seen:
                continue
            self._seen.add(digest)
            data = self._read(digest)
            found = None if data is None else sha256(data).hexdigest()
            if data is None or found != digest or len(data) != size:
                code = "large_value_missing" if data is None else "large_value_mismatch"
                self._report(Defect(code, record, offset, digest, found))
            elif _MARK in data:
                todo += _references(_parse(data))


def _references(value: Any) -> Iterator[tuple[str, Any]]:
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo += value
        elif isinstance(value, dict):
            if _KEY in value:
                yield str(value[_KEY]), value.get("size")
            else:
                todo += value.values()


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
