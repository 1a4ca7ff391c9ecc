"""The drawing as an SVG file: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Final

from abstractruntime.visualflow_compiler.drawing._layout import (
    Drawing,
    Label,
    PlacedBox,
    Point,
    Route,
    lay_out,
)
from abstractruntime.visualflow_compiler.drawing._picture import Picture

_CELL: Final = (8, 18)
_MARGIN: Final = 16
_HEAD: Final = 6
_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_STYLE: Final = """\
text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#1b1f24;text-anchor:middle}
.title{font-weight:600}.sub{fill:#57606a;font-size:11px}.label{text-anchor:start;font-size:11px}
rect{fill:#fff;stroke:#57606a;stroke-width:1.2}
.paper{fill:#fff;stroke:none}
.entry rect{stroke-width:2.4}.control rect{fill:#f3f0ff}.pure rect{fill:#f6f8fa;stroke-dasharray:2 2}
.dead rect{stroke-dasharray:5 3}.dead text{fill:#8c959f}
.done rect{fill:#dafbe1;stroke:#1a7f37}.failed rect{fill:#ffebe9;stroke:#cf222e}
.waiting rect{fill:#fff8c5;stroke:#9a6700}.running rect{fill:#ddf4ff;stroke:#0969da}
.stopped rect{fill:#eaeef2;stroke:#57606a}
.not-reached rect{fill:#fff;stroke:#8c959f;stroke-dasharray:5 3}.not-reached text{fill:#8c959f}
path{fill:none;stroke:#57606a;stroke-width:1.4}.data{stroke-dasharray:2 3;stroke:#8c959f}
polygon{fill:#57606a}
"""


def render_svg(picture: Picture) -> str:
    """Give the picture as one SVG document, with title and description for screen readers."""
    return "".join(f"{line}\n" for line in _document(lay_out(picture)))


def _document(drawing: Drawing) -> Iterator[str]:
    width = drawing.width * _CELL[0] + 2 * _MARGIN
    loops = _own_loops(drawing.picture)
    height = (drawing.height + len(loops)) * _CELL[1] + 2 * _MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="art-title art-desc">'
    )
    yield f'<title id="art-title">{_text(drawing.picture.title)}</title>'
    yield f'<desc id="art-desc">{_text(drawing.picture.description)}</desc>'
    yield f"<style>{_STYLE}</style>"
    yield f'<rect class="paper" width="{width}" height="{height}"/>'
    for route in drawing.routes:
        yield from _line(route)
    for box in drawing.boxes:
        yield from _box(box)
    for label in (*drawing.labels, *(Label(0, drawing.height + i, t) for i, t in enumerate(loops))):
        x, y = _pixel((label.x, label.y))
        yield f'<text class="label" x="{x - _CELL[0] // 2}" y="{y + 4}">{_text(label.text)}</text>'
    yield "</svg>"


def _own_loops(picture: Picture) -> list[str]:
    titles = {box.id: box.title for box in picture.boxes}
    own = [line for line in picture.lines if line.source == line.target]
    return [f"{titles[line.source]} leads back to itself" for line in own]


def _pixel(point: Point) -> Point:
    """Give the middle of a cell."""
    x, y = point
    return _MARGIN + x * _CELL[0] + _CELL[0] // 2, _MARGIN + y * _CELL[1] + _CELL[1] // 2


def _line(route: Route) -> Iterator[str]:
    points = [_pixel(point) for point in route.points]
    down = 1 if points[-1][1] >= points[-2][1] else -1
    half = _CELL[1] // 2 * down
    points[0] = points[0][0], points[0][1] - half
    x, y = points[-1][0], points[-1][1] + half
    points[-1] = x, y - _HEAD * down
    way = " ".join(f"{'L' if at else 'M'}{px} {py}" for at, (px, py) in enumerate(points))
    kind = ' class="data"' if route.line.is_data else ""
    yield f'<path{kind} d="{way}"/>'
    back = y - _HEAD * down
    yield f'<polygon points="{x},{y} {x - 4},{back} {x + 4},{back}"/>'


def _box(placed: PlacedBox) -> Iterator[str]:
    box = placed.box
    classes = [box.kind, *([box.outcome.state.replace(" ", "-")] if box.outcome else [])]
    x, y = _MARGIN + placed.x * _CELL[0], _MARGIN + placed.y * _CELL[1]
    width, height = placed.width * _CELL[0], placed.height * _CELL[1]
    yield f'<g class="{" ".join(classes)}"><title>{_text(box.id)}</title>'
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
    for at, text in enumerate(box.lines):
        line_y = y + int((at + 1.75) * _CELL[1]) - 4
        kind = "title" if at == 0 else "sub"
        yield f'<text class="{kind}" x="{x + width // 2}" y="{line_y}">{_text(text)}</text>'
    yield "</g>"


def _text(text: str) -> str:
    """Escape text, without the characters that XML cannot hold."""
    return escape(_FORBIDDEN.sub("\ufffd", text), quote=False).replace('"', "&quot;")
