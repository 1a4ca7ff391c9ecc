"""Drivers: what advances runs when nobody calls `tick`; names load on first use."""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "registry": "WorkflowRegistry",
        "scheduler": "Scheduler SchedulerStats",
        "convenience": "ScheduledRuntime create_scheduled_runtime",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
