"""Which steps can run after which, and how far an ambient value reaches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from abstractruntime.nodes.base import ControlNode, FunctionNode
from abstractruntime.visualflow_compiler._model import EXEC_OUT
from abstractruntime.visualflow_compiler.graph import FlowGraph


def returns_here(graph: FlowGraph, node_id: str) -> bool:
    """Tell whether chains that start at a node may return to it."""
    facts = graph.facts(node_id)
    # A trigger that waits is armed again when its branch ends.
    return isinstance(facts, ControlNode) or (facts.is_trigger and facts.waits == "always")


class Order:
    """The order of a flow's steps, the returns of branches to their control node included."""

    def __init__(self, graph: FlowGraph) -> None:
        self._graph = graph
        self._after: dict[str, list[str]] = {
            node_id: [e.target for e in graph.exec_out.get(node_id, ()) if graph.is_step(e.target)]
            for node_id in graph.steps
        }
        for node_id in graph.steps:
            if returns_here(graph, node_id):
                for inner in graph.reachable_from(*self._after[node_id]):
                    self._after[inner].append(node_id)
        roots = [graph.entry.node_id] if graph.entry else []
        self._spans = _spans([*roots, *graph.listeners], self._after)

    def can_follow(self, later: str, earlier: str) -> bool:
        """Tell whether `later` can run when `earlier` has run."""
        if earlier in self._spans and later in self._spans:
            begin, end = self._spans[earlier]
            if begin < self._spans[later][0] <= end:
                return True
        return later in self._reached(earlier)

    def _reached(self, node_id: str) -> set[str]:
        seen: set[str] = set()
        todo = list(self._after[node_id])
        while todo:
            step = todo.pop()
            if step not in seen:
                seen.add(step)
                todo += self._after[step]
        return seen


def _spans(roots: Iterable[str], after: Mapping[str, list[str]]) -> dict[str, tuple[int, int]]:
    """Number the steps in the order of one walk: what a step leads to lies in its span."""
    begins: dict[str, int] = {}
    spans: dict[str, tuple[int, int]] = {}
    for root in roots:
        stack: list[tuple[str, Iterator[str]]] = []
        following: str | None = root
        while following is not None or stack:
            if following is not None and following not in begins:
                begins[following] = len(begins)
                stack.append((following, iter(after[following])))
            if not stack:
                break
            step, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                spans[step] = (begins[step], len(begins) - 1)
    return spans


def replaces_ambient(graph: FlowGraph, node_id: str) -> bool:
    """Tell whether a step puts its own result in the place of the ambient value."""
    node_type = graph.types[node_id]
    is_function = node_type is None or isinstance(node_type, FunctionNode)
    return is_function or graph.facts(node_id).replaces_ambient


def ambient_reach(graph: FlowGraph, node_id: str) -> Iterator[str]:
    """Give the steps that find the result of `node_id` in their ambient value."""
    seen, todo = {node_id}, deque([node_id])
    while todo:
        for edge in graph.exec_out.get(todo.popleft(), ()):
            if edge.target in seen or not graph.is_step(edge.target):
                continue
            seen.add(edge.target)
            yield edge.target
            if not replaces_ambient(graph, edge.target):
                todo.append(edge.target)


ANY_NAME = "*"


def given_names(graph: FlowGraph, node_id: str) -> Iterator[str]:
    """Give the names that a step's result can put into the ambient value, `*` for any."""
    element, facts = graph.elements[node_id], graph.facts(node_id)
    is_loop = isinstance(facts, ControlNode) and facts.outputs
    if facts.ends_run or not (is_loop or replaces_ambient(graph, node_id)):
        return
    yield from element.output_ids
    # What starts the flow or chooses the way gives its pins only, and so does an effect.
    is_known = facts.is_trigger or EXEC_OUT not in facts.handles or facts.replaces_ambient
    if not (element.declares_pins and is_known):
        yield ANY_NAME


def ambient_sources(graph: FlowGraph, node_id: str) -> frozenset[str] | None:
    """Give the steps whose result may be the ambient value of a step; None when hosts may give it."""
    found: set[str] = set()
    seen, todo = {node_id}, [node_id]
    while todo:
        step = todo.pop()
        edges = [e for e in graph.exec_in.get(step, ()) if graph.is_step(e.source)]
        if not edges:
            return None
        for edge in edges:
            source = edge.source
            if isinstance(graph.facts(source), ControlNode):
                # What ran in a branch before comes along.
                found |= graph.reachable_from(source)
            if replaces_ambient(graph, source):
                found.add(source)
            elif source not in seen:
                seen.add(source)
                todo.append(source)
    return frozenset(found)
