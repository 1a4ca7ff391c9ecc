"""How far a run came, node by node, from its ledger and its state.

Effects are in the ledger, one by one. Steps without an effect leave no record: of them it is
known that they ran, from the output that they left, but not how often.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from abstractruntime._json import mapping
from abstractruntime.core.models import RunState, RunStatus
from abstractruntime.core.record_fields import (
    effect_type,
    is_completion,
    record_status,
    terminal_status,
    text_or_none,
)
from abstractruntime.nodes.base import ControlNode
from abstractruntime.visualflow_compiler.graph import FlowGraph

OutcomeState = Literal["done", "failed", "waiting", "running", "stopped", "not reached"]

_CURRENT: Final[dict[RunStatus, OutcomeState]] = {
    RunStatus.RUNNING: "running",
    RunStatus.WAITING: "waiting",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "stopped",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one node in a run; `times` is how often it was done, 0 where nobody knows."""

    state: OutcomeState
    times: int = 0

    def __str__(self) -> str:
        if self.times < 2:
            return self.state
        return f"{self.state} {self.times}x" if self.state == "done" else (
            f"{self.state}, done {self.times}x"
        )  # fmt: skip


def run_outcomes(
    graph: FlowGraph, state: RunState, records: Iterable[Mapping[str, Any]]
) -> dict[str, Outcome]:
    """Give the outcome of every step of the flow that the run executes."""
    times = _times_done(records)
    seen = _left_output(state.vars) | set(times) | _entered(graph, state)
    _add_passed(graph, seen)
    found = {
        step: Outcome("done" if step in seen else "not reached", times.get(step, 0))
        for step in graph.steps
    }
    current = _CURRENT.get(state.status)
    if current is not None and state.current_node in found:
        found[state.current_node] = Outcome(current, times.get(state.current_node, 0))
    broken = text_or_none(state.vars.get("_flow_error_node"))
    if broken in found:
        found[broken] = Outcome("failed", times.get(broken, 0))
    return found


def _times_done(records: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count effects that completed, and waits that were answered; a child that failed counts as well."""
    times: dict[str, int] = {}
    for record in records:
        if record_status(record) != "completed" or terminal_status(record) is not None:
            continue
        if effect_type(record) is not None or is_completion(record):
            node_id = str(record.get("node_id"))
            times[node_id] = times.get(node_id, 0) + 1
    return times


def _left_output(variables: Mapping[str, Any]) -> set[str]:
    temp = mapping(variables.get("_temp"))
    frames = mapping(mapping(temp.get("_control")).get("frames"))
    return {*mapping(temp.get("node_outputs")), *mapping(temp.get("effects")), *frames}


def _entered(graph: FlowGraph, state: RunState) -> set[str]:
    return {state.current_node} & set(graph.steps)


def _add_passed(graph: FlowGraph, seen: set[str]) -> None:
    """Add control nodes that left no trace although something behind them ran."""
    silent = [
        step
        for step in graph.steps
        if isinstance(graph.types[step], ControlNode) and step not in seen
    ]
    for step in reversed(silent):
        targets = [edge.target for edge in graph.exec_out.get(step, ())]
        if any(target in seen and _only_way(graph, step, target) for target in targets):
            seen.add(step)


def _only_way(graph: FlowGraph, step: str, target: str) -> bool:
    return {edge.source for edge in graph.exec_in.get(target, ())} == {step}
