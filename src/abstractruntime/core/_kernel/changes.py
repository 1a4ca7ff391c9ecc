"""Changing a run: apply a transition, and commit it with its records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from abstractruntime.core._kernel.transitions import Event, Failed, transition
from abstractruntime.core.models import JsonObject, RunState, StepRecord
from abstractruntime.core.ports import Barrier, Clock, Evidence, RunLog
from abstractruntime.core.records import RecordFactory


class Changes:
    """What every part of the kernel changes runs with."""

    def __init__(
        self,
        clock: Clock,
        records: RecordFactory,
        evidence: Callable[[], Evidence | None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._records = records
        self._evidence = evidence

    def _capture(self, run: RunState, node_id: str, request: JsonObject, answer: Any) -> None:
        """Keep evidence of tool results, in place, before anything refers to them."""
        evidence, calls = self._evidence(), request.get("tool_calls")
        results = answer.get("results") if isinstance(answer, dict) else None
        if evidence and isinstance(calls, list) and isinstance(results, list):
            evidence.record_tool_calls(
                run=run,
                node_id=node_id,
                tool_calls=calls,
                tool_results=results,
                now_iso=self._clock.now_iso(),
            )

    def _fail(self, log: RunLog, error: str) -> None:
        self._apply(log, Failed(error))
        self._commit_ending(log, self._records.internal(log.run, "failed", error=error))

    def _commit_ending(
        self,
        log: RunLog,
        record: StepRecord,
        barrier: Barrier = Barrier.NONE,
        commands: tuple[str, ...] = (),
    ) -> None:
        log.commit(
            record, self._records.terminal_status(log.run), barrier=barrier, commands=commands
        )

    def _apply(self, log: RunLog, event: Event, *, at: str | None = None) -> None:
        for name, value in transition(log.run, event).items():
            setattr(log.run, name, value)
        log.run.updated_at = at or self._clock.now_iso()
