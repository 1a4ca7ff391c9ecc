"""The calls that led to a failure, which the store keeps as an artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abstractruntime.errors import AbstractRuntimeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abstractruntime._json import JsonObject
    from abstractruntime.core.store import Store

# More than what the longest calls take.
_MAX_BYTES = 1024 * 1024


def add_calls(engine: Store, document: JsonObject) -> None:
    """Put the calls into a run document, for each failure whose artifact has them; else why not."""
    for run_id, failure in _failures(document):
        raised = failure.get("raised", {})
        if artifact_id := raised.get("artifact"):
            try:
                raised["traceback"] = _read(engine, run_id, artifact_id)
            except (AbstractRuntimeError, OSError, ValueError) as cause:
                raised["unread"] = str(cause)


def _failures(document: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    """Give each failure with the run that it is of."""
    if error := document["error"]:
        yield document["run_id"], error
        yield from ((cause["run_id"], cause) for cause in error["causes"])


def _read(engine: Store, run_id: str, artifact_id: str) -> str:
    # Only a run that failed needs them.
    from abstractruntime.storage.artifacts import compute_artifact_id

    told = engine.artifacts.get_metadata(artifact_id)
    if told is not None and told.size_bytes > _MAX_BYTES:
        raise ValueError(f"artifact {artifact_id!r} is longer than {_MAX_BYTES} bytes")
    found = engine.artifacts.load(artifact_id)
    if found is None:
        raise ValueError(f"artifact {artifact_id!r} is missing")
    if compute_artifact_id(found.content, run_id=run_id) != artifact_id:
        raise ValueError(f"artifact {artifact_id!r} has other content than its name says")
    text: str = found.content.decode()
    return text
