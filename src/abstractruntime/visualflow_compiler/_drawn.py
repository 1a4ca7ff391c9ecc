"""A drawn flow behind the interface of flows that are built in Python."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from abstractruntime._json import JsonObject, JsonValue, normalise
from abstractruntime._ports_system import SystemClock
from abstractruntime.core.models import RunState
from abstractruntime.errors import FlowError, UsageError
from abstractruntime.nodes.base import (
    ControlNode,
    EffectNode,
    FunctionNode,
    NodeError,
    PlannedEffect,
    StagedNode,
)
from abstractruntime.visualflow_compiler._lower._program import Program, Unit, build_program
from abstractruntime.visualflow_compiler._lower._state import AMBIENT, own
from abstractruntime.visualflow_compiler._lower._step import Services, Step
from abstractruntime.visualflow_compiler.check import compilable
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.flow import Flow, FlowEdge, FlowNode

__all__ = ["DrawnFlow"]


class DrawnFlow(Flow):
    """A flow that was read from a document; it is complete, so it cannot be added to.

    `nodes` are the steps that control can reach. Their handlers give what the node makes of
    an input, without a run: see `_Alone`. Looking at the nodes of a flow with errors raises
    `FlowError`; `validate` lists the errors.
    """

    def __init__(self, document: FlowDocument) -> None:
        self.flow_id = document.id
        self.exit_node = None
        self.document = document

    @cached_property
    def _program(self) -> Program:
        compilable(self.document)
        return build_program(self.document.graph)

    @cached_property
    def nodes(self) -> dict[str, FlowNode]:  # type: ignore[override]  # an attribute once it was asked for
        units = (self._program.units[node_id] for node_id in self._program.steps)
        return {unit.id: self._node(unit) for unit in units}

    def _node(self, unit: Unit) -> FlowNode:
        is_plain = isinstance(unit.type, FunctionNode)
        effect_type = None if is_plain else unit.type.type
        config = dict(unit.element.config("effectConfig"))
        handler = _Alone(self._program, unit)
        return FlowNode(unit.id, handler, unit.input_key, unit.output_key, effect_type, config)

    @cached_property
    def edges(self) -> list[FlowEdge]:  # type: ignore[override]  # an attribute once it was asked for
        return [
            FlowEdge(edge.source, edge.target, source_handle=edge.handle)
            for edge in self.document.flow.exec_edges
            if {edge.source, edge.target} <= self.document.graph.reachable
        ]

    @cached_property
    def entry_node(self) -> str | None:  # type: ignore[override]  # an attribute once it was asked for
        return self.document.graph.entry.node_id if self.document.graph.entry else None

    @property
    def _ignored_exec_nodes(self) -> list[str]:
        """Steps that control cannot reach. Compat: hosts of 0.4.x read this name."""
        return sorted(set(self.document.graph.steps) - self.document.graph.reachable)

    def validate(self) -> list[str]:
        try:
            compilable(self.document)
        except FlowError as broken:
            return [item.message for item in broken.findings if item.severity == "error"]
        return []

    def add_node(self, node_id: str, handler: Any, **_options: Any) -> NoReturn:  # noqa: ARG002 - its name is part of the interface
        raise self._closed(f"node {node_id!r}")

    def add_edge(self, source: str, target: str, **_options: Any) -> NoReturn:
        raise self._closed(f"an edge from {source!r} to {target!r}")

    def set_entry(self, node_id: str) -> NoReturn:
        raise self._closed(f"the entry {node_id!r}")

    def _closed(self, what: str) -> UsageError:
        message = f"flow {self.flow_id!r} was read from a document and cannot take {what}"
        return UsageError(message, hint="change the document, or build a Flow and nest this one")


@dataclass(frozen=True, slots=True)
class _Alone:
    """Evaluates one node without a run.

    The input is the ambient value; pins that pure nodes feed are computed, those fed by steps
    are absent. An effect node gives its pins so far and the request as `_pending_effect`; a
    control node gives its resolved inputs.
    """

    program: Program
    unit: Unit

    def __call__(self, value: JsonValue = None) -> Any:
        run = RunState.new(
            workflow_id=self.program.flow_id,
            entry_node=self.unit.id,
            vars={} if value is None else {AMBIENT: own(normalise(value))},
        )
        step = Step(self.program, Services(), run, SystemClock())
        inputs, scope = step.inputs(self.unit)
        node = self.unit.type
        if isinstance(node, EffectNode):
            planned: object
            if isinstance(node, StagedNode):
                planned = node.advance(self.unit.element, {}, inputs, scope)
            else:
                planned = node.plan(self.unit.element, inputs, scope)
            return self._pending(node, inputs, planned)
        if isinstance(node, ControlNode):
            return inputs
        return normalise(node.evaluate(self.unit.element, inputs, scope))

    def _pending(self, node: EffectNode, inputs: JsonObject, planned: object) -> JsonObject:
        if not isinstance(planned, PlannedEffect):
            raise NodeError(f"node {self.unit.id!r} needs a run: it asks for several effects")
        request = {"type": planned.effect, **planned.payload}
        return {**node.echo(self.unit.element, inputs, planned), "_pending_effect": request}
