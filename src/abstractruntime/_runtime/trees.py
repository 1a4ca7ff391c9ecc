"""What is done to runs that belong together: cancelling them, handing ends of children over."""

from __future__ import annotations

from abstractruntime._runtime.reads import with_large_values
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import RunState, RunStatus, WaitReason
from abstractruntime.core.run_tree import RunTree
from abstractruntime.effects.subworkflow import hand_over
from abstractruntime.errors import AbstractRuntimeError, NotFound


def cancel_tree(runtime: Runtime, run_id: str, *, reason: str | None = None) -> list[RunState]:
    """Cancel a run and all its live descendants, leaves first, and give those that are cancelled.

    The root comes first in what is given. Descendants below a run that has ended are reached
    too. A run that someone else drives is cancelled by its owner, at its next step; what such
    a run started meanwhile is found by looking again until nothing new appears.

    Raises:
        NotFound: there is no such run.
        AbstractRuntimeError: a run could not be cancelled; all the others are.
    """
    seen: dict[str, None] = {}
    failure: AbstractRuntimeError | None = None
    tree = RunTree(runtime.engine, run_id)
    while fresh := [run for run in tree.members() if run.run_id not in seen]:
        seen.update(dict.fromkeys(run.run_id for run in fresh))
        for run in reversed(fresh):
            if not run.status.is_terminal:
                try:
                    if tree.is_member(run):
                        runtime.cancel_run(run.run_id, reason=reason)
                except AbstractRuntimeError as error:
                    failure = failure or error
        tree = RunTree(runtime.engine, run_id)
    if failure is not None:
        raise failure
    states = [runtime.get_state(found) for found in seen]
    return [state for state in states if state.status is RunStatus.CANCELLED]


def hand_over_child(runtime: Runtime, parent: RunState) -> bool:
    """Give a parent what the child that it waits for came to; True when its wait ended.

    A child that still lives, or a parent that waits for something else, changes nothing.
    """
    wait = parent.waiting
    if wait is None or wait.reason is not WaitReason.SUBWORKFLOW:
        return False
    try:
        child = runtime.get_state(str((wait.details or {}).get("sub_run_id")))
    except NotFound:
        return False
    if not child.status.is_terminal:
        return False
    child = with_large_values(runtime.engine, child)
    # By command, not by answer: whoever drives the parent just now takes it up.
    command = hand_over(parent, wait, child, runtime.get_node_traces)
    after = runtime.post(parent.run_id, command)
    return after.waiting is None or after.waiting.wait_key != wait.wait_key
