"""Running every rule over a document, and ordering what they find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from abstractruntime._json import split_pointer
from abstractruntime.errors import FlowError
from abstractruntime.nodes.base import Element, Problem
from abstractruntime.visualflow_compiler._positions import locate
from abstractruntime.visualflow_compiler.check import (
    code,
    document,
    edges,
    endings,
    keys,
    kinds,
    pins,
    settings,
    structure,
    trial,
    types,
    values,
    variables,
)
from abstractruntime.visualflow_compiler.check._rules import (
    RULES,
    Finding,
    diagnose,
    node_pointer,
)
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic, Severity
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.graph import FlowGraph

__all__ = [
    "MAX_FINDINGS",
    "CheckResult",
    "check_document",
    "check_flow",
    "compilable",
    "require_ok",
]

RULE_MODULES = (
    document,
    structure,
    endings,
    types,
    settings,
    kinds,
    keys,
    edges,
    pins,
    values,
    trial,
    code,
    variables,
)
MAX_FINDINGS = 100


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of checking one document.

    `document` is None when it could not be read. At most 100 diagnostics are kept, errors
    first; `omitted` counts the rest.
    """

    document: FlowDocument | None
    diagnostics: tuple[Diagnostic, ...] = ()
    omitted: int = 0

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(item for item in self.diagnostics if item.severity == "error")

    @property
    def ok(self) -> bool:
        """True when the document compiles; warnings may remain."""
        return self.document is not None and not self.errors


def check_document(data: bytes, *, file: str | None = None) -> CheckResult:
    """Read and check a document; every problem is a diagnostic, nothing is raised."""
    try:
        return check_flow(FlowDocument.read(data, file=file))
    except FlowError as unreadable:
        return CheckResult(None, unreadable.findings)


def check_flow(document: FlowDocument, more: Iterable[Diagnostic] = ()) -> CheckResult:
    """Give what the loader and the rules find in a document, and `more` about it.

    Findings have line and column when the document has a text.
    """
    rules = document.derive(_Examination).found()
    ranked = _ranked(document, (*document.repeated_keys, *document.findings, *rules, *more))
    kept = ranked[:MAX_FINDINGS]
    if document.data is not None:
        kept = list(_placed(kept, document))
    return CheckResult(document, tuple(kept), len(ranked) - len(kept))


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


# Compat: 0.4.2 compiled flows with edges to nodes and pins that do not exist, left those edges out, and
# failed at a subflow without an id, or code without its function, when a run came there; `art check`,
# `art compile` and `art run` refuse them.
_LEFT_OUT: Final = frozenset({"VF010", "VF204", "VF304", "VF305", "VF407"})


def compilable(document: FlowDocument) -> None:
    """Do nothing when a document compiles.

    Edges to missing nodes or pins are left out when Python compiles a flow, and not reported.

    Raises:
        FlowError: it does not; `findings` has what else `check_flow` finds.
    """
    loaded = [item for item in document.findings if item.code not in _LEFT_OUT]
    examination = document.derive(_Examination)
    # Rules that only warn are asked when there is an error to show them with.
    candidates = (*loaded, *examination.found(only_errors=True))
    if any(item.severity == "error" and item.code not in _LEFT_OUT for item in candidates):
        ranked = _ranked(document, (*loaded, *examination.found()))
        require_ok(ranked[:MAX_FINDINGS])


class _Examination:
    """What the rules find in one document; each of them is asked once, when it is needed."""

    def __init__(self, document: FlowDocument) -> None:
        self._graph = document.graph
        self._answers: dict[str, list[Diagnostic]] = {}

    def found(self, *, only_errors: bool = False) -> Iterator[Diagnostic]:
        """Give it in the order of the rules; `only_errors` leaves out rules that only warn."""
        graph, answers = self._graph, self._answers
        for name, rule in RULES.items():
            is_asked = not only_errors or (rule.severity == "error" and name not in _LEFT_OUT)
            if rule.check is not None and is_asked:
                if name not in answers:
                    answers[name] = [diagnose(rule, graph, item) for item in rule.check(graph)]
                yield from answers[name]
        yield from self._of_node_types
        if not only_errors:
            yield from self._of_trials

    @cached_property
    def _of_trials(self) -> tuple[Diagnostic, ...]:
        return self._of_problems(trial.tried(self._graph))

    @cached_property
    def _of_node_types(self) -> tuple[Diagnostic, ...]:
        return self._of_problems(self._graph.problems)

    def _of_problems(self, found: Mapping[str, Iterable[Problem]]) -> tuple[Diagnostic, ...]:
        graph = self._graph
        return tuple(
            _of_problem(graph, graph.elements[node_id], problem)
            for node_id, problems in found.items()
            for problem in problems
        )


def _of_problem(graph: FlowGraph, element: Element, problem: Problem) -> Diagnostic:
    finding = Finding(
        f"node {element.id!r}: {problem.message}",
        node_pointer(graph, element.id, problem.pointer or _pin_pointer(element, problem)),
        node_id=element.id,
        pin=problem.pin,
        hint=problem.hint,
    )
    rule = RULES[problem.code]
    return diagnose(replace(rule, severity=problem.severity or rule.severity), graph, finding)


def _pin_pointer(element: Element, problem: Problem) -> str:
    has_default = problem.pin is not None and problem.pin in element.pin_defaults
    return f"/data/pinDefaults/{problem.pin}" if has_default else ""


# --- order and places ------------------------------------------------------------------


def _ranked(document: FlowDocument, found: Iterable[Diagnostic]) -> list[Diagnostic]:
    order = {key: place for place, key in enumerate(document.raw)}
    return sorted(dict.fromkeys(found), key=lambda item: _rank(item, order))


_LEVELS: Final[tuple[Severity, ...]] = ("error", "warning", "info")


def _rank(item: Diagnostic, order: Mapping[str, int]) -> tuple[int, int, list[tuple[int, str]]]:
    tokens = split_pointer(item.pointer)
    place = order.get(tokens[0], len(order)) if tokens else -1
    inner = [(int(t), "") if t.isdecimal() else (-1, t) for t in tokens[1:]]
    return _LEVELS.index(item.severity), place, inner


def _placed(items: Sequence[Diagnostic], document: FlowDocument) -> Iterator[Diagnostic]:
    places = locate(document.text, [item.pointer for item in items]) if items else {}
    for item in items:
        place = places.get(item.pointer)
        if item.line is None and place is not None:
            yield replace(item, file=document.file, line=place.line, column=place.column)
        else:
            yield replace(item, file=document.file)
