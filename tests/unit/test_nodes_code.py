from __future__ import annotations

from datetime import datetime, timezone

import pytest

from abstractruntime.nodes.base import Element
from abstractruntime.nodes.code import Code, Function
from abstractruntime.nodes.services import HostRandom
from abstractruntime.sandbox import default_runner

ADD = "def transform(_input):\n    return _input['x'] + 1\n"


class FakeScope:
    run_id = "run-1"
    random = HostRandom()
    ambient = None

    def __init__(self):
        self.vars = {}
        self.code = default_runner()

    def now(self):
        return datetime(2026, 1, 1, tzinfo=timezone.utc)


def evaluate(node_type, data, inputs):
    element = Element(id="k", type=node_type.type, data=data)
    return node_type.evaluate(element, inputs, FakeScope())


def problems(node_type, data):
    return list(node_type.check(Element(id="k", type=node_type.type, data=data)))


CODE = {
    "function": ({"code": ADD, "functionName": "transform"}, {"x": 1}, 2),
    "default_name": ({"code": ADD}, {"x": 1}, 2),
    "blank_name": ({"code": ADD, "functionName": ""}, {"x": 1}, 2),
    "other_name": (
        {"code": "def main(p):\n    return p['x']\n", "functionName": "main"},
        {"x": 3},
        3,
    ),
    "scalar_input": ({"code": "def transform(v):\n    return v * 2\n"}, "ab", "abab"),
    "no_code": ({}, {"x": 5}, {"x": 5}),
    "int_keys": ({"code": "def transform(_):\n    return {1: (2,)}\n"}, {}, {"1": [2]}),
}


@pytest.mark.parametrize(("data", "inputs", "expected"), CODE.values(), ids=CODE)
@pytest.mark.parametrize("node_type", [Code(), Function()], ids=["code", "function"])
def test_code(node_type, data, inputs, expected):
    assert evaluate(node_type, data, inputs) == expected


EXPRESSIONS = {
    "input_by_name": ("a * 2", {"a": 4}, 8),
    "whole_input": ("x['a'] + input['a']", {"a": 4}, 8),
    "scalar_input": ("x + 1", 41, 42),
    "an_input_called_x_wins": ("x + 1", {"x": 1}, 2),
    "comprehension": ("[v * k for v in items]", {"items": [1, 2], "k": 3}, [3, 6]),
    "lambda": ("(lambda n: n + a)(1)", {"a": 1}, 2),
    "builtins": ("len(items)", {"items": [1]}, 1),
    "name_like_ours": ("_names + 1", {"_names": 1}, 2),
    "comment": ("a  # the answer", {"a": 1}, 1),
    "blank": ("", {"a": 1}, {"a": 1}),
}


@pytest.mark.parametrize(
    ("expression", "inputs", "expected"), EXPRESSIONS.values(), ids=EXPRESSIONS
)
def test_expression(expression, inputs, expected):
    assert evaluate(Function(), {"expression": expression}, inputs) == expected


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("x + 1", "unsupported operand type(s) for +: 'dict' and 'int'"),
        ("nope", "name 'nope' is not defined"),
        ("a / 0", "division by zero"),
    ],
)
def test_expression_error_becomes_the_value(expression, text):
    assert evaluate(Function(), {"expression": expression}, {"a": 1}) == {"error": text}


PROBLEMS = {
    "import": (
        {"code": "def f(x):\n  import os"},
        "VF402",
        "Imports are not allowed (line 2: import os)",
    ),
    "call": ({"code": "eval('1')"}, "VF403", "'eval' is not allowed (line 1: eval('1'))"),
    "dunder": (
        {"code": "x = 1\ny = x.__class__"},
        "VF404",
        "Access to dunder attributes ('__class__') is not allowed (line 2: y = x.__class__)",
    ),
    "syntax": (
        {"code": "def transform(:\n"},
        "VF401",
        "Syntax error: invalid syntax (<unknown>, line 1) (line 1: def transform(:)",
    ),
    "not_text": ({"code": ["x"]}, "VF405", "'code' is list, expected text"),
}


@pytest.mark.parametrize(("data", "code", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_check_finds(data, code, message):
    (problem,) = problems(Code(), data)

    assert (problem.code, problem.message, problem.pointer) == (code, message, "/data/code")
    assert problem.hint


@pytest.mark.parametrize("data", [{}, {"code": ADD}, {"code": None}])
def test_check_accepts(data):
    assert problems(Code(), data) == []


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        ({"expression": "x.__class__"}, ["VF404"]),
        ({"expression": "x = 1"}, ["VF401"]),
        ({"expression": 5}, ["VF405"]),
        ({"expression": "x + 1"}, []),
        ({"code": ADD, "expression": "not checked ("}, []),
    ],
)
def test_check_of_expressions(data, codes):
    assert [p.code for p in problems(Function(), data)] == codes


@pytest.mark.parametrize("node_type", [Code(), Function()], ids=["code", "function"])
def test_examples_hold(node_type):
    for example in node_type.examples:
        assert evaluate(node_type, example.data, dict(example.inputs)) == example.output
