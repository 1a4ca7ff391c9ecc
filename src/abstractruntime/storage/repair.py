"""The import path of diagnosis and repair; the code is in `storage._care`."""

from __future__ import annotations

from abstractruntime.core.store import Fault, Level
from abstractruntime.storage._care.diagnosis import Step
from abstractruntime.storage._care.repair import RepairPlan, apply_repair, diagnose, plan_repair

__all__ = ["Fault", "Level", "RepairPlan", "Step", "apply_repair", "diagnose", "plan_repair"]
