"""Flows built in Python, as units of the same program that drawn flows become.

Rules:
1. A node gets a copy of its input, so only its `output_key` changes the variables.
2. A chain that ends inside a sequence or parallel returns to it; otherwise the run ends with
   `{"result": ..., "success": true}`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeGuard

from abstractruntime._json import JsonObject, JsonValue, escape_pointer, normalise
from abstractruntime.core.models import Effect, EffectType, RunState, StepPlan
from abstractruntime.core.spec import WorkflowSpec
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
from abstractruntime.nodes.budget import bounded
from abstractruntime.nodes.paths import assign
from abstractruntime.nodes.registry import find_node_type
from abstractruntime.visualflow_compiler._lower._handlers import (
    chosen_branch,
    go_on,
    lower_program,
    parent_of,
    run_node,
)
from abstractruntime.visualflow_compiler._lower._program import Program, Unit
from abstractruntime.visualflow_compiler._lower._state import own, result_key
from abstractruntime.visualflow_compiler._lower._step import NodeScope, Services, Step
from abstractruntime.visualflow_compiler._model import EXEC_OUT
from abstractruntime.visualflow_compiler.flow import Flow, FlowNode

_TRUTH = frozenset({"true", "false"})
_SEQUENTIAL = frozenset({"sequence", "parallel"})
_CHILD = EffectType.START_SUBWORKFLOW.value

Plan: TypeAlias = Callable[[Step, str | None], PlannedEffect]
"""Plans the effect of a node in a step, from the variable that its input key names."""


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
    units = {node.id: _unit(flow, node) for node in flow.nodes.values()}
    entry = str(flow.entry_node)
    program = Program(flow.flow_id, flow.flow_id, entry, units, tuple(units), ending=_ending)
    return lower_program(program, services)


def _unit(flow: Flow, node: FlowNode) -> Unit:
    targets = _targets(flow, node)
    node_type = _type_of(node)
    element = Element(node.id, node_type.type, declares_pins=False)
    return Unit(element, node_type, targets, node.input_key, node.output_key or None)


def _ending(value: JsonValue) -> JsonObject:
    return {"result": value, "success": True}


# --- what nodes are --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Call(NodeType):
    """Calls a function with the node's input."""

    function: Callable[[Any], Any]
    type = "function"


@dataclass(frozen=True, slots=True)
class _Request(NodeType):
    """Asks for an effect, whose result is the node's."""

    plan: Plan
    result_key: str
    type = "effect"


def _type_of(node: FlowNode) -> NodeType:
    """Choose what a node is by its handler or effect type."""
    control = find_node_type(node.effect_type or "")
    if node.effect_type in _SEQUENTIAL and isinstance(control, ControlNode):
        return control
    if node.effect_type == _CHILD:
        workflow_id = str((node.effect_config or {}).get("workflow_id") or "")
        return _child(node, workflow_id, _flow_vars)
    if node.effect_type is not None:
        drawn = _effect_type(node.effect_type)
        plan = partial(_planned, drawn, _configured(node, drawn))
        return _Request(plan, node.output_key or result_key(node.id))
    handler = node.handler
    if isinstance(handler, Flow):
        return _child(node, handler.flow_id, _flow_vars)
    if _is_agent(handler):
        return _child(node, handler.workflow.workflow_id, _agent_vars)
    if callable(handler):
        return _Call(handler)
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


def _configured(node: FlowNode, drawn: EffectNode) -> Element:
    """Give the node as a document would hold it."""
    config = node.effect_config or {}
    data = {**config, "effectConfig": config, "eventConfig": config}
    return Element(node.id, drawn.type, data=data, declares_pins=False)


def _child(
    node: FlowNode, workflow_id: str, variables: Callable[[RunState, str | None], JsonObject]
) -> _Request:
    """Run another workflow in place: the node's result is that of the child run."""

    def plan(step: Step, key: str | None) -> PlannedEffect:
        given = variables(step.run, key)
        return PlannedEffect(_CHILD, {"workflow_id": workflow_id, "vars": given, "async": False})

    return _Request(plan, node.output_key or _child_key(node.id))


def _child_key(node_id: str) -> str:
    if "." in node_id:
        return f"/_flow/{escape_pointer(node_id)}/result"
    return f"_flow.{node_id}.result"


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


@run_node.register
def _run_call(node: _Call, step: Step, unit: Unit) -> StepPlan:
    value = bounded(normalise(node.function(_input(step.run, unit.input_key))))
    if unit.output_key is not None:
        assign(step.run.vars, unit.output_key, own(value))
    return go_on(step, unit, chosen_branch(unit, value), _ending(value))


@run_node.register
def _run_request(node: _Request, step: Step, unit: Unit) -> StepPlan:
    planned = node.plan(step, unit.input_key)
    effect = Effect(EffectType(planned.effect), own(normalise(planned.payload)), node.result_key)
    following = unit.targets.get(EXEC_OUT) or parent_of(step, unit)
    return StepPlan(unit.id, effect=effect, next_node=following)


def _planned(drawn: EffectNode, element: Element, step: Step, key: str | None) -> PlannedEffect:
    """Plan the effect that the node type plans in a document."""
    inputs, scope = _pins(drawn, step.run, key), NodeScope(step, None)
    if isinstance(drawn, StagedNode):
        planned: object = drawn.advance(element, {}, inputs, scope)
    else:
        planned = drawn.plan(element, inputs, scope)
    if not isinstance(planned, PlannedEffect):
        raise NodeError(f"{drawn.type} node needs more than one effect; draw it instead")
    return planned


def _pins(drawn: EffectNode, run: RunState, key: str | None) -> JsonObject:
    value = _input(run, key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        return {drawn.bare_input or drawn.inputs[0].id: value}
    # Control-plane pins only take what was given to the node.
    names = {
        name: pin.id
        for pin in drawn.inputs
        if key is not None or not pin.control_plane
        for name in (*pin.aliases, pin.id)
    }
    return {names[name]: item for name, item in value.items() if name in names}
