# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.rendering.agent_trace_report import (
    render_agent_trace_markdown,
)
from abstractruntime.rendering.json_stringify import (
    JsonStringifyMode,
    stringify_json,
)

__all__ = [
    "JsonStringifyMode",
    "render_agent_trace_markdown",
    "stringify_json",
]
