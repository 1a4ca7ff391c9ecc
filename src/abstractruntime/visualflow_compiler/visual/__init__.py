"""Where 0.4.x kept the reading of documents; `abstractruntime.visualflow_compiler` has the same names."""

from __future__ import annotations

from abstractruntime.visualflow_compiler.compiler import visual_to_flow
from abstractruntime.visualflow_compiler.models import (
    VisualEdge,
    VisualFlow,
    VisualNode,
    load_visualflow_json,
)

__all__ = ["VisualEdge", "VisualFlow", "VisualNode", "load_visualflow_json", "visual_to_flow"]
