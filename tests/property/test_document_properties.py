"""Whatever a document holds, checking it gives diagnostics and never another exception."""

import json

from exploring import examples
from hypothesis import event, example, given
from hypothesis import strategies as st

from abstractruntime.errors import FlowError
from abstractruntime.nodes.registry import REFUSED_TYPES, node_types
from abstractruntime.visualflow_compiler._positions import locate
from abstractruntime.visualflow_compiler.check import check_document, render_text
from abstractruntime.visualflow_compiler.document import FlowDocument

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)
SEVERITIES = ["error", "warning", "info"]
IDS = st.sampled_from(["a", "b", "c", "d", "e.f", "ü", ""])
HANDLES = st.sampled_from(
    ["exec-out", "exec-in", "true", "then:0", "case:x", "loop", "value", "condition", "result"]
)
TYPES = st.sampled_from([*node_types(), *sorted(REFUSED_TYPES), "nope", "NodeType.CODE", ""])
PINS = st.lists(
    st.fixed_dictionaries({"id": HANDLES, "type": st.sampled_from(["execution", "any"])}) | JSON,
    max_size=3,
)
DATA = st.fixed_dictionaries(
    {},
    optional={
        "inputs": PINS | JSON,
        "outputs": PINS | JSON,
        "pinDefaults": st.dictionaries(HANDLES, JSON, max_size=2) | JSON,
        "literalValue": JSON,
        "code": st.text(max_size=20) | JSON,
        "expression": st.text(max_size=20) | JSON,
        "subflowId": IDS | JSON,
        "switchConfig": JSON,
        "effectConfig": JSON,
        "label": JSON,
    },
)
NODES = st.fixed_dictionaries({"id": IDS | JSON, "type": TYPES | JSON, "data": DATA | JSON})
EDGES = st.fixed_dictionaries(
    {"source": IDS, "sourceHandle": HANDLES, "target": IDS, "targetHandle": HANDLES}
)
DOCUMENTS = st.fixed_dictionaries(
    {"id": IDS | JSON, "nodes": st.lists(NODES | JSON, max_size=6) | JSON},
    optional={"edges": st.lists(EDGES | JSON, max_size=10) | JSON, "entryNode": IDS | JSON},
)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_give_a_result(data):
    result = check_document(data)

    assert result.document is not None or result.diagnostics


@given(JSON | DOCUMENTS)
@example({"id": "a", "nodes": [{"id": "a", "type": "wait_event", "data": {}}, None]})
@examples(200)
def test_any_json_gives_diagnostics_that_point_into_it(document):
    result = check_document(json.dumps(document).encode())

    ranks = [SEVERITIES.index(item.severity) for item in result.diagnostics]
    assert ranks == sorted(ranks)
    assert all(render_text(item) for item in result.diagnostics)
    assert all(item.line == 1 for item in result.diagnostics)


@given(JSON | DOCUMENTS)
@examples(100)
def test_loading_raises_the_documented_errors_only(document):
    try:
        flow = FlowDocument.of(document).require_loaded().flow
    except FlowError:
        return
    except TypeError:
        event("not an object")
        return

    ids = {element.id for element in flow.elements}
    assert flow.id
    assert all({edge.source, edge.target} <= ids for edge in (*flow.data_edges, *flow.exec_edges))


@given(JSON)
@examples(100)
def test_every_value_of_a_document_has_a_place(value):
    text = json.dumps({"x": value}, indent=1)
    place = locate(text, ["/x"])["/x"]

    line = text.splitlines()[place.line - 1]
    decoded, _ = json.JSONDecoder().raw_decode(text[text.index(line) + place.column - 1 :])
    assert decoded == value
