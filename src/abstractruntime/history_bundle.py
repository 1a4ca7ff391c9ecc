"""History bundles of runs: export, and the snapshot of the document behind a run."""

from __future__ import annotations

from abstractruntime._history.export import export_run_history_bundle
from abstractruntime._history.snapshots import persist_workflow_snapshot
from abstractruntime.schemas.history import RUN_HISTORY_BUNDLE_VERSION_V1

__all__ = [
    "RUN_HISTORY_BUNDLE_VERSION_V1",
    "export_run_history_bundle",
    "persist_workflow_snapshot",
]
