"""The picture as source for Mermaid and for Graphviz, which lay it out themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from abstractruntime.visualflow_compiler.drawing._picture import Box, Picture

_COLOURS: Final[dict[str, tuple[str, str]]] = {
    "done": ("#dafbe1", "#1a7f37"),
    "failed": ("#ffebe9", "#cf222e"),
    "waiting": ("#fff8c5", "#9a6700"),
    "running": ("#ddf4ff", "#0969da"),
    "paused": ("#fff8c5", "#9a6700"),
    "limited": ("#fff8c5", "#9a6700"),
    "interrupted": ("#ffeff7", "#bf3989"),
    "stopped": ("#eaeef2", "#57606a"),
    "not reached": ("#ffffff", "#8c959f"),
}
# What means nothing in a quoted Mermaid text; all else is written by its number.
_PLAIN: Final = frozenset(" .,:!?=+-/()'")


def render_mermaid(picture: Picture) -> str:
    """Give a Mermaid flowchart."""
    return "".join(f"{line}\n" for line in _mermaid(picture))


def _mermaid(picture: Picture) -> Iterator[str]:
    yield "---"
    yield f"title: {_yaml(picture.title)}"
    yield "---"
    yield "flowchart TD"
    names = _names(picture)
    for box in picture.boxes:
        opening, closing = _SHAPES.get(box.kind, ("[", "]"))
        text = "<br/>".join(_entities(line) for line in box.lines)
        yield f'  {names[box.id]}{opening}"{text}"{closing}'
    for line in picture.lines:
        arrow = "-.->" if line.is_data else "-->"
        label = f'|"{_entities(line.label)}"|' if line.label else ""
        yield f"  {names[line.source]} {arrow}{label} {names[line.target]}"
    for state, (fill, stroke) in _COLOURS.items():
        members = [names[b.id] for b in picture.boxes if b.outcome and b.outcome.state == state]
        if members:
            name = state.replace(" ", "_")
            yield f"  classDef {name} fill:{fill},stroke:{stroke},color:#1b1f24"
            yield f"  class {','.join(members)} {name}"


_SHAPES: Final = {"entry": ("([", "])"), "control": ("{{", "}}"), "pure": ("(", ")")}


def _names(picture: Picture) -> dict[str, str]:
    """Give names that no language reserves."""
    return {box.id: f"n{at}" for at, box in enumerate(picture.boxes)}


def _entities(text: str) -> str:
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in text)


def _yaml(text: str) -> str:
    safe = "".join(c if c.isprintable() else " " for c in text)
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'


def render_dot(picture: Picture) -> str:
    """Give a Graphviz digraph."""
    return "".join(f"{line}\n" for line in _dot(picture))


def _dot(picture: Picture) -> Iterator[str]:
    yield f"digraph {_quoted(picture.title)} {{"
    yield f"  label={_quoted(picture.title)}; labelloc=t; rankdir=TB;"
    yield '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=monospace];'
    for box in picture.boxes:
        yield f"  {_quoted(box.id)} [{', '.join(_attributes(box))}];"
    for line in picture.lines:
        facts = [f"label={_quoted(line.label)}"] if line.label else []
        facts += ["style=dotted"] if line.is_data else []
        shown = f" [{', '.join(facts)}]" if facts else ""
        yield f"  {_quoted(line.source)} -> {_quoted(line.target)}{shown};"
    yield "}"


def _attributes(box: Box) -> Iterator[str]:
    yield f"label={_quoted(chr(10).join(box.lines))}"
    if box.outcome is not None:
        fill, stroke = _COLOURS[box.outcome.state]
        yield f'fillcolor="{fill}", color="{stroke}"'
    elif box.kind == "entry":
        yield "penwidth=2"
    elif box.kind in ("pure", "dead"):
        yield 'style="rounded,dashed"'


def _quoted(text: str) -> str:
    safe = "".join(c if c == "\n" or c.isprintable() else " " for c in text)
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
