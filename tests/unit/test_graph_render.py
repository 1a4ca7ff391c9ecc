"""Pictures of flows and runs, in four languages."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
from flow_builder import END, flow, node, start

from abstractruntime._text import one_line
from abstractruntime.core.models import RunState, RunStatus
from abstractruntime.errors import UsageError
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.drawing import (
    Box,
    Line,
    NodeOutcome,
    Picture,
    draw_flow,
    render_ascii,
    render_dot,
    render_mermaid,
    render_svg,
    run_outcomes,
)
from abstractruntime.visualflow_compiler.graph import FlowGraph

NASTY = "\"]<script>&'`--\\|#\n\x00\x1b[0m\ud800 名前"
CASES = {"cases": [{"id": "c1", "value": "yes"}]}


def graph(document: dict[str, Any]) -> FlowGraph:
    return FlowDocument(document).graph


BRANCHES = graph(
    flow(
        start(),
        node("k", "switch", "exec-in value", "case:c1 default", label="Which?", switchConfig=CASES),
        node("again", "answer_user", "exec-in message", "exec-out", label="Again"),
        node("lit", "literal_string", "", "value", literalValue="hello", label="Word"),
        END,
        node("lost", "answer_user", "exec-in", "exec-out", label="Lost"),
        edges="s > k; k.case:c1 > e; k.default > again; again > k; lit.value > again.message",
    )
)


BRANCHES_IN_ASCII = """\
            +---------------+   +-------------+
            | on_flow_start |   |    Lost     |
            +---------------+   | answer_user |
                    |           | unreachable |
                    |           +-------------+
                    |
                    +----+
                         v
             +-----------------------+
             |        Which?         |
             |        switch         |
             +-----------------------+
               | yes  | default  ^
       +-------+      |   +------+
       v              v   |
+-------------+   +-------------+
| on_flow_end |   |    Again    |
+-------------+   | answer_user |
                  +-------------+
"""


def test_ascii_picture() -> None:
    assert render_ascii(draw_flow(BRANCHES)) == BRANCHES_IN_ASCII


def test_pure_nodes_are_drawn_on_demand() -> None:
    assert [box.title for box in draw_flow(BRANCHES, data=True).boxes if box.kind == "pure"] == [
        "Word = hello"
    ]
    assert "Word" not in render_ascii(draw_flow(BRANCHES))


def test_a_case_is_called_by_its_value() -> None:
    labels = [line.label for line in draw_flow(BRANCHES).lines]

    assert labels == ["", "yes", "default", ""]


def test_kinds_of_boxes() -> None:
    kinds = {box.id: box.kind for box in draw_flow(BRANCHES, data=True).boxes}

    assert kinds == {
        "s": "entry", "k": "step", "again": "step", "lit": "pure", "e": "step", "lost": "dead",
    }  # fmt: skip


NASTY_PICTURE = Picture(
    NASTY,
    (Box(NASTY, NASTY, "t", "entry", NodeOutcome("failed")), Box("b", "b", NASTY, "pure")),
    (Line(NASTY, "b", NASTY), Line("b", NASTY, NASTY, is_data=True), Line("b", "b", NASTY)),
)


def test_svg_is_well_formed_and_harmless_whatever_the_names() -> None:
    text = render_svg(NASTY_PICTURE)
    root = ET.fromstring(text)

    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {
        "svg", "title", "desc", "style", "rect", "path", "polygon", "g", "text",
    }  # fmt: skip
    assert root.get("role") == "img"
    named = {element.get("id") for element in root.iter()}
    assert set(str(root.get("aria-labelledby")).split()) <= named
    assert not any(
        name.startswith("on") or name == "href" for e in root.iter() for name in e.attrib
    )
    text.encode()


def test_mermaid_holds_nothing_that_means_something() -> None:
    body = render_mermaid(NASTY_PICTURE).split("---\n")[2]

    assert "<script" not in body
    assert "`" not in body
    assert len(body.splitlines()) == 8
    assert all(line.count('"') in (0, 2) for line in body.splitlines())


def test_dot_is_quoted() -> None:
    lines = render_dot(NASTY_PICTURE).splitlines()

    assert len(lines) == 9
    for line in lines:
        assert line.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 0


def test_ascii_has_no_line_ends_in_names() -> None:
    drawn = draw_flow(
        graph(
            flow(
                start(),
                node("k", "answer_user", "exec-in", "exec-out", label="a\nb"),
                END,
                edges="s > k; k > e",
            )
        )
    )

    assert "a b" in render_ascii(drawn)


def test_wide_characters_take_two_columns() -> None:
    lines = render_ascii(Picture("p", (Box("a", "名前", "t", "step"),), ())).splitlines()

    assert lines == ["+-------+", "| 名前  |", "|   t   |", "+-------+"]


@pytest.mark.parametrize("render", [render_ascii, render_svg, render_mermaid, render_dot])
def test_an_empty_flow_has_a_picture(render: Callable[[Picture], str]) -> None:
    assert isinstance(render(draw_flow(graph({"id": "f"}))), str)


# -- runs ------------------------------------------------------------------------------------

RUN = graph(
    flow(
        start(),
        node("w", "while", "exec-in condition", "loop done"),
        node("a", "ask_user", "exec-in", "exec-out", label="Ask"),
        node("b", "answer_user", "exec-in", "exec-out"),
        END,
        edges="s > w; w.loop > a; w.done > b; b > e",
    )
)


def record(node_id: str, kind: str, status: str = "completed") -> dict[str, Any]:
    return {"node_id": node_id, "status": status, "effect": {"type": kind}, "result": {}}


def long_ways(layers: int) -> Picture:
    """Boxes in a row, and a line from the first one to each."""
    boxes = [Box(f"b{n}", f"b{n}", "t", "step") for n in range(layers)]
    row = [Line(f"b{n}", f"b{n + 1}") for n in range(layers - 1)]
    return Picture("p", tuple(boxes), (*row, *(Line("b0", f"b{n}") for n in range(2, layers))))


def test_a_picture_that_is_too_large_is_refused_with_another_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("abstractruntime.visualflow_compiler.drawing._layers.MAX_SLOTS", 28)
    assert "b8" in render_ascii(long_ways(9))  # 1 + ... + 7 layers are passed

    for draw in (render_ascii, render_svg):
        with pytest.raises(UsageError, match=r"too large to draw: 10 boxes.* pass 36 layers") as no:
            draw(long_ways(10))
        assert "--format dot or mermaid" in str(no.value.hint)
    assert "b9" in render_dot(long_ways(10))
    assert "b9" in render_mermaid(long_ways(10))


def state(status: RunStatus, current: str, **variables: Any) -> RunState:
    return RunState("r", "f", status, current, {"_temp": {"node_outputs": {"s": {}}}, **variables})


ASKED = [record("a", "ask_user", "waiting"), record("a", "resume"), record("a", "resume")]


@pytest.mark.parametrize(
    "run, expected",
    [
        pytest.param(
            state(RunStatus.WAITING, "a"), {"a": "waiting, done 2x", "w": "done"}, id="waiting"
        ),
        pytest.param(state(RunStatus.FAILED, "b"), {"a": "done 2x", "b": "failed"}, id="failed"),
        pytest.param(state(RunStatus.CANCELLED, "a"), {"a": "stopped, done 2x"}, id="cancelled"),
        pytest.param(
            state(RunStatus.COMPLETED, "e", _flow_error_node="b"),
            {"b": "failed", "e": "done"},
            id="error",
        ),
        pytest.param(
            state(RunStatus.RUNNING, "b"),
            {"s": "done", "b": "running", "e": "not reached"},
            id="running",
        ),
    ],
)
def test_outcomes(run: RunState, expected: dict[str, str]) -> None:
    found = run_outcomes(RUN, run, ASKED)

    assert {node_id: str(found[node_id]) for node_id in expected} == expected


def test_outcomes_are_shown_in_words_and_colours() -> None:
    drawn = draw_flow(RUN, outcomes=run_outcomes(RUN, state(RunStatus.WAITING, "a"), ASKED))

    assert "[waiting, done 2x]" in render_ascii(drawn)
    assert 'class="step waiting"' in render_svg(drawn)
    assert "classDef waiting" in render_mermaid(drawn)
    assert "1 waiting" in drawn.description


def test_colours_move_nothing_and_are_of_outcomes_only() -> None:
    name, outcome = "名前 \x1b[31m[failed]", NodeOutcome("failed", 2)
    boxes = (
        Box("a", name, "t", "step", outcome),
        Box("b", "b", "b", "dead", outcome),
        Box("c", "c", "c", "pure", outcome),
    )
    drawn = Picture("p", boxes, (Line("a", "a", "\x1b[2J"), Line("a", "b", "\x1b[2J")))

    painted = render_ascii(drawn, lambda text, state: f"<{state}>{text}<>")

    assert painted.replace("<failed>", "").replace("<>", "") == "".join(
        one_line(line, keep="\n") for line in render_ascii(drawn)
    )
    assert (painted.count("<failed>[failed, done 2x]<>"), painted.count("<failed>")) == (2, 2)
