"""Constants at the pins of nodes: of another JSON type, outside their set, or no time to wait for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from abstractruntime.nodes.registry import node_types
from abstractruntime.visualflow_compiler.check import check_document
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node


def told(kind: str, pin: str, value: Any, **data: Any) -> list[str]:
    """Give the codes of what is said about a constant at a pin."""
    node_type = node_types()[kind]
    handle = next(iter(node_type.handles), "exec-out").replace("*", "0")
    names = " ".join(p.id for p in node_type.inputs if not p.dynamic)
    defaults = {pin: value, **data.pop("others", {})}
    middle = node("m", kind, f"exec-in {names}", handle, pinDefaults=defaults, **data)
    document = flow(START, middle, END, edges=("start > m", f"m.{handle} > end"))
    found = check_document(json.dumps(document).encode()).diagnostics
    return sorted({i.code for i in found if i.severity != "info" and _is_about(i, pin)})


def _is_about(item: Any, pin: str) -> bool:
    return item.pointer.endswith(f"/pinDefaults/{pin}") or item.pin == pin


@pytest.mark.parametrize(
    ("kind", "pin", "values"),
    [
        ("set_var", "name", [["total"], 5, True, {}]),
        ("get_var", "name", [5, []]),
        ("set_var_property", "key", [5]),
        ("wait_event", "event_key", [5]),
        ("array_filter", "key", [5, []]),
        ("write_file", "file_path", [5, True]),
        ("read_file", "file_path", [5]),
        ("list_folder_files", "folder_path", [5]),
        ("contains", "pattern", [[]]),
        ("string_template", "template", [["Hello {{l}}"]]),
        ("string_template", "vars", ["zz", [], 5]),
        ("format", "values", ["zz"]),
        ("array_length", "array", ["zz", {}, 5]),
        ("loop", "items", [5, "zz", {}]),
        ("join", "items", ["zz"]),
        ("set_vars", "updates", [5, []]),
        ("get", "object", ["zz", 5]),
        ("merge", "a", ["zz", []]),
        ("if", "condition", [[], {}]),
        ("llm_call", "model", [5]),
        ("llm_call", "tools", ["ls"]),
        ("llm_call", "resp_schema", [5, []]),
        ("memory_query", "usernames", ["ada"]),
        ("subflow", "vars", ["zz"]),
    ],
)  # fmt: skip
def test_of_another_type(kind: str, pin: str, values: list[Any]):
    assert [value for value in values if "VF213" not in told(kind, pin, value)] == []


@pytest.mark.parametrize(
    ("kind", "pin", "values"),
    [
        ("ask_user", "prompt", ["x", 5, None]),
        ("concat", "a", ["x", 5, True, None]),
        ("join", "delimiter", [5, ""]),
        ("set_var", "name", ["x"]),
        ("get", "key", [0]),
        ("get", "object", [[1], {}, None]),
        ("break_object", "object", ['{"a": 1}', {}]),
        ("set_vars", "updates", ['{"a": 1}']),
        ("call_tool", "tool_call", ['{"name": "ls"}']),
        ("tool_calls", "tool_calls", [{"name": "ls"}, "[]", []]),
        ("format_tool_results", "tool_results", [{"name": "rm"}]),
        ("memory_rehydrate", "span_ids", ["a1", 1, ["a1"]]),
        ("make_context", "messages", ["hi", {}, []]),
        ("read_artifact", "artifact", ["id", {"$artifact": "id"}]),
        ("llm_call", "resp_schema", ['{"type": "object"}', {}]),
        ("loop", "items", [[1], None]),
        ("add", "a", ["1.5", 2]),
    ],
)
def test_of_a_type_that_is_meant(kind: str, pin: str, values: list[Any]):
    assert [value for value in values if "VF213" in told(kind, pin, value)] == []


@pytest.mark.parametrize(
    ("kind", "pin", "wrong", "right"),
    [
        ("compare", "op", [5, "", None, True, [], "=", "5"], ["==", " >= "]),
        ("answer_user", "level", [5, "", []], ["error", "WARN"]),
        ("emit_event", "scope", [5, {}, "5", ""], ["run", None]),
        ("memory_query", "tags_mode", [5], ["any", None]),
        ("memory_query", "recall_level", [5, "5"], ["deep"]),
        ("memory_kg_query", "order", [5], ["asc"]),
        ("stringify_json", "mode", [5, "", "5"], ["none", None]),
        ("replace", "mode", [True, [], "once more", ""], [2, "2", "-1", "first"]),
        ("ask_user", "choices", [5, {}, "yes"], [["yes"], None, ""]),
    ],
)
def test_outside_their_set(kind: str, pin: str, wrong: list[Any], right: list[Any]):
    codes = {repr(value): told(kind, pin, value) for value in (*wrong, *right)}

    assert [value for value in wrong if "VF210" not in codes[repr(value)]] == []
    assert [value for value in right if {"VF210", "VF213"} & {*codes[repr(value)]}] == []


@pytest.mark.parametrize(
    ("value", "unit", "is_told"),
    [
        *((value, unit, 1) for value in (None, "", "x") for unit in ("seconds", "timestamp")),
        *((value, "seconds", 1) for value in (1e15, 1e308, -1e15)),
        (5, "minutes", 0),
        (1e8, "seconds", 0),
        ("2030-01-31", "timestamp", 0),
    ],
)
def test_times_that_no_run_can_wait_for(value: Any, unit: str, is_told: int):
    codes = told("wait_until", "duration", value, effectConfig={"durationType": unit})

    assert codes == ["VF203"] * is_told


def test_an_item_that_nothing_gives():
    nothing_fed = node("m", "array_append", "array item", "result", pinDefaults={"array": []})
    document = flow(START, nothing_fed, END, edges=("start > end", "m.result > end.answer"))
    result = check_document(json.dumps(document).encode())

    assert [(i.code, i.pin) for i in result.diagnostics] == [("VF315", "item")]


@pytest.mark.parametrize("key", ["edges", "nodes"])
@pytest.mark.parametrize("value", [None, {}, "x"])
def test_lists_that_are_none(key: str, value: Any):
    document = {**flow(START, END, edges=("start > end",)), key: value}
    result = check_document(json.dumps(document).encode())

    assert ("VF007", f"/{key}") in {(i.code, i.pointer) for i in result.errors}


@pytest.mark.parametrize("key", ["true", 5, ""])
def test_settings_outside_their_set(key: Any):
    found = check_document(json.dumps(flow(
        START, node("m", "join", "items", "result", joinConfig={"render": key}), END,
        edges=("start > end", "m.result > end.answer"),
    )).encode()).diagnostics  # fmt: skip

    assert "/nodes/1/data/joinConfig/render" in {i.pointer for i in found if i.code == "VF210"}
