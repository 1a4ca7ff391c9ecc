"""What a flow computes from constants alone is tried by the check: the node's own code, nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from abstractruntime.visualflow_compiler.check import check_document
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node

CHAIN = ("start > m", "m > end")


def told(document: dict[str, Any], code: str | None = None) -> list[str]:
    """Give what warnings and errors say of `m`, after the name of the node."""
    found = check_document(json.dumps(document).encode()).diagnostics
    kept = (i for i in found if i.severity != "info" and code in (None, i.code))
    return [item.message.removeprefix("node 'm': ") for item in kept]


def step(kind: str, *edges: str, extra: tuple[Any, ...] = (), **defaults: Any) -> dict[str, Any]:
    middle = node("m", kind, "exec-in", "exec-out", pinDefaults=defaults)
    return flow(START, middle, *extra, END, edges=(*CHAIN, "start.text > end.answer", *edges))


def pure(kind: str, *edges: str, extra: tuple[Any, ...] = (), **defaults: Any) -> dict[str, Any]:
    middle = node("m", kind, " ".join(defaults), "result", pinDefaults=defaults)
    return flow(START, middle, *extra, END, edges=("start > end", "m.result > end.answer", *edges))


LITERAL = node("l", "literal_number", "", "value", literalValue=0)
TOTAL = node("l", "subtract", "a b", "result", pinDefaults={"a": 2, "b": 2})
DRAWN = node("l", "random_int", "min max", "result")
FAILS = "fails whenever it runs: "


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (step("set_var", name="", value=1), "Set Variable requires a non-empty variable name."),
        (step("set_var", name="_x"), "Invalid variable name '_x'"),
        (step("set_vars", updates={"_runtime": 1}), "Invalid variable name '_runtime'"),
        (step("wait_event", event_key=""), "the wait key is empty"),
        (step("read_file", file_path="../../etc/passwd"), "'../../etc/passwd' leads out"),
        (step("write_file", file_path="./../x", content="y"), "'./../x' leads out"),
        (step("list_folder_files", folder_path=".."), "'..' leads out"),
        (pure("format", template="{a", values={"a": 1}), "expected '}' before end of string"),
        (pure("parse_json", text="{bad"), "Invalid JSON: '{' was never closed"),
        (pure("divide", a=1, b=0), "Division by zero"),
        (pure("divide", "l.value > m.b", extra=(LITERAL,), a=1), "Division by zero"),
        (pure("divide", "l.result > m.b", extra=(TOTAL,), a=1), "Division by zero"),
        (pure("divide", "start.text > m.a", b="0"), "b is always 0"),
        (pure("modulo", "start.text > m.a", b=0), "b is always 0"),
    ],
)
def test_what_can_only_fail_is_found(document: dict[str, Any], reason: str):
    (message,) = told(document, "VF319")

    assert message.startswith(FAILS + reason)


@pytest.mark.parametrize(
    "document",
    [
        step("set_var", value=1, name="x"),
        step("set_var", "start.text > m.name", name=""),
        step("set_vars", "start.text > m.updates"),
        step("read_file", file_path="a/../b.txt"),
        step("read_file", file_path="/etc/passwd"),
        pure("divide", "start.text > m.b", a=1, b=0),
        pure("divide", "l.result > m.b", extra=(DRAWN,), a=1),
        pure("parse_json", "start.text > m.text", text="{bad"),
        pure("format", "start.text > m.values", template="{a}"),
    ],
)
def test_what_depends_on_the_run_is_left_alone(document: dict[str, Any]):
    assert told(document, "VF319") == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (step("set_vars", updates="notjson"), 'sets nothing: updates is "notjson", expected an object'),
        (step("ask_user", prompt="?", choices=["a", "b", "a"]), 'choice 3 repeats "a"'),
        (step("ask_user", prompt="?", choices=[1, {"a": 2}]), 'choice 2 is {"a":2}, expected a text that says it'),
        (step("wait_event", event_key="k", choices=["a", 1]), "choice 2 is 1, expected a text that says it"),
        (pure("random_int", min=10, max=1), "min is 10, which is above max, 1; they are swapped"),
        (pure("random_float", max=-1), "min is 0, which is above max, -1; they are swapped"),
        (pure("string_template", template="a {{p", vars={}), 'the placeholder in "{{p" has no end, so it is text'),
        (pure("format", "start.text > m.values", template="{a"), "the template cannot be filled: expected '}' before end of string"),
    ],
)  # fmt: skip
def test_constants_that_do_not_do_what_they_seem_to(document: dict[str, Any], message: str):
    assert told(document) == [message]


@pytest.mark.parametrize(
    ("value", "count"), [("{a:1}", 1), (" [1", 1), ("a,b", 0), ({"a": 1}, 0), (None, 0)]
)
def test_json_that_is_a_text_is_told(value: Any, count: int):
    literal = node("m", "literal_json", "", "value", literalValue=value)
    document = flow(START, literal, END, edges=("start > end", "m.value > end.answer"))

    assert len(told(document, "VF213")) == count


def test_a_value_of_the_ambient_is_no_constant():
    says = node("start", "on_flow_start", "", "exec-out name")
    sets = node("m", "set_var", "exec-in", "exec-out", pinDefaults={"name": ""})

    assert told(flow(says, sets, END, edges=CHAIN), "VF319") == []


def test_a_failure_is_told_where_it_is_and_not_where_it_arrives():
    more = node("more", "add", "a b", "result", pinDefaults={"b": 1})
    document = pure(
        "divide", "m.result > more.a", "more.result > end.answer", extra=(more,), a=1, b=0
    )

    assert told(document, "VF319") == [FAILS + "Division by zero"]


def test_a_node_that_goes_on_may_fail():
    goes_on = node(
        "m", "parse_json", "exec-in text", "exec-out", onError="continue", pinDefaults={"text": "{"}
    )

    assert told(flow(START, goes_on, END, edges=CHAIN), "VF319") == []


def test_values_of_a_document_do_not_grow_without_end():
    pairs = [node(f"n{i}", "concat", "a b", "result") for i in range(60)]
    edges = [f"n{i}.result > n{i + 1}.{pin}" for i in range(59) for pin in "ab"]
    first = node("l", "literal_string", "", "value", literalValue="x" * 1000)
    wide = flow(
        START,
        first,
        *pairs,
        END,
        edges=(
            "start > end",
            "l.value > n0.a",
            "l.value > n0.b",
            *edges,
            "n59.result > end.answer",
        ),
    )

    assert told(wide, "VF319") == []


CLOSED = "names a reserved variable"


@pytest.mark.parametrize(
    ("kind", "keys", "codes"),
    [
        ("emit_event", {"outputKey": "_runtime"}, ["VF319"]),
        ("code", {"outputKey": "_runtime.limits.steps"}, ["VF319"]),
        ("code", {"inputKey": "_runtime"}, ["VF319"]),
        ("set_var", {"outputKey": " _runtime"}, ["VF211", "VF319"]),
        ("set_var", {"outputKey": "total"}, ["VF211"]),
        ("set_var", {"inputKey": "total"}, ["VF211"]),
        ("code", {"outputKey": "_limits.max_iterations"}, []),
        ("code", {"outputKey": "total", "inputKey": "text"}, []),
    ],
)
def test_variables_that_the_runtime_keeps_are_closed(kind: str, keys: Any, codes: list[str]):
    data = (
        {"code": "def transform(x):\n    return 1"}
        if kind == "code"
        else {"pinDefaults": {"name": "n"}}
    )
    document = flow(START, node("m", kind, "exec-in", "exec-out", **data, **keys), END, edges=CHAIN)
    found = check_document(json.dumps(document).encode()).diagnostics

    assert sorted({i.code for i in found if i.code in ("VF211", "VF319")}) == codes


def code(
    source: str, key: str = "code", kind: str = "code", pins: str = "exec-in"
) -> dict[str, Any]:
    return flow(START, node("m", kind, pins, "exec-out", **{key: source}), END, edges=CHAIN)


BODY = "\n    return 1"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (code(f"def transform():{BODY}"), ["VF407"]),
        (code(f"def transform(a, b):{BODY}"), ["VF407"]),
        (code(f"def transform(a, *, b):{BODY}"), ["VF407"]),
        (code(f"def transform(**more):{BODY}"), ["VF407"]),
        (code(f"def transform(a, b=1, *c, d=2, **e):{BODY}"), []),
        (code(f"def transform(*a):{BODY}"), []),
        (code("transform = lambda: 1"), []),
        (code("def transform(x):\n    return open(x)"), ["VF408"]),
        (code("def transform(x):\n    return [input, globals()]"), ["VF408", "VF408"]),
        (code("def open(x):\n    return x\ndef transform(x):\n    return open(x)"), []),
        (code("def transform(x):\n    return [len(x), print(x), ValueError, eval]"), []),
        (code("return open('x')", "codeBody"), ["VF408"]),
        (code("return input", "codeBody", pins="exec-in input"), []),
        (code("text + 1", "expression", "function"), []),
        (code("text + txet", "expression", "function"), ["VF408"]),
        (code("[txet for word in text]", "expression", "function"), []),
        (code("bonus + text if 'bonus' in input else text", "expression", "function"), []),
        (code("'bonus' in input and bonus or text", "expression", "function"), []),
        (code("text if txet else 1", "expression", "function"), ["VF408"]),
        (code(f"def transform(a, b):{BODY}\ntransform = transform"), []),
        (code(f"def transform(a, b):{BODY}\nfrom functools import cache as transform"), []),
        (code("[i for i in x['l']] + [len(input)]", "expression", "function"), []),
    ],
)  # fmt: skip
def test_code_that_cannot_be_called_or_uses_what_is_not_there(document: Any, expected: list[str]):
    found = check_document(json.dumps(document).encode()).diagnostics

    assert [i.code for i in found if i.code in ("VF407", "VF408")] == expected
