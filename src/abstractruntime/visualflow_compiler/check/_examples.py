"""Small flow documents for the examples of rules.

A node is written `node("ask", "ask_user", "exec-in prompt", "exec-out response")`, an edge
`"ask.response > end.answer"`; `"start > end"` is an execution edge.
"""

from __future__ import annotations

from typing import Any

from abstractruntime._json import JsonObject

_EXECUTION_PINS = frozenset({"exec-in", "exec-out", "true", "false", "loop", "done", "completed"})


def node(
    node_id: str, type_name: str, inputs: str = "", outputs: str = "", **data: Any
) -> JsonObject:
    """Give a node; pins are separated by blanks."""
    return {
        "id": node_id,
        "type": type_name,
        "data": {"inputs": _pins(inputs), "outputs": _pins(outputs), **data},
    }


def flow(*nodes: JsonObject, edges: tuple[str, ...] = (), **top: Any) -> JsonObject:
    """Give a document with the id `example`."""
    return {"id": "example", "nodes": list(nodes), "edges": [_edge(text) for text in edges], **top}


def _pins(names: str) -> list[JsonObject]:
    return [{"id": name, "type": _pin_type(name)} for name in names.split()]


def _pin_type(name: str) -> str:
    is_execution = name in _EXECUTION_PINS or name.startswith(("then:", "case:"))
    return "execution" if is_execution else "any"


def _edge(text: str) -> JsonObject:
    source, _, target = text.partition(" > ")
    source_id, _, handle = source.partition(".")
    target_id, _, pin = target.partition(".")
    return {
        "source": source_id,
        "sourceHandle": handle or "exec-out",
        "target": target_id,
        "targetHandle": pin or "exec-in",
    }


START = node("start", "on_flow_start", "", "exec-out text")
END = node("end", "on_flow_end", "exec-in answer")
PASS = flow(START, END, edges=("start > end", "start.text > end.answer"))
"""The smallest useful flow: it hands its parameter back."""
