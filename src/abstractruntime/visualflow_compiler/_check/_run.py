"""Running every rule over a document, and ordering what they find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from abstractruntime._json import split_pointer
from abstractruntime.errors import FlowError
from abstractruntime.nodes._base import Element, NodeType, Problem
from abstractruntime.visualflow_compiler._check import code, document, edges, structure, types
from abstractruntime.visualflow_compiler._check._rules import (
    RULES,
    Finding,
    Rule,
    diagnose,
    node_pointer,
)
from abstractruntime.visualflow_compiler._graph import FlowGraph, analyse
from abstractruntime.visualflow_compiler._load import Source, parse_flow, read_document
from abstractruntime.visualflow_compiler._model import Diagnostic, Flow
from abstractruntime.visualflow_compiler._positions import locate

__all__ = [
    "MAX_FINDINGS",
    "CheckResult",
    "check_document",
    "check_flow",
    "check_tree",
    "require_ok",
]

RULE_MODULES = (document, structure, types, edges, code)
MAX_FINDINGS = 100

# Node types name their problems in their own words; these have a rule of their own.
_PROBLEM_RULES = {"text-as-truth": "VF306", "VF-SUBFLOW": "VF204"}
_GENERAL_RULE = "VF203"
_SUBFLOW_KEYS = ("subflowId", "flowId", "workflowId", "workflow_id")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of checking one document.

    `flow` is None when the document could not be read. At most 100 diagnostics are kept,
    errors first; `omitted` counts the rest.
    """

    flow: Flow | None
    diagnostics: tuple[Diagnostic, ...] = ()
    omitted: int = 0
    source: Source | None = field(default=None, repr=False)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(item for item in self.diagnostics if item.severity == "error")

    @property
    def ok(self) -> bool:
        """True when the document compiles; warnings may remain."""
        return self.flow is not None and not self.errors


def check_document(data: bytes, *, file: str | None = None) -> CheckResult:
    """Read and check a document; every problem is a diagnostic, nothing is raised."""
    try:
        source = read_document(data, file=file)
    except FlowError as unreadable:
        return CheckResult(None, unreadable.findings)
    flow, found = parse_flow(source.document)
    found = [*source.findings, *found, *_check_graph(analyse(flow))]
    return _result(flow, found, source)


def check_flow(flow: Flow, *, source: Source | None = None) -> list[Diagnostic]:
    """Give what the rules find in a flow: errors first, then document order, at most 100.

    With `source`, diagnostics carry file, line and column. What the loader found when it
    read the flow is included.
    """
    _, found = parse_flow(flow.raw) if flow.raw or not flow.id else (flow, [])
    found = [*(source.findings if source else ()), *found, *_check_graph(analyse(flow))]
    return list(_result(flow, found, source).diagnostics)


def check_tree(documents: Mapping[str, bytes]) -> dict[str, CheckResult]:
    """Check documents that belong together, by file name.

    On top of `check_document`, a subflow node whose flow is not among them is an error.
    """
    results = {file: check_document(data, file=file) for file, data in documents.items()}
    known = {result.flow.id for result in results.values() if result.flow is not None}
    return {file: _with_missing_children(result, known) for file, result in results.items()}


def require_ok(
    diagnostics: Iterable[Diagnostic], *, tolerated: frozenset[str] = frozenset()
) -> None:
    """Do nothing when there is no error among `diagnostics`, those with `tolerated` codes aside.

    Raises:
        FlowError: there is; its message is that of the first, `findings` has them all.
    """
    findings = tuple(diagnostics)
    errors = [item for item in findings if item.severity == "error" and item.code not in tolerated]
    if not errors:
        return
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    raise FlowError(errors[0].message + more, findings=findings, hint=errors[0].hint)


def _check_graph(graph: FlowGraph) -> Iterator[Diagnostic]:
    for rule in RULES.values():
        if rule.check is not None:
            for finding in rule.check(graph):
                yield diagnose(rule, graph, finding)
    for node_id, node_type in graph.types.items():
        if node_type is not None:
            yield from _ask_node_type(graph, graph.elements[node_id], node_type)


def _ask_node_type(graph: FlowGraph, element: Element, node_type: NodeType) -> Iterator[Diagnostic]:
    for problem in node_type.check(element):
        finding = Finding(
            f"node {element.id!r}: {problem.message}",
            node_pointer(graph, element.id, problem.pointer or _pin_pointer(element, problem)),
            node_id=element.id,
            pin=problem.pin,
            hint=problem.hint,
        )
        yield diagnose(_rule_of(problem), graph, finding)


def _rule_of(problem: Problem) -> Rule:
    code = _PROBLEM_RULES.get(problem.code, problem.code)
    rule = RULES.get(code, RULES[_GENERAL_RULE])
    return replace(rule, severity="warning" if problem.severity == "warning" else "error")


def _pin_pointer(element: Element, problem: Problem) -> str:
    has_default = problem.pin is not None and problem.pin in element.pin_defaults
    return f"/data/pinDefaults/{problem.pin}" if has_default else ""


def _with_missing_children(result: CheckResult, known: set[str]) -> CheckResult:
    if result.flow is None:
        return result
    graph = analyse(result.flow)
    missing = [diagnose(RULES["VF205"], graph, item) for item in _missing_children(graph, known)]
    if not missing:
        return result
    checked = _result(result.flow, [*result.diagnostics, *missing], result.source)
    return replace(checked, omitted=checked.omitted + result.omitted)


def _missing_children(graph: FlowGraph, known: set[str]) -> Iterator[Finding]:
    for node_id, element in graph.elements.items():
        if element.type != "subflow":
            continue
        for key in _SUBFLOW_KEYS:
            child = element.data.get(key)
            if not isinstance(child, str) or not child.strip():
                continue
            if child.strip() not in known:
                yield Finding(
                    f"node {node_id!r} of flow {graph.flow.id!r} runs the subflow "
                    f"{child.strip()!r}, which is missing",
                    node_pointer(graph, node_id, f"/data/{key}"),
                    node_id=node_id,
                    hint="add its document, or correct the id",
                )
            break


# --- order and places ------------------------------------------------------------------


def _result(flow: Flow, found: Iterable[Diagnostic], source: Source | None) -> CheckResult:
    order = {key: place for place, key in enumerate(flow.raw)}
    ranked = sorted(dict.fromkeys(found), key=lambda item: _rank(item, order))
    kept = ranked[:MAX_FINDINGS]
    diagnostics = tuple(_placed(kept, source) if source else kept)
    return CheckResult(flow, diagnostics, len(ranked) - len(kept), source)


def _rank(item: Diagnostic, order: Mapping[str, int]) -> tuple[bool, int, list[tuple[int, str]]]:
    tokens = split_pointer(item.pointer)
    place = order.get(tokens[0], len(order)) if tokens else -1
    inner = [(int(t), "") if t.isdecimal() else (-1, t) for t in tokens[1:]]
    return item.severity != "error", place, inner


def _placed(items: Iterable[Diagnostic], source: Source) -> Iterator[Diagnostic]:
    items = tuple(items)
    places = locate(source.text, [item.pointer for item in items]) if items else {}
    for item in items:
        place = places.get(item.pointer)
        if item.line is None and place is not None:
            yield replace(item, file=source.file, line=place.line, column=place.column)
        else:
            yield replace(item, file=source.file)
