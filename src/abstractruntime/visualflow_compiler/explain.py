"""Explanations of diagnostics and node types, as Markdown that also reads well as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from abstractruntime._json import JsonObject
from abstractruntime._near import close_names
from abstractruntime.errors import NotFound
from abstractruntime.nodes.base import MISSING, Example, NodeType, Pin, ValueNode
from abstractruntime.nodes.registry import REFUSED_TYPES, find_node_type, similar_types
from abstractruntime.visualflow_compiler.check import RULES, Rule
from abstractruntime.visualflow_compiler.fmt import format_document
from abstractruntime.visualflow_compiler.node_template import config_lines, node_template

_EXAMPLE_ORDER: Final = ("data", "around", "inputs", "asks", "result", "output", "after")


@dataclass(frozen=True, slots=True)
class Explanation:
    """One entry of the reference: `text` is Markdown without the heading."""

    name: str
    title: str
    text: str

    def to_markdown(self) -> str:
        """Give heading and text."""
        return f"## {self.name}: {self.title}\n\n{self.text}\n"

    def to_dict(self) -> JsonObject:
        """Give the JSON form: `{name, title, text}`."""
        return {"name": self.name, "title": self.title, "text": self.text}


def explain(code: str) -> Explanation:
    """Explain a diagnostic code such as `VF301`, with a bad and a good example.

    A beginning of codes, such as `VF3`, gives a list of them.

    Raises:
        NotFound: no rule has this code, or one that begins so; `details["near"]` has similar ones.
    """
    name = code.strip().upper()
    rule = RULES.get(name)
    if rule is None:
        begun = [RULES[key] for key in sorted(RULES) if name and key.startswith(name)]
        if begun:
            lines = "\n".join(f"* {one.code}: {one.title} ({one.severity})" for one in begun)
            return Explanation(name, f"{len(begun)} codes that begin so", lines)
        near = close_names(code.upper(), RULES, n=3)
        raise NotFound(
            f"no diagnostic has the code {code!r}",
            hint=f"did you mean {', '.join(near)}?" if near else "codes look like VF301",
            kind="diagnostic",
            id=code,
            near=near,
        )
    return Explanation(rule.code, rule.title, _rule_text(rule))


def explain_node(name: str) -> Explanation:
    """Explain a node type: what it does, its pins, handles, configuration and examples.

    Raises:
        NotFound: no node type has this name, or this version does not support it.
    """
    node_type = find_node_type(name)
    if node_type is None:
        near = similar_types(name)
        raise NotFound(
            f"node type {name!r} is not supported"
            if name in REFUSED_TYPES
            else f"no node type is called {name!r}",
            hint=REFUSED_TYPES.get(name)
            or (f"did you mean {', '.join(near)}?" if near else "see: art schema visualflow"),
            kind="node type",
            id=name,
            near=near,
        )
    return Explanation(name, node_type.family, "\n\n".join(_node_parts(name, node_type)))


def _rule_text(rule: Rule) -> str:
    return "\n\n".join(
        (
            f"Severity: {rule.severity}.",
            rule.explanation,
            "Reported:",
            _fenced(rule.example_bytes(bad=True).decode()),
            "Fine:",
            _fenced(rule.example_bytes(bad=False).decode()),
        )
    )


def _template_text(template: JsonObject) -> str:
    document = {"nodes": [template]}
    lines = format_document(json.dumps(document, ensure_ascii=False).encode()).decode().split("\n")
    # The node alone, as `art fmt` writes it within a document.
    return "\n".join(line[4:] for line in lines[2:-3])


def _node_parts(name: str, node_type: NodeType) -> Iterator[str]:
    yield node_type.doc
    yield f"Kind: {node_type.kind}."
    template = node_template(name, node_type)
    yield "To paste:\n\n" + _fenced(_template_text(template))
    yield from _pin_part("Input pins", node_type.inputs)
    yield from _pin_part("Output pins", node_type.outputs)
    if not isinstance(node_type, ValueNode):
        handles = ", ".join(f"`{handle}`" for handle in node_type.handles)
        yield f"Execution handles: {handles or 'none'}."
    if node_type.data_schema:
        yield "Configuration:\n\n" + "\n".join(config_lines(node_type.data_schema))
    for example in node_type.examples:
        yield "Example:\n\n" + _fenced(_example_text(example))
    if node_type.compat:
        yield f"Differs from 0.4: {node_type.compat}"


def _pin_part(title: str, pins: Iterable[Pin]) -> Iterator[str]:
    lines = [_pin_line(pin) for pin in pins]
    if lines:
        yield f"{title}:\n\n" + "\n".join(lines)


def _pin_line(pin: Pin) -> str:
    facts = [pin.type]
    if pin.default is not MISSING:
        facts.append(f"default {json.dumps(pin.default, ensure_ascii=False)}")
    if pin.aliases:
        facts.append(f"also {', '.join(pin.aliases)}")
    name = "any further pin" if pin.dynamic else f"`{pin.id}`"
    return f"- {name} ({'; '.join(facts)}) {pin.doc}".rstrip()


def _example_text(example: Example) -> str:
    told = {name: getattr(example, name) for name in _EXAMPLE_ORDER}
    kept = {name: v for name, v in told.items() if v or name in ("inputs", "output")}
    return json.dumps(kept, ensure_ascii=False)


def _fenced(text: str) -> str:
    return f"```json\n{text}\n```"
