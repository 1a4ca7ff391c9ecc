"""Layers: which box lies above which, and in which order from left to right.

Sugiyama's method in small: lines that close a loop are turned round, a box lies below every
box that leads to it, long lines get a slot in each layer they pass, and the slots of a layer
are sorted by the mean place of their neighbours until crossings stop getting fewer.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from abstractruntime.errors import UsageError
from abstractruntime.visualflow_compiler.drawing._picture import Line, Picture

_SWEEPS: Final = 12
MAX_SLOTS: Final = 4000
"""So many places may lines pass in layers between their ends: more take minutes to order, and nobody finds a way through them."""

Slot = tuple[str, int]
"""A box `(id, -1)`, or where line `index` passes a layer, `("", index * BIG + layer)`."""
BIG: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Chain:
    """One line on its way down through the layers, from its upper end to its lower one."""

    index: int
    slots: tuple[Slot, ...]
    is_turned: bool


@dataclass(frozen=True, slots=True)
class Layers:
    """Slots of each layer from left to right, and the lines between them."""

    rows: tuple[tuple[Slot, ...], ...]
    chains: tuple[Chain, ...]


def box_slot(box_id: str) -> Slot:
    return box_id, -1


def arrange(picture: Picture) -> Layers:
    """Give the layers of a picture; lines from a box to itself have no chain.

    Raises:
        UsageError: the lines pass too many layers.
    """
    lines = [(i, line) for i, line in enumerate(picture.lines) if line.source != line.target]
    ids = [box.id for box in picture.boxes]
    turned = _closing_lines(_roots(picture), ids, lines)
    level = _levels(picture, ids, lines, turned)
    _require_drawable(level, lines)
    chains = tuple(_chain(i, line, level, is_turned=i in turned) for i, line in lines)
    rows: list[list[Slot]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for box_id in _first_order(picture, ids, lines, turned):
        rows[level[box_id]].append(box_slot(box_id))
    for chain in chains:
        for slot in chain.slots[1:-1]:
            rows[slot[1] % BIG].append(slot)
    return Layers(tuple(tuple(row) for row in _sorted(rows, chains)), chains)


def _roots(picture: Picture) -> list[str]:
    entries = [box.id for box in picture.boxes if box.kind == "entry"]
    targets = {line.target for line in picture.lines}
    return entries + [box.id for box in picture.boxes if box.id not in targets]


def _closing_lines(
    roots: Iterable[str], ids: Iterable[str], lines: Sequence[tuple[int, Line]]
) -> set[int]:
    """Give the lines that lead back to a box on the way to them, in depth-first order."""
    leaving = _leaving(lines)
    closing: set[int] = set()
    state: dict[str, int] = {}
    for root in dict.fromkeys([*roots, *ids]):
        if root in state:
            continue
        state[root] = 1
        stack = [(root, iter(leaving[root]))]
        while stack:
            box_id, rest = stack[-1]
            step = next(rest, None)
            if step is None:
                state[box_id] = 2
                stack.pop()
            elif state.get(step[1].target) == 1:
                closing.add(step[0])
            elif step[1].target not in state:
                state[step[1].target] = 1
                stack.append((step[1].target, iter(leaving[step[1].target])))
    return closing


def _leaving(lines: Sequence[tuple[int, Line]]) -> defaultdict[str, list[tuple[int, Line]]]:
    leaving: defaultdict[str, list[tuple[int, Line]]] = defaultdict(list)
    for index, line in sorted(lines, key=lambda item: (item[1].is_data, item[0])):
        leaving[line.source].append((index, line))
    return leaving


def _levels(
    picture: Picture, ids: list[str], lines: Sequence[tuple[int, Line]], turned: set[int]
) -> dict[str, int]:
    """Put each box below the longest way to it, and pure nodes just above who uses them."""
    down = [
        (line.target, line.source) if i in turned else (line.source, line.target)
        for i, line in lines
    ]
    below: defaultdict[str, list[str]] = defaultdict(list)
    open_ways = dict.fromkeys(ids, 0)
    for upper, lower in down:
        below[upper].append(lower)
        open_ways[lower] += 1
    level = dict.fromkeys(ids, 0)
    order = [box_id for box_id in ids if not open_ways[box_id]]
    for box_id in order:
        for lower in below[box_id]:
            level[lower] = max(level[lower], level[box_id] + 1)
            open_ways[lower] -= 1
            if not open_ways[lower]:
                order.append(lower)
    pure = {box.id for box in picture.boxes if box.kind == "pure"}
    for box_id in reversed(order):
        if box_id in pure and below[box_id]:
            level[box_id] = min(level[lower] for lower in below[box_id]) - 1
    return _packed(level)


def _packed(level: Mapping[str, int]) -> dict[str, int]:
    used = {value: place for place, value in enumerate(sorted(set(level.values())))}
    return {box_id: used[value] for box_id, value in level.items()}


def _require_drawable(level: Mapping[str, int], lines: Sequence[tuple[int, Line]]) -> None:
    passed = sum(max(abs(level[line.source] - level[line.target]) - 1, 0) for _, line in lines)
    if passed > MAX_SLOTS:
        raise UsageError(
            f"the flow is too large to draw: {len(level)} boxes, and lines that pass {passed} layers",
            hint="use --format dot or mermaid, and a program that lays such graphs out",
            limit=MAX_SLOTS,
        )


def _chain(index: int, line: Line, level: Mapping[str, int], *, is_turned: bool) -> Chain:
    upper, lower = (line.target, line.source) if is_turned else (line.source, line.target)
    inner = [("", index * BIG + at) for at in range(level[upper] + 1, level[lower])]
    return Chain(index, (box_slot(upper), *inner, box_slot(lower)), is_turned)


def _first_order(
    picture: Picture, ids: list[str], lines: Sequence[tuple[int, Line]], turned: set[int]
) -> list[str]:
    """Give the boxes as a walk from the entry meets them, so that branches stay together."""
    leaving = _leaving([item for item in lines if item[0] not in turned])
    order: dict[str, None] = {}
    stack = [*reversed(ids), *reversed(_roots(picture))]
    while stack:
        box_id = stack.pop()
        if box_id not in order:
            order[box_id] = None
            stack.extend(line.target for _, line in reversed(leaving[box_id]))
    return list(order)


# -- fewer crossings -----------------------------------------------------------------------


def _sorted(rows: list[list[Slot]], chains: Iterable[Chain]) -> list[list[Slot]]:
    above: defaultdict[Slot, list[Slot]] = defaultdict(list)
    below: defaultdict[Slot, list[Slot]] = defaultdict(list)
    for chain in chains:
        for upper, lower in pairwise(chain.slots):
            below[upper].append(lower)
            above[lower].append(upper)
    best, fewest = rows, _crossings(rows, below)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        rows = _swept(rows, above, below, downwards=sweep % 2 == 0)
        count = _crossings(rows, below)
        if count < fewest:
            best, fewest = rows, count
    return best


def _swept(
    rows: list[list[Slot]],
    above: Mapping[Slot, list[Slot]],
    below: Mapping[Slot, list[Slot]],
    *,
    downwards: bool,
) -> list[list[Slot]]:
    rows = [list(row) for row in rows]
    neighbours = above if downwards else below
    order = range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1)
    for at in order:
        fixed = {slot: place for place, slot in enumerate(rows[at - 1 if downwards else at + 1])}
        own = {slot: place for place, slot in enumerate(rows[at])}

        def mean(
            slot: Slot, fixed: Mapping[Slot, int] = fixed, own: Mapping[Slot, int] = own
        ) -> float:
            near = [fixed[other] for other in neighbours.get(slot, ())]
            return sum(near) / len(near) if near else own[slot]

        rows[at].sort(key=mean)
    return rows


def _crossings(rows: Sequence[Sequence[Slot]], below: Mapping[Slot, list[Slot]]) -> int:
    """Count pairs of lines that cross between neighbouring layers."""
    total = 0
    for upper, lower in pairwise(rows):
        place = {slot: at for at, slot in enumerate(lower)}
        seen: list[int] = []
        for slot in upper:
            ends = sorted(place[other] for other in below.get(slot, ()))
            total += sum(len(seen) - bisect_left(seen, end + 1) for end in ends)
            for end in ends:
                insort(seen, end)
    return total
