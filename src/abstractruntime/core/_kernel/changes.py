"""Changing a run: apply a transition, and commit it with its records."""

from __future__ import annotations

from abstractruntime.core._kernel.records import RecordFactory
from abstractruntime.core._kernel.transitions import Event, Failed, transition
from abstractruntime.core.models import StepRecord
from abstractruntime.core.ports import Barrier, Clock, RunLog


class Changes:
    """What every part of the kernel changes runs with."""

    def __init__(self, clock: Clock, records: RecordFactory) -> None:
        self._clock = clock
        self._records = records

    def _fail(self, log: RunLog, error: str) -> None:
        self._apply(log, Failed(error))
        self._commit_ending(log, self._records.internal(log.run, "failed", error=error))

    def _commit_ending(
        self, log: RunLog, record: StepRecord, barrier: Barrier = Barrier.NONE
    ) -> None:
        log.commit(record, self._records.terminal_status(log.run), barrier=barrier)

    def _apply(self, log: RunLog, event: Event, *, at: str | None = None) -> None:
        for name, value in transition(log.run, event).items():
            setattr(log.run, name, value)
        log.run.updated_at = at or self._clock.now_iso()
