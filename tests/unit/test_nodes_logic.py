import pytest
from pure_nodes import an_element, error_of, evaluate

from abstractruntime.nodes.base import Element
from abstractruntime.nodes.registry import node_types


@pytest.mark.parametrize(
    "a,op,b,expected",
    [
        (1, "==", True, True),
        (1, "==", "1", False),
        ({"a": 1, "b": 2}, "==", {"b": 2, "a": 1}, True),
        (None, "!=", 0, True),
        (None, "<", 0, False),
        ("a", ">", 1, False),
        ({}, "<=", {}, False),
        ([1, 2], "<=", [1, 2.0], True),
        ("é", ">=", "e", True),
    ],
)
def test_compare(a, op, b, expected):
    assert evaluate("compare", {"a": a, "op": op, "b": b}) is expected


@pytest.mark.parametrize("op,shown", [(" == ", " == "), (None, "None"), ("=", "="), ([], "[]")])
def test_compare_refuses_unknown_operators(op, shown):
    assert error_of("compare", {"op": op}) == f"Unknown comparison operator: {shown}"


@pytest.mark.parametrize(
    "name,inputs,expected",
    [
        ("and", {"a": "false", "b": [0]}, True),
        ("and", {"a": None, "b": "x"}, False),
        ("and", {"b": True}, False),
        ("or", {"a": "", "b": {}}, False),
        ("or", {"b": "0"}, True),
        ("not", {}, True),
        ("not", {"value": "false"}, False),
    ],
)
def test_truth_follows_python(name, inputs, expected):
    assert evaluate(name, inputs) is expected


@pytest.mark.parametrize(
    "defaults,wired,pins",
    [
        pytest.param({"a": "false", "b": " No "}, (), ["a", "b"], id="texts that read like false"),
        pytest.param({"a": False, "b": "yes"}, (), [], id="real false and other texts"),
        pytest.param({"a": "false"}, ("a",), [], id="default hidden by an edge"),
    ],
)
def test_a_text_default_that_reads_like_false_is_reported(defaults, wired, pins):
    element = Element(id="n", type="and", pin_defaults=defaults, wired=frozenset(wired))

    problems = list(node_types()["and"].check(element))

    assert [(p.pin, p.code) for p in problems] == [(pin, "VF306") for pin in pins]


@pytest.mark.parametrize(
    "inputs,declared,expected",
    [
        ({"a": 1, "b": 2}, ["b", "a"], 2),
        ({"a": None, "b": 0}, ["a", "b"], 0),
        ({"a": None, "c": [1]}, ["a", "b", "c"], [1]),
        ({"c": 1}, [], None),
    ],
)
def test_coalesce_follows_the_declared_order(inputs, declared, expected):
    data = {"inputs": [{"id": name} for name in declared]}

    assert evaluate("coalesce", inputs, data) == expected


def test_other_types_have_nothing_to_report():
    assert not list(node_types()["compare"].check(an_element("compare")))
