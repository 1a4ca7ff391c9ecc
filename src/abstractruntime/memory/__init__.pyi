# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.memory.active_context import ActiveContextPolicy, TimeRange

__all__ = ["ActiveContextPolicy", "TimeRange"]
