"""Tools: the port that executors implement, and an executor over Python functions.

Give `effects.tool_calls.ToolCalls(executor)` to a runtime as the handler of `tool_calls`. Names
load on first use.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {"mapping": "MappingTools", "port": "Delegated Passthrough ToolContext ToolExecutor"}
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
