"""What node handlers get of a runtime: the time, and which runs belong together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import count

from abstractruntime._ports_system import DefaultRunContext
from abstractruntime.core import resting
from abstractruntime.core.models import RunState, RunStatus, WaitReason
from abstractruntime.core.ports import Clock
from abstractruntime.errors import AbstractRuntimeError

_RUNS_KEPT = 1024
_RUNTIMES = count(1)


class RuntimeContext(DefaultRunContext):
    """A `core.spec.TreeContext`; a tree has one name per runtime, as stores share no ids."""

    def __init__(self, clock: Clock, root_of: Callable[[str], str]) -> None:
        super().__init__(clock)
        self._root_of = root_of
        self._runtime = next(_RUNTIMES)
        # A run never changes its parent.
        self._roots: OrderedDict[str, str] = OrderedDict()

    def tree_of(self, run: RunState) -> str:
        root = run.run_id if run.parent_run_id is None else self._root(run.run_id)
        return f"{self._runtime}/{root}"

    def note(self, run: RunState) -> None:
        """Release the tree if this is a root that waits for somebody outside, or has ended."""
        wait = run.waiting
        goes_on_below = wait is not None and wait.reason is WaitReason.SUBWORKFLOW
        if run.parent_run_id is None and run.status is not RunStatus.RUNNING and not goes_on_below:
            self.release(run.run_id)

    def release(self, root: str) -> None:
        """Tell whoever keeps something for the tree below a root run that it rests."""
        resting.release(f"{self._runtime}/{root}")

    def _root(self, run_id: str) -> str:
        root = self._roots.get(run_id)
        if root is None:
            try:
                root = self._root_of(run_id)
            except AbstractRuntimeError:
                # Above it something is damaged; alone it shares nothing with strangers.
                return run_id
            self._roots[run_id] = root
            while len(self._roots) > _RUNS_KEPT:
                self._roots.popitem(last=False)
        return root
