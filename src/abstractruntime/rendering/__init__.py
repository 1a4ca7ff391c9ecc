"""Values and traces as text for people. Renderers read; they never fail on what they are given."""

from __future__ import annotations

from abstractruntime.rendering.agent_trace_report import render_agent_trace_markdown
from abstractruntime.rendering.json_stringify import JsonStringifyMode, stringify_json

__all__ = ["JsonStringifyMode", "render_agent_trace_markdown", "stringify_json"]
