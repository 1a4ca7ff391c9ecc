"""What the end of an effect makes of its run: the next node, a wait, a failure, an output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from abstractruntime.core._kernel import doubt
from abstractruntime.core._kernel.changes import Changes
from abstractruntime.core._kernel.effects import (
    CompletedAttempt,
    EffectRequest,
    EffectRunner,
    FailedAttempt,
    InterruptedAttempt,
    PolicyFailed,
    PostponedAttempt,
    WaitingAttempt,
)
from abstractruntime.core._kernel.transitions import Failed, Finished, Hopped, Parked
from abstractruntime.core.failures import CONTINUE, ON_FAILURE, failure_result, goes_on, has_failed
from abstractruntime.core.limits import count_outcome
from abstractruntime.core.models import EffectType, RunState, StepRecord
from abstractruntime.core.ports import RunLog
from abstractruntime.core.usage import prompt_tokens
from abstractruntime.core.vars import get_namespace, set_result
from abstractruntime.errors import InvalidValue


class Outcomes:
    """The kernel's part for effects: performs them, and commits what they came to."""

    def __init__(self, changes: Changes, effects: EffectRunner) -> None:
        self._changes = changes
        self._effects = effects
        self._settlers: Mapping[type, Callable[[RunLog, EffectRequest, Any], None]] = {
            CompletedAttempt: self._completed,
            WaitingAttempt: self._waiting,
            FailedAttempt: self._failed,
            InterruptedAttempt: self._interrupted,
            PostponedAttempt: self._postponed,
        }

    def conclude(
        self, log: RunLog, request: EffectRequest, earlier: StepRecord | None = None
    ) -> None:
        """Perform an effect, or reuse its `earlier` outcome, and commit what that leads to."""
        try:
            if earlier is not None:
                self._reuse(log, request, earlier)
                return
            end = self._effects.perform(log, request)
            self._settlers[type(end)](log, request, end)
        except InvalidValue as error:
            self._changes.reject_state(log, f"node {request.node_id!r}", error)
        except PolicyFailed as error:
            log.rollback()
            self._changes.fail(log, str(error))

    def take_up(self, log: RunLog, pending: StepRecord) -> None:
        """Go on with an attempt that has no recorded outcome, or is due again."""
        request = EffectRequest.from_record(pending)
        choice = self._effects.on_unknown(request, pending)
        if choice == doubt.FAIL:
            self._failed(log, request, FailedAttempt(pending, doubt.describe_doubt(request)))
        elif choice == "ask":
            self._waiting(log, request, WaitingAttempt(pending, doubt.doubt_wait(log.run, request)))
        else:
            self.conclude(log, request)

    def settle_doubt(self, log: RunLog, request: EffectRequest, choice: str) -> None:
        """Do what a person chose about an effect in doubt."""
        if choice == doubt.RETRY:
            self.conclude(log, request)
        elif choice == doubt.SKIP:
            skipped = self._changes.records.internal(log.run, "control", action="skip")
            self._complete(log, request, skipped, None)
        else:
            self._changes.fail(log, doubt.describe_doubt(request))

    def _interrupted(self, log: RunLog, _request: EffectRequest, _end: InterruptedAttempt) -> None:
        """Leave the attempt unconcluded; the command that came in is applied next."""
        if log.pending is None:
            # A classic pair repeats the node, which must find the variables as it first did.
            log.rollback()

    def _postponed(self, log: RunLog, request: EffectRequest, end: PostponedAttempt) -> None:
        """Park the run until the next attempt is due; the attempt stays pending while it waits."""
        self._changes.apply(log, Parked(end.wait), at=end.record.ended_at)
        log.commit(end.record, barrier=self._effects.barrier(request.effect), plan=end.next.plan)

    def _failed(self, log: RunLog, request: EffectRequest, end: FailedAttempt) -> None:
        changes, effect, record = self._changes, request.effect, end.record
        record.finish_failure(end.error, at=changes.clock.now_iso())
        barrier = self._effects.barrier(effect)
        if goes_on(effect.payload) and request.next_node is not None:
            if effect.result_key:
                set_result(log.run.vars, effect.result_key, failure_result(end.error))
            count_outcome(log.run, request.node_id, failed=True)
            changes.apply(log, Hopped(request.next_node), at=record.ended_at)
            log.commit(record, barrier=barrier)
            return
        changes.apply(log, Failed(end.error))
        changes.commit_ending(log, record, barrier)

    def _waiting(self, log: RunLog, request: EffectRequest, end: WaitingAttempt) -> None:
        wait = replace(end.wait, occurrence=request.occurrence)
        if goes_on(request.effect.payload):
            wait = replace(wait, details={**(wait.details or {}), ON_FAILURE: CONTINUE})
        end.record.finish_waiting(wait, at=self._changes.clock.now_iso())
        self._changes.apply(log, Parked(wait))
        log.commit(end.record, barrier=self._effects.barrier(request.effect))

    def _completed(self, log: RunLog, request: EffectRequest, end: CompletedAttempt) -> None:
        changes, effect = self._changes, request.effect
        if effect.type is EffectType.TOOL_CALLS:
            changes.capture(log.run, request.node_id, effect.payload, end.result)
        end.record.finish_success(end.result, at=changes.clock.now_iso())
        self._complete(log, request, end.record, end.result)

    def _complete(
        self, log: RunLog, request: EffectRequest, record: StepRecord, result: Any
    ) -> None:
        wrote = _store_result(log.run, request, result)
        counted = _count_tokens(log.run, request.effect.type, result)
        is_bad = has_failed(request.effect.payload, result)
        count_outcome(log.run, request.node_id, failed=is_bad)
        if request.next_node is None:
            self._end(log, request, result, record, wrote=wrote)
            return
        self._changes.apply(log, Hopped(request.next_node), at=record.ended_at)
        handler = self._effects.handler(request.effect)
        scan = counted or handler is None or not handler.state_free
        barrier = self._effects.barrier(request.effect)
        log.commit(record, barrier=barrier, wrote=wrote, scan=scan)

    def _reuse(self, log: RunLog, request: EffectRequest, earlier: StepRecord) -> None:
        wrote = _store_result(log.run, request, earlier.result)
        _count_tokens(log.run, request.effect.type, earlier.result)
        if request.next_node is None:
            self._end(log, request, earlier.result, wrote=wrote)
            return
        self._changes.apply(log, Hopped(request.next_node))
        log.reuse(earlier, barrier=self._effects.barrier(request.effect), wrote=wrote)

    def _end(
        self,
        log: RunLog,
        request: EffectRequest,
        result: Any,
        *records: StepRecord,
        wrote: str | None,
    ) -> None:
        """End the run with the result of its last effect as output."""
        output = {"success": True, "result": result}
        self._changes.apply(log, Finished(output))
        made = self._changes.records
        log.commit(
            *records,
            made.completion(log.run, request.node_id, output, via="effect"),
            made.terminal_status(log.run),
            barrier=self._effects.barrier(request.effect),
            wrote=wrote,
        )


def _store_result(run: RunState, request: EffectRequest, result: Any) -> str | None:
    """Put a result where the effect wants it, and give the pointer of the place."""
    key = request.effect.result_key
    return set_result(run.vars, key, result) if key and result is not None else None


def _count_tokens(run: RunState, kind: EffectType, result: Any) -> bool:
    """Note the prompt size that the model reported; True when the run's limits changed."""
    used = prompt_tokens(result) if kind is EffectType.LLM_CALL else None
    if used is None:
        return False
    get_namespace(run.vars, "_limits")["estimated_tokens_used"] = used
    return True
