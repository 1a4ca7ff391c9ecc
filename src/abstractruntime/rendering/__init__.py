"""Values and traces as text for people. Renderers read; they never fail on what they are given.

Names load on first use.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "agent_trace_report": "render_agent_trace_markdown",
        "json_stringify": "JsonStringifyMode stringify_json",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
