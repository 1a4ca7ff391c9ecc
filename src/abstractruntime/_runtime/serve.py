"""Serving a store: driving whatever can go on in it, until told to stop.

A pass looks for trees of runs in which something can go on, and drives each of them:
1. runs whose deadline has passed, earliest first;
2. runs to which something was posted while nobody, or somebody else, drove them;
3. runs that wait for a child which has ended;
4. running runs that an event or an unpause woke;
5. other running runs, after a grace period, as whoever started or answered one drives it.
A tree that fails to advance is left alone for a while, twice as long each time. One that
cannot be driven at all, as its bundle is missing, is named once and looked at again just as
rarely. Neither holds up the others. One that somebody else drives is left to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

from abstractruntime._runtime.readiness import (
    CHILD,
    COMMAND,
    INTERRUPTED,
    TIMER,
    WOKEN,
    Backoff,
    Readiness,
    Reason,
)
from abstractruntime.core.models import RunState, RunStatus, format_time, moment_or_none
from abstractruntime.core.outcome import Failure, Outcome, failure_of
from abstractruntime.core.ports import Clock, Engine, RunQuery
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import AbstractRuntimeError, Busy, NotFound, Quarantined, Refused

Kind = Literal["advanced", "failed", "parked"]

_CAUSES = (TIMER, COMMAND, CHILD, WOKEN, INTERRUPTED)
# A signal does not end a sleep; the loop looks for it this often.
_LONGEST_SLEEP_S = 0.5


class Drives(Protocol):
    """Drives one tree of runs as far as it can go now; a `Driver` does."""

    def drive(self, run_id: str, /) -> RunState: ...


@dataclass(frozen=True, slots=True)
class ServeEvent:
    """What became of one tree in one pass.

    Attributes:
        run_id: The root of the tree.
        status: The status of the root now; None when the run cannot be read.
        reason: Why the tree was looked at.
        error: Why it could not go on.
        retry_s: After how many seconds it is tried again.
        outcome: What became of the root; None as `status`.
        failure: Why the root ended badly, the deepest cause.
    """

    kind: Kind
    at: str
    run_id: str
    reason: Reason
    status: RunStatus | None = None
    error: Exception | None = None
    retry_s: float | None = None
    outcome: Outcome | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a store is served.

    Attributes:
        poll_s: How long to sleep when nothing can go on and no deadline is nearer.
        max_runs: How many trees one pass drives at most; the next pass goes on with the others.
        grace_s: How long a running run is left to whoever started or answered it.
    """

    poll_s: float = 1.0
    max_runs: int = 1000
    grace_s: float = 30.0


class ServeLoop:
    """Drives what can go on in one store.

    Args:
        engine: The store.
        find_driver: Gives who drives a tree, by the id of its root. `NotFound` and `Refused`
            mean that nobody can; any other error is a failure of the tree.
        clock: Time.
        report: Told what became of each tree that moved, failed or was parked.
        stop: Asked between two trees, and while the loop sleeps.
        options: See `ServeOptions`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        find_driver: Callable[[str], Drives],
        clock: Clock,
        report: Callable[[ServeEvent], None],
        stop: Callable[[], bool] = lambda: False,
        options: ServeOptions | None = None,
    ) -> None:
        self._engine = engine
        self._find_driver = find_driver
        self._clock = clock
        self._report = report
        self._stop = stop
        self._options = options or ServeOptions()
        self._readiness = Readiness(engine, clock, grace_s=self._options.grace_s)
        self._backoff = Backoff(clock)

    def run(self) -> None:
        """Do one pass after the other until `stop` says so; sleep when nothing can go on."""
        while not self._stop():
            if not self.run_pass():
                self._sleep()

    def run_pass(self) -> int:
        """Drive what can go on now, and give how many trees moved."""
        found = self._runnable()
        self._backoff.keep(found)
        moved = tried = 0
        for root, reason in found.items():
            if self._stop() or tried >= self._options.max_runs:
                break
            if not self._backoff.is_waiting(root):
                event = self._advance(root, reason)
                if event is not None:
                    self._report(event)
                    tried += 1
                    moved += event.kind == "advanced"
        return moved

    # -- what can go on ----------------------------------------------------------

    def _runnable(self) -> dict[str, Reason]:
        """Give the roots of the trees in which something can go on, each with the first reason."""
        found: dict[str, Reason] = {}
        for cause, run in self._readiness.candidates(_CAUSES):
            tree = RunTree(self._engine, run.run_id)
            if self._readiness.is_ready(cause, run, tree):
                found.setdefault(tree.root_or_self(), cause.reason)
        return found

    # -- driving -----------------------------------------------------------------

    def _advance(self, root: str, reason: Reason) -> ServeEvent | None:
        """Drive one tree; None when nothing moved or somebody else drives it."""
        try:
            driver = self._find_driver(root)
        except (NotFound, Refused) as error:
            return self._trouble("parked", root, reason, error)
        except Busy:
            return None
        except Exception as error:  # noqa: BLE001 - one run that fails holds up no other
            return self._trouble("failed", root, reason, error)
        try:
            before = self._marks(root)
            driver.drive(root)
            has_moved = self._marks(root) != before
        except Busy:
            return None
        except Quarantined as error:
            return self._trouble("parked", root, reason, error)
        except Exception as error:  # noqa: BLE001 - as above
            return self._trouble("failed", root, reason, error)
        self._backoff.solved(root)
        if not has_moved:
            return None
        return self._event("advanced", root, reason)

    def _marks(self, root: str) -> set[tuple[str, RunStatus, str]]:
        """Give what differs after anything in a tree went on."""
        return {
            (run.run_id, run.status, run.updated_at)
            for run in RunTree(self._engine, root).members()
        }

    def _trouble(
        self, kind: Kind, root: str, reason: Reason, error: Exception
    ) -> ServeEvent | None:
        is_known = root in self._backoff
        pause_s = self._backoff.failed(root)
        if kind == "parked" and is_known:
            return None
        return self._event(kind, root, reason, error, pause_s)

    def _event(
        self,
        kind: Kind,
        root: str,
        reason: Reason,
        error: Exception | None = None,
        retry_s: float | None = None,
    ) -> ServeEvent:
        status, outcome, failure = self._state(root)
        now = self._clock.now_iso()
        return ServeEvent(kind, now, root, reason, status, error, retry_s, outcome, failure)

    def _state(self, root: str) -> tuple[RunStatus | None, Outcome | None, Failure | None]:
        try:
            tree = RunTree(self._engine, root)
            failure = failure_of(tree.failures()[-1])
            return tree.state().status, tree.outcome(_by_nobody), failure
        except (AbstractRuntimeError, OSError):
            return None, None, None

    # -- sleeping ----------------------------------------------------------------

    def _sleep(self) -> None:
        until_s = self._clock.monotonic() + self._pause_s()
        while not self._stop():
            left_s = until_s - self._clock.monotonic()
            if left_s <= 0:
                break
            self._clock.sleep(min(left_s, _LONGEST_SLEEP_S))

    def _pause_s(self) -> float:
        """Give the time to the next deadline or retry; at most the poll interval."""
        now = self._clock.now()
        horizon = format_time(now + timedelta(seconds=self._options.poll_s))
        waits = self._engine.find(RunQuery(due_at=horizon, limit=0))
        # What is due already could not go on; it must not keep the loop spinning.
        moments = [moment for run in waits if (moment := moment_or_none(run.wait_until))]
        left = [(moment - now).total_seconds() for moment in moments]
        left += self._backoff.left_s()
        return min([self._options.poll_s, *(seconds for seconds in left if seconds > 0)])


def _by_nobody(_run_id: str) -> bool:
    # Whoever drove a tree here has left it as it is.
    return False
