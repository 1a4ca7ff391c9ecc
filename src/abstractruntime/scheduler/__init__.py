"""Drivers: what advances runs when nobody calls `tick`."""

from __future__ import annotations

from abstractruntime.scheduler.registry import WorkflowRegistry

__all__ = ["WorkflowRegistry"]
