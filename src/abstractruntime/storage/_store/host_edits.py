"""Changes that a host makes to the state of a run from outside: saves, and restored snapshots.

Each is one `control` record with the difference. A finished run that is made live again is
marked, so that it reuses what it did before; see `reuse`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abstractruntime._json import isolate, normalise
from abstractruntime.core.models import RunState
from abstractruntime.core.ports import Barrier
from abstractruntime.errors import UsageError
from abstractruntime.storage._store.plain import dump_any
from abstractruntime.storage._store.reuse import Rewound, mark_rewound

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.core.records import RecordFactory
    from abstractruntime.storage._store.run_log import DirectoryRunLog


def isolated_run(run: RunState) -> RunState:
    """Copy a run as a store would keep it.

    Raises:
        InvalidValue: it holds something that is not JSON.
    """
    copy = RunState.from_dict(isolate(normalise(run.to_dict())))
    # It counts the records of a classic pair; a fused commit needs no such number.
    copy.ledger_seq = None
    return copy


def commit_state(
    log: DirectoryRunLog,
    records: RecordFactory,
    state: RunState,
    *,
    reuse_after: int | None = None,
    **facts: Any,
) -> bool:
    """Give an owned run another state, durably; False when it was in that state already.

    Args:
        log: The run.
        records: Builds the records.
        state: What becomes of it; the caller keeps nothing of this object.
        reuse_after: The record at which the run had that state, where it is known; later
            outcomes are then reused. A finished run that becomes live reuses all of them.
        **facts: What the control record says.

    Raises:
        UsageError: an attempt is open whose outcome would undo the change.
    """
    run = log.run
    if state_text(run) == state_text(state):
        return False
    _require_no_attempt(log, state)
    was_terminal, was = run.status.is_terminal, run.status
    for name in RunState.__dataclass_fields__:
        setattr(run, name, getattr(state, name))
    if not run.status.is_terminal and (was_terminal or reuse_after is not None):
        after = -1 if reuse_after is None else reuse_after
        mark_rewound(run, Rewound(after, log.next_seq))
    lines = [records.internal(run, "control", **facts)]
    if run.status.is_terminal and run.status is not was:
        lines.append(records.terminal_status(run))
    log.commit(*lines, barrier=Barrier.ACK)
    log.settle()
    return True


def state_text(run: RunState) -> bytes:
    """Write what a commit would hold of a run."""
    data: JsonObject = run.to_dict()
    runtime = data["vars"].get("_runtime")
    if isinstance(runtime, dict) and "node_traces" in runtime:
        # A view of this process, which no commit holds.
        own = {name: value for name, value in runtime.items() if name != "node_traces"}
        data["vars"] = {**data["vars"], "_runtime": own}
    return dump_any(data)


def _require_no_attempt(log: DirectoryRunLog, state: RunState) -> None:
    run = log.run
    moves = (state.status, state.current_node) != (run.status, run.current_node)
    if log.pending is None or state.status.is_terminal or not moves:
        return
    raise UsageError(
        f"run {run.run_id!r} has an effect without outcome at node {run.current_node!r};"
        " it decides where the run goes next",
        hint="let it end first: tick the run, or cancel it",
        argument="run",
        run_id=run.run_id,
    )
