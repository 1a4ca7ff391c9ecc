"""Compiling flow documents: load, check, lower."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.nodes.subflow import subflow_id
from abstractruntime.visualflow_compiler._check import check_flow, require_ok
from abstractruntime.visualflow_compiler._graph import analyse
from abstractruntime.visualflow_compiler._load import document_id, document_mapping, parse_flow
from abstractruntime.visualflow_compiler._lower import Services, lower
from abstractruntime.visualflow_compiler._model import Flow
from abstractruntime.visualflow_compiler.models import VisualFlow

__all__ = [
    "Services",
    "compile_flow",
    "compile_visualflow",
    "compile_visualflow_tree",
    "visual_to_flow",
]


# Compat: 0.4.2 compiled flows with edges to deleted nodes; `art check` refuses them.
_LEFT_OUT = frozenset({"VF010"})


def compile_visualflow(raw: Any, *, services: Services | None = None) -> WorkflowSpec:
    """Compile a flow document into a workflow.

    Args:
        raw: The document as a dict, or an object with `model_dump()` or `dict()`.
        services: What nodes may use of the host: randomness, time, the code sandbox.

    Raises:
        TypeError: `raw` is none of these.
        FlowError: the document has errors; `findings` lists all of them.
    """
    return compile_flow(visual_to_flow(raw), services=services)


def visual_to_flow(visual: Any) -> Flow:
    """Give the typed form of a document, ready for `compile_flow`, which checks it.

    Args:
        visual: A `VisualFlow`, or whatever `compile_visualflow` takes.

    Raises:
        TypeError: `visual` is none of these.
        FlowError: the document has no id.
    """
    document = _document(visual)
    document_id(document)
    flow, _ = parse_flow(document)
    return flow


def compile_flow(flow: Flow, *, services: Services | None = None) -> WorkflowSpec:
    """Compile a flow that was read already.

    Raises:
        FlowError: the flow has errors; `findings` lists all of them.
    """
    require_ok(check_flow(flow), tolerated=_LEFT_OUT)
    return lower(analyse(flow), services)


def compile_visualflow_tree(
    *, root_id: str | None = None, flows_by_id: Mapping[str, Any], services: Services | None = None
) -> dict[str, WorkflowSpec]:
    """Compile a flow and every flow it runs through subflow nodes, each once.

    Args:
        root_id: Key of the first flow; the map's first key when it is None or blank.
        flows_by_id: Documents by id. Ids that are not in the map are left to the host.
        services: As in `compile_visualflow`.

    Returns:
        The workflows by their own id; empty when the root is not in the map.

    Raises:
        TypeError: a document is neither a dict nor an object that gives one.
        FlowError: a document of the tree has errors.
    """
    parsed = {str(key): visual_to_flow(raw) for key, raw in flows_by_id.items()}
    root = (root_id or "").strip() or next(iter(parsed), "")
    specs: dict[str, WorkflowSpec] = {}
    seen = {root}
    waiting = deque([root])
    while waiting:
        key = waiting.popleft()
        if key not in parsed:
            continue
        flow = parsed[key]
        specs[flow.id] = compile_flow(flow, services=services)
        for child in _children(flow):
            if child not in seen:
                seen.add(child)
                waiting.append(child)
    return specs


def _children(flow: Flow) -> Iterable[str]:
    ids = (subflow_id(e.data) for e in flow.elements if e.type == "subflow")
    return (child for child in ids if child)


def _document(visual: Any) -> Mapping[str, Any]:
    if not isinstance(visual, VisualFlow):
        return document_mapping(visual)
    return {
        "id": visual.id,
        "name": visual.name,
        "description": visual.description,
        "interfaces": list(visual.interfaces),
        "entryNode": visual.entryNode,
        "nodes": [{"id": n.id, "type": n.type, "data": n.data} for n in visual.nodes],
        "edges": [
            {
                "source": e.source,
                "sourceHandle": e.sourceHandle,
                "target": e.target,
                "targetHandle": e.targetHandle,
            }
            for e in visual.edges
        ],
    }
