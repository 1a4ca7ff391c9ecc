from __future__ import annotations

import pytest
from flow_builder import END, START, Host, flow, node

from abstractruntime.errors import FlowError
from abstractruntime.visualflow_compiler import (
    compile_flow,
    compile_visualflow,
    compile_visualflow_tree,
    load_visualflow_json,
    visual_to_flow,
)

PLAIN = flow(START, END, edges="s > e")


def calling(flow_id: str, *children: str, key: str = "subflowId"):
    nodes = [
        node(f"c{i}", "subflow", "exec-in", "exec-out", **{key: child})
        for i, child in enumerate(children)
    ]
    return {**flow(START, END, *nodes, edges="s > e"), "id": flow_id}


class Pydantic2:
    def model_dump(self, mode="python"):
        return PLAIN


class Pydantic1:
    def dict(self):
        return PLAIN


@pytest.mark.parametrize(
    "raw", [PLAIN, Pydantic2(), Pydantic1()], ids=["dict", "model_dump", "dict method"]
)
def test_documents_in_every_form(raw):
    spec = compile_visualflow(raw)

    assert (spec.workflow_id, spec.entry_node, sorted(spec.nodes)) == ("f", "s", ["e", "s"])


def test_stages_one_by_one():
    visual = load_visualflow_json(PLAIN)

    spec = compile_flow(visual_to_flow(visual))

    assert Host(spec, {"a": 1}).go().output == {"a": 1, "success": True}


@pytest.mark.parametrize("raw", [[], "text", None, 5])
def test_something_else_is_a_type_error(raw):
    with pytest.raises(TypeError, match="VisualFlow must be a JSON object"):
        compile_visualflow(raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "VisualFlow missing required 'id'"),
        ({"id": "f"}, "Invalid flow: Flow must have an entry node"),
        (
            flow(START, node("x", "frobnicate", "exec-in"), edges="s > x"),
            "unknown type 'frobnicate'",
        ),
    ],
    ids=["no id", "no entry", "unknown type"],
)
def test_bad_document_is_a_value_error_with_findings(raw, message):
    with pytest.raises(ValueError) as caught:
        compile_visualflow(raw)

    assert isinstance(caught.value, FlowError)
    assert message in str(caught.value)
    assert any(message in finding.message for finding in caught.value.findings)


@pytest.mark.parametrize("key", ["subflowId", "flowId", "workflowId", "workflow_id"])
def test_tree_follows_subflows(key):
    flows = {
        "a": calling("a", "b", "unknown", key=key),
        "b": calling("own-id", "a", key=key),
        "lonely": calling("lonely"),
    }

    assert sorted(compile_visualflow_tree(root_id=" a ", flows_by_id=flows)) == ["a", "own-id"]


@pytest.mark.parametrize(
    ("root", "flows", "found"),
    [
        ("x", {"a": calling("a")}, []),
        (None, {}, []),
        (None, {"a": calling("a"), "b": calling("b")}, ["a"]),
        ("", {"a": calling("a")}, ["a"]),
    ],
    ids=["unknown root", "empty", "first by default", "blank root"],
)
def test_tree_without_a_usable_root(root, flows, found):
    assert sorted(compile_visualflow_tree(root_id=root, flows_by_id=flows)) == found


def test_only_steps_that_control_reaches_have_handlers():
    lost = node("lost", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "x"})

    assert sorted(
        compile_visualflow(flow(START, END, lost, edges="s > e; lost > e", entryNode="s")).nodes
    ) == ["e", "s"]


def test_unknown_node_id_is_a_key_error():
    with pytest.raises(KeyError, match="Unknown node_id: nope"):
        compile_visualflow(PLAIN).get_node("nope")


def test_many_edges_to_missing_nodes_hide_no_error():
    edges = [
        {"source": f"gone{i}", "sourceHandle": "x", "target": "e", "targetHandle": "y"}
        for i in range(150)
    ]

    with pytest.raises(FlowError, match="Flow must have an entry node"):
        compile_visualflow({"id": "f", "nodes": [], "edges": edges})
