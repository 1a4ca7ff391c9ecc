"""From flow documents to workflows; names load on first use."""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "compiler": "Services compile_flow compile_visualflow compile_visualflow_tree visual_to_flow",
        "flow": "Flow FlowEdge FlowNode",
        "models": "VisualEdge VisualFlow VisualNode load_visualflow_json",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
