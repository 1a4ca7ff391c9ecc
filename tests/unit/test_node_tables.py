"""The pins of every node type, as the language describes them.

A row is `type | inputs | outputs`. A pin is `name`, `name=default` (JSON), with its older
spellings behind `/`; `*` stands for any further pins.
"""

from __future__ import annotations

import json

import pytest
from pure_nodes import error_of, evaluate, same

from abstractruntime.nodes.base import MISSING
from abstractruntime.nodes.registry import node_types

TABLE = """
literal_string  |  | value
literal_number  |  | value
literal_boolean |  | value
literal_json    |  | value
literal_array   |  | value
json_schema     |  | value
tools_allowlist |  | tools

add          | a=0 b=0               | result
subtract     | a=0 b=0               | result
multiply     | a=0 b=0               | result
divide       | a=0 b=1               | result
modulo       | a=0 b=1               | result
power        | base=0 exp=1          | result
abs          | value=0               | result
round        | value=0 decimals=0    | result
random_int   | min=0 max=100         | result
random_float | min=0 max=1           | result

concat          | a b *                                               | result
split           | text delimiter="," trim=true drop_empty=true maxsplit | result
join            | items delimiter=","                                 | result
format          | template="" values={}                               | result
string_template | template vars                                       | result
uppercase       | text=""                                             | result
lowercase       | text=""                                             | result
trim            | text=""                                             | result
substring       | text="" start=0 end                                 | result
length          | text=""                                             | result
contains        | text pattern                                        | result
replace         | text pattern replacement mode                       | result
is_empty_string | text                                                | result

compare  | a b op="=="     | result
and      | a=false b=false | result
or       | a=false b=false | result
not      | value=false     | result
coalesce | a b *           | result

get                | object={} key="" default   | value
set                | object={} key="" value     | result
merge              | a={} b={}                  | result
make_object        | *                          | result
break_object       | object                     | *
make_array         | a b *                      | result
array_concat       | a b *                      | result
array_append       | array item                 | result
array_length       | array                      | result
has_tools          | array                      | result
array_map          | items=[] key=""            | result
array_filter       | items=[] key="" value      | result
array_dedup        | array key                  | result
get_element        | array index=0 default      | result found
get_random_element | array default              | result found
parse_json         | text wrap_scalar=true      | result
stringify_json     | value mode indent sort_keys | result
edit_json_schema   | schema                     | schema value

make_context        | task messages context_extra | context
make_meta           | schema="abstractcode.agent.v1.meta" version=1 output_mode provider model sub_run_id iterations \
tool_calls tool_results finish_reason gen_time ttft_ms usage trace trace_id warnings debug extra | meta
make_scratchpad     | sub_run_id workflow_id task messages context_extra node_traces steps tool_calls tool_results | scratchpad
system_datetime     |                      | iso timezone utc_offset_minutes locale
tool_parameters     | *                    | tool_call *
format_tool_results | tool_results/results | result
agent_trace_report  | scratchpad           | result

provider_catalog | allowed_providers                      | providers
provider_models  | provider allowed_models                | provider models
model_catalog    | allowed_providers allowed_models index | providers models pair provider model

read_file             | file_path                | content file_path
write_file            | file_path content        | bytes file_path
list_folder_files     | folder_path="." pattern="*" recursive=false limit=1000 | files count truncated
import_workspace_file | file_path                | artifact artifact_id content_type bytes
export_artifact       | artifact file_path       | file_path bytes
read_artifact         | artifact                 | content content_type bytes

if       | condition        | branch condition
switch   | value            | branch value matched
sequence |                  |
parallel |                  |
loop     | items            | item index total
while    | condition        | item index
for      | start end step=1 | i index total

on_flow_start    |   | *
on_flow_end      | * |
on_user_request  | message context | message context
on_agent_message | sender message  | sender message channel

get_var          | name default            | value
bool_var         |                         | name value
var_decl         |                         | name value
set_var          | name value              | value
set_var_property | name key value          | value
set_vars         | updates                 | updates
get_context      |                         | context task messages
add_message      | role="user" content=""  | message context task messages

ask_user    | prompt choices           | response prompt choices
answer_user | message="" level         | message level
wait_until  | duration                 | until ready

memory_note      | content tags sources location scope keep_in_context/keepInContext | note_id raw
memory_query     | query limit=10 recall_level tags tags_mode usernames locations since until scope | results rendered span_ids raw
memory_tag       | span_id/spanId tags merge scope                        | success rendered results raw
memory_compact   | preserve_recent compression_mode focus                 | span_id raw
memory_rehydrate | span_ids/span_id placement="after_summary" max_messages recall_level | inserted skipped artifacts raw

memory_kg_assert  | assertions/triples/items scope owner_id span_id attributes_defaults allow_custom_predicates \
| assertion_ids count ok raw
memory_kg_query   | subject predicate object recall_level scope owner_id since until active_at query_text order model \
max_input_tokens/max_in_tokens min_score limit | ok count items effort packets_version packets packed_count \
active_memory_text estimated_tokens dropped warnings error raw
memory_kg_resolve | label expected_type recall_level scope owner_id include_semantic min_score max_candidates/limit \
| candidates count ok raw
memact_compose    | kg_result/raw/result stimulus/query_text marker="KG:" max_items \
| ok delta trace active_memory memact_system_prompt memact_blocks
"""

# Our own defaults and pins beyond the language; each is documented in the type's `compat` or doc.
WIDER = {
    "memact_compose": {"error"},
    "wait_until": {"scheduled_for", "timestamp"},
}


def _rows():
    for line in TABLE.replace("\\\n", "").strip().splitlines():
        if line.strip():
            name, ins, outs = (part.strip() for part in line.split("|"))
            yield pytest.param(name, ins, outs, id=name)


@pytest.mark.parametrize(("name", "ins", "outs"), list(_rows()))
def test_pins(name, ins, outs):
    node_type = node_types()[name]
    known = {"*" if pin.dynamic else pin.id: pin for pin in node_type.inputs}
    wanted = dict(_pin(text) for text in ins.split())

    assert known.keys() == wanted.keys()
    assert _ids(node_type.outputs) - WIDER.get(name, set()) == set(outs.split())
    for pin, (default, aliases) in wanted.items():
        assert aliases <= set(known[pin].aliases)
        if default is not MISSING:
            assert same(known[pin].default, default)


def _pin(text):
    names, has_default, default = text.partition("=")
    pin, *aliases = names.split("/")
    return pin, (json.loads(default) if has_default else MISSING, set(aliases))


def _ids(pins):
    return {"*" if pin.dynamic else pin.id for pin in pins}


HANDLES = {
    "if": {"true", "false"},
    "switch": {"case:*", "default"},
    "sequence": {"then:*"},
    "parallel": {"then:*", "completed"},
    **{name: {"loop", "done"} for name in ("loop", "while", "for")},
    "on_flow_end": set(),
}


@pytest.mark.parametrize("name", [row.id for row in _rows()])
def test_handles(name):
    assert set(node_types()[name].handles) == HANDLES.get(name, {"exec-out"})


CAPABILITIES = """
llm:* agent llm_call
tool:* call_tool tool_calls
code code function
file:read:* import_workspace_file list_folder_files read_file
file:write:* export_artifact write_file
memory memory_compact memory_kg_assert memory_kg_query memory_kg_resolve memory_note memory_query
memory memory_rehydrate memory_tag
"""


def test_what_needs_which_capability():
    rows = (row.split() for row in CAPABILITIES.strip().splitlines())
    wanted = {name: capability for capability, *names in rows for name in names}

    assert {n: t.capability for n, t in node_types().items() if t.capability} == wanted


# One row per conversion that the tables of the language name.
VALUES = [
    ("add", {"a": "2", "b": True}, 3.0),
    ("add", {}, 0.0),
    ("modulo", {"a": -7, "b": 3}, 2.0),
    ("round", {"value": 2.5}, 2.0),
    ("split", {"text": " a ,, b"}, ["a", "b"]),
    ("split", {"text": "a,b", "delimiter": ""}, ["a,b"]),
    ("split", {"text": "a\tb", "delimiter": "\\t"}, ["a", "b"]),
    ("split", {"text": "a,b,c", "maxsplit": 1}, ["a", "b,c"]),
    ("join", {"items": ["a", None, 1]}, "a,,1"),
    ("join", {"items": "x"}, "x"),
    ("format", {"template": "{a}", "values": 5}, "{a}"),
    ("string_template", {"template": "{{a.b|upper}}-{{c}}", "vars": {"a": {"b": "x"}}}, "X-"),
    ("string_template", {"template": '{{l|join("; ")}}', "vars": {"l": [1, 2]}}, "1; 2"),
    ("substring", {"text": "abcd", "start": -2}, "cd"),
    ("length", {"text": [1]}, 3),
    ("contains", {"text": None, "pattern": "a"}, False),
    ("replace", {"text": "aaa", "pattern": "a", "replacement": "b", "mode": "first"}, "baa"),
    ("replace", {"text": "aaa", "pattern": "a", "replacement": "b", "mode": 2}, "bba"),
    ("compare", {"a": 1, "b": True}, True),
    ("compare", {"a": "1", "b": 1}, False),
    ("compare", {"a": "a", "b": 1, "op": "<"}, False),
    ("and", {"a": "false", "b": 1}, True),
    ("not", {}, True),
    ("coalesce", {"a": None, "b": 0}, 0),
    ("get", {"object": {"a": [{"b": 1}]}, "key": "a[0].b"}, {"value": 1}),
    ("get", {"object": {"a": None}, "key": "a", "default": 2}, {"value": 2}),
    ("merge", {"a": {"x": 1}, "b": {"x": 2}}, {"x": 2}),
    ("make_object", {"a": None, "_b": 1}, {"a": None}),
    ("array_concat", {"a": [1], "b": 2}, [1, 2]),
    ("make_array", {"a": None, "b": [1]}, [[1]]),
    ("array_append", {"array": 1}, [1, None]),
    ("array_length", {"array": "abc"}, 0),
    ("has_tools", {"array": []}, False),
    ("array_map", {"items": [{"k": 1}, 2], "key": "k"}, [1, 2]),
    ("array_filter", {"items": [{"k": 1}, {"j": 2}], "key": "k", "value": None}, [{"j": 2}]),
    ("array_dedup", {"array": [1, 1.0, True, "1", 1]}, [1, 1.0, True, "1"]),
    ("get_element", {"array": [1, 2], "index": "-1"}, {"result": 2, "found": True}),
    ("get_element", {"array": 1, "default": 0}, {"result": 0, "found": False}),
    ("parse_json", {"text": "```json\n{'a': (1,)}\n```"}, {"a": [1]}),
    ("parse_json", {"text": "5"}, {"value": 5}),
    ("parse_json", {"text": "5", "wrap_scalar": False}, 5),
    ("parse_json", {"text": "5", "wrap_scalar": None}, {"value": 5}),
    ("stringify_json", {"value": {"é": 1}, "mode": " NONE "}, '{"é": 1}'),
    ("stringify_json", {"value": "5"}, "5"),
    ("make_context", {"task": 1, "messages": "m"}, {"context": {"task": "1", "messages": ["m"]}}),
    ("format_tool_results", {"tool_results": []}, ""),
]


@pytest.mark.parametrize(("name", "inputs", "value"), VALUES)
def test_values(name, inputs, value):
    assert same(evaluate(name, inputs), value)


@pytest.mark.parametrize(
    ("name", "inputs", "error"),
    [
        ("divide", {"a": 1, "b": 0}, "Division by zero"),
        ("modulo", {"a": 1, "b": 0}, "Modulo by zero"),
        ("compare", {"op": "~"}, "Unknown comparison operator: ~"),
        ("parse_json", {"text": " "}, "parse_json requires a non-empty 'text' input."),
        ("format", {"template": "{a}"}, "'a'"),
    ],
)
def test_errors(name, inputs, error):
    assert error_of(name, inputs) == error
