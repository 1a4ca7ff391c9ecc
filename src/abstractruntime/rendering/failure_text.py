"""Why a run failed, as text for people: the deepest cause first, then the way up to the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abstractruntime.core.outcome import summary_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from abstractruntime._json import JsonObject


def cause_text(run_document: Mapping[str, JsonObject]) -> str:
    """Give what went wrong first, and where, for a run document with an error."""
    error = run_document["error"]
    deepest = error["causes"][-1] if error["causes"] else error
    place = [f"node {deepest['node_label']}"] if deepest["node_label"] else []
    if deepest.get("line") is not None:
        place.append(f"line {deepest['line']} of its code")
    if deepest.get("record") is not None:
        place.append(f"record {deepest['record']}")
    where = f" ({', '.join(place)})" if place else ""
    return f"{summary_of(deepest['message'], deepest.get('raised'))}{where}"


def chain_lines(run_document: Mapping[str, JsonObject]) -> Iterator[str]:
    """Give the run in which it went wrong, and who called it; nothing when that is the run itself."""
    error = run_document["error"]
    if not error["causes"]:
        return
    chain: list[JsonObject] = [*reversed(error["causes"]), {**error, **_names(run_document)}]
    deepest, *callers = chain
    yield f"in run {deepest['run_id']} of flow {deepest['workflow_id']}"
    for caller in callers:
        node = f"node {caller['node_label']} of " if caller["node_label"] else ""
        yield f"called by {node}run {caller['run_id']} of flow {caller['workflow_id']}"


def traceback_lines(run_document: Mapping[str, JsonObject]) -> Iterator[str]:
    """Give the calls in the author's code that led to the failure, where it is known."""
    error = run_document["error"]
    deepest = error["causes"][-1] if error["causes"] else error
    yield from deepest.get("raised", {}).get("traceback", "").splitlines()


def _names(run_document: Mapping[str, JsonObject]) -> JsonObject:
    return {name: run_document[name] for name in ("run_id", "workflow_id")}
