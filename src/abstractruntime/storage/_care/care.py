"""Care for a directory store: repair and garbage collection as its part `care`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abstractruntime.storage._care.gc import GcPlan, GcReport, collect, plan_gc
from abstractruntime.storage._care.repair import RepairPlan, apply_repair, plan_repair

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from abstractruntime.storage._store.engine import DirectoryEngine


class Care:
    """Mends runs and removes what none needs; see `core.store.StoreCare`."""

    def __init__(self, engine: DirectoryEngine) -> None:
        self._engine = engine

    def plan_repair(self, run_id: str) -> RepairPlan:
        return plan_repair(self._engine, run_id)

    def repair(self, plan: RepairPlan) -> RepairPlan:
        return apply_repair(self._engine, plan)

    def plan_collection(
        self, *, grace_s: float, now: datetime, purge: Sequence[str] = (), quarantine: bool = False
    ) -> GcPlan:
        return plan_gc(self._engine, grace_s=grace_s, now=now, purge=purge, quarantine=quarantine)

    def collect(self, plan: GcPlan) -> GcReport:
        return collect(self._engine, plan)
