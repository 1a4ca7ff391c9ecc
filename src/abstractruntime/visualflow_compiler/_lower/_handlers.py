"""From units to node handlers: one body per class of node types, and how chains of steps end.

Rules:
1. A chain that ends inside a control node returns to that node; otherwise the run ends.
2. Whatever goes wrong while a node is planned ends the run, completed, with the envelope
   `{error, success: false, node}`, or makes it a value; see `_failures`. Failing effects
   are the kernel's business.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

from abstractruntime._json import JsonObject, JsonValue, normalise
from abstractruntime.core.models import Effect, EffectType, RunState, StepPlan
from abstractruntime.core.spec import NodeHandler, RunContext, WorkflowSpec
from abstractruntime.core.vars import FLOW_ERROR, FLOW_ERROR_FACTS, FLOW_ERROR_NODE, TEMP
from abstractruntime.nodes.base import (
    MISSING,
    ControlNode,
    EffectNode,
    Finish,
    NodeError,
    NodeType,
    PassThroughNode,
    PlannedEffect,
    Stage,
    StagedNode,
    Turn,
)
from abstractruntime.nodes.budget import bounded
from abstractruntime.nodes.paths import assign
from abstractruntime.visualflow_compiler._lower._failures import (
    Cause,
    FailedElsewhere,
    failure_of,
    forget_failure,
    note_failure,
    require_stage,
    tolerant,
    with_kept_calls,
)
from abstractruntime.visualflow_compiler._lower._program import Program, Unit
from abstractruntime.visualflow_compiler._lower._state import AMBIENT, own, result_key
from abstractruntime.visualflow_compiler._lower._step import Services, Step
from abstractruntime.visualflow_compiler._model import EXEC_OUT

_ENDING_BRANCHES = ("true", "false", "default")


def lower_program(program: Program, services: Services | None) -> WorkflowSpec:
    """Give the workflow of a program.

    The node table is a plain dict that hosts may wrap. Handlers keep nothing between
    calls: they may serve any number of runs and threads at once.
    """
    units = [program.units[node_id] for node_id in program.steps]
    chosen = services or Services()
    nodes = {unit.id: make_handler(program, unit, chosen) for unit in units}
    guarded = frozenset(unit.id for unit in units if unit.type.touches_files)
    kept = frozenset({AMBIENT, TEMP})
    return WorkflowSpec(program.flow_id, program.entry, nodes, guarded, kept=kept)


def make_handler(program: Program, unit: Unit, services: Services) -> NodeHandler:
    """Give the handler of one node: a function of the run without state of its own."""
    body = run_node.dispatch(type(unit.type))

    def handle(run: RunState, context: RunContext) -> StepPlan:
        step = Step(program, services, run, context)
        try:
            _store_mapped(step)
            if unit.element.goes_on:
                forget_failure(step.state, unit)
                require_stage(step.state, unit)
            if unit.closed_key:
                raise NodeError(unit.closed_key)
            plan = body(unit.type, step, unit)
        # Rule 2: the error path of compiled flows; what is caught is the run's output.
        except Exception as cause:  # noqa: BLE001 - see above
            return _failure(step, unit, cause)
        return tolerant(plan) if unit.element.goes_on else plan

    return handle


def _failure(step: Step, unit: Unit, cause: Exception) -> StepPlan:
    import logging  # noqa: PLC0415 - few flows fail

    run = step.run
    logging.getLogger(__name__).debug(
        "node %r of run %s failed", unit.id, run.run_id, exc_info=cause
    )
    known = Cause.of(cause)
    following = unit.targets.get(EXEC_OUT) or parent_of(step, unit)
    if unit.element.goes_on and following is not None:
        note_failure(step.state, unit, known)
        return StepPlan(unit.id, next_node=following, failed=True)
    run.vars[FLOW_ERROR] = known.error
    run.vars[FLOW_ERROR_NODE] = unit.id
    facts = with_kept_calls(known.facts, step.services.artifacts, run.run_id)
    run.vars.update({FLOW_ERROR_FACTS[name]: fact for name, fact in facts.items()})
    # Compat: the envelope names the step, as in 0.4.2, whichever node it had asked.
    output = {"error": known.error, "success": False, "node": unit.id}
    return StepPlan(unit.id, complete_output=output)


# --- how chains end --------------------------------------------------------------------


def go_on(step: Step, unit: Unit, target: str | None, output: JsonObject) -> StepPlan:
    """Continue at `target`, else in the enclosing control node, else end the run with `output`."""
    following = target or parent_of(step, unit)
    if following is not None:
        return StepPlan(unit.id, next_node=following)
    return StepPlan(unit.id, complete_output=own(normalise(output)))


def parent_of(step: Step, unit: Unit) -> str | None:
    active = step.state.active
    return active if active != unit.id else None


def _closing(value: JsonValue) -> JsonObject:
    """Give the run output for the last value of a chain."""
    if not isinstance(value, dict):
        return {"response": value, "success": True}
    return value if "success" in value else {**value, "success": True}


# --- function-like nodes ---------------------------------------------------------------


@singledispatch
def run_node(node: NodeType, step: Step, unit: Unit) -> StepPlan:
    """Plan one visit of a node. A pure type declared with execution pins is a step, too."""
    inputs, scope = step.inputs(unit)
    value = bounded(normalise(node.evaluate(unit.element, inputs, scope)))
    step.state.write("node_outputs", unit.id, value)
    step.run.vars[AMBIENT] = own(value)
    if unit.output_key is not None:
        _store_output(step, unit.output_key, value)
    if node.ends_run and not unit.targets:
        return StepPlan(unit.id, complete_output=own(_closing(value)))
    return go_on(step, unit, chosen_branch(unit, value), _closing(value))


def chosen_branch(unit: Unit, value: JsonValue) -> str | None:
    """Give the next node, None when the chain ends here."""
    if not unit.branches:
        return unit.targets.get(EXEC_OUT)
    branch = value.get("branch") if isinstance(value, dict) else None
    if not isinstance(branch, str):
        raise NodeError("Branching node did not return a string 'branch' value")
    if branch in unit.targets:
        return unit.targets[branch]
    if branch in _ENDING_BRANCHES or branch.startswith("case:"):
        return None
    raise NodeError(f"Unknown branch '{branch}'")


@run_node.register
def _run_pass_through(node: PassThroughNode, step: Step, unit: Unit) -> StepPlan:
    inputs, scope = step.inputs(unit)
    record = own(bounded(normalise(node.evaluate(unit.element, inputs, scope))))
    step.state.write("node_outputs", unit.id, record)
    return go_on(step, unit, unit.targets.get(EXEC_OUT), node.completion(record, step.ambient))


# --- control nodes ---------------------------------------------------------------------


@run_node.register
def _run_control(control: ControlNode, step: Step, unit: Unit) -> StepPlan:
    if control.drops_draws:
        step.state.clear_draws()
    turn = _next_turn(step, unit, control)
    if turn is None or turn.handle not in unit.targets:
        return _leave(step, unit, control)
    _publish(step, unit, turn)
    return StepPlan(unit.id, next_node=unit.targets[turn.handle])


def _next_turn(step: Step, unit: Unit, control: ControlNode) -> Turn | None:
    frame = step.state.frame(unit.id)
    inputs: JsonObject = {}
    if frame is None or control.rereads_inputs:
        inputs, _ = step.inputs(unit)
    if frame is None:
        frame = normalise(control.open_frame(unit.element, inputs, tuple(unit.targets)))
        step.state.push(unit.id, frame)
    else:
        # Compat: an edge back into an active control node is its next turn (quirk 50).
        step.state.unwind_to(unit.id)
    ambient = {} if step.ambient is None else step.ambient
    turn = control.next_turn(unit.element, frame, inputs, ambient)
    if turn is not None and turn.record is not None and control.cap_name is not None:
        cap = step.services.max_iterations
        if turn.record["index"] >= cap:
            raise NodeError(f"{control.cap_name} loop exceeded max_iterations={cap}")
    return turn


def _publish(step: Step, unit: Unit, turn: Turn) -> None:
    """Merge a turn's record into the ambient value, in place, and store it as the node's output."""
    if turn.record is None:
        return
    record = own(turn.record)
    ambient = step.run.vars.get(AMBIENT)
    if not isinstance(ambient, dict):
        ambient = {} if ambient is None else {"input": ambient}
        step.run.vars[AMBIENT] = ambient
    ambient.update(record)
    step.state.write("node_outputs", unit.id, own(ambient if unit.exposes_ambient else record))


def _leave(step: Step, unit: Unit, control: ControlNode) -> StepPlan:
    step.state.pop(unit.id)
    target = unit.targets.get(control.exit_handle) if control.exit_handle else None
    return go_on(step, unit, target, step.program.ending(step.ambient))


# --- effect nodes ----------------------------------------------------------------------


@run_node.register
def _run_effect(node: EffectNode, step: Step, unit: Unit) -> StepPlan:
    before = _turn_before(step, unit)
    inputs, scope = step.inputs(unit)
    if before is None:
        planned = node.plan(unit.element, inputs, scope)
    else:
        planned = node.replan(unit.element, inputs, scope, before)
    _arm(step, unit, is_armed=node.rearms(unit.element, inputs))
    return _request(step, unit, node, inputs, planned)


def _turn_before(step: Step, unit: Unit) -> JsonObject | None:
    """Give the pins of the turn whose branch has ended; None when the node starts anew."""
    if step.state.frame(unit.id) is None:
        return None
    step.state.clear_draws()
    record = step.effect_record(unit)
    return record if isinstance(record, dict) else {}


def _arm(step: Step, unit: Unit, *, is_armed: bool) -> None:
    """Make the node the one that its branch returns to, or stop it from being that."""
    was_armed = step.state.frame(unit.id) is not None
    if was_armed:
        step.state.unwind_to(unit.id)
    if is_armed and not was_armed:
        step.state.push(unit.id, {"kind": unit.type.type})
    elif was_armed and not is_armed:
        step.state.pop(unit.id)


def _request(
    step: Step, unit: Unit, node: EffectNode, inputs: JsonObject, planned: PlannedEffect
) -> StepPlan:
    """Plan the effect whose result becomes the node's."""
    echo = node.echo(unit.element, inputs, planned)
    if echo:
        step.state.write("echoes", unit.id, own(bounded(normalise(echo))))
    is_armed = step.state.active == unit.id
    following = unit.targets.get(EXEC_OUT) or (unit.id if is_armed else parent_of(step, unit))
    if unit.output_key is not None:
        step.state.expect_mapped(unit.id)
    named = {"type": planned.effect} if node.names_effect else {}
    payload = {**named, **planned.payload, "resume_to_node": following}
    effect = Effect(
        EffectType(planned.effect), own(bounded(normalise(payload))), result_key(unit.id)
    )
    return StepPlan(unit.id, effect=effect, next_node=following)


@run_node.register
def _run_staged(node: StagedNode, step: Step, unit: Unit) -> StepPlan:
    """Make one move of a staged node; its bucket exists while an activation is open."""
    is_open, held = step.state.read(node.area, unit.id)
    if is_open:
        (inputs, bucket), scope = _taken_up(held), step.scope(unit)
    else:
        inputs, scope = step.inputs(unit)
        bucket = {}
    frozen = own(normalise(inputs))
    move = node.advance(unit.element, bucket, inputs, scope)
    if isinstance(move, Stage):
        held = {"inputs": frozen, "stage": move.name, **normalise(bucket)}
        step.state.write(node.area, unit.id, held)
        key = result_key(unit.id, node.area, move.name)
        effect = Effect(EffectType(move.effect), own(bounded(normalise(move.payload))), key)
        return StepPlan(unit.id, effect=effect, next_node=unit.id)
    step.state.drop(node.area, unit.id)
    if isinstance(move, PlannedEffect):
        return _request(step, unit, node, inputs, move)
    return _finish(step, unit, node, move)


def _taken_up(held: JsonObject) -> tuple[JsonObject, JsonObject]:
    """Give the inputs and the bucket of an open activation, both the caller's own."""
    bucket = own(held)
    inputs, stage = bucket.pop("inputs"), bucket.pop("stage")
    # A stage without a result, as when an operator skipped it, must not be planned again.
    bucket.setdefault(stage, None)
    return inputs, bucket


def _finish(step: Step, unit: Unit, node: StagedNode, end: Finish) -> StepPlan:
    result = own(normalise(end.result))
    step.state.write("effects", unit.id, result)
    if end.error is not None:
        step.run.vars[FLOW_ERROR] = end.error
    if end.ambient is not MISSING:
        step.run.vars[AMBIENT] = own(normalise(end.ambient))
    if unit.output_key is not None:
        record = node.pins(unit.element, result)
        _store_output(step, unit.output_key, node.primary(unit.element, record))
    plan = go_on(step, unit, unit.targets.get(EXEC_OUT), end.completion)
    return plan if end.error is None else replace(plan, failed=True)


def _store_mapped(step: Step) -> None:
    """Copy the result of the previous effect to the variable its node names."""
    node_id = step.state.take_mapped()
    unit = step.program.units.get(node_id) if node_id else None
    if unit is None or unit.output_key is None or not isinstance(unit.type, EffectNode):
        return
    record = step.effect_record(unit)
    if not isinstance(record, dict) or failure_of(step.state, unit) is not None:
        return
    try:
        _store_output(step, unit.output_key, unit.type.primary(unit.element, record))
    except Exception as cause:
        raise FailedElsewhere(unit.id, cause) from cause


def _store_output(step: Step, key: str, value: JsonValue) -> None:
    """Store a value at the path that `outputKey` names."""
    assign(step.run.vars, key, own(value))
