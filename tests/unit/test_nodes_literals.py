import pytest
from pure_nodes import an_element, error_of, evaluate, same

from abstractruntime.nodes.registry import node_types

LITERALS = [
    "literal_string", "literal_number", "literal_boolean", "literal_json", "literal_array", "json_schema",
]  # fmt: skip


@pytest.mark.parametrize("name", LITERALS)
@pytest.mark.parametrize("value", [None, 5, 5.0, "5", [1, [2]], {"k": 1}, 2**70], ids=repr)
def test_a_literal_is_published_as_written(name, value):
    assert same(evaluate(name, {}, {"literalValue": value}), {"value": value})


def test_a_missing_literal_is_null():
    assert evaluate("literal_string", {}) == {"value": None}


def test_a_literal_answers_its_single_declared_pin():
    one = {"literalValue": 1, "outputs": [{"id": "schema"}]}
    two = {"literalValue": 1, "outputs": [{"id": "schema"}, {"id": "other"}]}

    assert evaluate("json_schema", {}, one) == {"value": 1, "schema": 1}
    assert evaluate("json_schema", {}, two) == {"value": 1}


def test_readings_of_a_literal_are_copies():
    element = an_element("literal_json", {"literalValue": {"k": [1]}})
    node = node_types()["literal_json"]

    node.evaluate(element, {}, None)["value"]["k"].append(2)

    assert node.evaluate(element, {}, None) == {"value": {"k": [1]}}


def test_a_literal_that_is_not_json_is_refused():
    assert "not JSON" in error_of("literal_json", {}, {"literalValue": [float("nan")]})


@pytest.mark.parametrize(
    "value,tools",
    [([" a ", "", "a", 5, None, "b"], ["a", "b"]), ("read_file", []), (None, []), ({}, [])],
    ids=repr,
)
def test_tools_allowlist(value, tools):
    assert evaluate("tools_allowlist", {}, {"literalValue": value}) == {"tools": tools}
