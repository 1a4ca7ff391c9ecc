"""Node types that only later editors know."""

from __future__ import annotations

import pytest
from flow_builder import START, end, flow, node, run
from pure_nodes import evaluate

from abstractruntime.errors import FlowError
from abstractruntime.nodes.registry import REFUSED_TYPES, node_types
from abstractruntime.visualflow_compiler import compile_visualflow


@pytest.mark.parametrize(
    ("inputs", "empty"),
    [({}, True), ({"text": None}, True), ({"text": " "}, False), ({"text": 0}, False)],
)
def test_is_empty_string(inputs, empty):
    assert evaluate("is_empty_string", inputs) is empty


@pytest.mark.parametrize(
    ("schema", "added", "result"),
    [
        ({"type": "object"}, None, {"type": "object"}),
        (None, {"type": "object"}, {"type": "object"}),
        ({"required": ["a"]}, {"required": ["b", "a"]}, {"required": ["a", "b"]}),
        ({"$defs": {"x": 1}}, {"$defs": {"x": 2, "y": 3}}, {"$defs": {"x": 1, "y": 3}}),
        ({"properties": "odd"}, {"properties": {"a": {}}}, {"properties": {"a": {}}}),
    ],
)
def test_edit_json_schema(schema, added, result):
    record = evaluate("edit_json_schema", {"schema": schema}, {"literalValue": added})

    assert record == {"schema": result, "value": result}


def test_edit_json_schema_leaves_its_input_alone():
    given = {"properties": {"a": {}}}

    evaluate("edit_json_schema", {"schema": given}, {"literalValue": {"properties": {"b": {}}}})

    assert given == {"properties": {"a": {}}}


def test_newer_pure_nodes_run_in_a_flow():
    document = flow(
        START,
        node("u", "is_empty_string", "text", "result"),
        end("v"),
        edges="s > e; u.result > e.v",
    )

    assert run(document) == {"v": True, "success": True}


@pytest.mark.parametrize("name", sorted(REFUSED_TYPES))
def test_refused_types_say_what_to_do_instead(name):
    document = flow(START, node("x", name, "exec-in", "exec-out"), edges="s > x")

    with pytest.raises(FlowError) as caught:
        compile_visualflow(document)

    (finding,) = caught.value.findings
    assert (finding.code, finding.hint) == ("VF202", REFUSED_TYPES[name])
    assert name not in node_types()
