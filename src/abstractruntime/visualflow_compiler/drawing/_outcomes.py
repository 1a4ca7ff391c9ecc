"""How far a run came, node by node, from its ledger and its state.

Effects are in the ledger, one by one. Steps without an effect leave no record: of them it is
known that they ran, from the output that they left, but not how often.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from abstractruntime._json import mapping
from abstractruntime.core.models import RunState, RunStatus
from abstractruntime.core.outcome import Outcome, failure_of, outcome_of, overcome_failures
from abstractruntime.core.record_fields import (
    STARTS_CHILD,
    effect_type,
    is_completion,
    record_status,
    started_child,
    terminal_status,
)
from abstractruntime.nodes.base import ControlNode
from abstractruntime.visualflow_compiler.graph import FlowGraph

OutcomeState = Literal[
    "done",
    "failed",
    "waiting",
    "running",
    "paused",
    "limited",
    "interrupted",
    "stopped",
    "not reached",
]

_CURRENT: Final[Mapping[Outcome, OutcomeState]] = {
    Outcome.RUNNING: "running",
    Outcome.WAITING: "waiting",
    Outcome.PAUSED: "paused",
    Outcome.LIMITED: "limited",
    Outcome.INTERRUPTED: "interrupted",
    Outcome.QUARANTINED: "interrupted",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "stopped",
}


# One of these stands in the line of every record that tells how far a run came.
OUTCOME_WORDS: Final = (b'"completed"', STARTS_CHILD)


@dataclass(frozen=True, slots=True)
class NodeOutcome:
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
    graph: FlowGraph,
    state: RunState,
    records: Iterable[Mapping[str, Any]],
    *,
    failed_runs: Collection[str] = (),
    outcome: Outcome | None = None,
) -> dict[str, NodeOutcome]:
    """Give the outcome of every step of the flow that the run executes, and of pure nodes that failed.

    A step that started one of `failed_runs` failed, whatever the run made of it. `outcome` is what
    became of the run, where more is known than it tells itself.
    """
    times, failed = _times_done(records, failed_runs)
    seen = _left_output(state.vars) | set(times) | _entered(graph, state)
    _add_passed(graph, seen)
    found = {
        step: NodeOutcome("done" if step in seen else "not reached", times.get(step, 0))
        for step in graph.steps
    }
    current = _CURRENT.get(outcome or outcome_of(state))
    # A flow that ended with an error names the node; where it stood says nothing.
    stands = state.status is not RunStatus.COMPLETED
    if stands and current is not None and state.current_node in found:
        found[state.current_node] = NodeOutcome(current, times.get(state.current_node, 0))
    failure = failure_of(state) if state.status is not RunStatus.CANCELLED else None
    failures = [*overcome_failures(state), *([failure] if failure is not None else ())]
    failed.update(str(node) for one in failures for node in (one.node_id, one.step_id))
    for node_id in failed.intersection(graph.types):
        found[node_id] = NodeOutcome("failed", times.get(node_id, 0))
    return found


def _times_done(
    records: Iterable[Mapping[str, Any]], failed_runs: Collection[str]
) -> tuple[dict[str, int], set[str]]:
    """Count effects that completed, and waits that were answered; name the nodes whose last child failed."""
    times: dict[str, int] = {}
    last_child: dict[str, str] = {}
    for record in records:
        if child := started_child(record):
            last_child[str(record.get("node_id"))] = child
        if record_status(record) != "completed" or terminal_status(record) is not None:
            continue
        if effect_type(record) is not None or is_completion(record):
            node_id = str(record.get("node_id"))
            times[node_id] = times.get(node_id, 0) + 1
    return times, {node_id for node_id, child in last_child.items() if child in failed_runs}


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
