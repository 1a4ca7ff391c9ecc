"""Care for a directory store: repair and garbage collection, bound to one store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from abstractruntime.storage._care.gc import collect, plan_gc
from abstractruntime.storage._care.repair import apply_repair, plan_repair

if TYPE_CHECKING:
    from abstractruntime.storage._store.engine import DirectoryEngine


class Care:
    """Mends runs and removes what none needs; see `core.store.StoreCare`."""

    def __init__(self, engine: DirectoryEngine) -> None:
        self.plan_repair = partial(plan_repair, engine)
        self.repair = partial(apply_repair, engine)
        self.plan_collection = partial(plan_gc, engine)
        self.collect = partial(collect, engine)
