"""Finding and mending what is wrong with runs of a directory store.

Rules:
1. `diagnose` and `plan_repair` change nothing. `apply_repair` does what a plan says, under
   the lease of the run, and records that it did.
2. The ledger is the truth: checkpoint, index and inbox are rebuilt from it. A line that
   cannot be read is never skipped, and lost lines are never made up; a plan for such a run
   has no steps and says what a person can do.
3. Whatever is replaced or cut goes to the quarantine first.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from abstractruntime.core.ports import Barrier
from abstractruntime.core.records import RecordFactory
from abstractruntime.core.store import Fault
from abstractruntime.errors import IntegrityError, UsageError
from abstractruntime.storage._care.diagnosis import (
    Step,
    findings_of_run,
    findings_of_store,
    temp_files,
)
from abstractruntime.storage._files.quarantine import quarantine_tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from abstractruntime._json import JsonObject
    from abstractruntime.storage._store.engine import DirectoryEngine
    from abstractruntime.storage._store.run_log import DirectoryRunLog
    from abstractruntime.storage._store.services import Services

# In the order in which they are done.
_WORDS: Final[dict[Step, str]] = {
    "restore_store_file": "write store.json again, under the name that the runs have for the store",
    "import": "import the run from version 0.4.x, keeping the original checkpoint",
    "cut_torn_tail": "move the torn tail of the ledger to the quarantine",
    "close_run": "append the record that closes the run",
    "rebuild_checkpoint": "write the checkpoint anew from the ledger",
    "set_commands_aside": "move commands that are not what was posted to the quarantine",
    "clear_inbox": "remove the commands that wait for a run that has ended",
    "remove_temp_files": "remove what interrupted writes left",
    "release": "let the run be driven again, and forget how often that failed",
    "update_index": "write the row of the run in the index anew",
}


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What repair would do to one run.

    `blocked_by` are the findings that repair cannot mend; while there is one that is an
    error, nothing is done at all.
    """

    run_id: str
    findings: tuple[Fault, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps, in the order in which they are done."""
        if self.blocked_by:
            return ()
        wanted = {finding.step for finding in self.findings}
        return tuple(step for step in _WORDS if step in wanted)

    @property
    def blocked_by(self) -> tuple[Fault, ...]:
        return tuple(f for f in self.findings if f.level == "error" and f.step is None)

    def to_dict(self) -> JsonObject:
        return {
            "run_id": self.run_id,
            "steps": [{"step": step, "text": _WORDS[step]} for step in self.steps],
            "findings": [finding.to_dict() for finding in self.findings],
            "blocked": bool(self.blocked_by),
        }


def diagnose(
    engine: DirectoryEngine,
    run_id: str | None = None,
    *,
    is_whole: Callable[[str], bool] = lambda _: True,
) -> list[Fault]:
    """Give everything that is wrong with one run, or with the whole store; changes nothing.

    Ledgers are read from their start, so that this takes as long as reading all of them; those of
    runs that are not `is_whole` from their checkpoint on.

    Raises:
        NotFound: there is no such run.
    """
    if run_id is None:
        return list(findings_of_store(engine, is_whole))
    return list(findings_of_run(engine, run_id, from_start=is_whole(run_id)))


def plan_repair(engine: DirectoryEngine, run_id: str) -> RepairPlan:
    """Say what repair would do to a run; changes nothing.

    Raises:
        NotFound: there is no such run.
    """
    return RepairPlan(run_id, tuple(findings_of_run(engine, run_id)))


def apply_repair(engine: DirectoryEngine, plan: RepairPlan) -> RepairPlan:
    """Do what a plan says and record it in the ledger; gives the plan of what is left.

    A plan without steps does nothing and records nothing.

    Raises:
        IntegrityError: something is wrong that repair cannot mend.
        UsageError: the run has changed since it was planned.
        Busy: someone drives the run.
    """
    if plan.blocked_by:
        first = plan.blocked_by[0]
        raise IntegrityError(
            f"run {plan.run_id!r} cannot be repaired: {first.message}",
            hint=first.hint,
            run_id=plan.run_id,
            findings=[finding.code for finding in plan.blocked_by],
        )
    if not plan.steps:
        return plan
    if plan_repair(engine, plan.run_id).steps != plan.steps:
        raise UsageError(
            f"run {plan.run_id!r} has changed since its repair was planned",
            hint="plan again",
            run_id=plan.run_id,
        )
    engine.require_own(plan.run_id)
    if "restore_store_file" in plan.steps:
        engine.restore_store_file()
    if "rebuild_checkpoint" in plan.steps:
        _set_checkpoint_aside(engine, plan.run_id)
    # Owning a run imports it, cuts its torn tail and closes it.
    with contextlib.closing(engine.open(plan.run_id, take_back=True)) as log:
        _record(engine.services, log, plan)
        _finish(engine.services, log, plan)
    return plan_repair(engine, plan.run_id)


def _set_checkpoint_aside(engine: DirectoryEngine, run_id: str) -> None:
    """Move a checkpoint to the quarantine; whoever owns the run next starts from the ledger."""
    files, layout = engine.services.files, engine.services.layout
    path = layout.checkpoint(run_id)
    with engine.fenced(run_id):
        if files.info(path) is not None:
            quarantine_tail(files, layout, engine.services.clock, path, 0)
            files.remove(path)
            files.sync_dir(layout.root)


def _record(services: Services, log: DirectoryRunLog, plan: RepairPlan) -> None:
    records = RecordFactory(services.clock, services.ids)
    found = [finding.code for finding in plan.findings if finding.step is not None]
    facts: JsonObject = {"action": "repair", "steps": list(plan.steps), "found": found}
    lines = [records.internal(log.run, "control", **facts)]
    if log.run.status.is_terminal:
        # The closing record is the last one of a finished run.
        lines.append(records.terminal_status(log.run))
    log.commit(*lines, barrier=Barrier.ACK, fix="rebuild_checkpoint" in plan.steps)


def _finish(services: Services, log: DirectoryRunLog, plan: RepairPlan) -> None:
    if "set_commands_aside" in plan.steps:
        inboxes, run_id = services.inboxes, plan.run_id
        inboxes.set_aside(run_id, [name for name, _ in inboxes.altered(inboxes.read(run_id))])
    log.settle()
    if "remove_temp_files" in plan.steps:
        for path in temp_files(services, plan.run_id):
            services.files.remove(path)
    log.index_now()
