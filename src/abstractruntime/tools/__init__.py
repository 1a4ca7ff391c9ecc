"""Tools: the port that executors implement, and an executor over Python functions.

Give `effects.tool_calls.ToolCalls(executor)` to a runtime as the handler of `tool_calls`.
"""

from __future__ import annotations

from abstractruntime.tools.mapping import MappingTools
from abstractruntime.tools.port import Delegated, Passthrough, ToolContext, ToolExecutor

__all__ = ["Delegated", "MappingTools", "Passthrough", "ToolContext", "ToolExecutor"]
