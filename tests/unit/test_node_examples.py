"""The catalogue entry of every node type: its examples hold, its pins and words are there."""

from __future__ import annotations

import locale
import re

import pytest
from node_examples import perform
from pure_nodes import same

from abstractruntime.nodes.base import EffectNode
from abstractruntime.nodes.registry import node_types
from abstractruntime.visualflow_compiler.explain import explain_node

TYPES = list(node_types().values())
EXAMPLES = [
    pytest.param(node_type, example, id=f"{node_type.type}-{number}")
    for node_type in TYPES
    for number, example in enumerate(node_type.examples)
]

# Where 0.4.2 behaves otherwise: numbers in the quirk registers of the language and the effects.
LANGUAGE = """
on_flow_start 6 48; on_flow_end 45; for 7 8; while 8; sequence 30; parallel 30; switch 22
set_var 25; set_vars 25; set_var_property 12; get_var 26; var_decl 24
power 13 20 21; divide 13; round 13; length 13; trim 13; substring 13; join 13; array_map 13; array_filter 13
set 12 13 25 26; merge 10 13; make_object 10; literal_json 11 53; format 13 15
parse_json 10 18 21; stringify_json 19; is_empty_string 9; code 17 36; function 16
read_file 38; write_file 38; provider_catalog 54; provider_models 54; model_catalog 54
"""
EFFECTS = """
ask_user 3 12; answer_user 12; wait_until 4; wait_event 18; emit_event 10 11; on_event 10 11
on_schedule 4 10 16 18; llm_call 13 14; agent 7 8 21; tool_calls 17 25; call_tool 17 25
subflow 9 10; memory_query 24; memory_compact 24
"""


def differences(table, spellings):
    for row in table.replace("\n", ";").split(";"):
        for number in row.split()[1:]:
            yield pytest.param(row.split()[0], rf"(?:{spellings}){number}\b")


@pytest.fixture
def no_language(monkeypatch):
    monkeypatch.setattr(locale, "getlocale", lambda: ("en_US", "UTF-8"))


@pytest.mark.usefixtures("no_language")
@pytest.mark.parametrize(("node_type", "example"), EXAMPLES)
def test_an_example_holds(node_type, example):
    done = perform(node_type, example)

    assert same(done.output, example.output), done.output
    assert done.asks == example.asks
    assert done.after == example.after


@pytest.mark.parametrize("node_type", TYPES, ids=lambda node_type: node_type.type)
def test_a_type_has_what_the_catalogue_shows(node_type):
    asks = isinstance(node_type, EffectNode)
    text = explain_node(node_type.type).text

    assert node_type.examples
    assert all((example.asks is not None) == asks for example in node_type.examples)
    assert len(node_type.doc) >= 30
    assert node_type.inputs or node_type.outputs or node_type.handles
    assert all(f"`{pin.id}`" in text for pin in node_type.inputs if not pin.dynamic)
    assert text.count("Example:") == len(node_type.examples)


@pytest.mark.parametrize(
    ("name", "number"),
    [*differences(LANGUAGE, r"Q|quirks? (?:\d+,? (?:and )?)*"), *differences(EFFECTS, "Effects ")],
)
def test_a_deviation_is_told_with_its_number(name, number):
    compat = node_types()[name].compat

    assert re.search(number, compat), compat
    assert f"Differs from 0.4: {compat}" in explain_node(name).text
