"""What `art explain node` gives to paste is a node that the checks know."""

from __future__ import annotations

import json

import pytest

from abstractruntime.nodes.registry import find_node_type, node_types
from abstractruntime.visualflow_compiler.check import check_document
from abstractruntime.visualflow_compiler.explain import explain_node
from abstractruntime.visualflow_compiler.node_template import node_template


def template_of(name):
    return node_template(name, find_node_type(name))


def findings(node):
    """Give the codes that are found in a flow with this node beside the start."""
    start = {"id": "begin", "type": "on_flow_start", "data": {"outputs": [{"id": "exec-out"}]}}
    document = {"id": "f", "entryNode": "begin", "nodes": [start, node]}
    return {item.code for item in check_document(json.dumps(document).encode()).diagnostics}


@pytest.mark.parametrize("name", node_types())
def test_a_pasted_node_is_as_good_as_a_bare_one(name):
    assert findings(template_of(name)) <= findings({"id": name, "type": name})


@pytest.mark.parametrize("name", node_types())
def test_every_key_that_is_no_older_spelling_is_shown(name):
    def keys(schema):
        return {
            key: keys(rule.get("properties", {}))
            for key, rule in schema.items()
            if not rule.get("deprecated")
        }

    def shown(value, wanted):
        return {key: shown(value[key], inner) for key, inner in wanted.items()}

    wanted = keys(find_node_type(name).data_schema)
    assert shown(template_of(name)["data"], wanted) == wanted


@pytest.mark.parametrize("name", node_types())
def test_the_text_is_the_node(name):
    text = explain_node(name).text.partition("To paste:\n\n```json\n")[2].partition("\n```")[0]

    assert json.loads(text) == template_of(name)


def test_what_is_shown_is_what_counts():
    """A setting that is true or false is shown as what counts without it."""

    def flags(schema, shown):
        for key, rule in schema.items():
            if not rule.get("deprecated") and "boolean" in rule.get("type", ()):
                yield shown[key]
            yield from flags(rule.get("properties", {}), (shown or {}).get(key))

    shown = {n: [*flags(t.data_schema, template_of(n)["data"])] for n, t in node_types().items()}

    assert [name for name, values in shown.items() if None in values] == []
    assert shown["ask_user"] == shown["on_schedule"] == [True]


def test_ways_follow_the_configuration():
    assert [pin["id"] for pin in template_of("switch")["data"]["outputs"]][:2] == [
        "case:a",
        "default",
    ]
    assert [pin["id"] for pin in template_of("sequence")["data"]["outputs"]] == ["then:0", "then:1"]
