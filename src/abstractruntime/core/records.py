"""Builders of the records that are not effects.

Internal records have no effect, status completed and a result `{"internal": kind, ...}`.
The terminal status record repeats a status for readers of the ledger; it delivers nothing
and carries no state.
"""

from __future__ import annotations

from typing import Any

from abstractruntime.core.models import (
    JsonObject,
    RunState,
    RunStatus,
    StepRecord,
    StepStatus,
    WaitState,
)
from abstractruntime.core.outcome import Outcome, outcome_of
from abstractruntime.core.ports import Clock, Ids

STATUS_EVENT = "abstract.status"
STATUS_KEY_PREFIX = "system:terminal_status:"


class RecordFactory:
    """Builds records with the ids and times of its ports."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids

    def started(
        self, run: RunState, node_id: str, effect: JsonObject, *, attempt: int, key: str
    ) -> StepRecord:
        return StepRecord(
            run_id=run.run_id,
            step_id=self._ids.step_id(),
            node_id=node_id,
            status=StepStatus.STARTED,
            effect=effect,
            started_at=self._clock.now_iso(),
            actor_id=run.actor_id,
            session_id=run.session_id,
            attempt=attempt,
            idempotency_key=key,
        )

    def internal(self, run: RunState, kind: str, **facts: Any) -> StepRecord:
        return self._completed(run, run.current_node, {"internal": kind, **facts})

    def completion(self, run: RunState, node_id: str, output: JsonObject, **via: Any) -> StepRecord:
        return self._completed(run, node_id, {"completed": True, **via, "output": output})

    def resumed(
        self, run: RunState, wait: WaitState, payload: Any, actor: str | None
    ) -> StepRecord:
        result: JsonObject = {"resumed": True}
        if actor:
            result["actor"] = actor
        record = self._completed(run, run.current_node, result)
        record.effect = {
            "type": "resume",
            "payload": {
                "wait_reason": wait.reason.value,
                "wait_key": wait.wait_key,
                "resume_to_node": wait.resume_to_node,
                "result_key": wait.result_key,
                "payload": payload,
            },
            "result_key": None,
        }
        return record

    def terminal_status(self, run: RunState) -> StepRecord:
        """Repeat the status of a run that ended, and say where its outcome is another."""
        status = run.status.value
        failed = run.status is RunStatus.COMPLETED and outcome_of(run) is Outcome.FAILED
        event = {"name": STATUS_EVENT, "scope": "session", "payload": {"text": status}}
        record = self._completed(
            run,
            run.current_node or "runtime",
            {
                "emitted": True,
                "name": STATUS_EVENT,
                "payload": {"text": status},
                **({"outcome": Outcome.FAILED.value} if failed else {}),
            },
        )
        record.effect = {"type": "emit_event", "payload": event, "result_key": None}
        record.idempotency_key = f"{STATUS_KEY_PREFIX}{status}"
        return record

    def _completed(self, run: RunState, node_id: str, result: JsonObject) -> StepRecord:
        now = self._clock.now_iso()
        return StepRecord(
            run_id=run.run_id,
            step_id=self._ids.step_id(),
            node_id=node_id,
            status=StepStatus.COMPLETED,
            result=result,
            started_at=now,
            ended_at=now,
            actor_id=run.actor_id,
            session_id=run.session_id,
        )


def is_terminal_status(record: StepRecord) -> bool:
    """Tell whether a record is the closing status record of its run."""
    return (record.idempotency_key or "").startswith(STATUS_KEY_PREFIX)


def is_extension(effect: Any, result: Any) -> bool:
    """Tell whether a record of these belongs to the extended ledger only, not to that of 0.4.x."""
    if effect is not None or not isinstance(result, dict):
        return False
    return "internal" in result or result.get("via") == "effect"
