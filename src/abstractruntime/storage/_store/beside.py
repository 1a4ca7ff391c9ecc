"""What runs have written beside their ledgers, until a record of theirs says so."""

from __future__ import annotations

import threading
from collections import Counter


class Beside:
    """Bytes of artifacts by run that no commit has counted yet."""

    def __init__(self) -> None:
        self._bytes: Counter[str] = Counter()
        self._guard = threading.Lock()

    def add(self, run_id: str, size: int) -> None:
        with self._guard:
            self._bytes[run_id] += size

    def of(self, run_id: str) -> int:
        return self._bytes[run_id]

    def counted(self, run_id: str, size: int) -> None:
        """Forget what a commit has counted."""
        self.add(run_id, -size)
