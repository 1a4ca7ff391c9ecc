"""What holds for every pure node type: examples run, results are JSON, nothing is shared."""

import copy
import json

import pytest
from exploring import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pure_nodes import FakeScope, an_element, evaluate, pure_types, same

from abstractruntime._json import normalise
from abstractruntime.nodes.base import NodeError

TYPES = pure_types()
EXAMPLES = [
    pytest.param(node, example, id=f"{node.type}-{number}")
    for node in TYPES
    for number, example in enumerate(node.examples)
    if not example.around
]

TRICKY = st.sampled_from(
    [
        "nan", "-inf", "1e999", "0x10", " 7 ", "9" * 5000, "[" * 3000, '{"a": NaN}', '"\\ud800"',
        "{x.__class__}", "{0}", "{x:>99999999999}", "{x!z}", "{", "{a[0]}", "{x:c}", "{{a.0|join(,)|json}}",
        "{1: {2, 3}}", "'\\d'", "\0", "```json\n1", "a[0].b", "a..b", "a[99999999999999999999]", "==", "beautify",
    ]
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | TRICKY
KEYS = st.sampled_from(["a", "b", "x", "0", "name", "steps", "ts"]) | st.text("ab.[]0", max_size=4)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


def pin_ids(node):
    ids = [pin.id for pin in node.inputs if not pin.dynamic]
    return [*ids, "x", "_hidden"] if any(pin.dynamic for pin in node.inputs) else ids


@pytest.mark.parametrize("node", TYPES, ids=lambda node: node.type)
def test_a_type_is_documented_for_authors(node):
    pins = [*node.inputs, *node.outputs]

    assert len(node.doc) > 40
    assert node.outputs
    assert all(pin.doc.endswith(".") for pin in pins)
    assert node.examples
    assert not node.bare or [pin.id for pin in node.outputs] == ["result"]


@pytest.mark.parametrize("node,example", EXAMPLES)
def test_an_example_gives_what_it_says(node, example, monkeypatch):
    monkeypatch.setattr("locale.getlocale", lambda: ("en_US", "UTF-8"))
    output = evaluate(node.type, copy.deepcopy(example.inputs), example.data)

    assert same(output, example.output), output


@pytest.mark.parametrize("node", TYPES, ids=lambda node: node.type)
@examples(25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_input_gives_json_or_a_node_error(node, data):
    inputs = data.draw(st.dictionaries(st.sampled_from(pin_ids(node) or ["x"]), VALUES))
    config = {
        "literalValue": data.draw(VALUES),
        "breakConfig": {"selectedPaths": data.draw(VALUES | st.lists(TEXTS))},
        "concatConfig": {"separator": data.draw(VALUES), "render": "json"},
        "toolParametersConfig": {"tool": data.draw(VALUES)},
        "inputs": [{"id": name} for name in inputs],
    }
    element = an_element(node.type, config)

    output = _output_or_error(node, element, inputs)

    if isinstance(output, NodeError):
        assert " at 0x" not in str(output)
    else:
        normalise(output)
        assert node.bare or isinstance(output, dict)


def _output_or_error(node, element, inputs):
    try:
        return node.evaluate(element, inputs, FakeScope())
    except NodeError as error:
        return error


@pytest.mark.parametrize(
    "node", [t for t in TYPES if t.type != "parse_json"], ids=lambda node: node.type
)
def test_changing_a_result_does_not_change_the_next_one(node):
    element = an_element(node.type, {"literalValue": {"k": ["v"]}})
    first = node.evaluate(element, {}, FakeScope())
    before = json.dumps(first)
    for inner in [*(first.values() if isinstance(first, dict) else ()), first]:
        if isinstance(inner, dict | list):
            inner.clear()

    again = node.evaluate(element, {}, FakeScope())

    assert json.dumps(again) == before
