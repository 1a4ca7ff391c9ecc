"""The drawing as plain characters, for terminals and logs.

Where two lines cross, the vertical one is drawn; where lines join, there is a `+`. Data lines
are dotted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

from abstractruntime._text import one_line
from abstractruntime.visualflow_compiler.drawing._layout import (
    Drawing,
    PlacedBox,
    Route,
    lay_out,
    text_width,
)
from abstractruntime.visualflow_compiler.drawing._picture import Picture

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_VERTICAL: Final = _UP | _DOWN
_HORIZONTAL: Final = _LEFT | _RIGHT
# Takes the second cell of a wide character.
_FILLED: Final = ""


def render_ascii(picture: Picture, paint: Callable[[str, str], str] | None = None) -> str:
    """Give the picture as text; it ends with a line feed unless there is nothing to draw.

    Args:
        picture: What is drawn.
        paint: Paints the harmless text that says what became of a node, by its state. All other
            text is made harmless then.
    """
    drawing = lay_out(picture)
    canvas = [[" "] * drawing.width for _ in range(drawing.height)]
    _draw_lines(canvas, drawing)
    for box in drawing.boxes:
        _draw_box(canvas, box)
    for label in drawing.labels:
        _write(canvas, label.x, label.y, label.text)
    notes = [f"{box} leads back to itself" for box in _own_loops(picture)]
    if paint is not None:
        canvas = [[one_line(cell) for cell in row] for row in canvas]
        notes = [one_line(note) for note in notes]
        for box in drawing.boxes:
            _paint_outcome(canvas, box, paint)
    rows = ["".join(row).rstrip() for row in canvas]
    return "".join(f"{row}\n" for row in (*rows, *notes))


def _paint_outcome(
    canvas: list[list[str]], box: PlacedBox, paint: Callable[[str, str], str]
) -> None:
    """Replace the last text of a box, where that says what became of it."""
    outcome, text = box.box.outcome, box.box.lines[-1]
    if outcome is None or box.box.kind == "pure":
        return
    x, row = box.x + 1 + (box.width - 2 - len(text)) // 2, canvas[box.y + len(box.box.lines)]
    row[x : x + len(text)] = [paint(text, outcome.state), *[_FILLED] * (len(text) - 1)]


def _own_loops(picture: Picture) -> Iterator[str]:
    titles = {box.id: box.title for box in picture.boxes}
    for line in picture.lines:
        if line.source == line.target:
            yield titles[line.source] + (f" ({line.label})" if line.label else "")


def _draw_lines(canvas: list[list[str]], drawing: Drawing) -> None:
    cells: dict[tuple[int, int], dict[int, tuple[int, bool]]] = {}
    for route in drawing.routes:
        for x, y, bits in _strokes(route):
            nets = cells.setdefault((x, y), {})
            known = nets.get(route.net, (0, True))
            nets[route.net] = known[0] | bits, known[1] and route.line.is_data
    for (x, y), nets in cells.items():
        canvas[y][x] = _glyph(list(nets.values()))
    for route in drawing.routes:
        (_, before), (x, y) = route.points[-2], route.points[-1]
        canvas[y][x] = "v" if before <= y else "^"


def _strokes(route: Route) -> Iterator[tuple[int, int, int]]:
    """Give each cell of a line with the sides that it touches."""
    for (x, y), (to_x, to_y) in pairwise(route.points):
        if x == to_x:
            low, high = sorted((y, to_y))
            for at in range(low, high + 1):
                yield x, at, (_UP if at > low else 0) | (_DOWN if at < high else 0)
        else:
            low, high = sorted((x, to_x))
            for at in range(low, high + 1):
                yield at, y, (_LEFT if at > low else 0) | (_RIGHT if at < high else 0)


def _glyph(nets: list[tuple[int, bool]]) -> str:
    bits, is_data = next(
        (net for net in nets if net[0] & _VERTICAL and not net[0] & _HORIZONTAL), nets[0]
    )
    if not bits & _HORIZONTAL:
        return ":" if is_data else "|"
    if not bits & _VERTICAL:
        return "." if is_data else "-"
    return "+"


def _draw_box(canvas: list[list[str]], box: PlacedBox) -> None:
    edge = "+" + "-" * (box.width - 2) + "+"
    side, corner = "|", edge
    if box.box.kind == "pure":
        side, corner = ":", "." * box.width
    _write(canvas, box.x, box.y, corner)
    for at in range(1, box.height - 1):
        lines = box.box.lines
        text = lines[at - 1] if at <= len(lines) else ""
        space = box.width - 2 - text_width(text)
        left = space // 2
        _write(canvas, box.x, box.y + at, side + " " * left + text + " " * (space - left) + side)
    _write(canvas, box.x, box.y + box.height - 1, corner)


def _write(canvas: list[list[str]], x: int, y: int, text: str) -> None:
    for char in text:
        width = text_width(char)
        if width == 0:
            canvas[y][x - 1] += char
            continue
        canvas[y][x : x + width] = [char, _FILLED][:width]
        x += width
