"""Which subflows a flow document can start, read from the raw document.

Only nodes that execution can reach count, as far as the document has execution at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CHILD_KEYS = ("subflowId", "flowId", "workflowId", "workflow_id")
_EXEC_IN = "exec-in"


def subflow_ids(document: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Give `(node id, child flow id)` of every reachable subflow node, in node order."""
    nodes = [node for node in _objects(document.get("nodes")) if node.get("id") is not None]
    reachable = _reachable(document, nodes)
    return [
        (str(node["id"]), _child_id(node))
        for node in nodes
        if _node_type(node) == "subflow" and str(node["id"]) in reachable
    ]


def _reachable(document: Mapping[str, Any], nodes: list[Mapping[str, Any]]) -> set[str]:
    edges = [e for e in _objects(document.get("edges")) if e.get("targetHandle") == _EXEC_IN]
    following: dict[str, list[str]] = {}
    for edge in edges:
        following.setdefault(str(edge.get("source")), []).append(str(edge.get("target")))
    targets = {target for group in following.values() for target in group}
    executable = [
        str(node["id"])
        for node in nodes
        if _has_exec_pin(node) or str(node["id"]) in targets or str(node["id"]) in following
    ]
    if not executable:
        return {str(node["id"]) for node in nodes}
    entry = str(document.get("entryNode") or "")
    listeners = {str(node["id"]) for node in nodes if str(_node_type(node)).startswith("on_")}
    starts = [node_id for node_id in executable if node_id == entry or node_id in listeners]
    starts = starts or [node_id for node_id in executable if node_id not in targets] or executable
    return _walk(starts, following)


def _walk(starts: Iterable[str], following: Mapping[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    stack = list(starts)
    while stack:
        node_id = stack.pop()
        if node_id not in seen:
            seen.add(node_id)
            stack.extend(following.get(node_id, ()))
    return seen


def _has_exec_pin(node: Mapping[str, Any]) -> bool:
    data = _data(node)
    pins = [*_objects(data.get("inputs")), *_objects(data.get("outputs"))]
    return any(pin.get("type") == "execution" for pin in pins)


def _child_id(node: Mapping[str, Any]) -> str | None:
    data = _data(node)
    for key in _CHILD_KEYS:
        value = data.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def _node_type(node: Mapping[str, Any]) -> Any:
    kind = node.get("type")
    inner = _data(node).get("nodeType")
    return "subflow" if "subflow" in (kind, inner) else (inner or kind)


def _data(node: Mapping[str, Any]) -> Mapping[str, Any]:
    data = node.get("data")
    return data if isinstance(data, dict) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
