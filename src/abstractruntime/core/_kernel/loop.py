"""Driving one owned run: nodes, effects, waits, commands.

Rules:
1. The run changes only through `transitions`; every change is committed with its records.
2. Pure hops are deterministic, so they ride along with the next record; a run of hops is
   committed every 64 of them, every second, and before the loop returns. A hop into or out
   of a guarded node is committed at once.
3. A node that raises, or asks for more than its run may have, leaves no trace in the variables:
   they are rolled back before the failure, or the rest, is committed. Hops before it that no commit holds yet are walked again, each
   with a commit, so that the rollback takes back that node alone.
"""

from __future__ import annotations

from collections.abc import Callable

from abstractruntime.core._kernel.brakes import Brakes, LimitMet, Stint, Watch
from abstractruntime.core._kernel.changes import Changes
from abstractruntime.core._kernel.control import Control, Objection
from abstractruntime.core._kernel.effects import EffectRunner, PolicyFailed
from abstractruntime.core._kernel.hops import Hops
from abstractruntime.core._kernel.outcomes import Outcomes
from abstractruntime.core._kernel.transitions import Finished, Hopped
from abstractruntime.core._kernel.waits import Waits
from abstractruntime.core.commands import Answer, Request
from abstractruntime.core.failures import raised_text
from abstractruntime.core.limits import LimitUse, count_outcome
from abstractruntime.core.models import JsonObject, RunState, RunStatus, StepPlan
from abstractruntime.core.ports import Clock, Evidence, RunLog
from abstractruntime.core.records import RecordFactory
from abstractruntime.core.spec import RunContext, WorkflowSpec
from abstractruntime.core.vars import is_paused
from abstractruntime.errors import InvalidValue

StopSignal = Callable[[], bool]


class _Rejected(Exception):  # noqa: N818 - a signal inside this module, not an error
    """What a node did cannot stand; the text becomes the run's error."""


class Kernel:
    """Advances runs; holds no run state of its own, so one kernel serves many runs."""

    def __init__(
        self,
        *,
        clock: Clock,
        records: RecordFactory,
        effects: EffectRunner,
        context: RunContext,
        watch: Watch,
        evidence: Callable[[], Evidence | None] = lambda: None,
        objection: Objection = lambda *_: None,
    ) -> None:
        self._clock = clock
        self._context = context
        self._effects = effects
        self._changes = Changes(clock, records, evidence)
        self._outcomes = Outcomes(self._changes, effects)
        self._waits = Waits(self._changes, self._outcomes)
        self._brakes = Brakes(self._changes, watch)
        self._control = Control(self._changes, self._waits, self._brakes, objection)

    def apply_commands(self, log: RunLog) -> None:
        """Apply what others asked of this run while it was owned; each command counts once."""
        self._control.take(log)

    def apply(self, log: RunLog, request: Request) -> None:
        """Do at once what somebody asks of this run, after what others asked before."""
        self._control.take(log)
        self._control.apply(log, request)

    def answer(self, log: RunLog, answer: Answer) -> None:
        """Answer the open wait, after what others asked before.

        Raises:
            WaitMismatch: paused, not waiting, or waiting for something else.
            InvalidValue: the payload is not JSON.
        """
        self._control.take(log)
        self._waits.answer(log, answer)

    def advance(
        self,
        log: RunLog,
        workflow: WorkflowSpec,
        *,
        max_steps: int | None,
        stop: StopSignal | None = None,
    ) -> None:
        """Advance until the run waits or ends, the budget is used, or `stop` says so."""
        self._control.take(log)
        self._waits.fire_timer(log)
        hops, stint = Hops(self._clock), self._brakes.begin(log)
        steps = 0
        while self._may_step(log.run, steps, max_steps) and not (stop and stop()):
            # What was begun is brought to its end, whatever it uses.
            if log.pending is None and (use := stint.reached()):
                self._rest(log, hops, use)
                continue
            steps += 1
            left = log.run.current_node
            try:
                is_hop = self._step(log, workflow, stint)
            except (_Rejected, LimitMet) as reason:
                log.rollback()
                if hops.pending:
                    steps -= hops.retrace() + 1
                    continue
                is_hop = False
                self._settle(log, reason)
            if is_hop:
                hops.count()
            else:
                hops.reset()
            if hops.due or (hops.pending and workflow.guarded & {left, log.run.current_node}):
                self._commit_hops(log, hops)
            self._apply_between_steps(log)
        if hops.pending:
            self._commit_hops(log, hops)

    def _settle(self, log: RunLog, reason: _Rejected | LimitMet) -> None:
        """End a step that cannot stand and was taken back."""
        if isinstance(reason, LimitMet):
            self._brakes.rest(log, reason.use)
        else:
            self._changes.fail(log, str(reason))

    def _rest(self, log: RunLog, hops: Hops, use: LimitUse) -> None:
        if hops.pending:
            self._commit_hops(log, hops)  # which fails the run where they left what is not JSON
        if log.run.status is RunStatus.RUNNING:
            self._brakes.rest(log, use)

    def _commit_hops(self, log: RunLog, hops: Hops) -> None:
        try:
            log.commit(self._changes.records.internal(log.run, "transition", hops=hops.pending))
        except InvalidValue as error:
            self._changes.reject_state(log, f"a step before node {log.run.current_node!r}", error)
        hops.reset()

    def _apply_between_steps(self, log: RunLog) -> None:
        try:
            self._control.take(log)
        except InvalidValue as error:
            # The hops that no commit holds yet ride along with the record of a command.
            self._changes.reject_state(log, f"a step before node {log.run.current_node!r}", error)

    @staticmethod
    def _may_step(run: RunState, steps: int, max_steps: int | None) -> bool:
        return (
            run.status is RunStatus.RUNNING
            and (max_steps is None or steps < max_steps)
            and not is_paused(run.vars)
        )

    def _step(self, log: RunLog, workflow: WorkflowSpec, stint: Stint) -> bool:
        """Do one step; True when it was a pure hop that still needs a commit."""
        if log.pending is not None:
            self._outcomes.take_up(log, log.pending)
            return False
        stint.count_step()
        plan = self._plan(log, workflow)
        if plan.complete_output is not None:
            self._finish(log, plan.node_id, plan.complete_output)
        elif plan.effect is not None:
            self._perform(log, plan)
        elif plan.next_node is not None:
            count_outcome(log.run, plan.node_id, failed=plan.failed)
            self._changes.apply(log, Hopped(plan.next_node))
            return True
        else:
            self._changes.fail(
                log, f"node {plan.node_id!r} planned neither an effect nor a next node"
            )
        return False

    def _plan(self, log: RunLog, workflow: WorkflowSpec) -> StepPlan:
        node_id = log.run.current_node
        try:
            plan = workflow.get_node(node_id)(log.run, self._context)
        except Exception as error:
            problem = f"node {node_id!r} failed: {raised_text(error)}"
            raise _Rejected(problem) from error
        if not isinstance(plan, StepPlan):
            raise _Rejected(f"node {node_id!r} gave {type(plan).__name__}, expected a StepPlan")
        if not isinstance(log.run.vars, dict):
            raise _Rejected(f"node {node_id!r} replaced the variables by something else")
        return plan

    def _perform(self, log: RunLog, plan: StepPlan) -> None:
        assert plan.effect is not None  # noqa: S101 - the caller dispatched on it
        self._brakes.allow(log.run, plan.effect)
        try:
            request = self._effects.request(log, plan.node_id, plan.effect, plan.next_node)
        except PolicyFailed as error:
            raise _Rejected(str(error)) from error
        except (TypeError, ValueError) as error:
            problem = f"node {plan.node_id!r} planned an effect that is not JSON: {error}"
            raise _Rejected(problem) from error
        self._outcomes.conclude(log, request, log.reusable(request.key))

    def _finish(self, log: RunLog, node_id: str, output: JsonObject) -> None:
        self._changes.apply(log, Finished(output))
        try:
            log.commit(
                self._changes.records.completion(log.run, node_id, output),
                self._changes.records.terminal_status(log.run),
            )
        except InvalidValue as error:
            log.rollback()
            self._changes.fail(log, f"output of node {node_id!r} is not JSON: {error}")
