"""The import path of the driver; the code is in `_runtime` and `core.run_tree`."""

from __future__ import annotations

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.trees import cancel_tree
from abstractruntime.core.run_tree import OpenWait, RunTree

__all__ = ["Driver", "OpenWait", "RunTree", "cancel_tree"]
