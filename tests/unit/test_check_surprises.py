"""What compiles and surprises is reported where it does, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from abstractruntime.visualflow_compiler.check import check_document, check_tree, render_github
from abstractruntime.visualflow_compiler.check._examples import END, PASS, START, flow, node

SHARED_FLOWS = Path(__file__).parents[2].parent / "shared" / "flows"

SAY = node("say", "answer_user", "exec-in message", "exec-out message")
ASK = node("ask", "ask_user", "exec-in prompt", "exec-out response")
CODE = node("work", "code", "exec-in", "exec-out", code="def transform(i):\n    return i")


def loop(kind, **data):
    return node("l", kind, "exec-in condition items start end", "loop done", **data)


def found(document, code):
    result = check_document(json.dumps(document).encode())
    return [d.pointer for d in result.diagnostics if d.code == code]


def twice(kind):
    """`then:1` uses what `then:0` asked for."""
    both = node("both", kind, "exec-in", "then:0 then:1")
    edges = ("start > both", "both.then:0 > ask", "both.then:1 > say", "ask.response > say.message")
    return flow(START, both, ASK, SAY, edges=edges)


WHILE_TRUE = {"pinDefaults": {"condition": True}}
IF = node("if", "if", "exec-in condition", "true false")


@pytest.mark.parametrize(
    ("code", "document", "pointers"),
    [
        pytest.param("VF311", twice("sequence"), [], id="a later branch of a sequence"),
        pytest.param("VF311", twice("parallel"), [], id="a later branch of a parallel"),
        pytest.param(
            "VF311",
            flow(
                *(START, loop("for"), SAY, ASK),
                edges=("start > l", "l.loop > say", "say > ask", "ask.response > say.message"),
            ),
            [],
            id="the turn before",
        ),
        pytest.param(
            "VF311",
            flow(
                *(START, SAY, node("hear", "on_event", "", "exec-out name"), END),
                edges=("start > end", "hear > say", "start.text > say.message"),
            ),
            ["/edges/2/source"],
            id="a listener and the flow beside it",
        ),
        pytest.param(
            "VF311",
            flow(
                *(START, SAY, ASK, node("up", "uppercase", "text", "result")),
                edges=(
                    *("start > say", "say > ask"),
                    *("ask.response > up.text", "up.result > say.message"),
                ),
            ),
            ["/edges/2/source"],
            id="through a pure node",
        ),
        pytest.param(
            "VF112",
            flow(START, ASK, edges=("start > ask", "ask > ask")),
            [],
            id="an endless conversation",
        ),
        pytest.param(
            "VF112",
            flow(START, SAY, CODE, edges=("start > say", "say > work", "work > say")),
            ["/nodes/1"],
            id="round and round",
        ),
        pytest.param(
            "VF112",
            flow(START, SAY, IF, edges=("start > say", "say > if", "if.true > say")),
            [],
            id="an open branch",
        ),
        pytest.param(
            "VF112",
            flow(START, SAY, loop("while", **WHILE_TRUE), edges=("start > l", "l.loop > say")),
            ["/nodes/2"],
            id="while true",
        ),
        pytest.param(
            "VF112",
            flow(START, END, IF, loop("while", **WHILE_TRUE), edges=("start > l", "l.loop > end")),
            [],
            id="while true with an end inside",
        ),
        pytest.param(
            "VF310",
            flow(START, CODE, END, edges=("start > work", "work > end")),
            [],
            id="code can give any name",
        ),
        pytest.param(
            "VF310",
            flow(START, node("end", "on_flow_end", "exec-in text"), edges=("start > end",)),
            [],
            id="the parameter has the name",
        ),
        pytest.param(
            "VF308",
            flow(
                *(START, CODE, node("say", "answer_user", "exec-in text", "exec-out")),
                edges=("start > work", "work > say"),
            ),
            [],
            id="another ambient value in between",
        ),
        pytest.param(
            "VF306",
            flow(
                START,
                ASK,
                IF,
                END,
                edges=("start > ask", "ask > if", "ask.response > if.condition"),
            ),
            ["/edges/2"],
            id="an answer as a condition",
        ),
    ],
)
def test_surprises(code, document, pointers):
    assert found(document, code) == pointers


@pytest.mark.parametrize(
    ("pins", "count"),
    [
        ({"note": f"sk-ant-{'a1' * 12}"}, 1),
        ({"headers": {"list": [f"AKIA{'A1' * 8}"]}}, 1),
        ({"note": "-----BEGIN RSA PRIVATE KEY-----"}, 1),
        ({"password": "correcthorse"}, 1),
        ({"password": "${PASSWORD}"}, 0),
        ({"api_key": ""}, 0),
        ({"api_key": "your-api-key"}, 0),
        ({"prompt": "ask for the password and the api_key"}, 0),
        ({"tokenizer": "sk-learn", "max_tokens": "12345678"}, 0),
    ],
)
def test_secrets(pins, count):
    document = flow(START, node("n", "answer_user", "exec-in", pinDefaults=pins))

    assert len(found(document, "VF312")) == count


def variables(set_name, read_name, *more):
    keep = node("keep", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": set_name})
    load = node("load", "get_var", "name", "value", pinDefaults={"name": read_name})
    edges = ("start > keep", "keep > end", "load.value > end.answer")
    return flow(START, keep, load, END, *more, edges=edges)


@pytest.mark.parametrize(
    ("document", "codes"),
    [
        (variables("total", "total"), []),
        (variables("total.sum", "total.count"), []),
        (
            variables("total", "totl"),
            [("VF501", "did you mean 'total'?"), ("VF502", "did you mean 'totl'?")],
        ),
        (variables("total", "text"), [("VF502", None)]),
        (variables("_limits.x", "context.task"), []),
    ],
    ids=["fine", "paths", "misspelt", "parameter", "reserved"],
)
def test_variables(document, codes):
    diagnostics = check_document(json.dumps(document).encode()).diagnostics

    assert [(d.code, d.hint) for d in diagnostics if d.code[:3] == "VF5"] == codes


def test_computed_names_may_be_any():
    document = variables("total", "totl")
    name = {"source": "start", "sourceHandle": "text", "targetHandle": "name"}
    document["edges"] += [{**name, "target": "keep"}, {**name, "target": "load"}]

    assert not found(document, "VF501") + found(document, "VF502")


@pytest.mark.parametrize("pins", [("exec-in texxt input", "exec-out answr"), ("", "")])
def test_a_subflow_must_fit_its_flow(pins):
    run = node("run", "subflow", *pins, subflowId="child")
    edges = ("start > run", "run > end", "start.text > run.texxt", "run.answr > end.answer")
    parent = json.dumps(flow(START, run, END, edges=edges)).encode()
    child = json.dumps({**PASS, "id": "child"}).encode()

    result = check_tree({"p": parent, "c": child})["p"]

    assert result.ok
    assert [(d.code, d.pin, d.hint) for d in result.diagnostics] == [
        ("VF208", "texxt", "did you mean 'text'?"),
        ("VF209", "answr", "did you mean 'answer'?"),
    ]


def test_info_is_a_notice_and_no_error():
    document = flow(START, ASK, edges=("start > ask", "start.text > ask.prompt"))

    (finding,) = check_document(json.dumps(document).encode()).diagnostics

    assert (finding.code, finding.severity) == ("VF115", "info")
    assert render_github(finding).startswith("::notice ")


# What each rule of this kind finds in published flows, looked at one by one.
KNOWN = {"VF115": 1, "VF208": 1, "VF307": 13, "VF308": 1, "VF309": 50, "VF502": 1}
TEACHING = {
    *(f"VF11{i}" for i in range(2, 7)),
    *("VF208", "VF209", "VF306", "VF501", "VF502"),
    *(f"VF3{i:02}" for i in range(7, 13)),
}


@pytest.mark.skipif(not SHARED_FLOWS.is_dir(), reason="published flows are not at ../shared/flows")
def test_published_flows_have_no_false_alarm():
    documents = {path.name: path.read_bytes() for path in SHARED_FLOWS.glob("*.json")}
    counts: dict[str, int] = {}
    for result in check_tree(documents).values():
        for item in result.diagnostics:
            if item.code in TEACHING:
                counts[item.code] = counts.get(item.code, 0) + 1

    assert counts == KNOWN
