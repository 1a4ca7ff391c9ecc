"""Names, constants and wiring that mean nothing are reported where they stand, with the right name."""

from __future__ import annotations

import json

import pytest

from abstractruntime.errors import FlowError
from abstractruntime.visualflow_compiler import compile_visualflow
from abstractruntime.visualflow_compiler.check import check_document, check_tree
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node

CHAIN = ("start > m", "m > end")
IF = node("m", "if", "exec-in condition", "true false")
SWITCH = {"switchConfig": {"cases": [{"id": "yes", "value": "y"}, {"id": "no", "value": "n"}]}}
IF_EDGES = ("start > m", "m.true > end")
BARE = {"id": "m", "type": "if", "data": {}}


def diagnostics(document):
    return check_document(json.dumps(document).encode()).diagnostics


def around(middle, *edges):
    return flow(START, middle, END, edges=(*CHAIN, *edges))


def asks(**data):
    return node("m", "ask_user", "exec-in prompt choices", "exec-out response", **data)


def pack(names, *edges):
    nodes = (node("m", "make_object", names, "result"), node("g", "get", "object key", "value"))
    key = {"pinDefaults": {"key": "a.b"}}
    nodes[1]["data"] |= key
    wires = ("start > end", "m.result > g.object", "g.value > end.answer", *edges)
    return flow(START, *nodes, END, edges=wires)


@pytest.mark.parametrize(
    ("document", "code", "pointer", "hint"),
    [
        pytest.param(
            flow(START, BARE, END, edges=(*IF_EDGES, "start.text > m.conditon")),
            *("VF304", "/edges/2/targetHandle", "did you mean 'condition'?"),
            id="no pins declared",
        ),
        pytest.param(
            flow(
                *(START, node("m", "if", "exec-in conditon", "true false"), END),
                edges=(*IF_EDGES, "start.text > m.conditon"),
            ),
            *("VF304", "/edges/2/targetHandle", "did you mean 'condition'?"),
            id="declared under the wrong name",
        ),
        pytest.param(
            around(asks(), "start.txt > m.prompt"),
            *("VF305", "/edges/2/sourceHandle", "did you mean 'text'?"),
            id="a parameter that the start lacks",
        ),
        pytest.param(
            around(node("m", "concat", "exec-in a b", "exec-out result"), "start.text > m.c"),
            *("VF304", "/edges/2/targetHandle", None),
            id="a part that is not declared",
        ),
        pytest.param(
            around(node("m", "code", "exec-in text", "exec-out output"), "start.text > m.txet"),
            *("VF313", "/edges/2/targetHandle", "did you mean 'text'?"),
            id="open pins",
        ),
        pytest.param(
            around(
                node("m", "ask_user", "exec-in prompt", "exec-out respons"),
                "m.respons > end.answer",
            ),
            *("VF313", "/edges/2/sourceHandle", "did you mean 'response'?"),
            id="open pins, declared under the wrong name",
        ),
        pytest.param(
            flow(
                *(START, {"id": "m", "type": "switch", "data": SWITCH}, END),
                edges=("start > m", "start.text > m.value", "m.case:ys > end"),
            ),
            *("VF301", "/edges/2/sourceHandle", "did you mean 'case:yes'?"),
            id="a case that the switch lacks",
        ),
        pytest.param(
            around(asks(pinDefaults={"promt": "Go?"})),
            *("VF314", "/nodes/1/data/pinDefaults/promt", "did you mean 'prompt'?"),
            id="default",
        ),
        pytest.param(
            flow(START, IF, END, edges=IF_EDGES),
            *("VF315", "/nodes/1", "connect it, or give it a default in pinDefaults.condition"),
            id="if without condition",
        ),
        pytest.param(
            pack("b", "start.text > m.b"),
            *("VF316", "/nodes/2", None),
            id="path",
        ),
        pytest.param(
            around(asks(pinDefaults={"choices": "yes,no"})),
            *("VF210", "/nodes/1/data/pinDefaults/choices", 'write a list, such as ["yes", "no"]'),
            id="choices as text",
        ),
        pytest.param(
            around(
                node(
                    *("m", "wait_until", "exec-in duration", "exec-out"),
                    effectConfig={"durationType": "minuets"},
                )
            ),
            *("VF203", "/nodes/1/data/effectConfig/durationType", "did you mean 'minutes'?"),
            id="unit",
        ),
        pytest.param(
            around(node("m", "compare", "exec-in a b", "exec-out result", op=">")),
            *("VF211", "/nodes/1/data/op", "write it as data.pinDefaults.op"),
            id="op in the wrong place",
        ),
        pytest.param(
            around(asks(allowFreeText=False)),
            *(
                "VF211",
                "/nodes/1/data/allowFreeText",
                "write it as data.effectConfig.allowFreeText",
            ),
            id="key outside its block",
        ),
        pytest.param(
            around(asks(effectConfig={"allow_free_text": False})),
            *(
                "VF211",
                "/nodes/1/data/effectConfig/allow_free_text",
                "did you mean 'allowFreeText'?",
            ),
            id="key of a block",
        ),
        pytest.param(
            around(
                {
                    **asks(),
                    "data": {**asks()["data"], "inputs": [{"id": "prompt", "default": "Go?"}]},
                }
            ),
            *("VF211", "/nodes/1/data/inputs/0/default"),
            "write the value into data.pinDefaults, under the name of the pin",
            id="default in a pin",
        ),
        pytest.param(
            around(asks(effectConfig="closed")),
            *("VF212", "/nodes/1/data/effectConfig", None),
            id="block of a wrong type",
        ),
        pytest.param(
            around({**asks(), "data": "prompt"}),
            *("VF212", "/nodes/1/data", None),
            id="data of a wrong type",
        ),
        pytest.param(
            around(asks(effectConfig={"continueOnError": True})),
            *("VF118", "/nodes/1/data/effectConfig/continueOnError"),
            'set data.onError to "continue"',
            id="continueOnError",
        ),
        pytest.param(
            {**around(asks()), "functions": [{"name": "f", "code": "def f(): pass"}]},
            *("VF118", "/functions", "write the functions into the code nodes"),
            id="functions",
        ),
        pytest.param(
            {
                **(document := around(asks())),
                "edges": [{**document["edges"][0], "data": {"loopLimit": {"max": 3}}}],
            },
            *("VF118", "/edges/0/data/loopLimit", "count the turns with for, or a variable"),
            id="loopLimit",
        ),
        pytest.param(
            around(
                node(
                    *("m", "code", "exec-in permissions", "exec-out output"),
                    codeBody="return 1",
                    pinDefaults={"permissions": "full_access"},
                )
            ),
            *("VF118", "/nodes/1/data/pinDefaults/permissions"),
            "code runs in a sandbox; put what needs more into a tool of the host",
            id="full access",
        ),
    ],
)
def test_it_is_reported(document, code, pointer, hint):
    found = [(item.pointer, item.hint) for item in diagnostics(document) if item.code == code]

    assert (pointer, hint) in found


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(
            flow(
                *(START, node("c", "compare", "exec-in a b", "exec-out"), IF, END),
                edges=(
                    "start > c",
                    "c > m",
                    "m.true > end",
                    "start.text > c.a",
                    "start.text > c.b",
                ),
            ),
            id="a step before gives the condition",
        ),
        pytest.param(
            flow(IF, END, edges=("m.true > end",)),
            id="the host may give the condition of the entry",
        ),
        pytest.param(
            flow(
                *(START, loop := node("l", "while", "exec-in condition", "loop done"), END),
                node("c", "code", "exec-in", "exec-out", code="def transform(i):\n    return {}"),
                IF,
                edges=(
                    *("start > l", "l.loop > c", "l.done > m", "m.true > end"),
                    "start.text > l.condition",
                ),
            ),
            id="the body of a loop may give it",
        ),
        pytest.param(
            around(asks(_note="mine", comment="ours", icon="?"), "start.text > m.prompt"),
            id="notes and what is drawn",
        ),
        pytest.param(
            around(
                node(
                    "m",
                    "code",
                    "exec-in a",
                    "exec-out output",
                    code="def transform(i):\n    return {'b': 1}",
                ),
                *("m.b > end.answer", "start.text > m.a"),
            ),
            id="a key that the code returns",
        ),
    ],
)
def test_it_is_left_alone(document):
    found = [item.message for item in diagnostics(document) if item.severity != "info"]

    assert [message for message in found if "is all null" not in message] == []


def test_what_is_not_built_is_not_compiled_either():
    with pytest.raises(FlowError, match="pinExpressions"):
        compile_visualflow(around(asks(pinExpressions={"prompt": "vars.text"})))


def calls(flow_id, child):
    again = node("c", "subflow", "exec-in", "exec-out", subflowId=child)
    return {**flow(START, again, END, edges=("start > c", "c > end")), "id": flow_id}


def test_flows_that_always_run_each_other_are_named():
    flows = {"a": calls("a", "b"), "b": calls("b", "a"), "c": calls("c", "a"), "d": calls("d", "d")}
    checked = check_tree({name: json.dumps(document).encode() for name, document in flows.items()})

    found = {
        name: [item.message for item in result.diagnostics if item.code == "VF117"]
        for name, result in checked.items()
    }
    assert found == {
        "a": [
            "every way through flow 'a' runs flow 'b', and every way through that comes back to it"
        ],
        "b": [
            "every way through flow 'b' runs flow 'a', and every way through that comes back to it"
        ],
        "c": [],
        "d": ["every way through flow 'd' runs it again"],
    }
