"""A key that nothing reads is reported wherever it stands, with the right one."""

from __future__ import annotations

import copy
import json

import pytest

from abstractruntime.errors import FlowError
from abstractruntime.visualflow_compiler import compile_visualflow
from abstractruntime.visualflow_compiler.check import check_document
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node

ASK = node("m", "ask_user", "exec-in prompt", "exec-out response")
EDGES = ("start > m", "m > end", "start.text > m.prompt", "m.response > end.answer")
GOOD = flow(START, ASK, END, edges=EDGES, entryNode="start")
CONTINUES = {"continueOnError": True}


def found(document):
    return [
        (item.code, item.severity, item.pointer, item.hint)
        for item in check_document(json.dumps(document).encode()).diagnostics
    ]


def changed(pointer, **keys):
    """Give the good document, with more keys (None: fewer) in the object at a place."""
    document = copy.deepcopy(GOOD)
    place = document
    for step in pointer:
        place = place[step]
    for key, value in keys.items():
        place[key] = value
        if value is None:
            del place[key]
    return document


@pytest.mark.parametrize(
    ("at", "keys", "pointer", "hint"),
    [
        ((), {"entrynode": "m"}, "/entrynode", "did you mean 'entryNode'?"),
        ((), {"edge": []}, "/edge", "did you mean 'edges'?"),
        ((), {"functionz": 1}, "/functionz", "did you mean 'functions'?"),
        ((), {"a/b": 1}, "/a~1b", "delete it"),
        (("edges", 0), {"condition": "x"}, "/edges/0/condition", "delete it"),
        (("edges", 0), {"sourcehandle": "x"}, "/edges/0/sourcehandle", "did you mean 'sourceHandle'?"),
        (("nodes", 1), {"data": None, "dat": {}}, "/nodes/1/dat", "did you mean 'data'?"),
        (("nodes", 1), {"lable": "x"}, "/nodes/1/lable", "did you mean 'label'?"),
        (("nodes", 1), {"onError": "continue"}, "/nodes/1/onError", "write it as data.onError"),
        (("nodes", 1), {"pinDefalts": {}}, "/nodes/1/pinDefalts", "did you mean data.pinDefaults?"),
        (
            ("nodes", 1),
            {"effectConfig": {"allowFreeText": False}},
            *("/nodes/1/effectConfig", "write it as data.effectConfig"),
        ),
        (
            ("nodes", 0),
            {"data": {}, "outputs": [{"id": "text"}]},
            *("/nodes/0/outputs", "write it as data.outputs"),
        ),
        (("nodes", 1), {"type": "unknown", "onError": 1}, "/nodes/1/onError", "write it as data.onError"),
    ],
)  # fmt: skip
def test_a_key_that_nothing_reads_is_reported(at, keys, pointer, hint):
    assert ("VF211", "warning", pointer, hint) in found(changed(at, **keys))


@pytest.mark.parametrize(
    ("at", "keys"),
    [
        ((), {}),
        ((), {"_note": 1, "created_at": "", "version": "1", "$schema": ""}),
        (("nodes", 1), {"_note": 1, "label": "", "position": {}, "icon": "", "inputs": [], "outputs": []}),
        (("nodes", 1), {"selected": True, "width": 10, "parentId": "g", "measured": {}}),
        (("edges", 0), {"_note": 1, "id": "e", "animated": True, "markerEnd": {}, "data": {}}),
    ],
)  # fmt: skip
def test_what_editors_write_is_not(at, keys):
    assert found(changed(at, **keys)) == []


@pytest.mark.parametrize(
    ("keys", "pointer", "hint"),
    [
        ({"edges": None, "edgse": GOOD["edges"]}, "/edgse", "rename 'edgse' to 'edges'"),
        ({"edges": None, "Edges": GOOD["edges"]}, "/Edges", "rename 'Edges' to 'edges'"),
        ({"nodes": None, "noeds": GOOD["nodes"]}, "/noeds", "rename 'noeds' to 'nodes'"),
    ],
)
def test_a_list_that_is_missing_is_an_error(keys, pointer, hint):
    document = changed((), **keys)

    assert ("VF007", "error", pointer, hint) in found(document)
    with pytest.raises(FlowError):
        compile_visualflow(document)


def test_without_nodes_the_missing_entry_is_explained():
    (entry, *_) = check_document(b'{"id": "x"}').diagnostics

    assert (entry.code, entry.notes) == ("VF101", ("the document has no nodes",))


def test_a_flow_of_one_node_needs_no_edges():
    assert found({"id": "x", "nodes": [START]}) == []


@pytest.mark.parametrize("at", [(), ("effectConfig",)])
def test_what_absorbs_failures_is_refused_in_data_and_in_its_block(at):
    data = {**ASK["data"], **(CONTINUES if not at else {"effectConfig": CONTINUES})}
    pointer = "/".join(("/nodes/1/data", *at, "continueOnError"))

    assert found(changed(("nodes", 1), data=data)) == [
        ("VF118", "error", pointer, 'set data.onError to "continue"')
    ]


@pytest.mark.parametrize("key", ["pinDefaults", "effectConfig", "inputs"])
@pytest.mark.parametrize("empty", ["", 0, False, "other"])
def test_an_empty_part_of_the_wrong_type_is_an_error(key, empty):
    value = ([] if key != "inputs" else {}) if empty == "other" else empty
    document = changed(("nodes", 1, "data"), **{key: value})

    assert ("VF212", "error", f"/nodes/1/data/{key}", None) in found(document)


@pytest.mark.parametrize("empty", [[], "", 0])
def test_data_that_is_no_object_is_an_error(empty):
    document = changed(("nodes", 1), data=empty)

    assert ("VF212", "error", "/nodes/1/data", None) in found(document)
