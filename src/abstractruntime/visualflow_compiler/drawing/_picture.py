"""A flow as boxes and lines: what is drawn, not where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from abstractruntime._json import JsonObject
from abstractruntime.nodes.base import ControlNode, Element
from abstractruntime.visualflow_compiler._model import EXEC_OUT
from abstractruntime.visualflow_compiler.drawing._outcomes import NodeOutcome
from abstractruntime.visualflow_compiler.graph import FlowGraph

BoxKind = Literal["entry", "step", "control", "pure", "dead"]
_TITLE_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class Box:
    """One node; `title` is what its author calls it. A dead step is one that control never reaches."""

    id: str
    title: str
    type: str
    kind: BoxKind
    outcome: NodeOutcome | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """Give the texts inside the box, the title first."""
        if self.kind == "pure":
            return (self.title,)
        lines = [self.title]
        if self.title != self.type:
            lines.append(self.type)
        if self.kind == "dead" and self.outcome is None:
            lines.append("unreachable")
        if self.outcome is not None:
            lines.append(f"[{self.outcome}]")
        return tuple(lines)


@dataclass(frozen=True, slots=True)
class Line:
    """Control, or in data lines a value, goes from one box to another."""

    source: str
    target: str
    label: str = ""
    is_data: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn; boxes in document order."""

    title: str
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    summary: str = ""

    @property
    def description(self) -> str:
        """Say in words what the picture shows, for those who do not see it."""
        steps = sum(box.kind != "pure" for box in self.boxes)
        text = f"{steps} step{'s' if steps != 1 else ''}"
        start = next((box.title for box in self.boxes if box.kind == "entry"), None)
        text += f", starts with {start}" if start else ""
        return f"{text}. {self.summary}" if self.summary else text

    def to_dict(self) -> JsonObject:
        return {
            "nodes": [
                {
                    "id": box.id,
                    "title": box.title,
                    "type": box.type,
                    "kind": box.kind,
                    "outcome": box.outcome.state if box.outcome else None,
                    "times": box.outcome.times if box.outcome else None,
                }
                for box in self.boxes
            ],
            "edges": [
                {"source": i.source, "target": i.target, "label": i.label, "data": i.is_data}
                for i in self.lines
            ],
        }


def draw_flow(
    graph: FlowGraph, *, data: bool = False, outcomes: Mapping[str, NodeOutcome] | None = None
) -> Picture:
    """Give the picture of a flow.

    Args:
        graph: The flow.
        data: Draw pure nodes and the ways of values, too.
        outcomes: How far a run came, by node.
    """
    drawn = [e for node_id, e in graph.elements.items() if data or graph.is_step(node_id)]
    boxes = tuple(_box(graph, element, outcomes or {}) for element in drawn)
    known = {box.id for box in boxes}
    lines = [*_control(graph, known), *(_data(graph, known) if data else ())]
    title = graph.flow.name or graph.flow.id or "flow"
    return Picture(title, boxes, tuple(lines), _summary(outcomes or {}))


def _box(graph: FlowGraph, element: Element, outcomes: Mapping[str, NodeOutcome]) -> Box:
    title = " ".join(element.label.split()) or element.type or element.id
    if not graph.is_step(element.id):
        title = _value_title(element, title)
    if len(title) > _TITLE_CHARS:
        title = title[: _TITLE_CHARS - 3] + "..."
    kind = _kind(graph, element.id)
    return Box(element.id, title, element.type, kind, outcomes.get(element.id))


def _value_title(element: Element, title: str) -> str:
    """Give a literal with its value, which is all there is to it."""
    value = element.data.get("literalValue")
    if value is None or not isinstance(value, str | int | float | bool):
        return title
    return f"{title} = {' '.join(str(value).split())}"


def _kind(graph: FlowGraph, node_id: str) -> BoxKind:
    if not graph.is_step(node_id):
        return "pure"
    if graph.entry is not None and graph.entry.node_id == node_id:
        return "entry"
    if node_id in graph.listeners:
        return "entry"
    if node_id not in graph.served:
        return "dead"
    known = graph.types[node_id]
    return "control" if isinstance(known, ControlNode) else "step"


def _control(graph: FlowGraph, known: set[str]) -> Iterator[Line]:
    for edge in graph.flow.exec_edges:
        if edge.source in known and edge.target in known:
            label = "" if edge.handle == EXEC_OUT else _handle(graph, edge.source, edge.handle)
            yield Line(edge.source, edge.target, label)


def _data(graph: FlowGraph, known: set[str]) -> Iterator[Line]:
    """Give one line for each pair of nodes between which values go."""
    pairs = dict.fromkeys((edge.source, edge.target) for edge in graph.flow.data_edges)
    for source, target in pairs:
        if source in known and target in known:
            yield Line(source, target, is_data=True)


def _handle(graph: FlowGraph, node_id: str, handle: str) -> str:
    """Give a case by its value, which its author knows; its id is the editor's."""
    if not handle.startswith("case:"):
        return handle
    cases = graph.elements[node_id].config("switchConfig").get("cases")
    for case in cases if isinstance(cases, list) else ():
        if isinstance(case, dict) and case.get("id") == handle.removeprefix("case:"):
            return " ".join(str(case.get("value", handle)).split())[:_TITLE_CHARS]
    return handle


def _summary(outcomes: Mapping[str, NodeOutcome]) -> str:
    states = [outcome.state for outcome in outcomes.values()]
    counts = {state: states.count(state) for state in dict.fromkeys(sorted(states))}
    return ", ".join(f"{count} {state}" for state, count in counts.items())
