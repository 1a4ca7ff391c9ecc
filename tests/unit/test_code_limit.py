"""Code of a document is bounded before anything parses it."""

from __future__ import annotations

import ast
import tokenize

import pytest

from abstractruntime.errors import FlowError
from abstractruntime.nodes._code_checks import MAX_CODE, check_expression, check_source, free_names
from abstractruntime.visualflow_compiler import compile_visualflow
from abstractruntime.visualflow_compiler.check import check_flow
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.document import FlowDocument

HEAD = "def transform(_input):\n    return 1\n"


def document(type_name, key, text):
    middle = node("m", type_name, "exec-in text", "exec-out output", **{key: text})
    return flow(START, middle, END, edges=("start > m", "m > end"))


@pytest.fixture
def unparsed(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the text was parsed")

    monkeypatch.setattr(ast, "parse", refuse)
    monkeypatch.setattr(tokenize, "generate_tokens", refuse)


@pytest.mark.parametrize(
    ("type_name", "key"),
    [("code", "code"), ("code", "codeBody"), ("function", "code"), ("function", "expression")],
)
@pytest.mark.usefixtures("unparsed")
def test_longer_code_is_refused_unparsed(type_name, key):
    made = document(type_name, key, "1" + " " * MAX_CODE)

    (error,) = check_flow(FlowDocument.of(made)).errors
    assert (error.code, error.node_id, error.pointer) == ("VF405", "m", f"/nodes/1/data/{key}")
    assert "50,001 characters, the limit is 50,000" in error.message
    with pytest.raises(FlowError, match="50,001 characters"):
        compile_visualflow(made)


@pytest.mark.parametrize("check", [check_source, check_expression])
def test_the_limit_is_that_of_the_checks(check):
    assert [problem.code for problem in check("1" + "+1" * (MAX_CODE // 2))] == ["VF405"]


def test_names_of_longer_expressions_are_not_looked_for():
    with pytest.raises(ValueError, match="the limit is"):
        free_names("x," * MAX_CODE)


def test_the_longest_code_is_accepted():
    assert check_flow(FlowDocument.of(document("code", "code", HEAD.ljust(MAX_CODE)))).ok
