"""Code nodes that hold the body of their function only."""

from __future__ import annotations

import pytest

from abstractruntime.nodes._code_body import local_name, says_the_same, with_function
from abstractruntime.nodes.base import Element, ElementPin, NodeError
from abstractruntime.nodes.registry import node_types


def code(body, *pins, **data):
    inputs = tuple(ElementPin(pin) for pin in pins)
    return Element("c", "code", data={"codeBody": body, **data}, inputs=inputs)


class Here:
    """Runs the code in this process."""

    def call(self, source, function, value):
        names = {}
        exec(source, names)
        return names[function](value)


class Scope:
    code = Here()


def run(element, inputs):
    return node_types()["code"].evaluate(element, inputs, Scope())


@pytest.mark.parametrize(
    ("element", "inputs", "output"),
    [
        pytest.param(code('return {"s": a + b}', "a", "b"), {"a": 1, "b": 2}, {"s": 3}, id="sum"),
        pytest.param(code("return class_", "class"), {"class": 1}, 1, id="keyword"),
        pytest.param(code("return a", "a"), {}, None, id="missing"),
        pytest.param(code("", "a"), {"a": 1}, {"a": 1}, id="empty"),
        pytest.param(code("\n    x = 1\n    return x\n"), {}, 1, id="indented"),
        pytest.param(code('return """a\n  b"""'), {}, "a\n  b", id="text of several lines"),
        pytest.param(code("return _input"), 5, 5, id="bare"),
        pytest.param(
            code("return _input", "permissions"), {"permissions": "sandbox"}, {}, id="permissions"
        ),
        pytest.param(
            code("return 1", code="def transform(i):\n    return 2"), {}, 2, id="code wins"
        ),
    ],
)
def test_body(element, inputs, output):
    assert run(element, inputs) == output


def test_full_access_is_refused_when_it_comes_through_an_edge():
    with pytest.raises(NodeError, match="full_access"):
        run(code("return 1", "permissions"), {"permissions": "full_access"})


def test_mistakes_are_shown_at_their_line_of_the_body():
    problems = node_types()["code"].check(code("x = 1\nimport os", "a"))

    assert [(p.code, p.pointer) for p in problems] == [("VF402", "/data/codeBody")]
    assert "(line 2: import os)" in problems[0].message


@pytest.mark.parametrize(
    ("body", "same"), [("x = 1\n\nreturn x", True), ("return x", True), ("return y", False)]
)
def test_code_and_body(body, same):
    assert says_the_same("def transform(_input):\n    x = 1\n    return x\n", body) is same


@pytest.mark.parametrize(
    ("pin", "name"), [("a-b", "a_b"), ("2nd part", "p_2nd_part"), ("class", "class_"), ("x", "x")]
)
def test_local_name(pin, name):
    assert local_name(pin) == name


def test_a_body_that_does_not_parse_is_given_as_it_is():
    source, before = with_function('return """', "transform", [])

    assert source.endswith('    return """\n')
    assert before == 2
