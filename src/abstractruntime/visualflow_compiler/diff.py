"""What changed between two flow documents, as far as runs and readers can tell.

Rules:
1. Nodes belong together by id; what is left, by type, label and content: such a node was renamed,
   and its wires did not change with it.
2. Position, size, colour, icon, the labels of pins and the ids of edges mean nothing here, nor does
   the order of nodes, unless another one becomes the entry.
3. Order counts where it has a meaning: that of pins, and that of several wires into one pin.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from abstractruntime._json import JsonObject, JsonValue, dump_line
from abstractruntime.nodes.base import (
    Element,
)
from abstractruntime.nodes.keys import DRAWING_KEYS
from abstractruntime.visualflow_compiler._diff_match import match_elements
from abstractruntime.visualflow_compiler._load import EdgeEntry, read_edges
from abstractruntime.visualflow_compiler._model import EXEC_IN
from abstractruntime.visualflow_compiler.document import FlowDocument

FlowStatus = Literal["same", "changed", "added", "removed"]

_ABSENT: Final = object()
_TOP_LEVEL: Final = ("id", "name", "description", "interfaces")
_CODE: Final = ("code", "expression")
# What only the drawing uses, and what is compared in another way.
_NOT_SETTINGS: Final = DRAWING_KEYS | {
    *_CODE, "label", "inputs", "outputs", "pinDefaults", "codeBody",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; `what` says which part of the node or flow `kind` is about.

    `before` and `after` are JSON values, and None where there is nothing. Code also has `lines`,
    a unified diff.
    """

    kind: str
    what: str = ""
    before: JsonValue = None
    after: JsonValue = None
    node: str | None = None
    label: str | None = None
    lines: tuple[str, ...] = ()

    def to_dict(self) -> JsonObject:
        return {
            "kind": self.kind,
            "node": self.node,
            "label": self.label,
            "what": self.what,
            "before": self.before,
            "after": self.after,
            "lines": list(self.lines),
        }


@dataclass(frozen=True, slots=True)
class FlowDiff:
    """What changed in one flow."""

    flow_id: str
    status: FlowStatus
    changes: tuple[Change, ...] = ()

    def to_dict(self) -> JsonObject:
        changes = [change.to_dict() for change in self.changes]
        return {"flow_id": self.flow_id, "status": self.status, "changes": changes}


@dataclass(frozen=True, slots=True)
class Side:
    """One of two things that are compared: its flow documents by id, and where it starts."""

    flows: Mapping[str, FlowDocument] = field(default_factory=dict)
    entrypoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BundleDiff:
    """What changed between two sides."""

    flows: tuple[FlowDiff, ...]
    entrypoints: Change | None = None

    @property
    def is_different(self) -> bool:
        return self.entrypoints is not None or any(flow.status != "same" for flow in self.flows)

    def to_dict(self) -> JsonObject:
        """Give the `art-diff/1` document."""
        return {
            "format": "art-diff/1",
            "same": not self.is_different,
            "entrypoints": self.entrypoints.to_dict() if self.entrypoints else None,
            "flows": [flow.to_dict() for flow in self.flows],
        }


def diff_sides(before: Side, after: Side) -> BundleDiff:
    """Compare flow by flow; entrypoints count only where both sides name some."""
    ids = dict.fromkeys([*before.flows, *after.flows])
    flows = tuple(_diff_one(i, before.flows.get(i), after.flows.get(i)) for i in ids)
    entries = None
    if before.entrypoints and after.entrypoints and before.entrypoints != after.entrypoints:
        entries = Change(
            "entrypoints", before=list(before.entrypoints), after=list(after.entrypoints)
        )
    return BundleDiff(flows, entries)


def _diff_one(flow_id: str, before: FlowDocument | None, after: FlowDocument | None) -> FlowDiff:
    if before is None:
        return FlowDiff(flow_id, "added")
    if after is None:
        return FlowDiff(flow_id, "removed")
    changes = diff_flows(before, after)
    return FlowDiff(flow_id, "changed" if changes else "same", changes)


def diff_flows(before: FlowDocument, after: FlowDocument) -> tuple[Change, ...]:
    """Give what changed from one document to another: the flow, its nodes, its wires."""
    olds, news = ({e.id: e for e in document.flow.elements} for document in (before, after))
    renamed = match_elements(olds, news)
    return (
        *_flow_changes(before, after, renamed),
        *_node_changes(olds, news, renamed),
        *_wire_changes(read_edges(before.raw)[0], read_edges(after.raw)[0], renamed),
    )


# -- the flow --------------------------------------------------------------------------------


def _flow_changes(
    old: FlowDocument, new: FlowDocument, renamed: Mapping[str, str]
) -> Iterator[Change]:
    for name in _TOP_LEVEL:
        was, now = (getattr(document.flow, name) for document in (old, new))
        if was != now:
            yield Change("flow", name, _as_json(was), _as_json(now))
    entry_was, entry_now = _entry(old), _entry(new)
    if renamed.get(entry_was or "", entry_was) != entry_now:
        yield Change("entry", "", entry_was, entry_now)


def _entry(document: FlowDocument) -> str | None:
    entry = document.graph.entry
    return entry.node_id if entry else None


def _as_json(value: Any) -> JsonValue:
    return list(value) if isinstance(value, tuple) else value


# -- nodes -----------------------------------------------------------------------------------


def _node_changes(
    olds: Mapping[str, Element], news: Mapping[str, Element], renamed: Mapping[str, str]
) -> Iterator[Change]:
    for node_id, old in olds.items():
        new_id = renamed.get(node_id, node_id)
        if new_id in news and (new_id == node_id or node_id in renamed):
            yield from _pair_changes(old, news[new_id])
        else:
            yield _whole("node_removed", old)
    kept = {renamed.get(node_id, node_id) for node_id in olds}
    for node_id, new in news.items():
        if node_id not in kept:
            yield _whole("node_added", new)


def _whole(kind: str, element: Element) -> Change:
    is_new = kind == "node_added"
    return Change(
        kind,
        node=element.id,
        label=element.label or None,
        before=None if is_new else element.type,
        after=element.type if is_new else None,
    )


def _pair_changes(old: Element, new: Element) -> Iterator[Change]:
    changes = [
        *_compared("node_renamed", "", old.id, new.id),
        *_compared("label", "", old.label, new.label),
        *_compared("type", "", old.type, new.type),
        *_pin_changes("input", _pins(old, "inputs"), _pins(new, "inputs")),
        *_pin_changes("output", _pins(old, "outputs"), _pins(new, "outputs")),
        *_each("default", old.pin_defaults, new.pin_defaults),
        *_each("setting", _settings(old), _settings(new)),
        *_code_changes(old, new),
    ]
    for change in changes:
        yield Change(
            change.kind, change.what, change.before, change.after,
            node=new.id, label=new.label or None, lines=change.lines,
        )  # fmt: skip


def _compared(kind: str, what: str, was: JsonValue, now: JsonValue) -> Iterator[Change]:
    if not same_json(was, now):
        yield Change(kind, what, was, now)


def _each(kind: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys([*was, *now]):
        before, after = was.get(name, _ABSENT), now.get(name, _ABSENT)
        if before is _ABSENT or after is _ABSENT:
            verb = "added" if before is _ABSENT else "removed"
            value = after if before is _ABSENT else before
            sides = {"after": value} if before is _ABSENT else {"before": value}
            yield Change(f"{kind}_{verb}", name, **sides)
        elif not same_json(before, after):
            yield Change(kind, name, before, after)


def _settings(element: Element) -> JsonObject:
    return {name: value for name, value in element.data.items() if name not in _NOT_SETTINGS}


def _pins(element: Element, name: str) -> dict[str, str]:
    """Give id and type of the pins of one side, execution pins included, in order."""
    found = element.data.get(name)
    entries = (
        [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    )
    return {str(entry.get("id", "")): str(entry.get("type", "any")) for entry in entries}


def _pin_changes(side: str, was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Change]:
    yield from _each(f"{side}_pin", was, now)
    kept_was = [pin for pin in was if pin in now]
    kept_now = [pin for pin in now if pin in was]
    yield from _compared(f"{side}_order", "", kept_was, kept_now)


def _code_changes(old: Element, new: Element) -> Iterator[Change]:
    has_code = old.data.get("code") is not None or new.data.get("code") is not None
    for name in _CODE if has_code else (*_CODE, "codeBody"):
        was, now = (str(element.data.get(name) or "") for element in (old, new))
        if was != now:
            lines = difflib.unified_diff(was.splitlines(), now.splitlines(), n=2, lineterm="")
            yield Change("code", name, was, now, lines=tuple(lines)[2:])


def same_json(one: JsonValue, other: JsonValue) -> bool:
    """Tell whether two values are the same JSON, key order included: flows can see it."""
    return dump_line(one) == dump_line(other)


# -- wires -----------------------------------------------------------------------------------


def _wire_changes(
    old: Iterable[EdgeEntry], new: Iterable[EdgeEntry], renamed: Mapping[str, str]
) -> Iterator[Change]:
    """Compare what leads into each pin, or for control, where each handle leads."""
    was, now = _grouped(old, renamed), _grouped(new, {})
    for key in dict.fromkeys([*was, *now]):
        before, after = was.get(key, []), now.get(key, [])
        if before == after:
            continue
        if len(before) == len(after) == 1:
            yield Change("wire", "", before[0], after[0])
        elif sorted(before) == sorted(after):
            yield Change("wire_order", key[1], before, after)
        else:
            yield from (Change("wire_removed", before=w) for w in before if w not in after)
            yield from (Change("wire_added", after=w) for w in after if w not in before)
            if sorted(set(before)) == sorted(set(after)):
                yield Change("wire_order", key[1], before, after)


def _grouped(
    edges: Iterable[EdgeEntry], renamed: Mapping[str, str]
) -> dict[tuple[str, str], list[str]]:
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for edge in edges:
        source, target = (renamed.get(end, end) for end in (edge.source, edge.target))
        is_control = edge.pin == EXEC_IN
        key = (
            ("control", f"{source}.{edge.handle}")
            if is_control
            else ("data", f"{target}.{edge.pin}")
        )
        groups[key].append(f"{source}.{edge.handle} -> {target}.{edge.pin}")
    return dict(groups)
