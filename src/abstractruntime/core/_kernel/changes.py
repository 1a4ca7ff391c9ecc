"""Changing a run: apply a transition, and commit it with its records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from abstractruntime.core._kernel.transitions import Event, Failed, transition
from abstractruntime.core.models import JsonObject, RunState, StepRecord
from abstractruntime.core.ports import Barrier, Clock, Evidence, RunLog
from abstractruntime.core.records import RecordFactory
from abstractruntime.errors import InvalidValue


class Changes:
    """What every part of the kernel changes runs with."""

    def __init__(
        self, clock: Clock, records: RecordFactory, evidence: Callable[[], Evidence | None]
    ) -> None:
        self.clock = clock
        self.records = records
        self._evidence = evidence

    def apply(self, log: RunLog, event: Event, *, at: str | None = None) -> None:
        """Change the fields that an event changes; nothing is written yet."""
        for name, value in transition(log.run, event).items():
            setattr(log.run, name, value)
        log.run.updated_at = at or self.clock.now_iso()

    def commit_ending(
        self,
        log: RunLog,
        record: StepRecord,
        barrier: Barrier = Barrier.NONE,
        commands: tuple[str, ...] = (),
    ) -> None:
        log.commit(
            record, self.records.terminal_status(log.run), barrier=barrier, commands=commands
        )

    def fail(self, log: RunLog, error: str) -> None:
        self.apply(log, Failed(error))
        self.commit_ending(log, self.records.internal(log.run, "failed", error=error))

    def reject_state(self, log: RunLog, culprit: str, error: InvalidValue) -> None:
        """Fail a run whose variables hold what cannot be written, as they were before that."""
        log.rollback()
        self.fail(log, f"{culprit} left a value in the variables that is not JSON: {error}")

    def capture(self, run: RunState, node_id: str, request: JsonObject, answer: Any) -> None:
        """Keep evidence of tool results, in place, before anything refers to them."""
        evidence, calls = self._evidence(), request.get("tool_calls")
        results = answer.get("results") if isinstance(answer, dict) else None
        if evidence and isinstance(calls, list) and isinstance(results, list):
            evidence.record_tool_calls(
                run=run,
                node_id=node_id,
                tool_calls=calls,
                tool_results=results,
                now_iso=self.clock.now_iso(),
            )
