"""Checking documents that belong together: what subflow nodes ask of the flows they run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from abstractruntime._near import close_names
from abstractruntime.errors import FlowError
from abstractruntime.nodes.base import Element
from abstractruntime.nodes.subflow import ID_KEYS
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.check._reads import names_read
from abstractruntime.visualflow_compiler.check._rules import (
    RULES,
    Finding,
    Rule,
    declare,
    diagnose,
    did_you_mean,
    node_pointer,
)
from abstractruntime.visualflow_compiler.check._run import CheckResult, check_flow
from abstractruntime.visualflow_compiler.check.endings import always_runs, recursion
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.graph import FlowGraph

__all__ = ["Absent", "Find", "check_documents", "check_read", "check_tree", "read_tree"]

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


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a subflow is not there, and what to do about it."""

    what: str = "which is missing"
    notes: tuple[str, ...] = ()
    hint: str = "add its document, or correct the id"


Find = Callable[[str], "FlowDocument | Absent | None"]
"""Gives the flow of an id, or why it is not there; None when nothing can be known about it."""


def check_tree(documents: Mapping[str, bytes]) -> dict[str, CheckResult]:
    """Check documents that belong together, by file name; see `check_read`."""
    return check_read(read_tree(documents))


def check_documents(
    documents: Mapping[str, FlowDocument], find: Find | None = None
) -> dict[str, CheckResult]:
    """Check documents that belong together, as their author wants them read; see `check_read`."""
    return check_read({name: _read(one.as_authored) for name, one in documents.items()}, find)


def read_tree(documents: Mapping[str, bytes]) -> dict[str, CheckResult]:
    """Read documents by file name; what cannot be read has findings and no document."""
    return {f: _read(partial(FlowDocument.read, data, file=f)) for f, data in documents.items()}


def check_read(read: Mapping[str, CheckResult], find: Find | None = None) -> dict[str, CheckResult]:
    """Check documents that were read, and those that they run, by name.

    On top of `check_flow`, a subflow node whose flow is not there is an error, and one that does not
    fit its flow is a warning. Documents that `find` gives are checked along, under their file or id.
    It looks among those given when it is None.
    """
    find = find or Among(_documents(read)).find
    results, flows = _with_subflows(read, find)
    graphs = {flow_id: one.graph for flow_id, one in flows.items() if isinstance(one, FlowDocument)}
    rings = _endless(graphs)
    twins = _twins(results)

    def more(name: str, document: FlowDocument) -> Iterator[Diagnostic]:
        yield from _of_subflows(document.graph, flows)
        yield from _of_ring(document.graph, rings, graphs)
        yield from _of_twins(name, document, twins)

    return {
        name: check_flow(document, more(name, document))
        if (document := result.document)
        else result
        for name, result in results.items()
    }


class Among:
    """Looks for flows among some documents."""

    def __init__(self, documents: Iterable[FlowDocument]) -> None:
        self._documents = {document.id: document for document in documents}

    def find(self, flow_id: str) -> FlowDocument | Absent:
        return self._documents.get(flow_id) or Absent()


def _read(read: Callable[[], FlowDocument]) -> CheckResult:
    try:
        return CheckResult(read())
    except FlowError as unreadable:
        return CheckResult(None, unreadable.findings)


def _name(document: FlowDocument) -> str:
    return document.file or document.id


def _documents(read: Mapping[str, CheckResult]) -> list[FlowDocument]:
    return [result.document for result in read.values() if result.document is not None]


def _with_subflows(
    read: Mapping[str, CheckResult], find: Find
) -> tuple[dict[str, CheckResult], dict[str, FlowDocument | Absent | None]]:
    """Give the documents with all that they run, and what is known of each flow that is named."""
    results = dict(read)
    flows: dict[str, FlowDocument | Absent | None] = {d.id: d for d in _documents(read)}
    known = {_name(document) for document in _documents(read)}
    asked: set[str] = set()
    queue = deque(_documents(read))
    while queue:
        graph = queue.popleft().graph
        packed = {child for _, child in graph.calls}
        for child_id in _subflow_ids(graph):
            if child_id not in asked:
                asked.add(child_id)
                flows[child_id] = find(child_id)
            child = flows[child_id]
            # What no run can reach is compared, and does not belong to the flow.
            if isinstance(child, FlowDocument) and child_id in packed and _name(child) not in known:
                known.add(_name(child))
                results[_name(child)] = result = _read(child.as_authored)
                flows[child_id] = result.document or child
                queue.extend(_documents({child_id: result}))
    return results, flows


def _subflow_ids(graph: FlowGraph) -> list[str]:
    found = (graph.facts(element.id).subflow(element) for element in graph.elements.values())
    return [child for child in found if child]


def _twins(results: Mapping[str, CheckResult]) -> Mapping[str, list[str]]:
    """Give the names of the documents that share an id, by id."""
    names: dict[str, list[str]] = {}
    for name, result in results.items():
        if result.document is not None:
            names.setdefault(result.document.id, []).append(name)
    return {flow_id: found for flow_id, found in names.items() if flow_id and len(found) > 1}


def _of_twins(
    name: str, document: FlowDocument, twins: Mapping[str, list[str]]
) -> Iterator[Diagnostic]:
    others = [other for other in twins.get(document.id, ()) if other != name]
    if others:
        finding = Finding(
            f"the id {document.id!r} is also that of {', '.join(map(repr, others))}",
            "/id",
            hint="give one of them another id, and correct the subflow nodes that mean it",
        )
        yield diagnose(RULES["VF012"], document.graph, finding)


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


def _of_subflows(
    graph: FlowGraph, flows: Mapping[str, FlowDocument | Absent | None]
) -> Iterator[Diagnostic]:
    for element in graph.elements.values():
        child_id = graph.facts(element.id).subflow(element)
        child = flows.get(child_id) if child_id else None
        if isinstance(child, Absent):
            yield diagnose(RULES[_MISSING], graph, _missing(graph, element, str(child_id), child))
        elif child is not None:
            for code, finding in _misfits(graph, element, child.graph):
                yield diagnose(RULES[code], graph, finding)


def _misfits(graph: FlowGraph, element: Element, child: FlowGraph) -> Iterator[tuple[str, Finding]]:
    for pin in _unknown_parameters(element, child):
        yield "VF208", _unknown_parameter(graph, element, child, pin)
    results = _results(child)
    for edge in graph.data_out.get(element.id, ()):
        if results and edge.handle not in {*results, *_OWN_RESULTS}:
            finding = Finding(
                f"flow {child.flow.id!r} gives no {edge.handle!r}",
                edge.at("sourceHandle"),
                node_id=element.id,
                pin=edge.handle,
                notes=(f"its end nodes have: {', '.join(sorted(results))}",),
                hint=did_you_mean(_near(edge.handle, results)),
            )
            yield "VF209", finding


def _missing(graph: FlowGraph, element: Element, child_id: str, absent: Absent) -> Finding:
    named = (key for key in ID_KEYS if str(element.data.get(key) or "").strip() == child_id)
    key = next(named, ID_KEYS[0])
    return Finding(
        f"node {element.id!r} of flow {graph.flow.id!r} runs the subflow {child_id!r}, {absent.what}",
        node_pointer(graph, element.id, f"/data/{key}"),
        node_id=element.id,
        notes=absent.notes,
        hint=absent.hint,
    )


def _unknown_parameters(element: Element, child: FlowGraph) -> list[str]:
    known = names_read(child)
    if known is None:
        return []
    own = {"vars", "input", "inherit_context", "inheritContext", *known}
    pins = element.input_ids or sorted({*element.wired, *element.pin_defaults})
    given = (pin for pin in pins if pin in element.wired or _is_given(element, pin))
    return [p for p in given if p not in own and not p.startswith(_HOST_PARAMETERS)]


def _is_given(element: Element, pin: str) -> bool:
    return element.pin_defaults.get(pin) not in (None, "")


def _unknown_parameter(graph: FlowGraph, element: Element, child: FlowGraph, pin: str) -> Finding:
    known = sorted(names_read(child) or ())
    edges = graph.entering(element.id, pin)
    where = edges[0].at("targetHandle") if edges else ""
    return Finding(
        f"flow {child.flow.id!r} has no parameter {pin!r}",
        where or node_pointer(graph, element.id, "/data/pinDefaults"),
        node_id=element.id,
        pin=pin,
        notes=(f"it reads: {', '.join(known) or 'nothing'}",),
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
