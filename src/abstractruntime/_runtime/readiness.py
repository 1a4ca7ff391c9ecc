"""What can go on, and for which reason: one row per reason.

Who looks after runs finds them by the query of a row, asks whether the reason holds, and has
the row prepare what does not simply go on. A paused run is left alone; only commands reach it.
A run that cannot be read counts as ready, as driving it tells what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from abstractruntime._json import mapping
from abstractruntime._runtime.runtime import Runtime
from abstractruntime._runtime.trees import hand_over_child
from abstractruntime.core.models import RunState, RunStatus, WaitReason, moment_or_none
from abstractruntime.core.ports import Clock, Engine, RunHeader, RunQuery
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.vars import is_paused
from abstractruntime.errors import AbstractRuntimeError

_FIRST_S, _LONGEST_S = 1.0, 300.0

Reason = Literal["timer", "command", "child", "woken", "interrupted"]


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason for which a run can go on.

    Attributes:
        query: Finds the runs that it may hold for, at a time that is given as text.
        holds: Tells whether it holds for one of them.
        prepare: Makes the run one that can be ticked; False when it cannot be. None: it can.
        when_paused: Whether it holds for a paused run, too.
    """

    reason: Reason
    query: Callable[[str], RunQuery]
    holds: Callable[[Readiness, RunHeader], bool]
    prepare: Callable[[Runtime, RunState], bool] | None = None
    when_paused: bool = False


@dataclass(frozen=True, slots=True)
class Readiness:
    """Tells which runs of a store can go on now.

    Attributes:
        grace_s: How long a running run is left to whoever started or answered it.
    """

    engine: Engine
    clock: Clock
    grace_s: float = 0.0

    def candidates(self, causes: Iterable[Cause]) -> Iterator[tuple[Cause, RunHeader]]:
        """Give the runs that each of the causes may hold for, one query after the other."""
        now_iso = self.clock.now_iso()
        for cause in causes:
            for run in self.engine.find(cause.query(now_iso)):
                yield cause, run

    def is_ready(self, cause: Cause, run: RunHeader, tree: RunTree) -> bool:
        """Tell whether a cause holds for a run of a tree."""
        if not cause.holds(self, run):
            return False
        try:
            return cause.when_paused or not is_paused(tree.state(run.run_id).vars)
        except (AbstractRuntimeError, OSError):
            return True


def _is_meant(_ready: Readiness, _run: RunHeader) -> bool:
    return True


def _is_due(ready: Readiness, run: RunHeader) -> bool:
    if run.status is not RunStatus.WAITING or run.wait_until is None:
        return False
    moment = moment_or_none(run.wait_until)
    return moment is None or moment <= ready.clock.now()


def _waits_for_child(_ready: Readiness, run: RunHeader) -> bool:
    return run.status is RunStatus.WAITING and run.wait_reason is WaitReason.SUBWORKFLOW


def _is_woken(ready: Readiness, run: RunHeader) -> bool:
    """Tell whether a run runs because of somebody who will not drive it: an event, an unpause."""
    try:
        last = ready.engine.recent(run.run_id, 1)
    except (AbstractRuntimeError, OSError):
        return False
    return bool(last) and _was_set_going(last[0].record)


def _was_set_going(record: dict[str, Any]) -> bool:
    by_command = bool(mapping(record.get("commit")).get("cmd"))
    return by_command or mapping(record.get("result")).get("internal") == "control"


def _is_forgotten(ready: Readiness, run: RunHeader) -> bool:
    # The distance, as a clock that was set back leaves times that are yet to come.
    changed, grace = moment_or_none(run.updated_at), timedelta(seconds=ready.grace_s)
    is_over = changed is None or abs(ready.clock.now() - changed) >= grace
    return is_over and run.status is RunStatus.RUNNING


def _apply_commands(runtime: Runtime, run: RunState) -> bool:
    """Apply what was posted; True when that set the run going."""
    after = runtime.apply_commands(run.run_id)
    return after.status is RunStatus.RUNNING and run.status is not RunStatus.RUNNING


def _running(_now: str) -> RunQuery:
    # Without a limit: what cannot go on, as it is paused, must not hide what can.
    return RunQuery(status=RunStatus.RUNNING, limit=0)


TIMER: Final = Cause("timer", lambda now: RunQuery(due_at=now, limit=0), _is_due)
COMMAND: Final = Cause(
    "command",
    lambda _: RunQuery(has_commands=True, limit=0),
    _is_meant,
    prepare=_apply_commands,
    when_paused=True,
)
CHILD: Final = Cause(
    "child",
    lambda _: RunQuery(child_ended=True, limit=0),
    _waits_for_child,
    prepare=hand_over_child,
)
WOKEN: Final = Cause("woken", _running, _is_woken)
INTERRUPTED: Final = Cause("interrupted", _running, _is_forgotten)


class Backoff:
    """What failed, by key: 1 second after its first failure, then twice as long, up to 300."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By key: how often it failed, and until when it is left alone.
        self._troubles: dict[str, tuple[int, float]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._troubles

    def failed(self, key: str) -> float:
        """Note a failure, and give for how many seconds the key is left alone."""
        failures, _ = self._troubles.get(key, (0, 0.0))
        pause_s = min(_FIRST_S * 2.0 ** min(failures, 30), _LONGEST_S)
        self._troubles[key] = (failures + 1, self._clock.monotonic() + pause_s)
        return pause_s

    def is_waiting(self, key: str) -> bool:
        return key in self._troubles and self._clock.monotonic() < self._troubles[key][1]

    def solved(self, key: str) -> None:
        self._troubles.pop(key, None)

    def keep(self, keys: Collection[str]) -> None:
        """Forget the keys that are none of these and wait no longer."""
        for key in [k for k in self._troubles if k not in keys and not self.is_waiting(k)]:
            self.solved(key)

    def left_s(self) -> Iterator[float]:
        """Give for how many seconds each key is still left alone; not above 0 when it is not."""
        now_s = self._clock.monotonic()
        return (until_s - now_s for _, until_s in self._troubles.values())
