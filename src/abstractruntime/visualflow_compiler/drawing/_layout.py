"""Places: boxes and lines on a grid of character cells.

Between two layers lies a channel. A line goes down into it, along a track, and down again;
tracks are given out so that lines of different targets never run in each other, and lines
into the same box join. A line that closes a loop leaves its box at the top and arrives
at the bottom of the upper one.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from abstractruntime.visualflow_compiler.drawing._layers import Chain, Layers, Slot, arrange
from abstractruntime.visualflow_compiler.drawing._picture import Box, Line, Picture
from abstractruntime.visualflow_compiler.drawing._tracks import Net, give_tracks

_GAP: Final = 3
_ROUNDS: Final = 8

Point = tuple[int, int]
Port = tuple[Slot, str]
"""Where a line touches a slot: the slot, and which of its ports."""


@dataclass(frozen=True, slots=True)
class PlacedBox:
    """A box with its upper left cell and its size."""

    box: Box
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Route:
    """The way of one line, as corner points from its source to its target.

    `net` is equal for lines that may join.
    """

    line: Line
    points: tuple[Point, ...]
    net: int


@dataclass(frozen=True, slots=True)
class Label:
    x: int
    y: int
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything with its place; cells count from 0, to the right and down."""

    picture: Picture
    boxes: tuple[PlacedBox, ...]
    routes: tuple[Route, ...]
    labels: tuple[Label, ...]
    width: int
    height: int


@dataclass
class _Grid:
    """What is known while places are given out."""

    layers: Layers
    boxes: Mapping[str, Box]
    lines: Sequence[Line]
    bottom: dict[Slot, list[Chain]] = field(default_factory=lambda: defaultdict(list))
    top: dict[Slot, list[Chain]] = field(default_factory=lambda: defaultdict(list))
    width: dict[Slot, int] = field(default_factory=dict)
    left: dict[Slot, int] = field(default_factory=dict)

    def centre(self, slot: Slot) -> int:
        return self.left[slot] + self.width[slot] // 2


def text_width(text: str) -> int:
    """Give the columns that a text takes on a terminal."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(bool(unicodedata.combining(char)) for char in text)


def lay_out(picture: Picture) -> Drawing:
    """Place everything; the same picture always gives the same drawing."""
    layers = arrange(picture)
    grid = _Grid(layers, {box.id: box for box in picture.boxes}, picture.lines)
    for chain in layers.chains:
        for upper, lower in pairwise(chain.slots):
            grid.bottom[upper].append(chain)
            grid.top[lower].append(chain)
    for row in layers.rows:
        for slot in row:
            grid.width[slot] = _slot_width(grid, slot)
    _place_columns(grid)
    return _finish(picture, grid)


# -- columns -------------------------------------------------------------------------------


def _slot_width(grid: _Grid, slot: Slot) -> int:
    if slot[1] >= 0:
        return 1
    box = grid.boxes[slot[0]]
    text = max(text_width(line) for line in box.lines) + 4
    below = [_label_room(grid, chain, at_top=False) for chain in grid.bottom[slot]]
    above = list(_top_rooms(grid, slot).values())
    # A single port lies in the middle, with its label to the right.
    ports = [2 * side[0] if len(side) == 1 else sum(side) + 2 for side in (below, above) if side]
    return max([text, *ports]) | 1


def _top_rooms(grid: _Grid, slot: Slot) -> dict[str, int]:
    """Give the columns that each port at the top of a box needs."""
    return {
        _top_name(grid, chain, slot): _label_room(grid, chain, at_top=True)
        for chain in grid.top[slot]
    }


def _label_room(grid: _Grid, chain: Chain, *, at_top: bool) -> int:
    shown = grid.lines[chain.index].label if chain.is_turned == at_top else ""
    return text_width(shown) + 4


def _place_columns(grid: _Grid) -> None:
    for row in grid.layers.rows:
        x = 0
        for slot in row:
            grid.left[slot] = x
            x += grid.width[slot] + _GAP
    above: dict[Slot, list[Slot]] = defaultdict(list)
    below: dict[Slot, list[Slot]] = defaultdict(list)
    for chain in grid.layers.chains:
        for upper, lower in pairwise(chain.slots):
            below[upper].append(lower)
            above[lower].append(upper)
    rows = grid.layers.rows
    for turn in range(_ROUNDS):
        near = above if turn % 2 == 0 else below
        for row in rows if turn % 2 == 0 else reversed(rows):
            _pull(grid, row, near)
    least = min(grid.left.values(), default=0)
    for slot in grid.left:
        grid.left[slot] -= least


def _pull(grid: _Grid, row: Sequence[Slot], near: Mapping[Slot, list[Slot]]) -> None:
    """Move the slots of a row towards their neighbours, as far as the others let them."""
    wanted = {slot: _wanted(grid, slot, near) for slot in row}
    right, edge = {}, None
    for slot in row:
        right[slot] = wanted[slot] if edge is None else max(wanted[slot], edge)
        edge = right[slot] + grid.width[slot] + _GAP
    left, edge = {}, None
    for slot in reversed(row):
        room = wanted[slot] if edge is None else edge - _GAP - grid.width[slot]
        left[slot] = min(wanted[slot], room)
        edge = left[slot]
    # Both keep the gaps, so their mean does.
    for slot in row:
        grid.left[slot] = (left[slot] + right[slot]) // 2


def _wanted(grid: _Grid, slot: Slot, near: Mapping[Slot, list[Slot]]) -> int:
    centres = sorted(grid.centre(other) for other in near.get(slot, ()))
    if not centres:
        return grid.left[slot]
    middle = (centres[(len(centres) - 1) // 2] + centres[len(centres) // 2]) // 2
    return middle - grid.width[slot] // 2


# -- ports ---------------------------------------------------------------------------------


def _ports(grid: _Grid, labels: list[tuple[Port, int, str]]) -> dict[Port, int]:
    """Give the column of every port, and note the labels beside them."""
    found: dict[Port, int] = {}
    for row in grid.layers.rows:
        for slot in row:
            _bottom_ports(grid, slot, found, labels)
            _top_ports(grid, slot, found, labels)
    return found


def _bottom_ports(
    grid: _Grid, slot: Slot, found: dict[Port, int], labels: list[tuple[Port, int, str]]
) -> None:
    chains = sorted(grid.bottom[slot], key=lambda chain: grid.centre(_next(chain, slot)))
    rooms = [_label_room(grid, chain, at_top=False) for chain in chains]
    x = grid.left[slot] + (grid.width[slot] - sum(rooms)) // 2
    for chain, room in zip(chains, rooms, strict=True):
        port = (slot, f"b{chain.index}")
        found[port] = grid.centre(slot) if len(chains) == 1 else x + 1
        x += room
        if slot[1] < 0 and not chain.is_turned and grid.lines[chain.index].label:
            labels.append((port, found[port] + 2, grid.lines[chain.index].label))


def _top_ports(
    grid: _Grid, slot: Slot, found: dict[Port, int], labels: list[tuple[Port, int, str]]
) -> None:
    if slot[1] >= 0:
        found[slot, "in"] = grid.left[slot]
        return
    rooms = _top_rooms(grid, slot)
    order = sorted(rooms, key=lambda name: _mean_source(grid, slot, name))
    x = grid.left[slot] + (grid.width[slot] - sum(rooms.values())) // 2
    for name in order:
        found[slot, name] = grid.centre(slot) if len(order) == 1 else x + 1
        x += rooms[name]
    for chain in grid.top[slot]:
        label = grid.lines[chain.index].label
        if chain.is_turned and label:
            port = (slot, f"t{chain.index}")
            labels.append((port, found[port] + 2, label))


def _top_name(grid: _Grid, chain: Chain, slot: Slot) -> str:
    """Give the port at which a line enters from above: one for control, one for data."""
    if slot[1] >= 0:
        return "in"
    if chain.is_turned:
        return f"t{chain.index}"
    return "data" if grid.lines[chain.index].is_data else "in"


def _mean_source(grid: _Grid, slot: Slot, name: str) -> float:
    centres = [
        grid.centre(_previous(chain, slot))
        for chain in grid.top[slot]
        if _top_name(grid, chain, slot) == name
    ]
    return sum(centres) / len(centres)


def _next(chain: Chain, slot: Slot) -> Slot:
    return chain.slots[chain.slots.index(slot) + 1]


def _previous(chain: Chain, slot: Slot) -> Slot:
    return chain.slots[chain.slots.index(slot) - 1]


# -- rows ----------------------------------------------------------------------------------


@dataclass
class _Builder:
    """Gives rows to layers and channels, from the top down."""

    grid: _Grid
    ports: Mapping[Port, int]
    notes: Sequence[tuple[Port, int, str]]
    ways: dict[int, list[Point]] = field(default_factory=lambda: defaultdict(list))
    boxes: list[PlacedBox] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def place(self, row: Sequence[Slot], y: int, *, is_last: bool) -> int:
        """Place a layer whose first row is `y`, and what leaves it; give the next free row."""
        members = set(row)
        own = [note for note in self.notes if note[0][0] in members]
        y_box = y + int(any(port[1][0] == "t" for port, _, _ in own))
        for slot in row:
            if slot[1] < 0:
                size = self.grid.width[slot], _height(self.grid, slot)
                box = self.grid.boxes[slot[0]]
                self.boxes.append(PlacedBox(box, self.grid.left[slot], y_box, *size))
        for port, x, text in own:
            below = y_box + _height(self.grid, port[0])
            self.labels.append(Label(x, y_box - 1 if port[1][0] == "t" else below, text))
        y_end = y_box + max((_height(self.grid, slot) for slot in row), default=0)
        return y_end if is_last else self._channel(row, y_box, y_end)

    def _channel(self, row: Iterable[Slot], y_box: int, y_end: int) -> int:
        groups: dict[Port, list[tuple[Chain, Slot]]] = defaultdict(list)
        for slot in row:
            for chain in self.grid.bottom[slot]:
                lower = _next(chain, slot)
                groups[lower, _top_name(self.grid, chain, lower)].append((chain, slot))
        nets = [
            Net(frozenset(self.ports[slot, f"b{c.index}"] for c, slot in group), self.ports[port])
            for port, group in groups.items()
        ]
        track, count = give_tracks(nets)
        marked = {note[0] for note in self.notes}
        y_next = y_end + 2 + count
        # A label above a box takes a row that the lines pass, too.
        bottom = y_next - 1 + int(any(port in marked for port in groups))
        for number, (port, group) in enumerate(groups.items()):
            for chain, slot in group:
                x, target = self.ports[slot, f"b{chain.index}"], self.ports[port]
                start = y_box + _height(self.grid, slot) if slot[1] < 0 else y_end
                turn = y_end + 1 + track.get(number, 0)
                self.ways[chain.index] += [(x, start), (x, turn), (target, turn), (target, bottom)]
        return y_next


def _finish(picture: Picture, grid: _Grid) -> Drawing:
    notes: list[tuple[Port, int, str]] = []
    ports = _ports(grid, notes)
    builder = _Builder(grid, ports, notes)
    rows, y = grid.layers.rows, 0
    for at, row in enumerate(rows):
        y = builder.place(row, y, is_last=at + 1 == len(rows))
    number = {port: at for at, port in enumerate(ports)}
    routes = tuple(
        _route(grid, chain, builder.ways[chain.index], number) for chain in grid.layers.chains
    )
    ends = [box.x + box.width for box in builder.boxes]
    ends += [label.x + text_width(label.text) for label in builder.labels]
    ends += [x + 1 for route in routes for x, _ in route.points]
    return Drawing(
        picture, tuple(builder.boxes), routes, tuple(builder.labels), max(ends, default=0), y
    )


def _height(grid: _Grid, slot: Slot) -> int:
    return 0 if slot[1] >= 0 else len(grid.boxes[slot[0]].lines) + 2


def _route(grid: _Grid, chain: Chain, way: Iterable[Point], number: Mapping[Port, int]) -> Route:
    points = _straightened(way)
    if chain.is_turned:
        points = points[::-1]
    end = chain.slots[-1]
    net = number[end, _top_name(grid, chain, end)]
    return Route(grid.lines[chain.index], tuple(points), net)


def _straightened(points: Iterable[Point]) -> list[Point]:
    """Leave out points that repeat, or lie on the way between their neighbours."""
    kept: list[Point] = []
    for point in points:
        if kept and kept[-1] == point:
            continue
        if len(kept) > 1 and (
            kept[-2][0] == kept[-1][0] == point[0] or kept[-2][1] == kept[-1][1] == point[1]
        ):
            kept.pop()
        kept.append(point)
    return kept


__all__ = ["Drawing", "Label", "PlacedBox", "Route", "lay_out", "text_width"]
