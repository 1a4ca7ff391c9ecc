"""Running every rule over a document, and ordering what they find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from abstractruntime._json import split_pointer
from abstractruntime.errors import FlowError
from abstractruntime.nodes.base import Element, NodeType, Problem
from abstractruntime.visualflow_compiler._check import (
    code,
    document,
    edges,
    endings,
    structure,
    types,
    values,
    variables,
)
from abstractruntime.visualflow_compiler._check._rules import (
    RULES,
    Finding,
    diagnose,
    node_pointer,
)
from abstractruntime.visualflow_compiler._graph import FlowGraph, analyse
from abstractruntime.visualflow_compiler._load import Source, parse_flow, read_document
from abstractruntime.visualflow_compiler._model import Diagnostic, Flow, Severity
from abstractruntime.visualflow_compiler._positions import locate

__all__ = [
    "MAX_FINDINGS",
    "CheckResult",
    "check_document",
    "check_flow",
    "compilable",
    "require_ok",
    "with_more",
]

RULE_MODULES = (document, structure, endings, types, edges, values, code, variables)
MAX_FINDINGS = 100


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
    flow, found = parse_flow(source.document, is_normal=True)
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


def require_ok(diagnostics: Iterable[Diagnostic]) -> None:
    """Do nothing when there is no error among `diagnostics`.

    Raises:
        FlowError: there is; its message is that of the first, `findings` has them all.
    """
    findings = tuple(diagnostics)
    errors = [item for item in findings if item.severity == "error"]
    if not errors:
        return
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    raise FlowError(errors[0].message + more, findings=findings, hint=errors[0].hint)


# Compat: 0.4.2 compiled flows with edges to deleted nodes; `art check` refuses them.
_LEFT_OUT: Final = frozenset({"VF010"})


def compilable(graph: FlowGraph, found: Iterable[Diagnostic]) -> None:
    """Do nothing when a flow compiles; `found` is what the loader found when it read it.

    Edges to missing nodes are left out when a flow is compiled, and not reported.

    Raises:
        FlowError: it does not; `findings` has what else `check_flow` finds.
    """
    loaded = [item for item in found if item.code not in _LEFT_OUT]
    # Rules that only warn are asked when there is an error to show them with.
    candidates = (*loaded, *_check_graph(graph, only_errors=True))
    if any(item.severity == "error" for item in candidates):
        require_ok(_result(graph.flow, (*loaded, *_check_graph(graph)), None).diagnostics)


def _check_graph(graph: FlowGraph, *, only_errors: bool = False) -> Iterator[Diagnostic]:
    for rule in RULES.values():
        if rule.check is not None and (rule.severity == "error" or not only_errors):
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
        rule = RULES[problem.code]
        yield diagnose(replace(rule, severity=problem.severity or rule.severity), graph, finding)


def _pin_pointer(element: Element, problem: Problem) -> str:
    has_default = problem.pin is not None and problem.pin in element.pin_defaults
    return f"/data/pinDefaults/{problem.pin}" if has_default else ""


def with_more(result: CheckResult, graph: FlowGraph, more: Iterable[Diagnostic]) -> CheckResult:
    """Give the result of a check with further findings about the same document."""
    checked = _result(graph.flow, [*result.diagnostics, *more], result.source)
    return replace(checked, omitted=checked.omitted + result.omitted)


# --- order and places ------------------------------------------------------------------


def _result(flow: Flow, found: Iterable[Diagnostic], source: Source | None) -> CheckResult:
    order = {key: place for place, key in enumerate(flow.raw)}
    ranked = sorted(dict.fromkeys(found), key=lambda item: _rank(item, order))
    kept = ranked[:MAX_FINDINGS]
    diagnostics = tuple(_placed(kept, source) if source else kept)
    return CheckResult(flow, diagnostics, len(ranked) - len(kept), source)


_LEVELS: Final[tuple[Severity, ...]] = ("error", "warning", "info")


def _rank(item: Diagnostic, order: Mapping[str, int]) -> tuple[int, int, list[tuple[int, str]]]:
    tokens = split_pointer(item.pointer)
    place = order.get(tokens[0], len(order)) if tokens else -1
    inner = [(int(t), "") if t.isdecimal() else (-1, t) for t in tokens[1:]]
    return _LEVELS.index(item.severity), place, inner


def _placed(items: Iterable[Diagnostic], source: Source) -> Iterator[Diagnostic]:
    items = tuple(items)
    places = locate(source.text, [item.pointer for item in items]) if items else {}
    for item in items:
        place = places.get(item.pointer)
        if item.line is None and place is not None:
            yield replace(item, file=source.file, line=place.line, column=place.column)
        else:
            yield replace(item, file=source.file)
