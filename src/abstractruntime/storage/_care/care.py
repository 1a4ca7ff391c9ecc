"""Care for a directory store: repair and garbage collection, bound to one store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from abstractruntime.errors import UsageError
from abstractruntime.storage._care.gc import GcPlan, GcReport, collect, plan_gc
from abstractruntime.storage._care.repair import RepairPlan, apply_repair, plan_repair

if TYPE_CHECKING:
    from abstractruntime.core import store
    from abstractruntime.storage._store.engine import DirectoryEngine

_T = TypeVar("_T")


class Care:
    """Mends runs and removes what none needs; see `core.store.StoreCare`."""

    def __init__(self, engine: DirectoryEngine) -> None:
        self._engine = engine
        self.plan_repair = partial(plan_repair, engine)
        self.plan_collection = partial(plan_gc, engine)

    def repair(self, plan: store.RepairPlan) -> RepairPlan:
        return apply_repair(self._engine, _own(RepairPlan, plan))

    def collect(self, plan: store.Plan) -> GcReport:
        return collect(self._engine, _own(GcPlan, plan))


def _own(kind: type[_T], plan: object) -> _T:
    if isinstance(plan, kind):
        return plan
    raise UsageError(f"{plan!r} is no plan of this store", hint="make one with the same store")
