"""Reading bytes and JSON into a flow."""

import enum
import json

import pytest

from abstractruntime.errors import FlowError
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.models import load_visualflow_json

EXEC = {"id": "exec-out", "type": "execution"}


def load_flow(raw):
    return FlowDocument.of(raw).require_loaded().flow


@pytest.mark.parametrize(
    "data, code, line, column",
    [
        pytest.param(b"", "VF001", 1, 1, id="empty"),
        pytest.param(b'{\n  "id": }', "VF001", 2, 9, id="syntax"),
        pytest.param(b'{"id": "\xff"}', "VF001", 1, 1, id="not-utf8"),
        pytest.param(b"[1]", "VF003", 1, 1, id="array"),
        pytest.param(b'{"a":' * 300 + b"1" + b"}" * 300, "VF004", 1, 1001, id="deep"),
        pytest.param(b"[" * 100_000, "VF004", None, None, id="very-deep"),
        pytest.param(b'{"id": ["NaN",\n NaN]}', "VF005", 2, 2, id="nan"),
        pytest.param(b'{"id": -Infinity}', "VF005", 1, 8, id="infinity"),
        pytest.param(b'{"id":\n 1e999}', "VF005", 2, 2, id="infinite"),
        pytest.param(b'{"id": "\\ud800"}', "VF005", 1, 8, id="lone-surrogate"),
    ],
)
def test_unreadable_bytes_give_one_finding(data, code, line, column):
    with pytest.raises(FlowError) as caught:
        FlowDocument.read(data, file="f.json")

    (finding,) = caught.value.findings
    assert (finding.code, finding.line, finding.column) == (code, line, column)
    assert (finding.severity, finding.file) == ("error", "f.json")


def test_too_many_bytes_are_refused(monkeypatch):
    monkeypatch.setattr("abstractruntime.visualflow_compiler.document.MAX_DOCUMENT_BYTES", 3)

    with pytest.raises(FlowError, match="4 bytes, the limit is 3"):
        FlowDocument.read(b"{  }")


def test_byte_order_mark_is_ignored():
    assert FlowDocument.read(b'\xef\xbb\xbf{"id": "f"}').raw == {"id": "f"}


def test_duplicate_key_is_a_finding_and_the_last_one_counts():
    document = FlowDocument.read(b'{"id": "f",\n "n": {"a/b": 1,\n  "a/b": 2}}')

    assert document.raw["n"] == {"a/b": 2}
    (finding,) = document.repeated_keys
    assert (finding.code, finding.severity) == ("VF002", "error")
    assert (finding.pointer, finding.line, finding.column) == ("/n/a~1b", 3, 3)


@pytest.mark.parametrize(
    "top, expected",
    [
        ({"id": " f "}, "f"),
        ({"id": "", "flow_id": "g"}, "g"),
        ({"id": None, "workflow_id": "w"}, "w"),
        ({"id": 7}, "7"),
    ],
    ids=["trimmed", "flow-id", "workflow-id", "number"],
)
def test_id_comes_from_the_first_usable_key(top, expected):
    assert load_flow(top).id == expected
    assert load_visualflow_json(top).id == expected


@pytest.mark.parametrize("read", [load_flow, load_visualflow_json])
@pytest.mark.parametrize("top", [{}, {"id": "  "}, {"id": 0}], ids=["absent", "blank", "falsy"])
def test_missing_id_is_a_value_error(read, top):
    with pytest.raises(ValueError, match=r"^VisualFlow missing required 'id'$"):
        read(top)


@pytest.mark.parametrize("read", [load_flow, load_visualflow_json])
@pytest.mark.parametrize(
    "raw", [None, [], "x", 3, object()], ids=["none", "list", "text", "number", "object"]
)
def test_other_roots_are_a_type_error(read, raw):
    with pytest.raises(TypeError, match=r"^VisualFlow must be a JSON object \(dict\)$"):
        read(raw)


class OldModel:
    def dict(self):
        return {"id": "old"}


class PlainDump:
    def model_dump(self):
        return {"id": "plain"}


class JsonDump:
    def model_dump(self, mode="python"):
        return {"id": mode}


@pytest.mark.parametrize(
    "raw, expected", [(OldModel(), "old"), (PlainDump(), "plain"), (JsonDump(), "json")]
)
def test_model_objects_are_dumped(raw, expected):
    assert load_visualflow_json(raw).id == expected


class TypeEnum(enum.Enum):
    CODE = "code"


@pytest.mark.parametrize(
    "written, expected",
    [
        (" code ", "code"),
        ("NodeType.ON_FLOW_START", "on_flow_start"),
        (TypeEnum.CODE, "code"),
        ({"value": "code"}, "code"),
        (None, ""),
        (5, "5"),
    ],
    ids=["trimmed", "enum-text", "enum", "dict", "null", "number"],
)
def test_node_type_is_normalised(written, expected):
    flow = load_flow({"id": "f", "nodes": [{"id": "n", "type": written}]})

    assert flow.elements[0].type == expected


def test_unusable_nodes_are_left_out_and_reported():
    document = FlowDocument({"id": "f", "nodes": ["x", {"type": "code"}, {"id": 3}], "edges": {}})

    assert [element.id for element in document.flow.elements] == ["3"]
    assert document.flow.positions == (2,)
    assert [(item.code, item.pointer) for item in document.findings] == [
        ("VF008", "/nodes/0"),
        ("VF008", "/nodes/1"),
        ("VF007", "/edges"),
    ]


def an_edge(source="a", handle="exec-out", target="b", pin="exec-in"):
    return {"source": source, "sourceHandle": handle, "target": target, "targetHandle": pin}


@pytest.mark.parametrize(
    "edge, code, pointer",
    [
        (None, "VF009", "/edges/0"),
        (an_edge(source=" "), "VF009", "/edges/0/source"),
        (an_edge(handle=3), "VF009", "/edges/0/sourceHandle"),
        (an_edge(pin=""), "VF009", "/edges/0/targetHandle"),
        (an_edge(target="gone"), "VF010", "/edges/0/target"),
        (an_edge(pin="text"), "VF011", "/edges/0/targetHandle"),
    ],
    ids=["not-object", "blank-source", "handle-number", "blank-pin", "dangling", "control-to-data"],
)
def test_unusable_edges_are_left_out_and_reported(edge, code, pointer):
    document = FlowDocument({"id": "f", "nodes": [{"id": "a"}, {"id": "b"}], "edges": [edge]})

    assert not document.flow.data_edges
    assert not document.flow.exec_edges
    assert [(item.code, item.pointer, item.severity) for item in document.findings] == [
        (code, pointer, "error")
    ]


def test_edges_are_trimmed_and_split_by_target_handle():
    edges = [an_edge(handle=" exec-out ", pin=" exec-in "), an_edge(" a", "loop", "b", " item ")]
    flow = load_flow({"id": "f", "nodes": [{"id": "a"}, {"id": "b"}], "edges": edges})

    assert [(e.source, e.handle, e.target) for e in flow.exec_edges] == [("a", "exec-out", "b")]
    assert [(e.handle, e.pin, e.index) for e in flow.data_edges] == [("loop", "item", 1)]


def test_edge_from_a_missing_node_still_counts_as_wired():
    edge = an_edge("gone", "value", "a", "text")
    flow = FlowDocument({"id": "f", "nodes": [{"id": "a"}], "edges": [edge]}).flow

    assert flow.elements[0].wired == {"text"}


def test_pins_and_defaults_are_read():
    data = {
        "label": "Work",
        "inputs": [{"id": "exec-in", "type": "execution"}, {"id": "a", "type": "string"}, 3],
        "outputs": [EXEC, {"id": "b"}, {"type": "any"}],
        "pinDefaults": {"a": None, "": 1},
    }
    (element,) = load_flow({"id": "f", "nodes": [{"id": "n", "data": data}]}).elements

    assert element.label == "Work"
    assert [(pin.id, pin.type) for pin in element.inputs] == [("a", "string")]
    assert element.output_ids == ("b",)
    assert (element.exec_inputs, element.exec_outputs) == (("exec-in",), ("exec-out",))
    assert element.pin_defaults == {"a": None}
    assert element.declares_pins


def test_values_that_cannot_be_stored_are_an_error():
    raw = {"id": "f", "nodes": [{"id": "n", "data": {"literalValue": [float("nan")]}}]}

    with pytest.raises(FlowError) as caught:
        load_flow(raw)

    assert caught.value.findings[0].pointer == "/nodes/0/data/literalValue/0"


@pytest.mark.parametrize("written, expected", [(" s ", "s"), (5, None), ("", None)])
def test_entry_node_is_text_or_absent(written, expected):
    assert load_flow({"id": "f", "entryNode": written}).entry_node == expected


def test_public_model_has_the_shape_of_editors():
    raw = {
        "id": "f",
        "name": None,
        "interfaces": [" a ", 3, ""],
        "nodes": [{"id": "a", "type": "code", "data": {"code": "x"}}, {}],
        "edges": [an_edge("a", "o", "gone", "p"), {}],
        "entryNode": "a",
    }
    flow = load_visualflow_json(json.loads(json.dumps(raw)))

    assert (flow.name, flow.interfaces, flow.entryNode) == ("", ["a"], "a")
    assert [(node.id, node.type, node.data) for node in flow.nodes] == [
        ("a", "code", {"code": "x"})
    ]
    assert [(e.source, e.sourceHandle, e.target, e.targetHandle) for e in flow.edges] == [
        ("a", "o", "gone", "p")
    ]
