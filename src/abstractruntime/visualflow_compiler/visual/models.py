"""Compat: where 0.4.x kept the document's plain values."""

from __future__ import annotations

from abstractruntime.visualflow_compiler.models import (
    VisualEdge,
    VisualFlow,
    VisualNode,
    load_visualflow_json,
)

__all__ = ["VisualEdge", "VisualFlow", "VisualNode", "load_visualflow_json"]
