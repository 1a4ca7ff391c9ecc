"""Driving one owned run: nodes, effects, waits, commands.

Rules:
1. The run changes only through `transitions`; every change is committed with its records.
2. Pure hops are deterministic, so they ride along with the next record; a run of hops is
   committed every 64 of them, every second, and before the loop returns. A hop into or out
   of a guarded node is committed at once.
3. A node that raises leaves no trace in the variables: they are rolled back before the
   failure is committed. Hops before it that no commit holds yet are walked again, each
   with a commit, so that the rollback takes back that node alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from abstractruntime.core._kernel import doubt
from abstractruntime.core._kernel.control import Control
from abstractruntime.core._kernel.effects import EffectRequest, EffectRunner, PolicyFailed
from abstractruntime.core._kernel.hops import Hops
from abstractruntime.core._kernel.transitions import (
    Failed,
    Finished,
    Hopped,
    Parked,
    is_listen_wait,
)
from abstractruntime.core._kernel.waits import Waits
from abstractruntime.core.failures import CONTINUE, ON_FAILURE, failure_result, goes_on
from abstractruntime.core.models import (
    EffectType,
    JsonObject,
    RunState,
    RunStatus,
    StepPlan,
    StepRecord,
)
from abstractruntime.core.ports import Barrier, Clock, Command, EffectOutcome, Evidence, RunLog
from abstractruntime.core.records import RecordFactory
from abstractruntime.core.spec import RunContext, WorkflowSpec
from abstractruntime.core.usage import prompt_tokens
from abstractruntime.core.vars import get_namespace, is_paused, set_result
from abstractruntime.errors import InvalidValue, WaitMismatch

StopSignal = Callable[[], bool]


class _Rejected(Exception):  # noqa: N818 - a signal inside this module, not an error
    """What a node did cannot stand; the text becomes the run's error."""


class Kernel(Waits, Control):
    """Advances runs; holds no run state of its own, so one kernel serves many runs."""

    def __init__(
        self,
        *,
        clock: Clock,
        records: RecordFactory,
        effects: EffectRunner,
        context: RunContext,
        evidence: Callable[[], Evidence | None] = lambda: None,
    ) -> None:
        super().__init__(clock, records, evidence)
        self._effects = effects
        self._context = context

    def advance(
        self,
        log: RunLog,
        workflow: WorkflowSpec,
        *,
        max_steps: int | None,
        stop: StopSignal | None = None,
    ) -> None:
        """Advance until the run waits or ends, the budget is used, or `stop` says so."""
        self.apply_commands(log)
        self.fire_timer(log)
        hops = Hops(self._clock)
        steps = 0
        while self._may_step(log.run, steps, max_steps) and not (stop and stop()):
            steps += 1
            left = log.run.current_node
            try:
                is_hop = self._step(log, workflow)
            except _Rejected as rejected:
                log.rollback()
                if hops.pending:
                    steps -= hops.retrace() + 1
                    continue
                is_hop = False
                self._fail(log, str(rejected))
            if is_hop:
                hops.count()
            else:
                hops.reset()
            if hops.due or (hops.pending and workflow.guarded & {left, log.run.current_node}):
                self._commit_hops(log, hops)
            self._apply_between_steps(log)
        if hops.pending:
            self._commit_hops(log, hops)

    def _commit_hops(self, log: RunLog, hops: Hops) -> None:
        try:
            log.commit(self._records.internal(log.run, "transition", hops=hops.pending))
        except InvalidValue as error:
            self._reject_state(log, f"a step before node {log.run.current_node!r}", error)
        hops.reset()

    def _apply_between_steps(self, log: RunLog) -> None:
        try:
            self.apply_commands(log)
        except InvalidValue as error:
            # The hops that no commit holds yet ride along with the record of a command.
            self._reject_state(log, f"a step before node {log.run.current_node!r}", error)

    @staticmethod
    def _may_step(run: RunState, steps: int, max_steps: int | None) -> bool:
        return (
            run.status is RunStatus.RUNNING
            and (max_steps is None or steps < max_steps)
            and not is_paused(run.vars)
        )

    def _step(self, log: RunLog, workflow: WorkflowSpec) -> bool:
        """Do one step; True when it was a pure hop that still needs a commit."""
        if log.pending is not None:
            self._take_up(log, log.pending)
            return False
        plan = self._plan(log, workflow)
        if plan.complete_output is not None:
            self._finish(log, plan.node_id, plan.complete_output)
        elif plan.effect is not None:
            self._perform(log, plan)
        elif plan.next_node is not None:
            self._apply(log, Hopped(plan.next_node))
            return True
        else:
            self._fail(log, f"node {plan.node_id!r} planned neither an effect nor a next node")
        return False

    def _take_up(self, log: RunLog, pending: StepRecord) -> None:
        """Go on with an attempt that has no recorded outcome, or is due again."""
        request = EffectRequest.from_record(pending)
        choice = self._effects.on_unknown(request, pending)
        if choice == doubt.FAIL:
            outcome = EffectOutcome.failed(doubt.describe_doubt(request))
            self._outcome_failed(log, request, pending, outcome)
        elif choice == "ask":
            outcome = EffectOutcome.waiting(doubt.doubt_wait(log.run, request))
            self._outcome_waiting(log, request, pending, outcome)
        else:
            self._conclude(log, request)

    def _plan(self, log: RunLog, workflow: WorkflowSpec) -> StepPlan:
        node_id = log.run.current_node
        try:
            plan = workflow.get_node(node_id)(log.run, self._context)
        except Exception as error:
            problem = f"node {node_id!r} failed: {type(error).__name__}: {error}"
            raise _Rejected(problem) from error
        if not isinstance(plan, StepPlan):
            raise _Rejected(f"node {node_id!r} gave {type(plan).__name__}, expected a StepPlan")
        if not isinstance(log.run.vars, dict):
            raise _Rejected(f"node {node_id!r} replaced the variables by something else")
        return plan

    def _perform(self, log: RunLog, plan: StepPlan) -> None:
        assert plan.effect is not None  # noqa: S101 - the caller dispatched on it
        try:
            request = self._effects.request(log, plan.node_id, plan.effect, plan.next_node)
        except PolicyFailed as error:
            raise _Rejected(str(error)) from error
        except (TypeError, ValueError) as error:
            problem = f"node {plan.node_id!r} planned an effect that is not JSON: {error}"
            raise _Rejected(problem) from error
        self._conclude(log, request, log.reusable(request.key))

    def _conclude(
        self, log: RunLog, request: EffectRequest, earlier: StepRecord | None = None
    ) -> None:
        try:
            if earlier is not None:
                self._complete(log, request, None, earlier.result)
                return
            record, outcome = self._effects.perform(log, request)
            _OUTCOMES.get(outcome.status, Kernel._outcome_failed)(
                self, log, request, record, outcome
            )
        except InvalidValue as error:
            self._reject_state(log, f"node {request.node_id!r}", error)
        except PolicyFailed as error:
            log.rollback()
            self._fail(log, str(error))

    def _outcome_interrupted(self, log: RunLog, *_: Any) -> None:
        """Leave the attempt unconcluded; the command that came in is applied next."""
        if log.pending is None:
            # A classic pair repeats the node, which must find the variables as it first did.
            log.rollback()

    def _outcome_failed(
        self, log: RunLog, request: EffectRequest, record: StepRecord, outcome: EffectOutcome
    ) -> None:
        error = outcome.error or f"effect ended with unknown status {outcome.status!r}"
        record.finish_failure(error, at=self._clock.now_iso())
        if goes_on(request.effect.payload) and request.next_node is not None:
            if request.effect.result_key:
                set_result(log.run.vars, request.effect.result_key, failure_result(error))
            self._apply(log, Hopped(request.next_node), at=record.ended_at)
            log.commit(record, barrier=self._barrier(request))
            return
        self._apply(log, Failed(error))
        self._commit_ending(log, record, barrier=self._barrier(request))

    def _outcome_waiting(
        self, log: RunLog, request: EffectRequest, record: StepRecord, outcome: EffectOutcome
    ) -> None:
        assert outcome.wait is not None  # noqa: S101 - guaranteed by EffectOutcome.waiting
        wait = replace(outcome.wait, occurrence=request.occurrence)
        if goes_on(request.effect.payload):
            wait = replace(wait, details={**(wait.details or {}), ON_FAILURE: CONTINUE})
        record.finish_waiting(wait, at=self._clock.now_iso())
        self._apply(log, Parked(wait))
        log.commit(record, barrier=self._barrier(request))

    def _outcome_completed(
        self, log: RunLog, request: EffectRequest, record: StepRecord, outcome: EffectOutcome
    ) -> None:
        if request.effect.type is EffectType.TOOL_CALLS:
            self._capture(log.run, request.node_id, request.effect.payload, outcome.result)
        record.finish_success(outcome.result, at=self._clock.now_iso())
        self._complete(log, request, record, outcome.result)

    def _complete(
        self, log: RunLog, request: EffectRequest, record: StepRecord | None, result: Any
    ) -> None:
        run = log.run
        wrote = None
        if request.effect.result_key and result is not None:
            wrote = set_result(run.vars, request.effect.result_key, result)
        counted = _count_tokens(run, request.effect.type, result)
        records = [record] if record else []
        if request.next_node is not None:
            self._apply(log, Hopped(request.next_node), at=record.ended_at if record else None)
            handler = self._effects.handler(request.effect)
            scan = counted or handler is None or not handler.state_free
            log.commit(*records, barrier=self._barrier(request), wrote=wrote, scan=scan)
            return
        output = {"success": True, "result": result}
        self._apply(log, Finished(output))
        records.append(self._records.completion(run, request.node_id, output, via="effect"))
        log.commit(
            *records,
            self._records.terminal_status(run),
            barrier=self._barrier(request),
            wrote=wrote,
        )

    def _barrier(self, request: EffectRequest) -> Barrier:
        handler = self._effects.handler(request.effect)
        return Barrier.EXTERNAL if handler and handler.external else Barrier.NONE

    def _finish(self, log: RunLog, node_id: str, output: JsonObject) -> None:
        self._apply(log, Finished(output))
        try:
            log.commit(
                self._records.completion(log.run, node_id, output),
                self._records.terminal_status(log.run),
            )
        except InvalidValue as error:
            log.rollback()
            self._fail(log, f"output of node {node_id!r} is not JSON: {error}")

    def _reject_state(self, log: RunLog, culprit: str, error: InvalidValue) -> None:
        log.rollback()
        self._fail(log, f"{culprit} left a value in the variables that is not JSON: {error}")

    # -- answers and commands ------------------------------------------------

    def resume(
        self,
        log: RunLog,
        payload: Any,
        *,
        wait_key: str | None,
        actor: str | None = None,
        occurrence: int | None = None,
        commands: tuple[str, ...] = (),
    ) -> None:
        """Answer the open wait; None as key or occurrence matches any.

        Raises:
            WaitMismatch: paused, not waiting, or waiting for something else.
            InvalidValue: the payload is not JSON.
        """
        wait = self._require_wait(log.run, wait_key, occurrence)
        request = doubt.doubted_request(wait)
        choice = doubt.chosen(payload) if request else None
        self._wake(log, payload, actor=actor, commands=commands)
        if request and choice == doubt.RETRY:
            self._conclude(log, request)
        elif request and choice == doubt.SKIP:
            skipped = self._records.internal(log.run, "control", action="skip")
            self._complete(log, request, skipped, None)
        elif request:
            self._fail(log, doubt.describe_doubt(request))

    def apply_commands(self, log: RunLog) -> None:
        """Apply what others asked of this run while it was owned; each command counts once.

        Of several events only the first is taken: the others stay in the inbox, in order,
        until the run waits for them again. What comes after the end of a run is void.
        """
        for command in log.take_commands():
            if log.run.status.is_terminal:
                break
            self.apply(log, command)

    def apply(self, log: RunLog, command: Command) -> None:
        """Apply one command; one without an id was never posted, and is not acknowledged."""
        _COMMANDS.get(command.kind, Kernel._ignore)(self, log, command)

    def _command_cancel(self, log: RunLog, command: Command) -> None:
        idle = is_listen_wait(log.run.waiting) and not is_paused(log.run.vars)
        if command.payload.get("if_listening") and not idle:
            self._acknowledge(log, _ids(command), refused="the run is not waiting for an event")
            return
        self.cancel(log, command.payload.get("reason"), _ids(command))

    def _command_pause(self, log: RunLog, command: Command) -> None:
        self.pause(log, command.payload.get("reason"), _ids(command))

    def _command_unpause(self, log: RunLog, command: Command) -> None:
        self.unpause(log, _ids(command))

    def _command_resume(self, log: RunLog, command: Command) -> None:
        payload = command.payload
        try:
            self.resume(
                log,
                payload.get("payload"),
                wait_key=payload.get("wait_key"),
                actor=payload.get("actor"),
                occurrence=payload.get("occurrence"),
                commands=_ids(command),
            )
        except (WaitMismatch, InvalidValue) as error:
            self._acknowledge(log, _ids(command), refused=str(error))

    def _command_deliver(self, log: RunLog, command: Command) -> None:
        busy = _is_heard_later(log.run, command.payload.get("wait_key"))
        if not busy and not is_paused(log.run.vars):
            self._command_resume(log, command)

    def _command_fail_wait(self, log: RunLog, command: Command) -> None:
        payload = command.payload
        if is_paused(log.run.vars):
            return
        try:
            self.fail_wait(
                log,
                str(payload.get("error") or "no reason given"),
                wait_key=payload.get("wait_key"),
                commands=_ids(command),
            )
        except WaitMismatch as error:
            self._acknowledge(log, _ids(command), refused=str(error))

    def _command_limits(self, log: RunLog, command: Command) -> None:
        updates = command.payload.get("updates")
        self.set_limits(log, updates if isinstance(updates, dict) else {}, _ids(command))

    def _ignore(self, log: RunLog, command: Command) -> None:
        self._acknowledge(log, _ids(command), refused=f"unknown command {command.kind!r}")


_OUTCOMES: Mapping[str, Callable[..., None]] = {
    "completed": Kernel._outcome_completed,  # noqa: SLF001 - the kernel's own table
    "waiting": Kernel._outcome_waiting,  # noqa: SLF001
    "failed": Kernel._outcome_failed,  # noqa: SLF001
    "interrupted": Kernel._outcome_interrupted,  # noqa: SLF001
}

_COMMANDS: Mapping[str, Callable[[Kernel, RunLog, Command], None]] = {
    "cancel": Kernel._command_cancel,  # noqa: SLF001
    "pause": Kernel._command_pause,  # noqa: SLF001
    "unpause": Kernel._command_unpause,  # noqa: SLF001
    "resume": Kernel._command_resume,  # noqa: SLF001
    "deliver": Kernel._command_deliver,  # noqa: SLF001
    "fail_wait": Kernel._command_fail_wait,  # noqa: SLF001
    "limits": Kernel._command_limits,  # noqa: SLF001
}


def _is_heard_later(run: RunState, wait_key: Any) -> bool:
    """Tell whether a run that does not wait for `wait_key` now is to do so again."""
    open_key = run.waiting.wait_key if run.waiting else None
    return open_key != wait_key and wait_key in (run.listening or ())


def _ids(command: Command) -> tuple[str, ...]:
    return (command.id,) if command.id else ()


def _count_tokens(run: RunState, kind: EffectType, result: Any) -> bool:
    """Note the prompt size that the model reported; True when the run's limits changed."""
    used = prompt_tokens(result) if kind is EffectType.LLM_CALL else None
    if used is None:
        return False
    get_namespace(run.vars, "_limits")["estimated_tokens_used"] = used
    return True
