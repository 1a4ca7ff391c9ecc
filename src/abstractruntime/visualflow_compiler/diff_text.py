"""A comparison of flows for people: one line per change, code as a diff."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from abstractruntime._json import JsonValue
from abstractruntime.visualflow_compiler.diff import BundleDiff, Change, FlowDiff

_LONGEST: Final = 80


def diff_lines(found: BundleDiff) -> Iterator[str]:
    """Give the lines; nothing where nothing changed."""
    if found.entrypoints:
        yield f"entrypoints: {_arrow(found.entrypoints)}"
    for flow in found.flows:
        yield from _flow_lines(flow)


def _flow_lines(flow: FlowDiff) -> Iterator[str]:
    if flow.status == "same":
        return
    if flow.status != "changed":
        yield f"{'+' if flow.status == 'added' else '-'} flow {flow.flow_id}"
        return
    yield f"flow {flow.flow_id}"
    node: str | None = None
    for change in flow.changes:
        if change.kind in _WHOLE or change.node is None:
            node = None
            yield "  " + _told(change)
            continue
        if change.node != node:
            node = change.node
            yield f"  ~ node {_name(change)}"
        yield "      " + _told(change)
        yield from (f"        {line}" for line in change.lines)


def _name(change: Change) -> str:
    return f'{change.node} "{change.label}"' if change.label else str(change.node)


def _show(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = json.dumps(text, ensure_ascii=False)[1:-1] if isinstance(value, str) else text
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _arrow(change: Change) -> str:
    return f"{_show(change.before)} => {_show(change.after)}"


_WHOLE: Final = frozenset({"node_added", "node_removed"})

# How each kind is told: a mark, and what comes before the part of the node that it is about.
_WORDS: Final[Mapping[str, str]] = {
    "flow": "~ {what}: {arrow}",
    "entry": "~ entry: {arrow}",
    "node_added": "+ node {name} ({after})",
    "node_removed": "- node {name} ({before})",
    "node_renamed": "id: {arrow}",
    "label": "label: {arrow}",
    "type": "type: {arrow}",
    "input_pin": "input {what}: {arrow}",
    "input_pin_added": "+ input {what}: {after}",
    "input_pin_removed": "- input {what}: {before}",
    "input_order": "order of inputs: {arrow}",
    "output_pin": "output {what}: {arrow}",
    "output_pin_added": "+ output {what}: {after}",
    "output_pin_removed": "- output {what}: {before}",
    "output_order": "order of outputs: {arrow}",
    "default": "default of {what}: {arrow}",
    "default_added": "+ default of {what}: {after}",
    "default_removed": "- default of {what}: {before}",
    "setting": "{what}: {arrow}",
    "setting_added": "+ {what}: {after}",
    "setting_removed": "- {what}: {before}",
    "code": "{what}:",
    "wire": "~ wire {arrow}",
    "wire_added": "+ wire {after}",
    "wire_removed": "- wire {before}",
    "wire_order": "~ order of the wires of {what}: {arrow}",
}


def _told(change: Change) -> str:
    return _WORDS[change.kind].format(
        what=change.what,
        name=_name(change),
        arrow=_arrow(change),
        before=_show(change.before),
        after=_show(change.after),
    )
