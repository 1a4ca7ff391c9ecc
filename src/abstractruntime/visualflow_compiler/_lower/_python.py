"""Flows built in Python, as workflows.

Rules:
1. A node gets a copy of its input, so only its `output_key` changes the variables.
2. A chain that ends inside a sequence or parallel returns to it; otherwise the run ends with
   `{"result": ..., "success": true}`.
3. What a function raises ends the run, completed, with the envelope `{error, success: false,
   node}`, as in compiled documents.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from abstractruntime._json import (
    JsonObject,
    JsonValue,
    escape_pointer,
    normalise,
    replace_surrogates,
)
from abstractruntime.core.models import Effect, EffectType, RunState, StepPlan
from abstractruntime.core.spec import NodeHandler, RunContext, WorkflowSpec
from abstractruntime.errors import FlowError
from abstractruntime.nodes.base import (
    ControlNode,
    EffectNode,
    Element,
    NodeError,
    NodeType,
    PlannedEffect,
    StagedNode,
)
from abstractruntime.nodes.paths import assign
from abstractruntime.nodes.registry import find_node_type
from abstractruntime.visualflow_compiler._lower._program import Program
from abstractruntime.visualflow_compiler._lower._state import Durable, own, result_key
from abstractruntime.visualflow_compiler._lower._step import NodeScope, Services, Step
from abstractruntime.visualflow_compiler._model import EXEC_OUT
from abstractruntime.visualflow_compiler.flow import Flow, FlowNode

_LOG = logging.getLogger(__name__)
_TRUTH = frozenset({"true", "false"})
_SEQUENTIAL = frozenset({"sequence", "parallel"})
_CHILD = EffectType.START_SUBWORKFLOW.value

Visit = Callable[[Step], StepPlan]


def lower_python(flow: Flow, services: Services | None = None) -> WorkflowSpec:
    """Give the workflow of a flow that was built in Python.

    Workflows of nested flows are not part of it: the host registers them under their own ids.

    Raises:
        FlowError: the flow is not sound, or a node asks for an unknown effect.
        TypeError: the handler of a node is no function, flow or agent.
    """
    problems = flow.validate()
    if problems:
        raise FlowError(f"Invalid flow: {'; '.join(problems)}", flow_id=flow.flow_id)
    entry = str(flow.entry_node)
    program = Program(flow.flow_id, flow.flow_id, entry, {}, tuple(flow.nodes), frozenset())
    chosen = services or Services()
    nodes = {
        node.id: _handler(program, chosen, node.id, _visit(node, _targets(flow, node)))
        for node in flow.nodes.values()
    }
    return WorkflowSpec(flow.flow_id, entry, nodes)


def _handler(program: Program, services: Services, node_id: str, visit: Visit) -> NodeHandler:
    def handle(run: RunState, context: RunContext) -> StepPlan:
        try:
            return visit(Step(program, services, run, context))
        # Rule 3: whatever the author's function raises is the run's output.
        except Exception as cause:  # noqa: BLE001 - see above
            _LOG.debug("node %r of run %s failed", node_id, run.run_id, exc_info=cause)
            text = replace_surrogates(str(cause) or type(cause).__name__)
            run.vars["_flow_error"] = text
            run.vars["_flow_error_node"] = node_id
            output = {"error": text, "success": False, "node": node_id}
            return StepPlan(node_id, complete_output=output)

    return handle


def _visit(node: FlowNode, targets: Mapping[str, str]) -> Visit:
    """Choose what a node does by what its handler or effect type is."""
    control = find_node_type(node.effect_type or "")
    if node.effect_type in _SEQUENTIAL and isinstance(control, ControlNode):
        return _Turns(node.id, targets, control)
    if node.effect_type == _CHILD:
        workflow_id = str((node.effect_config or {}).get("workflow_id") or "")
        return _Child(node, targets, workflow_id, _flow_vars)
    if node.effect_type is not None:
        return _Request(node, targets, _effect_type(node.effect_type))
    handler = node.handler
    if isinstance(handler, Flow):
        return _Child(node, targets, handler.flow_id, _flow_vars)
    if _is_agent(handler):
        return _Child(node, targets, handler.workflow.workflow_id, _agent_vars)
    if callable(handler):
        return _Call(node, targets, handler)
    raise TypeError(
        f"Unknown handler type for node '{node.id}': {type(handler)}. "
        "Expected agent, function, or Flow."
    )


def _is_agent(handler: Any) -> TypeGuard[Any]:
    return isinstance(getattr(handler, "workflow", None), WorkflowSpec)


def _effect_type(name: str) -> EffectNode:
    node_type = find_node_type(name)
    if not isinstance(node_type, EffectNode):
        hint = "a flow built in Python has no data edges: loop with a branch, or draw the flow"
        known = node_type is not None
        raise FlowError(f"Unknown effect type: {name}", hint=hint if known else None)
    return node_type


# --- edges -----------------------------------------------------------------------------


def _targets(flow: Flow, node: FlowNode) -> dict[str, str]:
    """Give the next node by handle.

    Raises:
        FlowError: the handles do not say which edge control takes.
    """
    edges = [edge for edge in flow.edges if edge.source == node.id]
    handles = [edge.source_handle or EXEC_OUT for edge in edges]
    if node.effect_type in _SEQUENTIAL:
        if any(not edge.source_handle for edge in edges):
            raise FlowError(
                f"Control node '{node.id}' has an execution edge with no source_handle."
            )
        wrong = sorted(h for h in handles if not _is_turn(node.effect_type, h))
        if wrong:
            raise FlowError(f"Control node '{node.id}' has unsupported execution outputs: {wrong}")
    elif len(edges) == 1 and not _is_branch(handles[0]) and handles[0] != EXEC_OUT:
        what = f"has unsupported branching output '{handles[0]}'"
        raise FlowError(f"Node '{node.id}' {what}. Branching is not yet supported.")
    elif len(edges) > 1 and not _is_choice(handles):
        what = "has multiple outgoing edges"
        raise FlowError(f"Node '{node.id}' {what}. Branching is not yet supported.")
    return {handle: edge.target for handle, edge in zip(handles, edges, strict=True)}


def _is_turn(control: str | None, handle: str) -> bool:
    return handle.startswith("then:") or (control == "parallel" and handle == "completed")


def _is_branch(handle: str) -> bool:
    return handle in _TRUTH or handle == "default" or handle.startswith("case:")


def _is_choice(handles: list[str]) -> bool:
    if len(set(handles)) < len(handles):
        return False
    return set(handles) <= _TRUTH or all(_is_branch(h) and h not in _TRUTH for h in handles)


def _following(state: Durable, node_id: str, target: str | None) -> str | None:
    active = state.active
    return target or (active if active != node_id else None)


# --- inputs ----------------------------------------------------------------------------


def _input(run: RunState, key: str | None) -> JsonValue:
    if key is not None:
        return own(run.vars.get(key))
    return own({name: value for name, value in run.vars.items() if name[:1] != "_"})


def _flow_vars(run: RunState, key: str | None) -> JsonObject:
    if key is None:
        return {"context": _context(run)}
    value = _input(run, key)
    return value if isinstance(value, dict) else {"input": value}


def _agent_vars(run: RunState, key: str | None) -> JsonObject:
    """Give the variables of an agent: `task` of its input is its task, the rest its context."""
    given = _context(run) if key is None else _input(run, key)
    if not isinstance(given, dict):
        given = {"task": "" if given is None else str(given)}
    context = {"task": "", "messages": [], **given}
    return {"context": context, "scratchpad": {}, "_runtime": {"inbox": []}, "_temp": {}}


def _context(run: RunState) -> JsonObject:
    context = run.vars.get("context")
    return own(context) if isinstance(context, dict) else {}


# --- what nodes do ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Call:
    """Calls a function with the node's input."""

    node: FlowNode
    targets: Mapping[str, str]
    function: Callable[[Any], Any]

    def __call__(self, step: Step) -> StepPlan:
        value = normalise(self.function(_input(step.run, self.node.input_key)))
        if self.node.output_key:
            assign(step.run.vars, self.node.output_key, own(value))
        following = _following(step.state, self.node.id, self._chosen(value))
        if following is not None:
            return StepPlan(self.node.id, next_node=following)
        return StepPlan(self.node.id, complete_output={"result": own(value), "success": True})

    def _chosen(self, value: JsonValue) -> str | None:
        if not self.targets or EXEC_OUT in self.targets:
            return self.targets.get(EXEC_OUT)
        branch = value.get("branch") if isinstance(value, dict) else None
        if not isinstance(branch, str):
            raise NodeError("Branching node did not return a string 'branch' value")
        if branch not in self.targets and not _is_branch(branch):
            raise NodeError(f"Unknown branch '{branch}'")
        return self.targets.get(branch)


@dataclass(frozen=True, slots=True)
class _Request:
    """Asks for the effect that the node type of this name plans in a document."""

    node: FlowNode
    targets: Mapping[str, str]
    type: EffectNode

    def __call__(self, step: Step) -> StepPlan:
        config = self.node.effect_config or {}
        data = {**config, "effectConfig": config, "eventConfig": config}
        element = Element(self.node.id, self.type.type, data=data, declares_pins=False)
        inputs = self._inputs(step.run)
        scope = NodeScope(step, None)
        if isinstance(self.type, StagedNode):
            planned: object = self.type.advance(element, {}, inputs, scope)
        else:
            planned = self.type.plan(element, inputs, scope)
        if not isinstance(planned, PlannedEffect):
            raise NodeError(f"{self.type.type} node needs more than one effect; draw it instead")
        key = self.node.output_key or result_key(self.node.id)
        return _asking(
            step,
            self.node.id,
            self.targets,
            Effect(EffectType(planned.effect), own(normalise(planned.payload)), key),
        )

    def _inputs(self, run: RunState) -> JsonObject:
        value = _input(run, self.node.input_key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            return {self.type.bare_input or self.type.inputs[0].id: value}
        names = _names(self.type, is_explicit=self.node.input_key is not None)
        return {names[key]: item for key, item in value.items() if key in names}


def _names(node_type: NodeType, *, is_explicit: bool) -> dict[str, str]:
    """Map every spelling of the pins; control-plane pins only take what was given to the node."""
    return {
        name: pin.id
        for pin in node_type.inputs
        if is_explicit or not pin.control_plane
        for name in (*pin.aliases, pin.id)
    }


@dataclass(frozen=True, slots=True)
class _Child:
    """Runs another workflow in place: the node's result is that of the child run."""

    node: FlowNode
    targets: Mapping[str, str]
    workflow_id: str
    variables: Callable[[RunState, str | None], JsonObject]

    def __call__(self, step: Step) -> StepPlan:
        payload: JsonObject = {
            "workflow_id": self.workflow_id,
            "vars": normalise(self.variables(step.run, self.node.input_key)),
            "async": False,
        }
        key = self.node.output_key or _child_key(self.node.id)
        effect = Effect(EffectType.START_SUBWORKFLOW, payload, key)
        return _asking(step, self.node.id, self.targets, effect)


def _child_key(node_id: str) -> str:
    if "." in node_id:
        return f"/_flow/{escape_pointer(node_id)}/result"
    return f"_flow.{node_id}.result"


def _asking(step: Step, node_id: str, targets: Mapping[str, str], effect: Effect) -> StepPlan:
    following = _following(step.state, node_id, targets.get(EXEC_OUT))
    return StepPlan(node_id, effect=effect, next_node=following)


@dataclass(frozen=True, slots=True)
class _Turns:
    """Runs its branches one after the other, as in documents."""

    node_id: str
    targets: Mapping[str, str]
    type: ControlNode

    def __call__(self, step: Step) -> StepPlan:
        control, state = self.type, step.state
        element = Element(self.node_id, control.type, declares_pins=False)
        frame = state.frame(self.node_id)
        if frame is None:
            frame = control.open_frame(element, {}, tuple(self.targets))
            state.push(self.node_id, frame)
        else:
            state.unwind_to(self.node_id)
        turn = control.next_turn(element, frame, {}, {})
        if turn is not None and turn.handle in self.targets:
            return StepPlan(self.node_id, next_node=self.targets[turn.handle])
        state.pop(self.node_id)
        exit_target = self.targets.get(control.exit_handle or "")
        following = _following(state, self.node_id, exit_target)
        if following is not None:
            return StepPlan(self.node_id, next_node=following)
        return StepPlan(self.node_id, complete_output={"result": None, "success": True})
