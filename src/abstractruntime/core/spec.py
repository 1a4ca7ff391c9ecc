"""What the kernel executes: a workflow is a table of node handlers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from abstractruntime.core.models import RunState, StepPlan

__all__ = ["KeptBundle", "NodeHandler", "RunContext", "StepPlan", "WorkflowSource", "WorkflowSpec"]


class RunContext(Protocol):
    """What a node handler may ask the kernel for."""

    def now_iso(self) -> str: ...


@runtime_checkable
class TreeContext(RunContext, Protocol):
    """A context that knows which runs belong together."""

    def tree_of(self, run: RunState) -> str:
        """Give a name of the run's tree that no other tree of this process has."""
        ...


class KeptBundle(NamedTuple):
    """A bundle that runs are started from: `id@version`, the digest that names it, its bytes."""

    ref: str
    digest: str
    data: bytes


class WorkflowSource(Protocol):
    """What a workflow was compiled from, so that others can go on with its runs."""

    def packed(self) -> KeptBundle | None:
        """Give the bundle to keep; None where it would lack something that its runs need."""
        ...


NodeHandler = Callable[[RunState, RunContext], StepPlan]


@dataclass(frozen=True)
class WorkflowSpec:
    """A compiled workflow.

    A handler may change `run.vars`; it must not change anything else of the run,
    and must give the same plan for the same variables. The nodes in `guarded` touch the
    world beside the run: the state is committed before and after each of them, so that a
    crash repeats at most that one node. `source` is kept with the runs that are started. The
    variables in `kept` say what a run has done: whoever starts one cannot give them.
    """

    workflow_id: str
    entry_node: str
    nodes: dict[str, NodeHandler]
    guarded: frozenset[str] = frozenset()
    source: WorkflowSource | None = field(default=None, compare=False, repr=False)
    kept: frozenset[str] = frozenset()

    def get_node(self, node_id: str) -> NodeHandler:
        """Give the handler of `node_id`.

        Raises:
            KeyError: the workflow has no such node.
        """
        try:
            return self.nodes[node_id]
        except KeyError:
            raise KeyError(f"Unknown node_id: {node_id}") from None

    def is_terminal(self, node_id: str) -> bool:  # noqa: ARG002 - kept for 0.4.x callers
        return False
