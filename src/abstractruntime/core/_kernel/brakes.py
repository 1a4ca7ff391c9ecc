"""The limits of a run: what it uses is counted, and at a limit it rests.

Rules:
1. A limit is looked at before a node is called, never between an attempt and its outcome: what
   was begun is brought to its end.
2. A run that wants a child which it may not have is put back to before the node that asked.
3. What a run that has no limits used before it was given some is not counted, but for its ledger.
4. The record that lets a run rest says at which limit, how much was used, and the maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from abstractruntime.core._kernel.changes import Changes
from abstractruntime.core._kernel.transitions import Limited, Raised
from abstractruntime.core.limits import (
    LimitUse,
    go_on_from,
    limit_uses,
    reached_limit,
    rest_at,
    run_limits,
    set_limits,
    stated_limits,
)
from abstractruntime.core.models import Effect, EffectType, RunState, RunStatus
from abstractruntime.core.ports import RunLog

# Told of each step before it is done; must not change anything.
OnStep = Callable[[RunState, RunLog], None]


class LimitMet(Exception):  # noqa: N818 - a signal to the loop, which lets the run rest
    """What a node asks for may not be had."""

    def __init__(self, use: LimitUse) -> None:
        super().__init__(use.limit)
        self.use = use


class TreeUse(Protocol):
    """What the tree of a run uses."""

    def depth_of(self, run: RunState) -> int:
        """Give how many runs stand above a run."""
        ...

    def runs_of(self, run: RunState) -> int:
        """Give how many runs the tree of a run has."""
        ...


@dataclass(frozen=True, slots=True)
class Watch:
    """What the brakes of a kernel ask and tell; `defaults` are for runs of whose limits nothing is said."""

    tree: TreeUse
    on_step: OnStep = lambda *_: None
    defaults: Mapping[str, int] = field(default_factory=dict)


# What an effect needs beyond what every step needs.
_WANTED: Final[Mapping[EffectType, Mapping[str, Callable[[TreeUse, RunState], int]]]] = {
    EffectType.START_SUBWORKFLOW: {
        "depth": lambda tree, run: tree.depth_of(run),
        "runs": lambda tree, run: tree.runs_of(run),
    }
}


class Stint:
    """One stretch in which a run is driven; counts what it uses of its limits."""

    def __init__(self, log: RunLog, changes: Changes, on_step: OnStep) -> None:
        self._log = log
        self._on_step = on_step
        self._clock = changes.clock
        self._began_s = self._clock.monotonic()
        self._before_s = float((log.run.used or {}).get("seconds", 0))

    def reached(self) -> LimitUse | None:
        """Give the first limit at which the run has to rest before its next step."""
        run = self._log.run
        if not run_limits(run.vars):
            return None
        return _first(limit_uses(run, {"ledger_bytes": self._log.ledger_bytes}))

    def count_step(self) -> None:
        run = self._log.run
        self._on_step(run, self._log)
        if not run_limits(run.vars):
            return
        seconds = self._before_s + self._clock.monotonic() - self._began_s
        used = run.used or {}
        run.used = {**used, "steps": used.get("steps", 0) + 1, "seconds": round(seconds, 3)}


class Brakes:
    """The kernel's part for limits."""

    def __init__(self, changes: Changes, watch: Watch) -> None:
        self._changes = changes
        self._tree = watch.tree
        self._on_step = watch.on_step
        self._defaults = watch.defaults

    def begin(self, log: RunLog) -> Stint:
        """Begin a stretch; a run of whose limits nothing is said has the defaults from now on."""
        run = log.run
        is_free = run.status is RunStatus.RUNNING and log.pending is None
        if self._defaults and is_free and not stated_limits(run.vars):
            set_limits(run.vars, self._defaults)
            updates = dict(self._defaults)
            log.commit(
                self._changes.records.internal(run, "control", action="limits", updates=updates)
            )
        return Stint(log, self._changes, self._on_step)

    def allow(self, run: RunState, effect: Effect) -> None:
        """Let a run have what an effect asks for.

        Raises:
            LimitMet: it may not.
        """
        # What is no effect at all is refused elsewhere, in words.
        wanted, limits = _WANTED.get(_kind(effect), {}), run_limits(run.vars)
        used: dict[str, int | None] = {
            name: measure(self._tree, run) for name, measure in wanted.items() if name in limits
        }
        met = _first(use for use in limit_uses(run, used) if use.limit in used)
        if met is not None:
            raise LimitMet(met)

    def rest(self, log: RunLog, use: LimitUse) -> None:
        """Let a run rest until the limit is raised."""
        run, changes = log.run, self._changes
        rest_at(run.vars, use, changes.clock.now_iso())
        changes.apply(log, Limited(use))
        log.commit(changes.records.internal(run, "control", action="limited", **use.to_dict()))

    def release(self, log: RunLog) -> None:
        """Let a run go on whose limit is above what it has used; nothing is committed yet."""
        reached = reached_limit(log.run.vars)
        if reached is None:
            return
        most = run_limits(log.run.vars).get(str(reached.get("limit")))
        if most is None or most > reached.get("used", 0):
            go_on_from(log.run.vars)
            self._changes.apply(log, Raised())


def _kind(effect: Any) -> Any:
    return getattr(effect, "type", None)


def _first(uses: Iterable[LimitUse]) -> LimitUse | None:
    return next((use for use in uses if use.is_reached), None)
