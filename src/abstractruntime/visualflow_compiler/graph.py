"""What follows from the edges of a flow: steps, entry, reach, order.

Rules:
1. A node is a step (takes part in control flow) or pure (computed when pulled).
2. Every walk keeps its own stack, so chains of any length are fine.
3. An id that occurs twice stands for its last node; the checks report it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

from abstractruntime._json import JsonValue
from abstractruntime.nodes.base import UNKNOWN, Element, NodeType, Problem, ValueNode
from abstractruntime.nodes.registry import find_node_type
from abstractruntime.visualflow_compiler._model import DataEdge, ExecEdge, FlowContent

EntryReason = Literal["named", "trigger", "first_root", "first_step"]
_Edge = TypeVar("_Edge", DataEdge, ExecEdge)
FindType = Callable[[str], NodeType | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a flow starts, and which rule chose it."""

    node_id: str
    reason: EntryReason


def is_exec(element: Element, node_type: NodeType | None) -> bool:
    """Tell whether `element` is a step rather than a pure node.

    Known types have a fixed kind. Pure types become steps when they are declared with
    execution pins, except constants; author code is pure without them, as in 0.4.2.
    """
    if node_type is not None and node_type.is_constant:
        return False
    if element.exec_inputs or element.exec_outputs:
        return True
    if node_type is None or node_type.runs_code:
        return not element.declares_pins
    return not isinstance(node_type, ValueNode)


@dataclass(frozen=True, eq=False)
class FlowGraph:
    """A flow with its node types, its steps and its edges by node."""

    flow: FlowContent
    elements: Mapping[str, Element]
    types: Mapping[str, NodeType | None]
    """Node type by node id; None for a type that the registry does not have."""
    steps: tuple[str, ...]
    """Ids of the steps, in document order."""
    exec_out: Mapping[str, tuple[ExecEdge, ...]]
    exec_in: Mapping[str, tuple[ExecEdge, ...]]
    data_in: Mapping[str, tuple[DataEdge, ...]]
    data_out: Mapping[str, tuple[DataEdge, ...]]

    @cached_property
    def entry(self) -> Entry | None:
        """The step a run starts with; None when the flow has no step at all."""
        return _choose_entry(self)

    @cached_property
    def reachable(self) -> frozenset[str]:
        """Steps that control can reach from the entry."""
        return self.reachable_from(self.entry.node_id) if self.entry else frozenset()

    @cached_property
    def listeners(self) -> tuple[str, ...]:
        """Steps that hear events beside the flow: none that control reaches from the entry."""
        return tuple(
            node_id
            for node_id in self.steps
            if self.facts(node_id).hears and node_id not in self.reachable
        )

    @cached_property
    def served(self) -> frozenset[str]:
        """What a run or one of its listeners can visit, and the pure nodes whose values they pull."""
        heard = self.reachable_from(*self.listeners)
        return self.live | heard | frozenset(self.pure_ancestors(*sorted(heard)))

    @cached_property
    def live(self) -> frozenset[str]:
        """Reachable steps and the pure nodes whose values they pull."""
        return frozenset({*self.reachable, *self.pure_ancestors(*sorted(self.reachable))})

    @cached_property
    def startable(self) -> frozenset[str]:
        """What anybody may start or reach, and so has to be complete.

        Compat: a host may start at every trigger, or at every first step where no trigger and no
        entry is named.
        """
        executable = [node_id for node_id in self.steps if self._takes_part(node_id)]
        if not executable:
            return frozenset(self.elements)
        entry = self.flow.entry_node
        starts = [n for n in executable if n == entry or self.facts(n).is_trigger]
        starts = starts or [n for n in executable if not self.exec_in.get(n)] or executable
        return self.reachable_from(*starts) | self.served

    def _takes_part(self, node_id: str) -> bool:
        element = self.elements[node_id]
        has_pins = element.exec_inputs or element.exec_outputs
        return bool(has_pins or self.exec_in.get(node_id) or self.exec_out.get(node_id))

    @cached_property
    def calls(self) -> tuple[tuple[str, str], ...]:
        """`(node id, child flow id)` of every node that runs a flow and may be reached, in node order."""
        found = [(e.id, self.facts(e.id).subflow(e)) for e in self.elements.values()]
        return tuple(
            (node_id, child)
            for node_id, child in found
            if child is not None and node_id in self.startable
        )

    @cached_property
    def placed(self) -> tuple[tuple[Element, int], ...]:
        """Every element, repeated ids included, with its place in the document's `nodes`."""
        return tuple(zip(self.flow.elements, self.flow.positions, strict=True))

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Place of each node in the document's `nodes`."""
        return {element.id: position for element, position in self.placed}

    def facts(self, node_id: str) -> NodeType:
        """Give the type of a node; `UNKNOWN` for one that the registry does not have."""
        return self.types[node_id] or UNKNOWN

    @cached_property
    def problems(self) -> Mapping[str, tuple[Problem, ...]]:
        """What the type of each node finds wrong with its configuration; asked once, as code is parsed."""
        return {
            node_id: tuple(self.facts(node_id).check(element))
            for node_id, element in self.elements.items()
        }

    def entering(self, node_id: str, *pins: str) -> tuple[DataEdge, ...]:
        """Give the data edges into these pins of a node, in document order."""
        return tuple(edge for edge in self.data_in.get(node_id, ()) if edge.pin in pins)

    def literal(self, node_id: str, pin_type: str) -> JsonValue:
        """Give the value of a constant whose pin has this type; None for any other node."""
        facts = self.facts(node_id)
        if not facts.is_constant or facts.outputs[0].type != pin_type:
            return None
        return self.elements[node_id].data.get("literalValue")

    def is_step(self, node_id: str) -> bool:
        return node_id in self._step_set

    @cached_property
    def _step_set(self) -> frozenset[str]:
        return frozenset(self.steps)

    def reachable_from(self, *node_ids: str) -> frozenset[str]:
        """Give these steps and every step that control can reach from them."""
        seen = set(node_ids)
        todo = list(node_ids)
        while todo:
            for edge in self.exec_out.get(todo.pop(), ()):
                if edge.target not in seen and self.is_step(edge.target):
                    seen.add(edge.target)
                    todo.append(edge.target)
        return frozenset(seen)

    def pure_sources(self, node_id: str) -> tuple[str, ...]:
        """Give the pure nodes that feed `node_id` directly, each once."""
        return self._pure_sources.get(node_id, ())

    @cached_property
    def _pure_sources(self) -> Mapping[str, tuple[str, ...]]:
        steps, sources = self._step_set, {}
        for node_id, edges in self.data_in.items():
            pure = [edge.source for edge in edges if edge.source not in steps]
            if pure:
                sources[node_id] = tuple(dict.fromkeys(pure))
        return sources

    def pure_ancestors(self, *node_ids: str) -> tuple[str, ...]:
        """Give the pure nodes that these nodes pull, directly or not, sources first."""
        order: list[str] = []
        seen: set[str] = set()
        for root in node_ids:
            if root not in self._pure_sources:
                continue
            visited = _postorder(root, self.pure_sources, seen)
            order.extend(node_id for node_id in visited if node_id != root)
        return tuple(order)

    def pure_cycles(self) -> list[tuple[str, ...]]:
        """Give one path for each way in which pure nodes feed themselves."""
        return self._pure_cycles

    @cached_property
    def _pure_cycles(self) -> list[tuple[str, ...]]:
        # A pure node without sources that are pure cannot be part of a cycle.
        pure = (node_id for node_id in self._pure_sources if not self.is_step(node_id))
        return _cycles(pure, self.pure_sources)


def analyse(flow: FlowContent, *, find: FindType = find_node_type) -> FlowGraph:
    """Look up node types, tell steps from pure nodes, and index the edges."""
    types = {element.id: find(element.type) for element in flow.elements}
    elements = {element.id: element for element in flow.elements}
    steps = tuple(
        node_id for node_id, element in elements.items() if is_exec(element, types[node_id])
    )
    return FlowGraph(
        flow=flow,
        elements=elements,
        types=types,
        steps=steps,
        exec_out=_grouped(flow.exec_edges, lambda edge: edge.source),
        exec_in=_grouped(flow.exec_edges, lambda edge: edge.target),
        data_in=_grouped(flow.data_edges, lambda edge: edge.target),
        data_out=_grouped(flow.data_edges, lambda edge: edge.source),
    )


def _grouped(edges: Iterable[_Edge], key: Callable[[_Edge], str]) -> dict[str, tuple[_Edge, ...]]:
    groups: defaultdict[str, list[_Edge]] = defaultdict(list)
    for edge in edges:
        groups[key(edge)].append(edge)
    return {node_id: tuple(group) for node_id, group in groups.items()}


def _choose_entry(graph: FlowGraph) -> Entry | None:
    named = graph.flow.entry_node
    if named is not None and graph.is_step(named):
        trigger = _better_trigger(graph, named)
        return Entry(trigger, "trigger") if trigger else Entry(named, "named")
    for node_id in graph.steps:
        if not graph.exec_in.get(node_id):
            return Entry(node_id, "first_root")
    return Entry(graph.steps[0], "first_step") if graph.steps else None


def _better_trigger(graph: FlowGraph, named: str) -> str | None:
    """Give the only trigger when the named entry can lead nowhere, such as an end node."""
    element = graph.elements[named]
    if not element.exec_inputs or element.exec_outputs or graph.exec_out.get(named):
        return None
    triggers = [node_id for node_id in graph.steps if graph.facts(node_id).is_trigger]
    # What hears events runs beside a flow that has a start of its own.
    starts = [node_id for node_id in triggers if not graph.facts(node_id).hears]
    chosen = starts or triggers
    return chosen[0] if len(chosen) == 1 else None


def _postorder(
    root: str, sources: Callable[[str], tuple[str, ...]], seen: set[str]
) -> Iterator[str]:
    """Visit `root` after everything it depends on; nodes in `seen` are left out."""
    if root in seen:
        return
    seen.add(root)
    stack = [(root, iter(sources(root)))]
    while stack:
        node_id, rest = stack[-1]
        unseen = next((source for source in rest if source not in seen), None)
        if unseen is None:
            stack.pop()
            yield node_id
        else:
            seen.add(unseen)
            stack.append((unseen, iter(sources(unseen))))


def _cycles(
    roots: Iterable[str], sources: Callable[[str], tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Give the path of every back edge met by one depth-first walk."""
    cycles: list[tuple[str, ...]] = []
    done: set[str] = set()
    for root in roots:
        if root in done:
            continue
        path = [root]
        on_path = {root: 0}
        stack = [iter(sources(root))]
        while stack:
            source = next(stack[-1], None)
            if source is None:
                stack.pop()
                leaving = path.pop()
                del on_path[leaving]
                done.add(leaving)
            elif source in on_path:
                cycles.append(tuple(path[on_path[source] :]))
            elif source not in done:
                on_path[source] = len(path)
                path.append(source)
                stack.append(iter(sources(source)))
    return cycles
