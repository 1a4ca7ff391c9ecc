"""Keeping the document that a run was started from, beside the run."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from abstractruntime._history._sources import ClassicSource, HistoryError
from abstractruntime._json import dump_sorted, normalise
from abstractruntime.core.models import format_time, utc_now
from abstractruntime.core.record_fields import text_or_none
from abstractruntime.core.vars import get_runtime
from abstractruntime.errors import UsageError

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject


def persist_workflow_snapshot(
    *,
    run_store: Any,
    artifact_store: Any,
    run_id: str,
    workflow_id: str,
    snapshot: JsonObject,
    format: str,  # noqa: A002 - the 0.4.x name
) -> JsonObject:
    """Store the document of a run as an artifact and give its reference.

    The artifact holds the canonical bytes, so `sha256` is also the blob's digest. A run
    that has a reference keeps it, even if `snapshot` differs.

    Raises:
        UsageError: an id is blank, or the snapshot is no object.
        InvalidValue: the snapshot holds something that is not JSON.
        NotFound: no such run.
        HistoryError: a store failed, or gave the artifact no id.
    """
    _require(run_id, workflow_id, snapshot)
    run = ClassicSource(run_store, None).load(run_id.strip())
    namespace = get_runtime(run.vars)
    existing = namespace.get("workflow_snapshot")
    if isinstance(existing, dict) and existing.get("artifact_id"):
        return dict(existing)
    content = dump_sorted(normalise(snapshot))
    reference = {
        "workflow_id": workflow_id.strip(),
        "format": str(format),
        "sha256": sha256(content).hexdigest(),
    }
    tags = {"kind": "workflow_snapshot", **reference}
    try:
        stored = artifact_store.store(
            content, content_type="application/json", run_id=run.run_id, tags=tags
        )
        reference["artifact_id"] = _artifact_id(stored)
        reference["created_at"] = format_time(utc_now())
        namespace["workflow_snapshot"] = reference
        run_store.save(run)
    except OSError as cause:
        raise HistoryError(f"snapshot of run '{run_id}' could not be stored") from cause
    return dict(reference)


def _require(run_id: str, workflow_id: str, snapshot: Any) -> None:
    for name, value in (("run_id", run_id), ("workflow_id", workflow_id)):
        if text_or_none(value) is None:
            raise UsageError(f"{name} must not be blank", argument=name)
    if not isinstance(snapshot, dict):
        raise UsageError(
            f"snapshot must be an object, not {type(snapshot).__name__}", argument="snapshot"
        )


def _artifact_id(stored: Any) -> str:
    artifact_id = str(getattr(stored, "artifact_id", "") or "").strip()
    if not artifact_id:
        raise HistoryError("the artifact store gave the snapshot no id")
    return artifact_id
