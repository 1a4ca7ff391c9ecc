"""Where boxes and lines come to lie."""

from __future__ import annotations

from itertools import combinations

import pytest
from exploring import examples
from hypothesis import given
from hypothesis import strategies as st

from abstractruntime.errors import UsageError
from abstractruntime.visualflow_compiler.drawing import Box, Drawing, Line, Picture, lay_out
from abstractruntime.visualflow_compiler.drawing._layers import arrange
from abstractruntime.visualflow_compiler.drawing._tracks import Net, give_tracks


def picture(edges: str, *alone: str) -> Picture:
    """Lines are `a>b`, `a>b:label`; the first box is the entry."""
    pairs = [edge.partition(">") for edge in edges.split()]
    lines = tuple(Line(s, *t.partition(":")[::2]) for s, _, t in pairs)
    ids = dict.fromkeys([*(i for line in lines for i in (line.source, line.target)), *alone])
    kinds = ["entry", *["step"] * len(ids)]
    boxes = tuple(Box(i, i, "t", kind) for i, kind in zip(ids, kinds, strict=False))
    return Picture("p", boxes, lines)


def rows(drawn: Picture) -> list[str]:
    return ["".join(slot[0] or "." for slot in row) for row in arrange(drawn).rows]


@pytest.mark.parametrize(
    "edges, expected",
    [
        pytest.param("a>b b>c", ["a", "b", "c"], id="chain"),
        pytest.param("a>b a>c b>d c>d", ["a", "bc", "d"], id="diamond"),
        pytest.param("a>b b>c a>c", ["a", "b.", "c"], id="long-line"),
        pytest.param("a>b b>c c>a", ["a", "b.", "c"], id="loop"),
        pytest.param("a>a", ["a"], id="own-loop"),
        pytest.param("", ["xy"], id="no-lines"),
    ],
)
def test_layers(edges: str, expected: list[str]) -> None:
    assert rows(picture(edges, *("xy" if not edges else ""))) == expected


def test_what_nobody_could_follow_is_not_drawn() -> None:
    chain = [f"n{i}>n{i + 1}" for i in range(600)]
    assert len(rows(picture(" ".join(chain)))) == 601
    with pytest.raises(UsageError, match="601 boxes, and lines that pass 90000 layers"):
        arrange(picture(" ".join([*chain, *(f"n0>n{i}" for i in range(2, 602, 2))])))


def test_crossings_are_sorted_out() -> None:
    # In the order of the boxes the lines cross.
    assert rows(picture("r>a r>b a>y b>x"))[1:] in (["ab", "yx"], ["ba", "xy"])


GAP = 3


def overlaps(drawing: Drawing) -> list[tuple[str, str]]:
    return [
        (one.box.id, other.box.id)
        for one, other in combinations(drawing.boxes, 2)
        if one.x < other.x + other.width + GAP
        and other.x < one.x + one.width + GAP
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    ]


EDGES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(["", "true", "a long label"])),
    max_size=20,
)


@given(EDGES)
@examples(80)
def test_any_picture_is_laid_out_without_overlaps(edges: list[tuple[int, int, str]]) -> None:
    boxes = tuple(Box(str(i), "t" * (i + 1), "t", "step") for i in range(10))
    lines = tuple(Line(str(s), str(t), label, is_data=label == "true") for s, t, label in edges)

    drawing = lay_out(Picture("p", boxes, lines))

    assert len(drawing.boxes) == len(boxes)
    assert overlaps(drawing) == []
    assert len(drawing.routes) == sum(line.source != line.target for line in lines)
    places = {placed.box.id: placed for placed in drawing.boxes}
    for route in drawing.routes:
        for end, (x, y) in (
            (route.line.source, route.points[0]),
            (route.line.target, route.points[-1]),
        ):
            box = places[end]
            assert box.x <= x < box.x + box.width
            assert y in (box.y - 1, box.y - 2, box.y + box.height)
        for one, other in zip(route.points, route.points[1:], strict=False):
            assert one[0] == other[0] or one[1] == other[1]


@given(EDGES)
@examples(80)
def test_lines_pass_no_box(edges: list[tuple[int, int, str]]) -> None:
    boxes = tuple(Box(str(i), "t", "t", "step") for i in range(10))
    lines = tuple(Line(str(s), str(t), label) for s, t, label in edges)
    drawing = lay_out(Picture("p", boxes, lines))
    taken = {
        (x, y)
        for b in drawing.boxes
        for x in range(b.x, b.x + b.width)
        for y in range(b.y, b.y + b.height)
    }

    for route in drawing.routes:
        for (x, y), (to_x, to_y) in zip(route.points, route.points[1:], strict=False):
            xs, ys = sorted((x, to_x)), sorted((y, to_y))
            way = {(i, j) for i in range(xs[0], xs[1] + 1) for j in range(ys[0], ys[1] + 1)}
            assert not way & taken


@given(EDGES)
@examples(80)
def test_lines_to_different_targets_never_run_in_one_track(
    edges: list[tuple[int, int, str]],
) -> None:
    boxes = tuple(Box(str(i), "t", "t", "step") for i in range(10))
    drawing = lay_out(
        Picture("p", boxes, tuple(Line(str(s), str(t), label) for s, t, label in edges))
    )
    owners: dict[tuple[int, int], int] = {}

    for route in drawing.routes:
        for (x, y), (to_x, to_y) in zip(route.points, route.points[1:], strict=False):
            if y == to_y:
                for at in range(min(x, to_x), max(x, to_x) + 1):
                    assert owners.setdefault((at, y), route.net) == route.net


def test_a_line_that_leaves_a_column_lies_above_the_one_that_arrives_there() -> None:
    beside, leaving, arriving = (
        Net(frozenset({12}), 10),
        Net(frozenset({0}), 9),
        Net(frozenset({5}), 0),
    )

    track, count = give_tracks([beside, leaving, arriving])

    assert track[1] < track[2]
    assert count == 3


def test_a_long_chain_is_no_hazard() -> None:
    drawing = lay_out(picture(" ".join(f"n{i}>n{i + 1}" for i in range(2000))))

    assert len(drawing.boxes) == 2001
