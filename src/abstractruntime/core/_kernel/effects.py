"""Performing one effect: its attempts, its pauses, and what a crash leaves of it.

Rules:
1. An attempt is on disk as STARTED, with everything needed to repeat it, before its
   handler is called; its outcome is committed together with the state it leads to.
2. A handler is called exactly once per attempt. An exception is a failed outcome.
3. Failures that repeating cannot mend (no handler, a payload that is not JSON, what a handler
   calls final) are not repeated.
4. A pause that a handler asks for and that is not short is a wait of the run, not of the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from abstractruntime._json import mapping, normalise
from abstractruntime.core._kernel.tool_calls import with_call_ids
from abstractruntime.core.commands import Cancel, Pause
from abstractruntime.core.failures import raised_text
from abstractruntime.core.handlers import EffectContext, Handler
from abstractruntime.core.models import (
    Effect,
    EffectType,
    JsonObject,
    RunState,
    RunStatus,
    StepRecord,
    StepStatus,
    WaitReason,
    WaitState,
    format_time,
    parse_moment,
)
from abstractruntime.core.policy import EffectPolicy, OnUnknown, occurrence_id
from abstractruntime.core.ports import Barrier, Clock, EffectOutcome, Retry, RunLog
from abstractruntime.core.records import RecordFactory
from abstractruntime.core.vars import IN_FLIGHT, RUNTIME, get_runtime, is_paused
from abstractruntime.errors import AbstractRuntimeError, InvalidValue, StoreError

# Longer pauses are slept in slices, so that a cancel or pause is not waited for.
_LONGEST_SLICE_S = 5.0
_Answer = TypeVar("_Answer")
_STATUSES = frozenset({"completed", "waiting", "failed"})


class PolicyFailed(Exception):  # noqa: N818 - a signal to the loop, which fails the run
    """The host's policy raised; repeating the effect would ask it again."""


@dataclass(frozen=True, slots=True)
class EffectRequest:
    """One occurrence of an effect, as planned by a node or read back from a STARTED record."""

    node_id: str
    effect: Effect
    next_node: str | None
    key: str
    occurrence: int
    attempt: int = 1
    began_at: str | None = None
    uncounted: int = 0
    carried: Any = None

    @property
    def plan(self) -> JsonObject:
        plan: JsonObject = {"next_node": self.next_node, "occ": self.occurrence}
        further = {
            "began_at": self.began_at,
            "uncounted": self.uncounted or None,
            "carried": self.carried,
        }
        return plan | {name: value for name, value in further.items() if value is not None}

    @property
    def counted(self) -> int:
        """How many attempts of the policy's budget this one and those before it take."""
        return self.attempt - self.uncounted

    def again(self, retry: Retry | None, *, began_at: str) -> EffectRequest:
        """Give the next attempt, after one that failed."""
        said = retry or Retry()
        return replace(
            self,
            attempt=self.attempt + 1,
            began_at=began_at,
            uncounted=self.uncounted + (not said.is_counted),
            carried=normalise(said.carry, "/carry"),
        )

    @classmethod
    def from_record(cls, record: StepRecord) -> EffectRequest:
        """Read the request back from a STARTED or an unconcluded FAILED record.

        A STARTED attempt has no known outcome and is repeated under its own number; a
        failed one is over, and the next number continues the budget.
        """
        plan = (record.commit or {}).get("plan") or {}
        concluded = record.status is StepStatus.FAILED
        return cls(
            node_id=record.node_id,
            effect=Effect.from_dict(record.effect or {}),
            next_node=plan.get("next_node"),
            key=record.idempotency_key or "",
            occurrence=plan.get("occ", 0),
            attempt=record.attempt + 1 if concluded else record.attempt,
            began_at=plan.get("began_at") or record.started_at,
            uncounted=plan.get("uncounted", 0),
            carried=plan.get("carried"),
        )


@dataclass(frozen=True, slots=True)
class CompletedAttempt:
    """The handler gave a result; the record is open, to be finished with the state it leads to."""

    record: StepRecord
    result: Any


@dataclass(frozen=True, slots=True)
class WaitingAttempt:
    """The run is to park; the record is open."""

    record: StepRecord
    wait: WaitState


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """The last attempt of the budget failed; the record is open."""

    record: StepRecord
    error: str


@dataclass(frozen=True, slots=True)
class InterruptedAttempt:
    """A cancel or pause came in before the next attempt, which is still due."""


@dataclass(frozen=True, slots=True)
class PostponedAttempt:
    """The attempt failed and the next one is due later; the record is closed, not committed."""

    record: StepRecord
    next: EffectRequest
    wait: WaitState


AttemptEnd = (
    CompletedAttempt | WaitingAttempt | FailedAttempt | InterruptedAttempt | PostponedAttempt
)


class EffectRunner:
    """Performs effects with the handlers and policy of one runtime."""

    def __init__(
        self,
        *,
        handlers: Mapping[EffectType, Handler],
        policy: Callable[[], EffectPolicy],
        clock: Clock,
        records: RecordFactory,
    ) -> None:
        self._handlers = handlers
        self._policy = policy
        self._clock = clock
        self._records = records

    def request(
        self, log: RunLog, node_id: str, effect: Effect, next_node: str | None
    ) -> EffectRequest:
        """Number a planned effect.

        Raises:
            InvalidValue: the payload is not JSON, or the result key names no place.
            TypeError, ValueError: it is no effect of a known type.
            PolicyFailed: the host's policy gives it no key.
        """
        if not isinstance(effect, Effect):
            raise TypeError(f"expected an Effect, got {type(effect).__name__}")
        _check_result_key(effect.result_key)
        payload = normalise(effect.payload or {})
        if not isinstance(payload, dict):
            raise TypeError(f"expected an object as payload, got {type(payload).__name__}")
        if payload is not effect.payload or type(effect.type) is not EffectType:
            effect = replace(effect, type=EffectType(effect.type), payload=payload)
        key = self._ask(
            lambda p: p.idempotency_key(run=log.run, node_id=node_id, effect=effect),
            passing=(TypeError, ValueError),
        )
        if not isinstance(key, str):
            raise PolicyFailed(f"the effect policy gave the key {key!r}, expected text")
        occurrence = log.next_occurrence()
        effect = with_call_ids(effect, occurrence_id(key, occurrence))
        return EffectRequest(node_id, effect, next_node, key, occurrence)

    def _ask(
        self,
        question: Callable[[EffectPolicy], _Answer],
        *,
        passing: tuple[type[Exception], ...] = (),
    ) -> _Answer:
        """Ask the host's policy.

        Raises:
            PolicyFailed: it raised something that is not in `passing`.
        """
        try:
            return question(self._policy())
        except passing:
            raise
        except Exception as error:
            raise PolicyFailed(f"the effect policy raised {raised_text(error)}") from error

    def handler(self, effect: Effect) -> Handler | None:
        return self._handlers.get(effect.type)

    def barrier(self, effect: Effect) -> Barrier:
        """Say what the commits around an effect must survive."""
        handler = self.handler(effect)
        return Barrier.EXTERNAL if handler and handler.external else Barrier.NONE

    def on_unknown(self, request: EffectRequest, pending: StepRecord) -> OnUnknown:
        """Say what becomes of an attempt whose outcome is not known.

        Only an effect that leaves the process can be in doubt; one that failed is not.
        """
        handler = self.handler(request.effect)
        if pending.status is StepStatus.FAILED or handler is None or not handler.external:
            return "retry"
        policy_says: OnUnknown = getattr(self._policy(), "on_unknown", "retry")
        return policy_says

    def perform(self, log: RunLog, request: EffectRequest) -> AttemptEnd:
        """Run attempts until one concludes, or somebody stops the run in between."""
        handler = self.handler(request.effect)
        # The attempt that is due is made, whatever the policy says by now.
        most = max(self._max_attempts(request.effect), request.counted) if handler else 1
        barrier = self.barrier(request.effect)
        while True:
            record = self._records.started(
                log.run,
                request.node_id,
                request.effect.to_dict(),
                attempt=request.attempt,
                key=request.key,
            )
            log.commit(record, barrier=barrier, plan=request.plan)
            began_at = request.began_at or record.started_at
            outcome = self._call(handler, log, request, began_at)
            if not _is_repeated(outcome, request, most):
                get_runtime(log.run.vars).pop(IN_FLIGHT, None)
                return _ended(record, outcome, request.attempt)
            record.finish_failure(outcome.error or "", at=self._clock.now_iso())
            failed, request = request, request.again(outcome.retry, began_at=began_at)
            after_s = outcome.retry.after_s if outcome.retry else None
            if after_s is not None and after_s > _LONGEST_SLICE_S and log.pending is not None:
                return PostponedAttempt(record, request, self._postponement(log, request, outcome))
            log.commit(record, barrier=barrier, plan=request.plan)
            if not self._pause(log, failed, after_s):
                return InterruptedAttempt()

    def _postponement(
        self, log: RunLog, request: EffectRequest, outcome: EffectOutcome
    ) -> WaitState:
        assert outcome.retry is not None and outcome.retry.after_s is not None  # noqa: S101, PT018 - the caller looked
        due = self._clock.now() + timedelta(seconds=outcome.retry.after_s)
        return WaitState(
            reason=WaitReason.UNTIL,
            wait_key=f"retry:{log.run.run_id}:{request.occurrence}",
            until=format_time(due),
            resume_to_node=log.run.current_node,
            details={"kind": "retry", "attempt": request.attempt, "error": outcome.error},
            occurrence=request.occurrence,
        )

    def _max_attempts(self, effect: Effect) -> int:
        """Give the budget; a child that ended badly is started anew only where the policy lists it."""
        listed = getattr(self._policy(), "effect_max_attempts", None)
        is_listed = listed is None or effect.type.value in listed
        if effect.type is EffectType.START_SUBWORKFLOW and not is_listed:
            return 1
        return self._ask(lambda policy: int(policy.max_attempts(effect)))

    def _call(
        self,
        handler: Handler | None,
        log: RunLog,
        request: EffectRequest,
        began_at: str,
    ) -> EffectOutcome:
        if handler is None:
            return EffectOutcome.failed(
                f"No effect handler registered for {request.effect.type.value}"
            )
        own_id = occurrence_id(request.key, request.occurrence)
        context = EffectContext(
            run=log.run,
            node_id=request.node_id,
            next_node=request.next_node,
            occurrence_id=own_id,
            attempt=request.attempt,
            clock=self._clock,
            began_at=began_at,
            carried=request.carried,
            remembered=_in_flight(log.run, own_id),
            remember=lambda value: self._remember(log, own_id, value),
        )
        try:
            outcome = _checked(handler.call(context, request.effect))
            result = normalise(outcome.result)
            return outcome if result is outcome.result else replace(outcome, result=result)
        except InvalidValue as error:
            return EffectOutcome.failed(f"effect result is not usable: {error}")
        except StoreError:
            # Invariant: a disk that fails is no outcome; STARTED stays and is repeated.
            raise
        except AbstractRuntimeError as error:
            return EffectOutcome.failed(str(error))
        except Exception as error:
            # Any failure of a handler is an outcome, recorded with its type.
            import logging  # noqa: PLC0415 - few processes complain

            logger = logging.getLogger(__name__)
            logger.debug("handler of %s raised", request.effect.type.value, exc_info=error)
            return EffectOutcome.failed(f"Effect handler raised exception: {raised_text(error)}")

    def _remember(self, log: RunLog, own_id: str, value: Any) -> None:
        if log.pending is None:
            return  # a classic pair repeats the node, from the variables as they first were
        get_runtime(log.run.vars)[IN_FLIGHT] = {"occurrence_id": own_id, "value": value}
        # Invariant: it is as durable as what the handler does next, which may reach other runs.
        record = self._records.internal(log.run, "progress", occurrence_id=own_id)
        log.commit(record, barrier=Barrier.EXTERNAL)

    def _pause(self, log: RunLog, failed: EffectRequest, after_s: float | None) -> bool:
        """Wait before the next attempt; False when a cancel or pause command came in first."""
        effect, attempt = failed.effect, failed.counted
        left = after_s
        if left is None:
            left = self._ask(lambda p: float(p.backoff_seconds(effect=effect, attempt=attempt)))
        while not _is_interrupted(log):
            if not left > 0:  # true of NaN as well
                return True
            self._clock.sleep(min(left, _LONGEST_SLICE_S))
            left -= _LONGEST_SLICE_S
        return False


def _is_repeated(outcome: EffectOutcome, request: EffectRequest, most: int) -> bool:
    if outcome.status != "failed" or outcome.is_final:
        return False
    is_counted = outcome.retry is None or outcome.retry.is_counted
    return not is_counted or request.counted < most


def _in_flight(run: RunState, own_id: str) -> Any:
    noted = mapping(mapping(run.vars.get(RUNTIME)).get(IN_FLIGHT))
    return noted.get("value") if noted.get("occurrence_id") == own_id else None


def _is_interrupted(log: RunLog) -> bool:
    commands = log.take_commands()
    # A classic log takes over what a host saved while the handler was running.
    if log.run.status is not RunStatus.RUNNING or is_paused(log.run.vars):
        return True
    return any(isinstance(command.request, (Cancel, Pause)) for command in commands)


def _checked(outcome: Any) -> EffectOutcome:
    """Give the outcome of a handler in a form that every transition can take.

    Raises:
        TypeError: it is no outcome.
        InvalidValue: its wait cannot be waited for.
    """
    if not isinstance(outcome, EffectOutcome):
        raise TypeError(f"expected an EffectOutcome, got {type(outcome).__name__}")
    if outcome.status not in _STATUSES:
        return EffectOutcome.failed(f"effect ended with unknown status {outcome.status!r}")
    if outcome.status == "waiting":
        _check_wait(outcome.wait)
    error: Any = outcome.error
    if error is None or isinstance(error, str):
        return outcome
    return replace(outcome, error=str(error))


def _check_wait(wait: Any) -> None:
    if not isinstance(wait, WaitState):
        raise TypeError(f"expected a WaitState, got {type(wait).__name__}")
    _check_result_key(wait.result_key)
    normalise(wait.to_dict())
    if wait.until is not None:
        parse_moment(wait.until)


def _check_result_key(key: Any) -> None:
    if key is None or key == "" or (isinstance(key, str) and key.strip(".")):
        return
    raise InvalidValue(
        f"result key {key!r} names no place in the variables",
        hint="use a dotted path such as answers.first, or a JSON pointer",
    )


def _ended(record: StepRecord, outcome: EffectOutcome, attempt: int) -> AttemptEnd:
    if outcome.status == "completed":
        return CompletedAttempt(record, outcome.result)
    if outcome.status == "waiting" and outcome.wait is not None:
        return WaitingAttempt(record, outcome.wait)
    if attempt < 2:
        return FailedAttempt(record, outcome.error or "effect ended with unknown status 'failed'")
    return FailedAttempt(record, f"Effect failed after {attempt} attempts: {outcome.error}")
