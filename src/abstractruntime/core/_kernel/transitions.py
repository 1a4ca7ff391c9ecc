"""What an event makes of a run, as one table over its status.

A transition is a pure function: it reads the run and gives the fields that change.
The loop applies them and commits them together with the records of the event.
An event that the status does not allow has no row; `transition` says so in words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from abstractruntime.core.commands import Cancel, Pause, Unpause
from abstractruntime.core.event_keys import limit_wait_key, pause_wait_key
from abstractruntime.core.limits import LimitUse
from abstractruntime.core.models import JsonObject, RunState, RunStatus, WaitReason, WaitState
from abstractruntime.errors import WaitMismatch

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hopped:
    """Control moved to `node` without an effect, or after a completed one."""

    node: str


@dataclass(frozen=True, slots=True)
class Finished:
    output: JsonObject


@dataclass(frozen=True, slots=True)
class Parked:
    wait: WaitState


@dataclass(frozen=True, slots=True)
class Failed:
    error: str


@dataclass(frozen=True, slots=True)
class Woken:
    """The open wait was answered; `payload` is what its result key stores."""

    payload: Any


@dataclass(frozen=True, slots=True)
class Limited:
    """The run may use no more of something."""

    use: LimitUse


@dataclass(frozen=True, slots=True)
class Raised:
    """The limit at which the run rests was raised."""


Event = Hopped | Finished | Parked | Failed | Woken | Limited | Raised | Cancel | Pause | Unpause


def _hop(_run: RunState, event: Any) -> Fields:
    return {"current_node": event.node}


def _finish(_run: RunState, event: Any) -> Fields:
    return {"status": RunStatus.COMPLETED, "output": event.output, "waiting": None}


def _park(run: RunState, event: Any) -> Fields:
    fields: Fields = {"status": RunStatus.WAITING, "waiting": event.wait}
    known, key = run.listening or [], event.wait.wait_key
    if event.wait.listens and key not in known:
        fields["listening"] = [*known, key]
    return fields


def _fail(_run: RunState, event: Any) -> Fields:
    return {"status": RunStatus.FAILED, "error": event.error, "waiting": None}


def _wake(run: RunState, event: Any) -> Fields:
    wait = run.waiting
    if wait is None or wait.resume_to_node is None:
        output = {"success": True, "result": event.payload}
        return {"status": RunStatus.COMPLETED, "waiting": None, "output": output}
    return {"status": RunStatus.RUNNING, "waiting": None, "current_node": wait.resume_to_node}


def _cancel(_run: RunState, event: Any) -> Fields:
    return {"status": RunStatus.CANCELLED, "error": event.reason or "Cancelled", "waiting": None}


def _pause_running(run: RunState, _event: Any) -> Fields:
    return _held(run, pause_wait_key(run.run_id), "Paused", kind="pause")


def _unpause_waiting(run: RunState, _event: Any) -> Fields:
    return _let_go(run, pause_wait_key(run.run_id))


def _limit(run: RunState, event: Any) -> Fields:
    use: LimitUse = event.use
    prompt = f"Limit reached: {use.used} of {use.maximum} {use.limit}"
    return _held(run, limit_wait_key(run.run_id), prompt, kind="limit", **use.to_dict())


def _raise(run: RunState, _event: Any) -> Fields:
    return _let_go(run, limit_wait_key(run.run_id))


def _held(run: RunState, wait_key: str, prompt: str, **details: Any) -> Fields:
    """Park a running run before its next step; no answer ends the wait."""
    wait = WaitState(
        reason=WaitReason.USER,
        wait_key=wait_key,
        resume_to_node=run.current_node,
        prompt=prompt,
        allow_free_text=False,
        details=details,
    )
    return {"status": RunStatus.WAITING, "waiting": wait}


def _let_go(run: RunState, wait_key: str) -> Fields:
    if run.waiting and run.waiting.wait_key == wait_key:
        return {
            "status": RunStatus.RUNNING,
            "waiting": None,
            "current_node": run.waiting.resume_to_node or run.current_node,
        }
    return {}


def _unchanged(_run: RunState, _event: Any) -> Fields:
    return {}


_RUNNING, _WAITING = RunStatus.RUNNING, RunStatus.WAITING

TRANSITIONS: Mapping[tuple[RunStatus, type], Callable[[RunState, Any], Fields]] = {
    (_RUNNING, Hopped): _hop,
    (_RUNNING, Finished): _finish,
    (_RUNNING, Parked): _park,
    (_RUNNING, Failed): _fail,
    (_RUNNING, Limited): _limit,
    (_RUNNING, Cancel): _cancel,
    (_RUNNING, Pause): _pause_running,
    (_RUNNING, Unpause): _unchanged,
    (_WAITING, Woken): _wake,
    (_WAITING, Failed): _fail,
    (_WAITING, Raised): _raise,
    (_WAITING, Cancel): _cancel,
    (_WAITING, Pause): _unchanged,
    (_WAITING, Unpause): _unpause_waiting,
}


def transition(run: RunState, event: Event) -> Fields:
    """Give the fields that `event` changes.

    Raises:
        WaitMismatch: the run's status does not allow the event.
    """
    row = TRANSITIONS.get((run.status, type(event)))
    if row is None:
        raise WaitMismatch(
            f"run {run.run_id!r} is {run.status.value}, not waiting"
            if isinstance(event, Woken)
            else f"run {run.run_id!r} is {run.status.value}; it cannot be {type(event).__name__.lower()}",
            hint=f"see what happened: art inspect {run.run_id}",
            run_id=run.run_id,
            status=run.status.value,
        )
    return row(run, event)
