"""Typing mistakes in published documents are reported, and the documents themselves are left alone.

`-s` prints the share of each kind and what was not found. A report is a warning or an error that the
document without the mistake does not have.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest
from seeded_mistakes import Document, Mistake, seed, text_of

from abstractruntime.cli._packing import Request, compile_bundle
from abstractruntime.errors import FlowError
from abstractruntime.visualflow_compiler import compile_visualflow
from abstractruntime.visualflow_compiler.check import CheckResult, check_documents, check_tree
from abstractruntime.visualflow_compiler.document import FlowDocument

FLOWS = Path(__file__).parents[2].parent / "shared" / "flows"
NUMBER = 10
PER_KIND = 25
# Warnings and errors of the 92 documents before there were rules for most of these mistakes.
BEFORE = {"VF002": 1, "VF102": 1, "VF103": 1, "VF105": 15, "VF109": 1, "VF208": 1, "VF308": 1}
# What was found in them since then, and is a mistake of the document.
#   VF314: defaults of parameters that were deleted or renamed (15f19f7f, ef1d4a25), and of `pretty`, which
#   stringify_json does not have (ltm-ai-kg-query).
#   VF315: an `if` that is always false and a report of nothing (b16c5a46), a `get` from nothing (60a97e4d),
#   an empty note (61e7c1a4).
#   VF316: braces of JSON in a template, which therefore fails (d1914129).
MISTAKES = {"VF314": 3, "VF315": 4, "VF316": 1}
MOST_FALSE_ALARMS = 3

pytestmark = pytest.mark.skipif(
    not FLOWS.is_dir(), reason=f"published flow documents are not at {FLOWS}"
)


@cache
def texts() -> Mapping[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(FLOWS.glob("*.json"))}


@cache
def documents() -> Mapping[str, Document]:
    return {name: json.loads(text) for name, text in texts().items()}


@cache
def mistakes() -> tuple[Mistake, ...]:
    return tuple(seed(documents(), per_kind=PER_KIND, number=NUMBER))


@cache
def published(name: str) -> FlowDocument:
    return FlowDocument.of(documents()[name])


@cache
def children(name: str) -> Mapping[str, FlowDocument]:
    """Give the published documents that a document runs, itself left out, by file name."""
    graph = published(name).graph
    named = {graph.facts(key).subflow(element) for key, element in graph.elements.items()}
    return {other: published(other) for other in texts() if other != name and id_of(other) in named}


def id_of(name: str) -> str:
    return documents()[name]["id"]


def checked(name: str, document: Document) -> CheckResult:
    return check_documents({**children(name), name: FlowDocument.of(document)})[name]


@cache
def _unchanged(name: str) -> frozenset[tuple[str, ...]]:
    return _told(checked(name, documents()[name]))


def _told(result: CheckResult) -> frozenset[tuple[str, ...]]:
    """Give what is said, without the places of edges, which a missing edge moves."""
    return frozenset(
        (item.code, item.node_id or "", item.pin or "", re.sub(r"edge \d+", "edge", item.message))
        for item in result.diagnostics
        if item.severity != "info"
    )


def is_reported(mistake: Mistake) -> bool:
    is_prepared = mistake.before != documents()[mistake.name]
    before = (
        _told(checked(mistake.name, mistake.before)) if is_prepared else _unchanged(mistake.name)
    )
    return bool(_told(checked(mistake.name, mistake.after)) - before)


def test_mistakes_are_reported():
    made = Counter(mistake.kind for mistake in mistakes())
    missed = [mistake for mistake in mistakes() if not is_reported(mistake)]
    per_kind = Counter(mistake.kind for mistake in missed)
    for kind, count in made.items():
        print(f"{kind}: {count - per_kind[kind]} of {count}")
    for mistake in missed:
        print(f"  not reported: {mistake.kind}: {mistake.name}: {mistake.what}")

    assert len(missed) <= len(mistakes()) * 0.05
    assert max(per_kind.values(), default=0) <= PER_KIND * 0.2


def test_documents_that_people_made_are_left_alone():
    found = check_tree(texts())
    counts = Counter(
        item.code for r in found.values() for item in r.diagnostics if item.severity != "info"
    )

    known = Counter(BEFORE) + Counter(MISTAKES)
    print(f"found, and no mistake: {dict(counts - known)}")
    assert known - counts == Counter()
    assert (counts - known).total() <= MOST_FALSE_ALARMS


# Errors of the text, of the flows around, and what 0.4.2 left out or failed at later: none when Python compiles a dict.
NOT_OF_A_DICT = {"VF002", "VF010", "VF204", "VF205", "VF304", "VF305", "VF407"}


def test_check_and_the_compiler_agree():
    made = [(mistake.name, mistake.after) for mistake in mistakes()]
    different = []
    for name, document in [*documents().items(), *made]:
        errors = {item.code for item in checked(name, document).errors} - NOT_OF_A_DICT
        if refuses(compile_visualflow, document) != bool(errors):
            different.append((name, errors))

    assert different == []


def test_check_and_compile_and_run_agree():
    """What `art compile` and `art run` make of a document is what `art check` says of it."""
    made = [(mistake.name, text_of(mistake.after)) for mistake in mistakes()[::14]]
    different = []
    for name, text in [*texts().items(), *made]:
        errors = check_tree({**{n: texts()[n] for n in children(name)}, name: text})[name].errors
        if refuses(compile_bundle, Request(FLOWS / f"{name}.json"), text) != bool(errors):
            different.append((name, errors))

    assert different == []


def refuses(compiler: Callable[..., object], *given: object) -> bool:
    try:
        compiler(*given)
    except FlowError:
        return True
    return False
