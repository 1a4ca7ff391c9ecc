# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.visualflow_compiler.compiler import (
    Services,
    compile_flow,
    compile_visualflow,
    compile_visualflow_tree,
    visual_to_flow,
)
from abstractruntime.visualflow_compiler.flow import (
    Flow,
    FlowEdge,
    FlowNode,
)
from abstractruntime.visualflow_compiler.models import (
    VisualEdge,
    VisualFlow,
    VisualNode,
    load_visualflow_json,
)

__all__ = [
    "Flow",
    "FlowEdge",
    "FlowNode",
    "Services",
    "VisualEdge",
    "VisualFlow",
    "VisualNode",
    "compile_flow",
    "compile_visualflow",
    "compile_visualflow_tree",
    "load_visualflow_json",
    "visual_to_flow",
]
