"""Driving one owned run: nodes, effects, waits, commands.

Rules:
1. The run changes only through `transitions`; every change is committed with its records.
2. Pure hops are deterministic, so they ride along with the next record; a run of hops is
   committed every 64 of them, every second, and before the loop returns.
3. A node that raises leaves no trace in the variables: they are rolled back before the
   failure is committed. Hops before it that no commit holds yet are walked again, each
   with a commit, so that the rollback takes back that node alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from abstractruntime.core._kernel import doubt
from abstractruntime.core._kernel.effects import EffectRequest, EffectRunner
from abstractruntime.core._kernel.hops import Hops
from abstractruntime.core._kernel.records import RecordFactory
from abstractruntime.core._kernel.transitions import (
    Cancelled,
    Event,
    Failed,
    Finished,
    Hopped,
    Parked,
    Paused,
    Unpaused,
    Woken,
    transition,
)
from abstractruntime.core.models import (
    EffectType,
    JsonObject,
    RunState,
    RunStatus,
    StepPlan,
    StepRecord,
    WaitReason,
    WaitState,
    parse_moment,
)
from abstractruntime.core.ports import Barrier, Clock, Command, EffectOutcome, RunLog
from abstractruntime.core.spec import RunContext, WorkflowSpec
from abstractruntime.core.vars import get_namespace, get_runtime, is_paused, set_result
from abstractruntime.errors import InvalidValue, WaitMismatch

StopSignal = Callable[[], bool]


class _Rejected(Exception):  # noqa: N818 - a signal inside this module, not an error
    """What a node did cannot stand; the text becomes the run's error."""


class Kernel:
    """Advances runs; holds no run state of its own, so one kernel serves many runs."""

    def __init__(
        self, *, clock: Clock, records: RecordFactory, effects: EffectRunner, context: RunContext
    ) -> None:
        self._clock = clock
        self._records = records
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
            if hops.due:
                self._commit_hops(log, hops)
            self.apply_commands(log)
        if hops.pending:
            self._commit_hops(log, hops)

    def _commit_hops(self, log: RunLog, hops: Hops) -> None:
        try:
            log.commit(self._records.internal(log.run, "transition", hops=hops.pending))
        except InvalidValue as error:
            self._reject_state(log, f"a step before node {log.run.current_node!r}", error)
        hops.reset()

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
        self._apply(log, Failed(error))
        self._commit_ending(log, record, barrier=self._barrier(request))

    def _outcome_waiting(
        self, log: RunLog, request: EffectRequest, record: StepRecord, outcome: EffectOutcome
    ) -> None:
        assert outcome.wait is not None  # noqa: S101 - guaranteed by EffectOutcome.waiting
        record.finish_waiting(outcome.wait, at=self._clock.now_iso())
        self._apply(log, Parked(outcome.wait))
        log.commit(record, barrier=self._barrier(request))

    def _outcome_completed(
        self, log: RunLog, request: EffectRequest, record: StepRecord, outcome: EffectOutcome
    ) -> None:
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

    # -- waits ---------------------------------------------------------------

    def fire_timer(self, log: RunLog) -> None:
        """Wake a run whose deadline has passed."""
        wait = log.run.waiting
        if log.run.status is not RunStatus.WAITING or wait is None or is_paused(log.run.vars):
            return
        now = self._clock.now()
        if wait.until is None or parse_moment(wait.until) > now:
            return
        stamp = self._clock.now_iso()
        payload: JsonObject = {
            "until": wait.until,
            "ready": True,
            "scheduled_for": wait.until,
            "timestamp": stamp,
        }
        if wait.reason is not WaitReason.UNTIL:
            payload = {"timed_out": True, "until": wait.until, "timestamp": stamp}
        self._wake(log, payload)

    def resume(
        self,
        log: RunLog,
        payload: Any,
        *,
        wait_key: str | None,
        actor: str | None = None,
        commands: tuple[str, ...] = (),
    ) -> None:
        """Answer the open wait; None as key matches any.

        Raises:
            WaitMismatch: paused, not waiting, or waiting for another key.
            InvalidValue: the payload is not JSON.
        """
        wait = self._require_wait(log.run, wait_key)
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

    @staticmethod
    def _require_wait(run: RunState, wait_key: str | None) -> WaitState:
        hint = f"see what it waits for: art inspect {run.run_id}"
        if is_paused(run.vars):
            raise WaitMismatch(
                f"run {run.run_id!r} is paused",
                hint=f"first: art unpause {run.run_id}",
                run_id=run.run_id,
            )
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
        return run.waiting

    def _wake(
        self, log: RunLog, payload: Any, *, actor: str | None = None, commands: tuple[str, ...] = ()
    ) -> None:
        run, wait = log.run, log.run.waiting
        assert wait is not None  # noqa: S101 - callers checked
        record = self._records.resumed(run, wait, payload, actor)
        wrote = set_result(run.vars, wait.result_key, payload) if wait.result_key else None
        self._apply(log, Woken(payload))
        records = [record]
        if run.status is RunStatus.COMPLETED:
            facts = {"via": "resume", "wait_reason": wait.reason.value, "wait_key": wait.wait_key}
            records.append(
                self._records.completion(run, run.current_node, run.output or {}, **facts)
            )
            records.append(self._records.terminal_status(run))
        try:
            log.commit(*records, wrote=wrote, commands=commands)
        except InvalidValue:
            log.rollback()
            raise

    def fail_wait(self, log: RunLog, error: str) -> None:
        """End a waiting run because what it waits for cannot come, as when its child failed."""
        wait = self._require_wait(log.run, None)
        record = self._records.resumed(log.run, wait, None, None)
        record.finish_failure(error, at=self._clock.now_iso())
        record.result = None
        self._apply(log, Failed(error))
        self._commit_ending(log, record)

    # -- control -------------------------------------------------------------

    def cancel(self, log: RunLog, reason: str | None, commands: tuple[str, ...] = ()) -> None:
        """Cancel a live run; a finished one stays as it is."""
        if log.run.status.is_terminal:
            return
        _clear_control(log.run, "paused", "paused_at", "pause_reason")
        self._apply(log, Cancelled(reason))
        log.commit(
            self._records.internal(log.run, "control", action="cancel", reason=reason),
            self._records.terminal_status(log.run),
            commands=commands,
        )

    def pause(self, log: RunLog, reason: str | None, commands: tuple[str, ...] = ()) -> None:
        """Pause a live run; a run that asks a person is left alone, as are finished ones."""
        run = log.run
        asks = (
            run.status is RunStatus.WAITING
            and run.waiting
            and run.waiting.reason is WaitReason.USER
        )
        if run.status.is_terminal or is_paused(run.vars) or asks:
            self._acknowledge(log, commands)
            return
        control = get_namespace(get_runtime(run.vars), "control")
        control.update({"paused": True, "paused_at": self._clock.now_iso()})
        if reason:
            control["pause_reason"] = reason
        self._apply(log, Paused())
        log.commit(
            self._records.internal(run, "control", action="pause", reason=reason), commands=commands
        )

    def unpause(self, log: RunLog, commands: tuple[str, ...] = ()) -> None:
        """Let a paused run go on."""
        run = log.run
        if run.status.is_terminal or not is_paused(run.vars):
            self._acknowledge(log, commands)
            return
        _clear_control(run, "paused", "pause_reason")
        get_namespace(get_runtime(run.vars), "control")["resumed_at"] = self._clock.now_iso()
        self._apply(log, Unpaused())
        log.commit(self._records.internal(run, "control", action="unpause"), commands=commands)

    def apply_commands(self, log: RunLog) -> None:
        """Apply what others asked of this run while it was owned; each command counts once."""
        for command in log.take_commands():
            _COMMANDS.get(command.kind, Kernel._ignore)(self, log, command)

    def _command_cancel(self, log: RunLog, command: Command) -> None:
        self.cancel(log, command.payload.get("reason"), (command.id,))

    def _command_pause(self, log: RunLog, command: Command) -> None:
        self.pause(log, command.payload.get("reason"), (command.id,))

    def _command_unpause(self, log: RunLog, command: Command) -> None:
        self.unpause(log, (command.id,))

    def _command_resume(self, log: RunLog, command: Command) -> None:
        payload = command.payload
        try:
            self.resume(
                log,
                payload.get("payload"),
                wait_key=payload.get("wait_key"),
                actor=payload.get("actor"),
                commands=(command.id,),
            )
        except (WaitMismatch, InvalidValue) as error:
            self._acknowledge(log, (command.id,), refused=str(error))

    def _ignore(self, log: RunLog, command: Command) -> None:
        self._acknowledge(log, (command.id,), refused=f"unknown command {command.kind!r}")

    def _acknowledge(self, log: RunLog, commands: tuple[str, ...], **facts: Any) -> None:
        if commands:
            log.commit(
                self._records.internal(log.run, "control", action="none", **facts),
                commands=commands,
            )


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
}


def _count_tokens(run: RunState, kind: EffectType, result: Any) -> bool:
    """Note the prompt size that the model reported; True when the run's limits changed."""
    if kind is not EffectType.LLM_CALL or not isinstance(result, dict):
        return False
    usage = result.get("usage")
    if not isinstance(usage, dict):
        return False
    used = next(
        (
            usage[k]
            for k in ("input_tokens", "prompt_tokens", "total_tokens")
            if usage.get(k) is not None
        ),
        None,
    )
    if used is None:
        return False
    get_namespace(run.vars, "_limits")["estimated_tokens_used"] = int(used)
    return True


def _clear_control(run: RunState, *names: str) -> None:
    runtime = run.vars.get("_runtime")
    control = runtime.get("control") if isinstance(runtime, dict) else None
    if isinstance(control, dict):
        for name in names:
            control.pop(name, None)
