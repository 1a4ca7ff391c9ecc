"""Compiling flow documents: load, check, lower."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from abstractruntime.agents.port import AgentWorkflows
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.nodes.names import agent_workflow_id
from abstractruntime.nodes.registry import facts_of
from abstractruntime.visualflow_compiler._drawn import DrawnFlow
from abstractruntime.visualflow_compiler._kept import KeptDocuments
from abstractruntime.visualflow_compiler._lower._handlers import lower_program
from abstractruntime.visualflow_compiler._lower._program import build_program
from abstractruntime.visualflow_compiler._lower._python import lower_python
from abstractruntime.visualflow_compiler._lower._step import Services
from abstractruntime.visualflow_compiler._model import FlowContent
from abstractruntime.visualflow_compiler.check import compilable
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.flow import Flow
from abstractruntime.visualflow_compiler.listeners import flow_listeners
from abstractruntime.visualflow_compiler.models import VisualFlow

__all__ = [
    "Services",
    "compile_flow",
    "compile_visualflow",
    "compile_visualflow_tree",
    "visual_to_flow",
]


def compile_visualflow(raw: Any, *, services: Services | None = None) -> WorkflowSpec:
    """Compile a flow document into a workflow.

    Args:
        raw: The document as a dict, a `FlowDocument`, or an object with `model_dump()` or `dict()`.
        services: What nodes may use of the host: randomness, time, the code sandbox.

    Raises:
        TypeError: `raw` is none of these.
        FlowError: the document has errors; `findings` lists all of them.
    """
    flow = visual_to_flow(raw)
    spec = compile_flow(flow, services=services)
    return replace(spec, source=KeptDocuments(flow.flow_id, {flow.flow_id: flow.document}))


def visual_to_flow(visual: Any) -> DrawnFlow:
    """Give the flow of a document, ready for `compile_flow`, which checks it.

    Args:
        visual: A `VisualFlow`, or whatever `compile_visualflow` takes.

    Returns:
        A `Flow` that cannot be added to. A node of it can be tried without a run:
        `flow.nodes[id].handler(input)`.

    Raises:
        TypeError: `visual` is none of these.
        FlowError: the document has no id.
    """
    document = FlowDocument.of(asdict(visual) if isinstance(visual, VisualFlow) else visual)
    document.require_id()
    return DrawnFlow(document)


def compile_flow(flow: Flow, *, services: Services | None = None) -> WorkflowSpec:
    """Compile a flow that was built in Python, or read by `visual_to_flow`.

    The handlers of the workflow keep nothing between calls: they may serve any number of runs
    and threads at once, as far as the functions in the flow do.

    Args:
        flow: The flow. Flows nested in it are not compiled along: register each of them.
        services: As in `compile_visualflow`.

    Raises:
        FlowError: the flow has errors; a drawn flow lists all of them in `findings`.
        TypeError: the handler of a node is no function, flow or agent.
    """
    if not isinstance(flow, DrawnFlow):
        return lower_python(flow, services)
    compilable(flow.document)
    return lower_program(build_program(flow.document.graph), services)


def compile_visualflow_tree(
    *,
    root_id: str | None = None,
    flows_by_id: Mapping[str, Any],
    services: Services | None = None,
    agents: AgentWorkflows | None = None,
) -> dict[str, WorkflowSpec]:
    """Compile a flow and every flow it runs through subflow nodes, each once, with its listeners.

    Args:
        root_id: Key of the first flow; the map's first key when it is None or blank.
        flows_by_id: Documents by id. Ids that are not in the map are left to the host.
        services: As in `compile_visualflow`.
        agents: Makes a workflow for each agent node; without it they are left to the host.

    Returns:
        The workflows by their own id, those of agents included; empty when the root is not in
        the map.

    Raises:
        TypeError: a document is neither a dict nor an object that gives one.
        FlowError: a document of the tree has errors.
    """
    services = services or Services()  # one for all of them, as they belong together
    parsed = {str(key): visual_to_flow(raw) for key, raw in flows_by_id.items()}
    documents = {key: flow.document for key, flow in parsed.items()}
    root = (root_id or "").strip() or next(iter(parsed), "")
    specs: dict[str, WorkflowSpec] = {}
    seen = {root}
    waiting = deque([root])
    while waiting:
        key = waiting.popleft()
        if key not in parsed:
            continue
        flow = parsed[key]
        spec = compile_flow(flow, services=services)
        specs[flow.flow_id] = replace(spec, source=KeptDocuments(flow.flow_id, documents))
        specs |= _agent_workflows(flow.document.flow, agents) if agents is not None else {}
        for listener in flow_listeners(flow.document):
            spec = compile_visualflow(listener.document, services=services)
            specs[listener.workflow_id] = spec
        for child in _children(flow.document.flow):
            if child not in seen:
                seen.add(child)
                waiting.append(child)
    return specs


def _agent_workflows(flow: FlowContent, agents: AgentWorkflows) -> dict[str, WorkflowSpec]:
    """Give the workflows of a flow's agent nodes, under the ids that the nodes run."""
    specs = {}
    for element in flow.elements:
        if facts_of(element.type).runs_agent:
            config = element.config("agentConfig")
            workflow_id = agent_workflow_id(flow.id, element.id, config)
            made = agents(flow.id, element.id, config)
            specs[workflow_id] = replace(made, workflow_id=workflow_id)
    return specs


def _children(flow: FlowContent) -> Iterable[str]:
    ids = (facts_of(element.type).subflow(element) for element in flow.elements)
    return (child for child in ids if child)
