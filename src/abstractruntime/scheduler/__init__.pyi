# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.scheduler.convenience import (
    ScheduledRuntime,
    create_scheduled_runtime,
)
from abstractruntime.scheduler.registry import (
    WorkflowRegistry,
)
from abstractruntime.scheduler.scheduler import (
    Scheduler,
    SchedulerStats,
)

__all__ = [
    "ScheduledRuntime",
    "Scheduler",
    "SchedulerStats",
    "WorkflowRegistry",
    "create_scheduled_runtime",
]
