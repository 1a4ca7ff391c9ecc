"""Which steps can run after which, and how far an ambient value reaches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

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


Keys = frozenset[str]
_ANY_KEYS: Keys = frozenset({ANY_NAME})


class AmbientKeys:
    """The names under which each step may find something in its ambient value.

    A step that control enters from nowhere may find any, as hosts may give them.
    """

    def __init__(self, graph: FlowGraph) -> None:
        self._graph = graph

    def of(self, node_id: str) -> Keys | None:
        """Give the names for a step; None for any."""
        keys = self._found[node_id]
        return None if ANY_NAME in keys else keys

    @cached_property
    def _found(self) -> Mapping[str, Keys]:
        """Carry the names along the edges until no step finds more."""
        graph = self._graph
        entered = {e.target for n in graph.steps for e in graph.exec_out.get(n, ())}
        found = {n: Keys() if n in entered else _ANY_KEYS for n in graph.steps}
        todo = deque(graph.steps)
        while todo:
            node_id = todo.popleft()
            leaving = self._leaving(node_id, found[node_id])
            for edge in graph.exec_out.get(node_id, ()):
                known = found.get(edge.target, _ANY_KEYS)
                if ANY_NAME not in known and not leaving <= known:
                    found[edge.target] = _ANY_KEYS if ANY_NAME in leaving else known | leaving
                    todo.append(edge.target)
        return found

    def _leaving(self, node_id: str, entering: Keys) -> Keys:
        own = self._given[node_id]
        if isinstance(self._graph.facts(node_id), ControlNode):
            # What ran in a branch before comes along.
            inner = self._graph.reachable_from(node_id)
            own = own.union(*(self._given[step] for step in inner))
        return own if replaces_ambient(self._graph, node_id) else own | entering

    @cached_property
    def _given(self) -> Mapping[str, Keys]:
        return {n: Keys(given_names(self._graph, n)) for n in self._graph.steps}
