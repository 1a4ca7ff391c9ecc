"""Checking documents that belong together: what subflow nodes ask of the flows they run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial

from abstractruntime._near import close_names
from abstractruntime.errors import FlowError
from abstractruntime.nodes.base import Element
from abstractruntime.nodes.subflow import ID_KEYS
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.check._rules import (
    RULES,
    Finding,
    Rule,
    declare,
    diagnose,
    did_you_mean,
    edge_pointer,
    node_pointer,
)
from abstractruntime.visualflow_compiler.check._run import CheckResult, check_flow
from abstractruntime.visualflow_compiler.check.endings import always_runs, recursion
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.graph import FlowGraph

__all__ = ["check_documents", "check_tree"]

_MISSING = "VF205"
_OWN_RESULTS = frozenset(
    {"sub_run_id", "output", "child_output", "result", "response", "success", "error", "node"}
)
_HOST_PARAMETERS = ("_", "context", "workspace", "session", "child_session", "childSession")


def _itself(inputs: str, outputs: str, *edges: str) -> dict[str, object]:
    again = node(
        "again", "subflow", f"exec-in {inputs}", f"exec-out {outputs}", subflowId="example"
    )
    check = node("check", "if", "exec-in condition", "true false")
    wires = ("start > check", "start.text > check.condition", "check.true > again", "again > end")
    return flow(START, check, again, END, edges=(*wires, *edges))


_GOOD = _itself("text", "answer", "start.text > again.text", "again.answer > end.answer")

declare(
    Rule(
        "VF208",
        "warning",
        "a subflow does not have this parameter",
        "The child run gets the value as a variable, but its flow has no parameter of this name (an output "
        "pin of its on_flow_start), and no node of it reads such a variable.",
        bad=_itself("txt", "answer", "start.text > again.txt", "again.answer > end.answer"),
        good=_GOOD,
    )
)
declare(
    Rule(
        "VF209",
        "warning",
        "a subflow does not give this result",
        "Output pins of a subflow node are read from the child's output by name, and no end node of the "
        "child has a pin of this name. Nothing arrives at the other end of the edge.",
        bad=_itself("text", "anwser", "start.text > again.text", "again.anwser > end.answer"),
        good=_GOOD,
    )
)


Lookup = Callable[[Collection[str]], Mapping[str, FlowDocument]]
"""Gives those of some flows that lie elsewhere, by id."""


def check_tree(
    documents: Mapping[str, bytes],
    *,
    is_complete: bool = True,
    elsewhere: Lookup = lambda _ids: {},
) -> dict[str, CheckResult]:
    """Check documents that belong together, by file name; see `check_documents`.

    Args:
        is_complete: Whether a flow that is not among them is missing.
        elsewhere: Where to look for it else; what it gives is compared, not checked.
    """
    readers = {f: partial(FlowDocument.read, data, file=f) for f, data in documents.items()}
    return _checked(readers, is_complete=is_complete, elsewhere=elsewhere)


def check_documents(documents: Mapping[str, FlowDocument]) -> dict[str, CheckResult]:
    """Check documents that belong together, as their author wants them read.

    On top of `check_flow`, a subflow node whose flow is not among them is an error, and one
    that does not fit its flow is a warning.
    """
    readers = {name: document.as_authored for name, document in documents.items()}
    return _checked(readers, is_complete=True, elsewhere=lambda _ids: {})


def _checked(
    readers: Mapping[str, Callable[[], FlowDocument]], *, is_complete: bool, elsewhere: Lookup
) -> dict[str, CheckResult]:
    results: dict[str, CheckResult] = {}
    for name, read in readers.items():
        try:
            results[name] = CheckResult(read())
        except FlowError as unreadable:
            results[name] = CheckResult(None, unreadable.findings)
    readable = {name: r.document for name, r in results.items() if r.document is not None}
    children = {document.id: document.graph for document in readable.values()}
    if wanted := _subflow_ids(children.values()).difference(children):
        found = elsewhere(wanted)
        children = {**{flow_id: one.graph for flow_id, one in found.items()}, **children}
    rings = _endless(children)
    for name, document in readable.items():
        misfits = _of_subflows(document.graph, children)
        more = [one for one in misfits if is_complete or one.code != _MISSING]
        results[name] = check_flow(document, (*more, *_of_ring(document.graph, rings, children)))
    return results


def _subflow_ids(graphs: Iterable[FlowGraph]) -> set[str]:
    return {
        child
        for graph in graphs
        for element in graph.elements.values()
        if (child := graph.facts(element.id).subflow(element))
    }


def _endless(flows: Mapping[str, FlowGraph]) -> dict[str, str]:
    """Give the flows that always run each other: a node of each that does, by flow id."""
    calls = dict.fromkeys(flows, "")
    while True:
        found = {key: always_runs(flows[key], calls) for key in calls}
        kept = {key: nodes[0] for key, nodes in found.items() if nodes}
        if len(kept) == len(calls):
            return kept
        calls = kept


def _of_ring(
    graph: FlowGraph, rings: Mapping[str, str], flows: Mapping[str, FlowGraph]
) -> Iterator[Diagnostic]:
    ring = _ring(graph.flow.id, rings, flows)
    if ring:
        what = f"flow {ring[0]!r}, and every way through that comes back to it"
        yield diagnose(RULES["VF117"], graph, recursion(graph, rings[graph.flow.id], what))


def _ring(flow_id: str, rings: Mapping[str, str], flows: Mapping[str, FlowGraph]) -> list[str]:
    """Give the flows through which a flow runs itself again; empty when it does not, or does so directly."""
    passed: list[str] = []
    child = flow_id
    while child in rings:
        graph = flows[child]
        child = graph.facts(rings[child]).subflow(graph.elements[rings[child]]) or ""
        if child in passed:
            break
        passed.append(child)
    return passed if len(passed) > 1 and passed[-1] == flow_id else []


def _of_subflows(graph: FlowGraph, children: Mapping[str, FlowGraph]) -> Iterator[Diagnostic]:
    for element in graph.elements.values():
        if child_id := graph.facts(element.id).subflow(element):
            for code, finding in _misfits(graph, element, child_id, children):
                yield diagnose(RULES[code], graph, finding)


def _misfits(
    graph: FlowGraph, element: Element, child_id: str, children: Mapping[str, FlowGraph]
) -> Iterator[tuple[str, Finding]]:
    child = children.get(child_id)
    if child is None:
        yield _MISSING, _missing(graph, element, child_id)
        return
    for pin in _unknown_parameters(element, child):
        yield "VF208", _unknown_parameter(graph, element, child, pin)
    results = _results(child)
    for edge in graph.data_out.get(element.id, ()):
        if results and edge.handle not in {*results, *_OWN_RESULTS}:
            finding = Finding(
                f"flow {child_id!r} gives no {edge.handle!r}",
                edge_pointer(edge.index, "sourceHandle"),
                node_id=element.id,
                pin=edge.handle,
                notes=(f"its end nodes have: {', '.join(sorted(results))}",),
                hint=did_you_mean(_near(edge.handle, results)),
            )
            yield "VF209", finding


def _missing(graph: FlowGraph, element: Element, child_id: str) -> Finding:
    named = (key for key in ID_KEYS if str(element.data.get(key) or "").strip() == child_id)
    key = next(named, ID_KEYS[0])
    return Finding(
        f"node {element.id!r} of flow {graph.flow.id!r} runs the subflow {child_id!r}, which is missing",
        node_pointer(graph, element.id, f"/data/{key}"),
        node_id=element.id,
        hint="add its document, or correct the id",
    )


def _unknown_parameters(element: Element, child: FlowGraph) -> list[str]:
    known = _parameters(child)
    if known is None:
        return []
    own = {"vars", "input", "inherit_context", "inheritContext", *known}
    pins = element.input_ids or sorted({*element.wired, *element.pin_defaults})
    given = (pin for pin in pins if pin in element.wired or _is_given(element, pin))
    return [p for p in given if p not in own and not p.startswith(_HOST_PARAMETERS)]


def _is_given(element: Element, pin: str) -> bool:
    return element.pin_defaults.get(pin) not in (None, "")


def _parameters(child: FlowGraph) -> set[str] | None:
    """Give the variables that a flow reads; None when that is not known."""
    if child.entry is None:
        return None
    start = child.elements[child.entry.node_id]
    reads = [
        (element, pin.id)
        for element in child.elements.values()
        for pin in child.facts(element.id).inputs
        if pin.role in ("reads", "changes")
    ]
    names = [element.pin_defaults.get(pin) for element, pin in reads if pin not in element.wired]
    is_open = len(names) < len(reads) or not start.output_ids
    if is_open or not child.facts(start.id).declares_parameters:
        return None
    return {*start.output_ids, *(str(name).partition(".")[0] for name in names if name)}


def _unknown_parameter(graph: FlowGraph, element: Element, child: FlowGraph, pin: str) -> Finding:
    known = child.elements[child.entry.node_id].output_ids if child.entry else ()
    edges = [e for e in graph.data_in.get(element.id, ()) if e.pin == pin]
    where = edge_pointer(edges[0].index, "targetHandle") if edges else ""
    return Finding(
        f"flow {child.flow.id!r} has no parameter {pin!r}",
        where or node_pointer(graph, element.id, "/data/pinDefaults"),
        node_id=element.id,
        pin=pin,
        notes=(f"its parameters are: {', '.join(known)}",),
        hint=did_you_mean(_near(pin, set(known))),
    )


def _results(child: FlowGraph) -> set[str]:
    """Give the names in a flow's output; none when they are not known."""
    ends = [e for n, e in child.elements.items() if child.facts(n).ends_run and n in child.served]
    if any(not end.input_ids for end in ends):
        return set()
    return {pin for end in ends for pin in end.input_ids}


def _near(name: str, names: set[str]) -> list[str]:
    return close_names(name, sorted(names), n=1)
