"""Reading flow documents: JSON to `FlowContent`.

Reading is tolerant, as editors of several generations wrote these documents: what
cannot be understood is left out and reported. Only a document without an id, or one
that is not a JSON object, yields no flow at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from abstractruntime._json import JsonObject, escape_pointer, normalise
from abstractruntime._near import close_names
from abstractruntime.errors import InvalidValue
from abstractruntime.nodes.base import Element, ElementPin
from abstractruntime.visualflow_compiler._fields import (
    as_text,
    document_texts,
    entry_name,
    first_id,
    json_kind,
    missing_id,
    text_of,
)
from abstractruntime.visualflow_compiler._model import (
    EXEC_IN,
    EXEC_OUT,
    EXECUTION,
    DataEdge,
    ExecEdge,
    FlowContent,
)
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic, Severity

_LISTS = ("nodes", "edges", "interfaces")


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """A usable entry of `nodes`; `index` is its place there."""

    id: str
    type: str
    label: str
    data: JsonObject
    index: int


@dataclass(frozen=True, slots=True)
class EdgeEntry:
    """A usable entry of `edges`: four trimmed, non-empty ends."""

    source: str
    handle: str
    target: str
    pin: str
    index: int


def read_content(
    raw: Mapping[str, Any], *, is_normal: bool
) -> tuple[FlowContent, tuple[Diagnostic, ...]]:
    """Read what can be understood of a document, and say what was left out.

    A document without an id gives a flow with an empty id and an error finding. `is_normal`
    says that the document went through `normalise` already.
    """
    nodes, findings = read_nodes(raw)
    edges, edge_findings = read_edges(raw)
    findings += edge_findings
    flow_id = first_id(raw)
    if not flow_id:
        findings.insert(0, missing_id())
    elements, element_findings = _elements(nodes, edges, is_normal=is_normal)
    data_edges, exec_edges, end_findings = _split_edges(edges, {node.id for node in nodes})
    flow = FlowContent(
        id=flow_id,
        name=text_of(raw, "name"),
        description=text_of(raw, "description"),
        interfaces=tuple(document_texts(raw, "interfaces")),
        elements=elements,
        data_edges=data_edges,
        exec_edges=exec_edges,
        entry_node=entry_name(raw),
        raw=raw,
        positions=tuple(node.index for node in nodes),
    )
    return flow, (*findings, *element_findings, *end_findings)


def _entries(document: Mapping[str, Any], key: str) -> tuple[list[Any], list[Diagnostic]]:
    value = document.get(key)
    if isinstance(value, list):
        return value, []
    if key not in document:
        return [], _missing(document, key)
    if value is None and (renamed := _missing(document, key)):
        return [], renamed
    message = f"{key!r} is {json_kind(value)}, expected an array"
    return [], [_left_out("VF007", message, f"/{key}", severity="error")]


def _missing(document: Mapping[str, Any], key: str) -> list[Diagnostic]:
    """Say that a list is missing if another key looks like it; a flow of one node has no edges."""
    lists = [name for name, value in document.items() if isinstance(value, list)]
    near = close_names(key, [name for name in lists if name not in _LISTS])
    if not near:
        return []
    message = f"{key!r} is missing, and nothing reads {near[0]!r}"
    hint = f"rename {near[0]!r} to {key!r}"
    return [_left_out("VF007", message, f"/{escape_pointer(near[0])}", severity="error", hint=hint)]


def _left_out(
    code: str,
    message: str,
    pointer: str,
    *,
    severity: Severity = "warning",
    node_id: str | None = None,
    hint: str | None = None,
) -> Diagnostic:
    return Diagnostic(code, severity, message, pointer, node_id=node_id, hint=hint)


# --- nodes -----------------------------------------------------------------------------


def read_nodes(document: Mapping[str, Any]) -> tuple[list[NodeEntry], list[Diagnostic]]:
    """Give the usable entries of `nodes` in document order, and what was left out."""
    entries, findings = _entries(document, "nodes")
    nodes: list[NodeEntry] = []
    for index, entry in enumerate(entries):
        node_id = as_text(entry.get("id")) if isinstance(entry, dict) else ""
        if not node_id:
            what = "has no id" if isinstance(entry, dict) else "is not an object"
            findings.append(
                _left_out("VF008", f"node {index} {what}, it is left out", f"/nodes/{index}")
            )
            continue
        data = entry.get("data")
        label = data.get("label") if isinstance(data, dict) else None
        nodes.append(
            NodeEntry(
                id=node_id,
                type=_type_name(entry.get("type")),
                label=label if isinstance(label, str) else _plain_label(entry),
                data=dict(data) if isinstance(data, dict) else {},
                index=index,
            )
        )
    return nodes, findings


def _plain_label(entry: JsonObject) -> str:
    label = entry.get("label")
    return label if isinstance(label, str) else ""


def _type_name(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, dict):
        value = value.get("value")
    name = as_text(value)
    return name.removeprefix("NodeType.").lower() if name.startswith("NodeType.") else name


def _elements(
    nodes: Iterable[NodeEntry], edges: Iterable[EdgeEntry], *, is_normal: bool
) -> tuple[tuple[Element, ...], list[Diagnostic]]:
    wired: defaultdict[str, set[str]] = defaultdict(set)
    for edge in edges:
        if edge.pin != EXEC_IN and edge.handle != EXEC_OUT:
            wired[edge.target].add(edge.pin)
    findings: list[Diagnostic] = []
    elements = tuple(
        _element(
            node,
            node.data if is_normal else _storable(node, findings),
            frozenset(wired.get(node.id, ())),
        )
        for node in nodes
    )
    return elements, findings


def _element(node: NodeEntry, data: JsonObject, wired: frozenset[str]) -> Element:
    inputs, exec_inputs = _pins(data.get("inputs"))
    outputs, exec_outputs = _pins(data.get("outputs"))
    return Element(
        id=node.id,
        type=node.type,
        label=node.label,
        data=data,
        inputs=inputs,
        outputs=outputs,
        exec_inputs=exec_inputs,
        exec_outputs=exec_outputs,
        pin_defaults=_pin_defaults(data.get("pinDefaults")),
        wired=wired,
        declares_pins=bool(inputs or outputs or exec_inputs or exec_outputs),
    )


def _storable(node: NodeEntry, findings: list[Diagnostic]) -> JsonObject:
    pointer = f"/nodes/{node.index}/data"
    try:
        data: JsonObject = normalise(node.data)
    except InvalidValue as cause:
        path = str(cause.details.get("path", "")).rstrip("/")
        message = f"node {node.id!r} cannot be stored: {cause.message}"
        findings.append(
            _left_out("VF005", message, pointer + path, severity="error", node_id=node.id)
        )
        return {}
    return data


def _pins(value: Any) -> tuple[tuple[ElementPin, ...], tuple[str, ...]]:
    """Split a pin list into data pins and execution handles."""
    data: list[ElementPin] = []
    handles: list[str] = []
    for entry in value if isinstance(value, list) else ():
        if not isinstance(entry, dict):
            continue
        pin_id = entry.get("id")
        kind = entry.get("type")
        name = pin_id.strip() if isinstance(pin_id, str) else ""
        if kind == EXECUTION:
            handles.append(name)
        elif name:
            data.append(_pin(name, kind if isinstance(kind, str) else "any"))
    return tuple(data), tuple(handles)


# The same few pins occur in every document.
_pin = lru_cache(maxsize=4096)(ElementPin)


def _pin_defaults(value: Any) -> JsonObject:
    if not isinstance(value, dict):
        return {}
    return {key: item for key, item in value.items() if key}


# --- edges -----------------------------------------------------------------------------


def read_edges(document: Mapping[str, Any]) -> tuple[list[EdgeEntry], list[Diagnostic]]:
    """Give the usable entries of `edges` in document order, and what was left out."""
    entries, findings = _entries(document, "edges")
    edges: list[EdgeEntry] = []
    for index, entry in enumerate(entries):
        ends = _ends(entry)
        if ends is not None:
            edges.append(EdgeEntry(*ends, index))
            continue
        key, what = _edge_problem(entry)
        pointer = f"/edges/{index}" + (f"/{escape_pointer(key)}" if key else "")
        message = f"edge {index} {what}, so it leads nowhere"
        findings.append(_left_out("VF009", message, pointer, severity="error"))
    return edges, findings


def _ends(entry: Any) -> tuple[str, str, str, str] | None:
    """Give source, handle, target and pin of an edge; None when one of them is unusable."""
    if not isinstance(entry, dict):
        return None
    handle, pin = entry.get("sourceHandle"), entry.get("targetHandle")
    if not (isinstance(handle, str) and isinstance(pin, str)):
        return None
    ends = (as_text(entry.get("source")), handle.strip(), as_text(entry.get("target")), pin.strip())
    return ends if all(ends) else None


def _edge_problem(entry: Any) -> tuple[str, str]:
    """Say which end is unusable, and why."""
    if not isinstance(entry, dict):
        return "", "is not an object"
    for key in ("source", "target"):
        if not as_text(entry.get(key)):
            return key, f"has no {key}"
    handle = entry.get("sourceHandle")
    is_usable = isinstance(handle, str) and handle.strip()
    key = "targetHandle" if is_usable else "sourceHandle"
    return key, f"has no {key} text"


def _split_edges(
    edges: Iterable[EdgeEntry], known: set[str]
) -> tuple[tuple[DataEdge, ...], tuple[ExecEdge, ...], list[Diagnostic]]:
    data: list[DataEdge] = []
    execution: list[ExecEdge] = []
    findings: list[Diagnostic] = []
    for edge in edges:
        missing = _missing_end(edge, known)
        if missing:
            findings.append(missing)
        elif edge.pin == EXEC_IN:
            execution.append(ExecEdge(edge.source, edge.handle, edge.target, edge.index))
        elif edge.handle == EXEC_OUT:
            findings.append(_control_into_data(edge))
        else:
            data.append(DataEdge(edge.source, edge.handle, edge.target, edge.pin, edge.index))
    return tuple(data), tuple(execution), findings


def _missing_end(edge: EdgeEntry, known: set[str]) -> Diagnostic | None:
    for key, end in (("source", edge.source), ("target", edge.target)):
        if end not in known:
            return _left_out(
                "VF010",
                f"edge {edge.index} has {key} {end!r}, and no node has this id",
                f"/edges/{edge.index}/{key}",
                severity="error",
                hint="delete the edge, or restore the node",
            )
    return None


def _control_into_data(edge: EdgeEntry) -> Diagnostic:
    return _left_out(
        "VF011",
        f"edge {edge.index} leads from {EXEC_OUT!r} into the data pin {edge.pin!r}",
        f"/edges/{edge.index}/targetHandle",
        severity="error",
        node_id=edge.target,
        hint=f"connect {EXEC_OUT!r} to {EXEC_IN!r}, or a data output to {edge.pin!r}",
    )
