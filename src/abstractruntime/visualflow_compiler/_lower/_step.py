"""Evaluating one step: resolving inputs, pulling pure nodes, reading outputs.

Rules:
1. All evaluation state belongs to the step, so one workflow serves many runs and threads.
2. Precedence of an input: edge, declared pin default, ambient value, node configuration.
   A connected pin whose source has nothing to give is absent.
3. A pure node is evaluated at most once per step; a node that draws keeps its first
   output in the run until an iteration starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING

from abstractruntime._json import JsonObject, JsonValue, normalise
from abstractruntime.core.models import RunState
from abstractruntime.core.spec import RunContext, TreeContext
from abstractruntime.nodes.base import MISSING, EffectNode, FunctionNode, NodeError, ValueNode
from abstractruntime.nodes.budget import bounded
from abstractruntime.nodes.services import (
    Catalog,
    CodePool,
    CodeRunner,
    Files,
    HostRandom,
    RandomSource,
)
from abstractruntime.visualflow_compiler._lower._failures import (
    FailedElsewhere,
    failure_of,
    outcome_pin,
)
from abstractruntime.visualflow_compiler._lower._program import Program, Unit
from abstractruntime.visualflow_compiler._lower._state import AMBIENT, Durable, own
from abstractruntime.workspace import Workspace, here

if TYPE_CHECKING:
    from abstractruntime.core.store import Artifacts

_OUTCOME = ("success", "error")
_UNNAMED = count(1)


@dataclass(frozen=True, slots=True)
class Services:
    """What nodes of a compiled flow may use of the host.

    `now` replaces the run's clock, `code` the default sandbox: a pool, or one runner for all;
    `bundle` names what the code came in, which shares no worker with that of another;
    `max_iterations` caps each activation of a counting or conditional loop. `catalog` discovers
    models, and `artifacts` keeps files out of the variables; without them nodes do without.
    `workspace` holds the files that nodes may touch; without one it is the current directory.
    """

    random: RandomSource = field(default_factory=HostRandom)
    now: Callable[[], datetime] | None = None
    code: CodeRunner | CodePool | None = None
    max_iterations: int = 10_000
    catalog: Catalog | None = None
    workspace: Workspace | None = None
    artifacts: Artifacts | None = None
    bundle: str = field(default_factory=lambda: f"unnamed-{next(_UNNAMED)}", compare=False)


class NodeScope:
    """The `Scope` of one node evaluation."""

    __slots__ = ("_step", "ambient")

    def __init__(self, step: Step, ambient: JsonValue) -> None:
        self._step = step
        self.ambient = ambient

    @property
    def run_id(self) -> str:
        return self._step.run.run_id

    @property
    def flow_id(self) -> str:
        return self._step.program.source_id

    @property
    def vars(self) -> JsonObject:
        return self._step.run.vars

    @property
    def random(self) -> RandomSource:
        return self._step.services.random

    @property
    def code(self) -> CodeRunner:
        services, step = self._step.services, self._step
        home = services.code or _default_code_pool()
        return home.runner(step.tree, services.bundle) if isinstance(home, CodePool) else home

    @property
    def catalog(self) -> Catalog | None:
        return self._step.services.catalog

    @property
    def artifacts(self) -> Artifacts | None:
        return self._step.services.artifacts

    @property
    def files(self) -> Files:
        return (self._step.services.workspace or here()).for_run(self.vars)

    def now(self) -> datetime:
        if self._step.services.now is not None:
            return self._step.services.now()
        return datetime.fromisoformat(self._step.context.now_iso().replace("Z", "+00:00"))


def _default_code_pool() -> CodePool:
    # Flows without code never pay for the sandbox.
    from abstractruntime.sandbox import default_pool  # noqa: PLC0415 - see above

    return default_pool()


class Step:
    """One visit of a node in a run."""

    __slots__ = ("context", "program", "records", "run", "services", "state")

    def __init__(
        self, program: Program, services: Services, run: RunState, context: RunContext
    ) -> None:
        self.program = program
        self.services = services
        self.run = run
        self.context = context
        self.state = Durable(run.vars)
        self.records: dict[str, JsonValue] = {}

    @property
    def tree(self) -> str:
        """The tree of runs that the run belongs to; the run alone when nobody knows more."""
        if isinstance(self.context, TreeContext):
            return self.context.tree_of(self.run)
        return self.run.run_id

    # --- the ambient value --------------------------------------------------------------

    @property
    def ambient(self) -> JsonValue:
        """The ambient value, not copied; None when there is none."""
        return self.run.vars.get(AMBIENT)

    def base(self, unit: Unit) -> JsonValue:
        """Give what the node starts from before its own pins are resolved; not copied."""
        if not isinstance(unit.type, FunctionNode):
            return self.ambient
        if unit.input_key is not None:
            return self.run.vars.get(unit.input_key)
        if AMBIENT in self.run.vars:
            return self.ambient
        return {name: value for name, value in self.run.vars.items() if name[:1] != "_"}

    # --- inputs -------------------------------------------------------------------------

    def inputs(self, unit: Unit) -> tuple[JsonValue, NodeScope]:
        """Resolve the inputs of a step; the values are the node's own."""
        base = self.base(unit)
        self._pull(unit.pulls)
        found = _from_ambient(unit, base)
        for pin, value in unit.spare.items():
            found.setdefault(pin, value)
        found.update(unit.defaults)
        self._read_wires(unit, found)
        if not found and not unit.wired and base is not None and not isinstance(base, dict):
            return _bare_inputs(unit, own(base)), NodeScope(self, base)
        return {pin: own(value) for pin, value in found.items()}, NodeScope(self, base)

    def scope(self, unit: Unit) -> NodeScope:
        """Give what a node may use that does not need its inputs again."""
        return NodeScope(self, self.base(unit))

    def _read_wires(self, unit: Unit, found: JsonObject) -> None:
        for pin in unit.wired:
            found.pop(pin, None)
        for wire in unit.wires:
            value = self._value(wire.source, wire.handle)
            if value is not MISSING:
                found[wire.pin] = value

    # --- outputs of other nodes ---------------------------------------------------------

    def _value(self, source: str, handle: str) -> JsonValue:
        """Give the value behind an output handle, not copied; MISSING when there is none."""
        unit = self.program.units.get(source)
        if unit is None:
            return MISSING
        failure = failure_of(self.state, unit)
        if failure is not None:
            return failure.get(handle, MISSING)
        record = self._record(unit)
        if record is MISSING:
            return MISSING
        if unit.element.goes_on and handle in _OUTCOME:
            return outcome_pin(unit, record, handle)
        return unit.output(record, handle)

    def _record(self, unit: Unit) -> JsonValue:
        if unit.id not in self.records:
            self.records[unit.id] = self._load(unit)
        return self.records[unit.id]

    def _load(self, unit: Unit) -> JsonValue:
        if isinstance(unit.type, EffectNode):
            return self.effect_record(unit)
        exists, value = self.state.read("node_outputs", unit.id)
        return value if exists else MISSING

    def effect_record(self, unit: Unit) -> JsonValue:
        """Give the output pins of an effect node from its stored result; MISSING before there is one."""
        has_echo, echo = self.state.read("echoes", unit.id)
        exists, result = self.state.read("effects", unit.id)
        if failure_of(self.state, unit) is not None:
            return result
        if exists and isinstance(unit.type, EffectNode):
            return {**(echo or {}), **unit.type.pins(unit.element, result)}
        return echo if has_echo else MISSING

    # --- pure nodes ---------------------------------------------------------------------

    def _pull(self, pulls: tuple[str, ...]) -> None:
        """Evaluate pure nodes in an order in which sources come first.

        Raises:
            FailedElsewhere: one failed.
        """
        for node_id in pulls:
            if node_id not in self.records:
                try:
                    self.records[node_id] = self._evaluate(self.program.units[node_id])
                except Exception as cause:
                    raise FailedElsewhere(node_id, cause) from cause

    def _evaluate(self, unit: Unit) -> JsonValue:
        if unit.id in self.program.cyclic:
            raise NodeError(f"Data edge cycle detected at '{unit.id}'")
        if not unit.type.draws:
            return self._compute(unit)
        exists, drawn = self.state.read("draws", unit.id)
        if not exists:
            drawn = self._compute(unit)
            self.state.write("draws", unit.id, own(drawn))
        return drawn

    def _compute(self, unit: Unit) -> JsonValue:
        found: JsonObject = {**unit.spare, **unit.defaults}
        self._read_wires(unit, found)
        if not isinstance(unit.type, ValueNode):
            found = {pin: own(value) for pin, value in found.items()}
        value = unit.type.evaluate(unit.element, found, NodeScope(self, {}))
        return value if unit.type.reads_variables else bounded(normalise(value))


def _bare_inputs(unit: Unit, value: JsonValue) -> JsonValue:
    """Give the inputs of a node that nothing reaches but a bare ambient value.

    Compat: functions with open inputs get the value itself instead of an object.
    """
    if unit.type.bare_input is not None:
        return {unit.type.bare_input: value}
    is_open = any(pin.dynamic for pin in unit.type.inputs)
    is_function = isinstance(unit.type, FunctionNode) and not isinstance(unit.type, ValueNode)
    return value if is_open and is_function else {}


def _from_ambient(unit: Unit, base: JsonValue) -> JsonObject:
    if not isinstance(base, dict):
        return {}
    if unit.known is None:
        return dict(base)
    found: JsonObject = {}
    for name, pin in unit.known.items():
        if name in base and (name == pin or pin not in found):
            found[pin] = base[name]
    return found
