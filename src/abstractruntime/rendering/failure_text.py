"""Why a run failed, as text for people: the deepest cause first, then the way up to the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abstractruntime.core.outcome import summary_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from abstractruntime._json import JsonObject, JsonValue


def deepest(run_document: Mapping[str, JsonObject]) -> JsonObject:
    """Give the failure with which it began, for a run document with an error."""
    error = run_document["error"]
    return error["causes"][-1] if error["causes"] else error


def failure_text(failure: Mapping[str, JsonValue]) -> str:
    """Give what went wrong, and where, for a failure as run documents hold them."""
    place = [f"node {failure['node_label']}"] if failure["node_label"] else []
    if failure.get("line") is not None:
        place.append(f"line {failure['line']} of its code")
    if failure.get("at_step") is not None:
        place.append(f"at step {failure['at_step']['node_label']}")
    if failure.get("record") is not None:
        place.append(f"record {failure['record']}")
    where = f" ({', '.join(place)})" if place else ""
    return f"{summary_of(failure['message'], failure.get('raised'))}{where}"


def chain_lines(run_document: Mapping[str, JsonObject]) -> Iterator[str]:
    """Give the run in which it went wrong, and who called it; nothing when that is the run itself."""
    error = run_document["error"]
    if not error["causes"]:
        return
    chain: list[JsonObject] = [*reversed(error["causes"]), {**error, **_names(run_document)}]
    lowest, *callers = chain
    yield f"in run {lowest['run_id']} of flow {lowest['workflow_id']}"
    for caller in callers:
        node = f"node {caller['node_label']} of " if caller["node_label"] else ""
        yield f"called by {node}run {caller['run_id']} of flow {caller['workflow_id']}"


def traceback_lines(failure: Mapping[str, JsonValue]) -> Iterator[str]:
    """Give the calls in the author's code that led to a failure, where they are known."""
    raised = failure.get("raised", {})
    if reason := raised.get("unread"):
        yield f"the calls cannot be read: {reason}"
    yield from (raised.get("traceback") or "").splitlines()


def _names(run_document: Mapping[str, JsonObject]) -> JsonObject:
    return {name: run_document[name] for name in ("run_id", "workflow_id")}
