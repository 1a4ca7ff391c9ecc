"""Flows built in Python: functions, effects and nested flows as nodes, joined by execution edges.

Such a flow has no data edges. A node reads the run's variables, or the one that its `input_key`
names, and stores what it gives at its `output_key`; `compile_flow` makes a workflow of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from abstractruntime.errors import FlowError

__all__ = ["Flow", "FlowEdge", "FlowNode"]

Condition = Callable[[dict[str, Any]], bool]


@dataclass
class FlowNode:
    """One node: `handler` is a function, a `Flow`, or an agent; an effect node ignores it."""

    id: str
    handler: Any
    input_key: str | None = None
    output_key: str | None = None
    effect_type: str | None = None
    effect_config: dict[str, Any] | None = None


@dataclass
class FlowEdge:
    """An execution edge. `condition` is kept for 0.4.x callers and never consulted."""

    source: str
    target: str
    condition: Condition | None = None
    source_handle: str | None = None


class Flow:
    """A flow in the making; every method that changes it gives it back, so calls can be chained."""

    nodes: dict[str, FlowNode]
    edges: list[FlowEdge]
    entry_node: str | None
    exit_node: str | None

    def __init__(self, flow_id: str) -> None:
        self.flow_id = flow_id
        self.nodes = {}
        self.edges = []
        self.entry_node = None
        self.exit_node = None

    def __repr__(self) -> str:
        counts = f"nodes={len(self.nodes)}, edges={len(self.edges)}"
        return f"{type(self).__name__}(id={self.flow_id!r}, {counts}, entry={self.entry_node!r})"

    def add_node(
        self,
        node_id: str,
        handler: Any,
        *,
        input_key: str | None = None,
        output_key: str | None = None,
        effect_type: str | None = None,
        effect_config: dict[str, Any] | None = None,
    ) -> Flow:
        """Add a node.

        Args:
            node_id: Its id, once in the flow.
            handler: A function of one value, a nested `Flow`, or an agent (an object whose
                `workflow` is a compiled workflow). A nested flow and an agent become child runs.
            input_key: The variable that the node gets; without it, it gets all of them whose
                name does not start with an underscore.
            output_key: The dotted path where its result is stored.
            effect_type: Makes the node ask for this effect, such as `ask_user` or `llm_call`;
                `sequence` and `parallel` make it a control node. The handler is not called.
            effect_config: What the configuration of such a node says in a document.

        Raises:
            ValueError: the flow has a node of this id.
        """
        if node_id in self.nodes:
            raise FlowError(f"Node '{node_id}' already exists in flow '{self.flow_id}'")
        self.nodes[node_id] = FlowNode(
            node_id, handler, input_key, output_key, effect_type, effect_config
        )
        return self

    def add_edge(
        self,
        source: str,
        target: str,
        *,
        condition: Condition | None = None,
        source_handle: str | None = None,
    ) -> Flow:
        """Lead control from one node to another; either may be added later.

        Args:
            source: The node that control leaves.
            target: The node that it enters.
            condition: Never consulted.
            source_handle: The branch: a function that gives `{"branch": handle}` chooses among
                `true` and `false`, or `case:...` and `default`; control nodes have `then:0` etc.
        """
        self.edges.append(FlowEdge(source, target, condition, source_handle))
        return self

    def set_entry(self, node_id: str) -> Flow:
        """Start runs at a node.

        Raises:
            ValueError: the flow has no such node.
        """
        self.entry_node = self._known("Entry", node_id)
        return self

    def set_exit(self, node_id: str) -> Flow:
        """Note the last node, for readers of the flow; runs end where no edge leads on.

        Raises:
            ValueError: the flow has no such node.
        """
        self.exit_node = self._known("Exit", node_id)
        return self

    def _known(self, what: str, node_id: str) -> str:
        if node_id not in self.nodes:
            raise FlowError(f"{what} node '{node_id}' not found in flow '{self.flow_id}'")
        return node_id

    def validate(self) -> list[str]:
        """Say what is wrong with the flow; an empty list means that it compiles as a graph."""
        if self.entry_node is None:
            return ["Flow must have an entry node"]
        messages = []
        if self.entry_node not in self.nodes:
            messages.append(f"Entry node '{self.entry_node}' not found")
        for edge in self.edges:
            ends = {"source": edge.source, "target": edge.target}
            messages += [
                f"Edge {key} '{node_id}' not found"
                for key, node_id in ends.items()
                if node_id not in self.nodes
            ]
        reached = self._reachable()
        unreached = (node_id for node_id in self.nodes if node_id not in reached)
        return [*messages, *(f"Node '{n}' is unreachable from entry" for n in unreached)]

    def _reachable(self) -> set[str]:
        following: defaultdict[str | None, list[str]] = defaultdict(list)
        for edge in self.edges:
            following[edge.source].append(edge.target)
        todo = [n for n in self.nodes if n == self.entry_node]
        seen: set[str] = set()
        while todo:
            node_id = todo.pop()
            if node_id not in seen:
                seen.add(node_id)
                todo += following[node_id]
        return seen

    def get_next_nodes(self, node_id: str) -> list[str]:
        """Give the targets of the edges that leave a node, in the order they were added."""
        return [edge.target for edge in self.edges if edge.source == node_id]

    def get_terminal_nodes(self) -> list[str]:
        """Give the nodes that no edge leaves."""
        sources = {edge.source for edge in self.edges}
        return [node_id for node_id in self.nodes if node_id not in sources]
