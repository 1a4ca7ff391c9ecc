"""What node handlers and limits get of a runtime: the time, and which runs belong together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import NamedTuple, TypeVar

from abstractruntime._ports_system import DefaultRunContext
from abstractruntime.core import resting
from abstractruntime.core.models import RunState, RunStatus, WaitReason
from abstractruntime.core.ports import Clock, Engine
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import AbstractRuntimeError, NotFound

_RUNS_KEPT = 1024
_RUNTIMES = count(1)
_Kept = TypeVar("_Kept")


class Place(NamedTuple):
    """Where a run stands: the run at the top, and how many runs are above it."""

    root: str
    depth: int


class RuntimeContext(DefaultRunContext):
    """A `core.spec.TreeContext`; a tree has one name per runtime, as stores share no ids.

    Runs of a tree are counted once, when somebody asks, and then as this runtime starts them;
    what others start meanwhile is seen when the tree is driven the next time.
    """

    def __init__(self, clock: Clock, peek: Callable[[str], RunState], engine: Engine) -> None:
        super().__init__(clock)
        self._peek = peek
        self._engine = engine
        self._runtime = next(_RUNTIMES)
        # A run never changes its parent.
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._counts: OrderedDict[str, int] = OrderedDict()

    def tree_of(self, run: RunState) -> str:
        return f"{self._runtime}/{self._place(run).root}"

    def depth_of(self, run: RunState) -> int:
        """Give how many runs stand above a run."""
        return self._place(run).depth

    def runs_of(self, run: RunState) -> int:
        """Give how many runs the tree of a run has."""
        root = self._place(run).root
        if root not in self._counts:
            _keep(self._counts, root, len(RunTree(self._engine, root).members()))
        return self._counts[root]

    def child_begun(self, parent: RunState) -> None:
        """Count a run that was started below another one."""
        root = self._place(parent).root
        if root in self._counts:
            self._counts[root] += 1

    def note(self, run: RunState) -> None:
        """Release the tree if this is a root that waits for somebody outside, or has ended."""
        wait = run.waiting
        goes_on_below = wait is not None and wait.reason is WaitReason.SUBWORKFLOW
        if run.parent_run_id is None and run.status is not RunStatus.RUNNING and not goes_on_below:
            self.release(run.run_id)

    def release(self, root: str) -> None:
        """Tell whoever keeps something for the tree below a root run that it rests."""
        self._counts.pop(root, None)
        resting.release(f"{self._runtime}/{root}")

    def _place(self, run: RunState) -> Place:
        below: list[str] = []
        while (place := self._known(run)) is None:
            below.append(run.run_id)
            try:
                run = self._peek(str(run.parent_run_id))
            except NotFound:
                # Compat: a host may name a parent that its store does not hold.
                place = Place(below.pop(), 0)
                break
            except AbstractRuntimeError:
                # Above it something is damaged; alone it shares nothing with strangers.
                return Place(below[0], 0)
            if run.run_id in below:
                place = Place(run.run_id, 0)
                break
        for run_id in reversed(below):
            place = Place(place.root, place.depth + 1)
            _keep(self._places, run_id, place)
        return place

    def _known(self, run: RunState) -> Place | None:
        return Place(run.run_id, 0) if run.parent_run_id is None else self._places.get(run.run_id)


def _keep(kept: OrderedDict[str, _Kept], run_id: str, what: _Kept) -> None:
    kept[run_id] = what
    while len(kept) > _RUNS_KEPT:
        kept.popitem(last=False)
