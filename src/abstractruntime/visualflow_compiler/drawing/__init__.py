"""Drawing flows, and how far runs of them came: text and pictures without outside help.

A flow becomes a `Picture`: boxes and lines by name. `lay_out` places them on a grid of
characters; the text and SVG renderers draw that one grid. Mermaid and DOT have layouts of
their own and take the picture as it is. Names load on first use.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "_layout": "Drawing lay_out",
        "_outcomes": "OUTCOME_WORDS NodeOutcome run_outcomes",
        "_picture": "Box Line Picture draw_flow",
        "_source": "render_dot render_mermaid",
        "_svg": "render_svg",
        "_text": "render_ascii",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
