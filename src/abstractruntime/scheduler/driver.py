"""The import path of the driver; the code is in `_runtime.driver`."""

from __future__ import annotations

from abstractruntime._runtime.driver import Driver, OpenWait, cancel_tree, open_waits, run_tree

__all__ = ["Driver", "OpenWait", "cancel_tree", "open_waits", "run_tree"]
