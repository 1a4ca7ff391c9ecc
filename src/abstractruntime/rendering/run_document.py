"""The run document: one run as JSON, the same for every command that shows a run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._json import mapping
from abstractruntime.core.models import RunStatus
from abstractruntime.core.origin import RunOrigin
from abstractruntime.core.outcome import Outcome, failure_of, outcome_of, overcome_failures
from abstractruntime.core.record_fields import is_completion, record_status, terminal_status
from abstractruntime.core.usage import Usage
from abstractruntime.core.vars import is_paused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from abstractruntime._json import JsonObject, JsonValue
    from abstractruntime.core.models import RunState, WaitState
    from abstractruntime.core.store import LedgerHead
    from abstractruntime.errors import ExitCode

RUN_DOCUMENT_FORMAT: Final = "art-run/1"


def build_run_document(  # noqa: PLR0913 - the parts of the document, keyword-only
    *,
    state: RunState,
    ledger: LedgerHead,
    origin: RunOrigin | None = None,
    leaf_waits: Sequence[tuple[str, WaitState]] = (),
    node_labels: Mapping[str, str] | None = None,
    usage: Usage | None = None,
    outcome: Outcome | None = None,
    causes: Sequence[RunState] = (),
    limits: Sequence[JsonObject] = (),
    last_record: Mapping[str, Any] | None = None,
) -> JsonObject:
    """Give the run document.

    Values of `state` are shared, not copied.

    Args:
        state: The run as stored.
        ledger: Size, head and signed size of its ledger.
        origin: What started it; None where nothing is known.
        leaf_waits: Open waits of the run's tree that no other run answers, each with
            the id of the run that owns it; `waiting` shows the first, `waits` all. Those of
            a run that has ended belong to listeners or children that go on without it.
        node_labels: Node id to the name its author gave it.
        usage: Totals of the run and its children.
        outcome: What became of it, where more is known than the run itself tells.
        causes: The runs below it that made it fail, each the reason of the one before.
        limits: What of its limits is nearly or all used; see `core.tree_limits.limits_of_tree`.
        last_record: The last record of the ledger; locates the error.
    """
    origin = origin or RunOrigin()
    outcome = outcome or outcome_of(state)
    interrupted = outcome is Outcome.INTERRUPTED
    waits = _waits(state, leaf_waits, asks=outcome.asks)
    error = _error(state, node_labels or {}, last_record or {})
    if error is not None:
        error["causes"] = [_cause(run, node_labels or {}) for run in causes]
    return {
        "format": RUN_DOCUMENT_FORMAT,
        "run_id": state.run_id,
        "workflow_id": state.workflow_id,
        "status": "interrupted" if interrupted else state.status.value,
        "outcome": outcome.value,
        "output": state.output,
        "error": error,
        "overcome": [one.to_dict(node_labels or {}) for one in overcome_failures(state)],
        "waiting": waits[0] if waits and state.status is RunStatus.WAITING else None,
        "waits": waits,
        "bundle": _bundle(origin),
        "ledger": asdict(ledger),
        "created_at": state.created_at,
        "updated_at": state.updated_at,
        "parent_run_id": state.parent_run_id,
        "session_id": state.session_id,
        "paused": state.status.value in ("running", "waiting") and is_paused(state.vars),
        "limits": list(limits),
        "labels": dict(origin.labels),
        "usage": (usage or Usage()).to_dict(),
    }


def exit_code_for(run_document: Mapping[str, Any]) -> ExitCode:
    """Give the exit code of `run`, `resume` and `watch` for this document.

    A run whose node failed is a failure; an output that merely says `success: false` is not.
    """
    return _stated_outcome(run_document).exit_code


def _stated_outcome(run_document: Mapping[str, Any]) -> Outcome:
    """Read what became of a run; earlier versions left it to be told by status and error."""
    stated, status = run_document.get("outcome"), run_document["status"]
    if stated is not None:
        return Outcome(stated)
    if status == "completed":
        return Outcome.SUCCEEDED if run_document["error"] is None else Outcome.FAILED
    return Outcome(status)


def _waits(
    state: RunState, leaf_waits: Sequence[tuple[str, WaitState]], *, asks: bool
) -> list[JsonObject]:
    if state.status is RunStatus.RUNNING:
        return []
    if not leaf_waits and state.waiting is not None and asks:
        leaf_waits = [(state.run_id, state.waiting)]
    return [_wait(run_id, wait) for run_id, wait in leaf_waits]


def _wait(run_id: str, wait: WaitState) -> JsonObject:
    return {
        "reason": wait.reason.value,
        "wait_key": wait.wait_key,
        "prompt": wait.prompt,
        "choices": wait.choices,
        "allow_free_text": wait.allow_free_text,
        "until": wait.until,
        "run_id": run_id,
        "details": wait.details,
    }


def _error(
    state: RunState, labels: Mapping[str, str], last_record: Mapping[str, Any]
) -> JsonObject | None:
    failure = failure_of(state)
    if failure is None:
        return None
    return {
        **failure.to_dict(labels),
        "record": _ending_seq(state, failure.step_id, last_record),
    }


def _cause(run: RunState, labels: Mapping[str, str]) -> JsonObject:
    failure = failure_of(run)
    assert failure is not None  # noqa: S101 - the caller gives runs that ended badly
    names = {"run_id": run.run_id, "workflow_id": run.workflow_id}
    return {**names, **failure.to_dict(labels)}


def _ending_seq(state: RunState, node_id: str | None, last_record: Mapping[str, Any]) -> int | None:
    """Give the record that brought the run down, if the last record tells.

    The closing status record always follows the record that ended the run. An error
    that a loop swallowed was not the end: its record is unknown here.
    """
    seq = last_record.get("seq")
    if not isinstance(seq, int):
        return None
    if state.status is RunStatus.COMPLETED and not _is_envelope(state.output, node_id):
        return None
    if terminal_status(last_record) is not None:
        return seq - 1
    ended = is_completion(last_record) or record_status(last_record) == "failed"
    return seq if ended or "status" in mapping(last_record.get("commit")) else None


def _is_envelope(output: JsonValue, node_id: str | None) -> bool:
    envelope = mapping(output)
    return envelope.get("success") is False and envelope.get("node") == node_id


def _bundle(origin: RunOrigin) -> JsonObject | None:
    """Give id, version, digest and signers; a flow that ran without a bundle has a digest only."""
    if not (origin.bundle_ref or origin.bundle_digest):
        return None
    bundle_id, _, version = (origin.bundle_ref or "").partition("@")
    return {
        "id": bundle_id or None,
        "version": version or None,
        "digest": origin.bundle_digest,
        "signers": list(origin.signers),
    }
