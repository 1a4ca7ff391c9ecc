"""The import path of the directory store; the code is in `storage._store`."""

from __future__ import annotations

from abstractruntime.storage._store.engine import DirectoryEngine, open_store

__all__ = ["DirectoryEngine", "open_store"]
