"""Ending a wait: by its deadline, by an answer, or because none can come."""

from __future__ import annotations

from typing import Any

from abstractruntime._json import isolate, normalise
from abstractruntime.core._kernel import doubt
from abstractruntime.core._kernel.changes import Changes
from abstractruntime.core._kernel.outcomes import Outcomes
from abstractruntime.core._kernel.transitions import Failed, Woken
from abstractruntime.core.answers import stored_answer
from abstractruntime.core.commands import Answer, FailWait
from abstractruntime.core.failures import failure_result, goes_on, has_failed
from abstractruntime.core.limits import count_outcome, reached_limit
from abstractruntime.core.models import (
    JsonObject,
    RunState,
    RunStatus,
    WaitReason,
    WaitState,
    parse_moment,
)
from abstractruntime.core.ports import RunLog
from abstractruntime.core.run_tree import at_limit
from abstractruntime.core.vars import is_paused, set_result
from abstractruntime.errors import InvalidValue, WaitMismatch


class Waits:
    """The kernel's part for runs that wait."""

    def __init__(self, changes: Changes, outcomes: Outcomes) -> None:
        self._changes = changes
        self._outcomes = outcomes

    def fire_timer(self, log: RunLog) -> None:
        """Wake a run whose deadline has passed."""
        wait, clock = log.run.waiting, self._changes.clock
        if log.run.status is not RunStatus.WAITING or wait is None or is_paused(log.run.vars):
            return
        now = clock.now()
        if wait.until is None or parse_moment(wait.until) > now:
            return
        stamp = clock.now_iso()
        payload: JsonObject = {
            "until": wait.until,
            "ready": True,
            "scheduled_for": wait.until,
            "timestamp": stamp,
        }
        if wait.reason is not WaitReason.UNTIL:
            payload = {"timed_out": True, "until": wait.until, "timestamp": stamp}
        self._wake(log, wait, payload)

    def answer(self, log: RunLog, request: Answer, commands: tuple[str, ...] = ()) -> None:
        """Answer the open wait; the answer to an effect in doubt is acted on at once.

        Raises:
            WaitMismatch: paused, not waiting, or waiting for something else.
            InvalidValue: the payload is not JSON.
        """
        wait = require_wait(log.run, request.wait_key, request.occurrence)
        doubted = doubt.doubted_request(wait)
        choice = doubt.chosen(request.payload) if doubted else ""
        self._wake(log, wait, request.payload, actor=request.actor, commands=commands)
        if doubted:
            self._outcomes.settle_doubt(log, doubted, choice)

    def fail(self, log: RunLog, request: FailWait, commands: tuple[str, ...]) -> None:
        """End a waiting run because what it waits for cannot come, as when its child failed.

        A run that goes on after failures is woken with the failure instead.

        Raises:
            WaitMismatch: paused, not waiting, or waiting for another key.
        """
        wait, changes = require_wait(log.run, request.wait_key), self._changes
        if goes_on(wait.details) and wait.resume_to_node is not None:
            self._wake(log, wait, failure_result(request.error), commands=commands)
            return
        record = changes.records.resumed(log.run, wait, None, None)
        record.finish_failure(request.error, at=changes.clock.now_iso())
        record.result = None
        changes.apply(log, Failed(request.error))
        changes.commit_ending(log, record, commands=commands)

    def _wake(
        self,
        log: RunLog,
        wait: WaitState,
        payload: Any,
        *,
        actor: str | None = None,
        commands: tuple[str, ...] = (),
    ) -> None:
        run, changes = log.run, self._changes
        record = changes.records.resumed(run, wait, payload, actor)
        answer = self._answer(run, wait, payload)
        wrote = set_result(run.vars, wait.result_key, answer) if wait.result_key else None
        if answer is not payload:
            wrote = None  # the record holds the answer as it was given
        count_outcome(run, run.current_node, failed=has_failed(wait.details, answer))
        changes.apply(log, Woken(answer))
        records = [record]
        if run.status is RunStatus.COMPLETED:
            facts = {"via": "resume", "wait_reason": wait.reason.value, "wait_key": wait.wait_key}
            output = run.output or {}
            records.append(changes.records.completion(run, run.current_node, output, **facts))
            records.append(changes.records.terminal_status(run))
        try:
            log.commit(*records, wrote=wrote, commands=commands)
        except InvalidValue:
            log.rollback()
            raise

    def _answer(self, run: RunState, wait: WaitState, payload: Any) -> Any:
        answer = stored_answer(wait, payload)
        details = wait.details or {}
        calls = details.get("tool_calls_for_evidence") or details.get("tool_calls")
        if not calls:
            return answer
        own = isolate(normalise(answer, "/payload"))
        self._changes.capture(run, run.current_node, {"tool_calls": calls}, own)
        return own if own != answer else answer


def require_wait(run: RunState, wait_key: str | None, occurrence: int | None = None) -> WaitState:
    """Give the open wait of a run, if it is the one that is meant; None matches any.

    Raises:
        WaitMismatch: paused, not waiting, or waiting for something else.
    """
    hint = f"see what it waits for: art inspect {run.run_id}"
    if is_paused(run.vars):
        raise WaitMismatch(
            f"run {run.run_id!r} is paused",
            hint=f"first: art unpause {run.run_id}",
            run_id=run.run_id,
        )
    if reached_limit(run.vars):
        raise at_limit(run)
    if run.status is not RunStatus.WAITING or run.waiting is None:
        raise WaitMismatch(
            f"run {run.run_id!r} is {run.status.value}, not waiting",
            hint=hint,
            run_id=run.run_id,
        )
    open_key = run.waiting.wait_key
    if wait_key is not None and open_key is not None and wait_key != open_key:
        raise WaitMismatch(
            f"wait_key mismatch: run {run.run_id!r} waits for {open_key!r}, not {wait_key!r}",
            hint=hint,
            run_id=run.run_id,
            expected=open_key,
            given=wait_key,
        )
    asked = run.waiting.occurrence
    if occurrence is not None and asked is not None and occurrence != asked:
        raise WaitMismatch(
            f"the wait {open_key!r} of run {run.run_id!r} that this answers is over; "
            "the same key waits again",
            hint=hint,
            run_id=run.run_id,
            expected=asked,
            given=occurrence,
        )
    return run.waiting
