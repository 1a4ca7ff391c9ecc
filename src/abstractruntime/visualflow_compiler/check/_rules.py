"""The registry of rules: what is checked, under which code, and how to explain it.

Rules:
1. A code never changes its meaning. `VF0nn` is about reading a document, `VF1nn` about
   its structure, `VF2nn` about node types, `VF3nn` about edges and pins, `VF4nn` about code,
   `VF5nn` about variables. A finding of severity info changes nothing and asks for nothing.
2. One function per rule; it yields findings, and the registry stamps code and severity.
3. A rule that `spares_dead_nodes` only warns about nodes that no run can visit; one that `asks_all_starts`
   counts every node at which a host may start, because all that these run has to be packed.
4. Every rule has an example that it reports and one that it does not; tests run both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from abstractruntime._json import JsonObject
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic, Severity
from abstractruntime.visualflow_compiler.graph import FlowGraph


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule saw; code, severity and label are added by the registry."""

    message: str
    pointer: str = ""
    node_id: str | None = None
    pin: str | None = None
    notes: tuple[str, ...] = ()
    hint: str | None = None


Check = Callable[[FlowGraph], Iterator[Finding]]
ExampleText = JsonObject | str


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of diagnostic: its explanation for people, and the function that finds it.

    `check` is None for what the loader or a node type reports.
    """

    code: str
    severity: Severity
    title: str
    explanation: str
    bad: ExampleText
    good: ExampleText
    spares_dead_nodes: bool = True
    check: Check | None = None
    asks_all_starts: bool = False

    def example_bytes(self, *, bad: bool) -> bytes:
        """Give one of the two examples as a document."""
        example = self.bad if bad else self.good
        return (example if isinstance(example, str) else json.dumps(example, indent=2)).encode()


RULES: Final[dict[str, Rule]] = {}


def declare(rule: Rule) -> Rule:
    """Add a rule; a code can be taken once."""
    if rule.code in RULES:
        raise ValueError(f"rule {rule.code} is declared twice")
    RULES[rule.code] = rule
    return rule


def rule(
    code: str,
    severity: Severity,
    title: str,
    *,
    explanation: str,
    bad: ExampleText,
    good: ExampleText,
    spares_dead_nodes: bool = True,
) -> Callable[[Check], Check]:
    """Register the decorated function as the check of a rule."""

    def register(check: Check) -> Check:
        declare(Rule(code, severity, title, explanation, bad, good, spares_dead_nodes, check))
        return check

    return register


def diagnose(rule: Rule, graph: FlowGraph, finding: Finding) -> Diagnostic:
    """Turn a finding into a diagnostic, softened when no run can visit its node."""
    element = graph.elements.get(finding.node_id or "")
    visited = graph.startable if rule.asks_all_starts else graph.served
    dead = finding.node_id is not None and finding.node_id not in visited
    softened = dead and rule.spares_dead_nodes and rule.severity == "error"
    notes = (*finding.notes, "no run can visit this node") if softened else finding.notes
    return Diagnostic(
        code=rule.code,
        severity="warning" if softened else rule.severity,
        message=finding.message,
        pointer=finding.pointer,
        node_id=finding.node_id,
        node_label=(element.label or None) if element else None,
        pin=finding.pin,
        notes=notes,
        hint=finding.hint,
    )


def did_you_mean(names: list[str]) -> str | None:
    """Give a hint that offers up to three names."""
    if not names:
        return None
    return f"did you mean {' or '.join(repr(name) for name in names[:3])}?"


def node_pointer(graph: FlowGraph, node_id: str, key: str = "") -> str:
    """Give the pointer of a node, or of something inside it (`key` starts with a slash)."""
    return f"/nodes/{graph.index[node_id]}{key}"
