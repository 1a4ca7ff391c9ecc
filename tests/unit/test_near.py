"""Names are compared in bounded work: nobody waits for a hint because a stranger wrote many of them."""

from __future__ import annotations

import ast
import difflib
from pathlib import Path

import pytest

import abstractruntime
from abstractruntime._near import close_names
from abstractruntime.visualflow_compiler.check import check_flow
from abstractruntime.visualflow_compiler.check._examples import END, START, flow
from abstractruntime.visualflow_compiler.document import FlowDocument


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("edgse", ["nodes", "edges"], ["edges"]),
        ("totl", {"total", "name"}, ["total"]),
        ("totl", [f"t{i:06}x" for i in range(1_900)] + ["total"], ["total"]),
        ("=>", [">", ">=", "<="], [">="]),
        ("edgse", ["edge", "edges"], ["edges"]),
        ("", ["", "a"], [""]),
        ("far", ["zzz"], []),
        ("a" * 64, ["a" * 63 + "b"], ["a" * 63 + "b"]),
        ("a" * 65, ["a" * 64], []),
        ("a" * 64, ["a" * 65], []),
    ],
)
def test_close_names(name, names, expected):
    assert close_names(name, names) == expected


@pytest.fixture
def compared(monkeypatch):
    """Count the characters that are compared with one another."""
    work = [0]
    ratio = difflib.SequenceMatcher.ratio

    def counted(matcher):
        work[0] += len(matcher.a) * len(matcher.b)
        return ratio(matcher)

    monkeypatch.setattr(difflib.SequenceMatcher, "ratio", counted)
    return work


@pytest.mark.parametrize("prefix", ["v" * 200, "v" * 55])
def test_many_unset_variables_cost_bounded_work(compared, prefix):
    count = 150
    reads = [
        {"id": f"g{i}", "type": "get_var", "data": {"pinDefaults": {"name": f"{prefix}x{i}"}}}
        for i in range(count)
    ]
    sets = [
        {"id": f"s{i}", "type": "set_var", "data": {"pinDefaults": {"name": f"{prefix}{i}"}}}
        for i in range(count)
    ]
    assert check_flow(FlowDocument.of(flow(START, *reads, *sets, END))).omitted
    assert compared[0] < 2 * count * 10 * 64 * 64


def test_names_are_compared_nowhere_else():
    root = Path(abstractruntime.__file__).parent
    users = {
        path.name
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "get_close_matches"
    }
    assert users == {"_near.py"}
