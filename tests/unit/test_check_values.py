"""Values of another type, comparisons that never hold, branches never taken, and waits that do not wait."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from abstractruntime.visualflow_compiler.check import check_document
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node

CHAIN = ("start > m", "m > end")
CODE = "exec-in text", "exec-out output"
CASES = [{"id": "yes", "value": "y"}, {"id": "no", "value": "n"}]


def found(document: dict[str, Any]) -> list[tuple[str, str, str, str | None]]:
    result = check_document(json.dumps(document).encode())
    items = (i for i in result.diagnostics if i.severity != "info")
    return [(i.code, i.severity, i.pointer, i.hint) for i in items]


def around(middle: dict[str, Any], *edges: str, **top: Any) -> dict[str, Any]:
    return flow(START, middle, END, edges=(*CHAIN, "start.text > end.answer", *edges), **top)


def asks(**data: Any) -> dict[str, Any]:
    defaults = {"prompt": "Well?", **data.pop("pinDefaults", {})}
    return node("m", "ask_user", "exec-in", "exec-out", pinDefaults=defaults, **data)


def starts(kind: str, value: Any) -> dict[str, Any]:
    pins = [{"id": "exec-out", "type": "execution"}, {"id": "text", "type": kind}]
    start = {"id": "start", "type": "on_flow_start", "data": {"outputs": pins, "pinDefaults": {"text": value}}}  # fmt: skip
    return flow(start, END, edges=("start > end", "start.text > end.answer"))


def compares_half(**given: Any) -> dict[str, Any]:
    compare = node("c", "compare", "a b", "result", pinDefaults=given)
    return flow(START, compare, END, edges=("start > end", "c.result > end.answer"))


def compares(a: Any, b: Any, op: Any = "==") -> dict[str, Any]:
    """Compare two constants; a text that is the id of a node stands for its output."""
    nodes = {
        "number": node("number", "length", "text", "result", pinDefaults={"text": "x"}),
        "word": node("word", "uppercase", "text", "result"),
        "any": node(
            "any", "get", "object key", "value", pinDefaults={"key": "k", "object": {"k": 1}}
        ),
        "literal": node("literal", "literal_number", "", "value", literalValue=3),
    }
    sides = {"a": a, "b": b}
    wired = {pin: side for pin, side in sides.items() if isinstance(side, str) and side in nodes}
    handle = {"any": "value", "literal": "value"}
    given = {pin: side for pin, side in sides.items() if pin not in wired}
    compare = node("c", "compare", "a b op", "result", pinDefaults={**given, "op": op})
    edges = [f"{side}.{handle.get(side, 'result')} > c.{pin}" for pin, side in wired.items()]
    feeds = ("start.text > word.text",) if "word" in wired.values() else ()
    used = [nodes[side] for side in wired.values()]
    return flow(
        *(START, *used, compare, END),
        edges=("start > end", "c.result > end.answer", *feeds, *edges),
    )


def switches(
    *cases: Any, declared: str = "case:yes case:no default", edge: str = "case:yes"
) -> Any:
    switch = node("m", "switch", "exec-in value", declared, switchConfig={"cases": list(cases)})
    edges = ("start > m", "start.text > m.value", f"m.{edge} > end", "start.text > end.answer")
    return flow(START, switch, END, edges=edges)


def codes(source: str, **data: Any) -> dict[str, Any]:
    return around(node("m", "code", *CODE, code=source, **data), "start.text > m.text")


def waits(value: Any, kind: str = "minutes") -> dict[str, Any]:
    config = {"effectConfig": {"durationType": kind}, "pinDefaults": {"duration": value}}
    return around(node("m", "wait_until", "exec-in duration", "exec-out", **config))


@pytest.mark.parametrize(
    ("document", "code", "pointer", "hint"),
    [
        (around(asks(effectConfig={"allowFreeText": "false"})), "VF213", "/nodes/1/data/effectConfig/allowFreeText", "write false without quotes"),
        (around(asks(effectConfig={"allowFreeText": 0})), "VF213", "/nodes/1/data/effectConfig/allowFreeText", None),
        (around(asks(outputKey=5)), "VF213", "/nodes/1/data/outputKey", None),
        (around(asks(label=["x"])), "VF213", "/nodes/1/data/label", None),
        (around(node("m", "wait_event", "exec-in event_key allow_free_text", "exec-out", pinDefaults={"event_key": "k", "allow_free_text": "False"})), "VF213", "/nodes/1/data/pinDefaults/allow_free_text", "write false without quotes"),
        (around(node("m", "llm_call", "exec-in prompt temperature", "exec-out", pinDefaults={"prompt": "hi", "temperature": "warm"})), "VF213", "/nodes/1/data/pinDefaults/temperature", None),
        (starts("number", "5"), "VF213", "/nodes/0/data/pinDefaults/text", None),
        (starts("string", 5), "VF213", "/nodes/0/data/pinDefaults/text", None),
        (starts("boolean", "true"), "VF213", "/nodes/0/data/pinDefaults/text", "write true without quotes"),
        (starts("array", {}), "VF213", "/nodes/0/data/pinDefaults/text", None),
        (around(asks(), interfaces="x"), "VF213", "/interfaces", None),
        (around(asks(), interfaces=["x", 5]), "VF213", "/interfaces/1", None),
        (around(asks(), name=5), "VF213", "/name", None),
        (around(asks(), description=["a"]), "VF213", "/description", None),
        (around(asks(), entryNode=0), "VF213", "/entryNode", None),
        ({**around(asks()), "id": 7}, "VF213", "/id", None),
        (flow(START, node("l", "literal_number", "", "value", literalValue="5"), END, edges=("start > end", "l.value > end.answer")), "VF213", "/nodes/1/data/literalValue", None),
        (compares("word", "x", None), "VF210", "/nodes/2/data/pinDefaults/op", None),
        (compares("word", "x", True), "VF210", "/nodes/2/data/pinDefaults/op", None),
        (compares("number", "3"), "VF317", "/nodes/2/data/pinDefaults/b", "write 3 without quotes"),
        (compares("3", "number", "<"), "VF317", "/nodes/2/data/pinDefaults/a", "write 3 without quotes"),
        (compares("literal", "many"), "VF317", "/nodes/2/data/pinDefaults/b", None),
        (compares("word", 3), "VF317", "/nodes/2/data/pinDefaults/b", 'write "3"'),
        (compares("word", True, "!="), "VF317", "/nodes/2/data/pinDefaults/b", None),
        (switches(*CASES, {"id": "x"}), "VF318", "/nodes/1/data/switchConfig/cases/2", "give it a value"),
        (switches(*CASES, {"value": "x"}), "VF318", "/nodes/1/data/switchConfig/cases/2", "give it an id"),
        (switches(*CASES, "x"), "VF318", "/nodes/1/data/switchConfig/cases/2", None),
        (switches(*CASES, {"id": "x", "value": "n"}), "VF318", "/nodes/1/data/switchConfig/cases/2", "delete one of them"),
        (switches(*CASES, declared="case:yes case:maybe default", edge="case:maybe"), "VF318", "/edges/2/sourceHandle", None),
        (switches(*CASES, declared="case:yes case:noo default", edge="case:noo"), "VF318", "/edges/2/sourceHandle", "did you mean 'case:no'?"),
        (switches(declared="", edge="case:yes"), "VF318", "/edges/2/sourceHandle", None),
        (codes("def transfrom(_input):\n    return 1\n"), "VF407", "/nodes/1/data/code", "did you mean 'transfrom'? set data.functionName to it, or rename it"),
        (codes("def transform(_input):\n    return 1\n", functionName="tranform"), "VF407", "/nodes/1/data/code", "did you mean 'transform'? set data.functionName to it, or rename it"),
        (codes("  "), "VF407", "/nodes/1/data/code", "write def transform(_input): ..."),
        (codes("x = [1]\nx[0] = 2"), "VF407", "/nodes/1/data/code", "write def transform(_input): ..."),
        (waits(-5), "VF203", "/nodes/1/data/pinDefaults/duration", None),
        (waits("-0.5", "hours"), "VF203", "/nodes/1/data/pinDefaults/duration", None),
        (around(node("m", "ask_user", "exec-in", "exec-out")), "VF315", "/nodes/1", None),
        (around(node("m", "llm_call", "exec-in", "exec-out")), "VF315", "/nodes/1", None),
        (around(node("m", "agent", "exec-in", "exec-out")), "VF315", "/nodes/1", None),
        (compares_half(a=1), "VF315", "/nodes/1", None),
        (compares_half(b=1), "VF315", "/nodes/1", None),
    ],
)  # fmt: skip
def test_it_is_told(document: Any, code: str, pointer: str, hint: str | None) -> None:
    ours = [item for item in found(document) if item[0] == code]

    assert [(item[0], item[2]) for item in ours] == [(code, pointer)]
    assert hint is None or ours[0][3] == hint


@pytest.mark.parametrize(
    "document",
    [
        around(asks(effectConfig={"allowFreeText": True})),
        around(asks(), interfaces=["x"], name="n", description=None, entryNode="start"),
        starts("number", 5),
        starts("number", None),
        starts("any", "5"),
        compares("number", 3),
        compares("any", "3"),
        compares("word", "x"),
        compares("number", "literal"),
        compares("number", True),
        compares("word", None),
        switches(*CASES),
        switches(*CASES, declared="", edge="case:no"),
        switches(*CASES, edge="default"),
        codes("def transform(_input):\n    return 1\n"),
        codes("async def transform(_input):\n    return 1\n"),
        codes("if True:\n    transform = lambda i: 1\n"),
        codes("def go(i):\n    return i\n", functionName="go"),
        waits(5),
        waits(0),
        waits("2020-01-01", "timestamp"),
    ],
)
def test_it_is_left_alone(document: Any) -> None:
    assert found(document) == []


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("nubmer", "did you mean 'number'?"),
        ("exection", "did you mean 'execution'?"),
        ("texts", "there are: any, "),
        (5, "there are: any, "),
        *((kind, None) for kind in ("number", "execution", "", None, "provider_text", "artifacts")),
    ],
)
def test_pins_of_a_type_that_there_is_not(kind: Any, hint: str | None):
    document = around(node("m", "set_var", "exec-in", "exec-out", pinDefaults={"name": "n"}))
    document = deepcopy(document)
    document["nodes"][0]["data"]["outputs"].append({"id": "more", "type": kind})
    told = [item for item in found(document) if item[2].endswith("/type")]

    assert [item[:3] for item in told] == [("VF210", "warning", "/nodes/0/data/outputs/2/type")] * (hint is not None)  # fmt: skip
    assert all(item[3].startswith(hint) for item in told)


@pytest.mark.parametrize(
    ("key", "value", "is_told"),
    [("data", None, 1), ("position", "here", 1), ("position", {"x": 1}, 0), ("position", None, 0)],
)
def test_parts_of_a_node_of_the_wrong_type(key: str, value: Any, is_told: int):
    document = flow(START, {**END, key: value}, edges=("start > end",))
    told = [item[:3] for item in found(document)]

    assert told.count(("VF213", "warning", f"/nodes/1/{key}")) == is_told


@pytest.mark.parametrize(("prompt", "is_told"), [(["x"], 1), ({"a": 1}, 1), (5, 0), ("x", 0)])
def test_a_list_is_no_text(prompt: Any, is_told: int):
    told = found(around(asks(pinDefaults={"prompt": prompt})))

    assert [item[:3] for item in told] == [("VF213", "warning", "/nodes/1/data/pinDefaults/prompt")] * is_told  # fmt: skip
