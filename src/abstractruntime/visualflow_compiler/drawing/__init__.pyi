# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.visualflow_compiler.drawing._layout import (
    Drawing,
    lay_out,
)
from abstractruntime.visualflow_compiler.drawing._outcomes import (
    OUTCOME_WORDS,
    NodeOutcome,
    run_outcomes,
)
from abstractruntime.visualflow_compiler.drawing._picture import (
    Box,
    Line,
    Picture,
    draw_flow,
)
from abstractruntime.visualflow_compiler.drawing._source import (
    render_dot,
    render_mermaid,
)
from abstractruntime.visualflow_compiler.drawing._svg import (
    render_svg,
)
from abstractruntime.visualflow_compiler.drawing._text import (
    render_ascii,
)

__all__ = [
    "OUTCOME_WORDS",
    "Box",
    "Drawing",
    "Line",
    "NodeOutcome",
    "Picture",
    "draw_flow",
    "lay_out",
    "render_ascii",
    "render_dot",
    "render_mermaid",
    "render_svg",
    "run_outcomes",
]
