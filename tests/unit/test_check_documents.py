"""What checking a document reports, in which order, and how it is shown."""

import json
from pathlib import Path

import jsonschema
import pytest

from abstractruntime.errors import FlowError, NotFound
from abstractruntime.nodes.registry import REFUSED_TYPES, node_types
from abstractruntime.visualflow_compiler.check import (
    MAX_FINDINGS,
    check_document,
    check_flow,
    check_tree,
    render_github,
    render_pointer,
    render_sarif,
    render_text,
    require_ok,
)
from abstractruntime.visualflow_compiler.check._examples import END, PASS, START, flow, node
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.explain import explain, explain_node
from abstractruntime.visualflow_compiler.schema import visualflow_schema

SHARED_FLOWS = Path(__file__).parents[2].parent / "shared" / "flows"

CHAIN = ("start > m", "m > end")
CHILD = node("m", "subflow", "exec-in", "exec-out", subflowId="child")


def check(document):
    return check_document(json.dumps(document).encode(), file="f.json")


def found(document):
    """Everything but the notes, and that nothing feeds the pin of `END`."""
    some = (d for d in check(document).diagnostics if d.severity != "info" and d.code != "VF310")
    return [(d.code, d.severity, d.pointer) for d in some]


@pytest.mark.parametrize(
    "document, expected",
    [
        pytest.param(PASS, [], id="fine"),
        pytest.param({}, [("VF006", "error", "/id"), ("VF101", "error", "/nodes")], id="empty"),
        pytest.param(
            flow(START, node("m", "askuser", "exec-in", "exec-out"), END, edges=CHAIN),
            [("VF201", "error", "/nodes/1/type")],
            id="unknown-type",
        ),
        pytest.param(
            flow(
                START,
                END,
                node("m", "generate_image", "exec-in", "exec-out"),
                edges=("start > end",),
            ),
            [("VF105", "warning", "/nodes/2"), ("VF202", "warning", "/nodes/2/type")],
            id="refused-but-unreachable",
        ),
        pytest.param(
            flow(START, END, node("p", "path_mux", "in0", "out"), edges=("start > end",)),
            [("VF202", "warning", "/nodes/2/type")],
            id="refused-pure-nobody-pulls",
        ),
        pytest.param(
            flow(
                START, node("m", "code", "exec-in", "exec-out", code="import os"), END, edges=CHAIN
            ),
            [("VF402", "error", "/nodes/1/data/code")],
            id="code-import",
        ),
        pytest.param(
            flow(
                START,
                END,
                node("m", "code", "exec-in", "exec-out", code="import os"),
                edges=("start > end",),
            ),
            [("VF105", "warning", "/nodes/2"), ("VF402", "warning", "/nodes/2/data/code")],
            id="unreachable-code-import",
        ),
        pytest.param(
            flow(
                START,
                node(
                    "m", "ask_user", "exec-in prompt", "exec-out true", pinDefaults={"prompt": "?"}
                ),
                END,
                edges=("start > m", "m.true > end"),
            ),
            [("VF301", "error", "/edges/1/sourceHandle")],
            id="branch-handle-on-effect",
        ),
        pytest.param(
            flow(
                START,
                node("m", "code", "exec-in", "true false"),
                END,
                edges=("start > m", "m.true > end"),
            ),
            [],
            id="branching-code",
        ),
        pytest.param(
            flow(
                START,
                node("m", "sequence", "exec-in", ""),
                END,
                edges=("start > m", "m.then:0 > end"),
            ),
            [],
            id="sequence-declares-nothing",
        ),
        pytest.param(
            flow(
                START,
                node("m", "sequence", "exec-in", "then:0"),
                END,
                edges=("start > m", "m.then:1 > end"),
            ),
            [("VF301", "error", "/edges/1/sourceHandle")],
            id="sequence-declares-another",
        ),
        pytest.param(
            flow(START, END, START, edges=("start > end",)),
            [("VF104", "error", "/nodes/2/id")],
            id="duplicate-step",
        ),
        pytest.param(
            flow(
                START,
                END,
                node("m", "literal_string", "", "value", literalValue="no"),
                node("i", "while", "exec-in condition", "loop done"),
                edges=("start > i", "i.done > end", "m.value > i.condition"),
            ),
            [("VF306", "warning", "/edges/2")],
            id="text-literal-as-condition",
        ),
    ],
)
def test_findings(document, expected):
    assert found(document) == expected


@pytest.mark.parametrize("type_name", sorted(REFUSED_TYPES))
def test_refused_types_have_a_hint_and_no_class(type_name):
    assert REFUSED_TYPES[type_name]
    assert type_name not in node_types()


def test_unknown_type_offers_similar_names():
    document = flow(START, node("m", "askuser", "exec-in", "exec-out"), END, edges=CHAIN)

    assert check(document).diagnostics[0].hint.startswith("did you mean 'ask_user'")


def test_places_are_those_of_the_file():
    text = json.dumps({**PASS, "entryNode": "gone"}, indent=1)
    (finding,) = check_document(text.encode(), file="f.json").diagnostics

    line = text.splitlines()[finding.line - 1]
    assert line[finding.column - 1 :] == '"gone"'
    assert finding.file == "f.json"


def test_errors_come_first_and_the_rest_is_counted():
    nodes = [node(f"n{i}", "nope", "exec-in", "exec-out") for i in range(70)]
    edges = ["start > n0", *(f"n{i} > n{i + 1}" for i in range(69))]
    document = flow(START, *nodes, edges=edges)
    document["nodes"] += [{"type": "code"} for _ in range(70)]
    result = check(document)

    severities = [item.severity for item in result.diagnostics]
    assert severities == ["error"] * 70 + ["warning"] * 30
    assert len(result.diagnostics) == MAX_FINDINGS
    assert result.omitted == 40


def test_check_flow_works_on_a_document_without_text():
    result = check_flow(FlowDocument({**PASS, "entryNode": "gone"}))

    assert [(item.code, item.line) for item in result.diagnostics] == [("VF102", None)]


@pytest.mark.parametrize(
    "raw, expected",
    [
        ({}, ["VF006", "VF101"]),
        ({"id": "f"}, ["VF101"]),
        (
            {
                "id": "f",
                "nodes": [{"id": "s", "type": "on_flow_start"}, {"id": "n", "type": "nope"}],
            },
            ["VF109", "VF105", "VF201"],
        ),
    ],
    ids=["empty-document", "no-nodes", "no-pins"],
)
def test_check_flow_of_a_bare_document(raw, expected):
    assert [item.code for item in check_flow(FlowDocument(raw)).diagnostics] == expected


def test_require_ok_raises_with_every_finding():
    diagnostics = check(flow(CHILD, node("x", "nope", "exec-in"), edges=("m > x",))).diagnostics

    require_ok(item for item in diagnostics if item.severity == "warning")
    with pytest.raises(FlowError, match="unknown type 'nope'") as caught:
        require_ok(diagnostics)
    assert caught.value.findings == diagnostics


def test_tree_reports_a_missing_subflow_at_its_node():
    parent = json.dumps(flow(START, CHILD, END, edges=CHAIN)).encode()
    child = json.dumps({**PASS, "id": "child"}).encode()

    alone = check_tree({"p.json": parent})["p.json"]
    together = check_tree({"p.json": parent, "c.json": child, "bad.json": b"["})

    assert [(d.code, d.node_id, d.pointer) for d in alone.errors] == [
        ("VF205", "m", "/nodes/1/data/subflowId")
    ]
    assert together["p.json"].ok
    assert not together["bad.json"].ok


FINDING = Diagnostic(
    "VF304",
    "error",
    "no such pin",
    "/edges/7/targetHandle",
    "a,b.json",
    3,
    9,
    "n12",
    "Ask",
    "answr",
    ("it has a, b",),
    "did you mean 'answer'?",
)


def test_render_text():
    assert render_text(FINDING).splitlines() == [
        "error[VF304]: no such pin",
        '  --> a,b.json:3:9  edges[7].targetHandle  (node "Ask", id n12, pin "answr")',
        "  = note: it has a, b",
        "  = hint: did you mean 'answer'?  see: art explain VF304",
    ]


def test_render_github():
    assert render_github(FINDING) == (
        "::error file=a%2Cb.json,line=3,col=9,title=VF304 a data edge enters a pin that does "
        "not exist::no such pin%0Ahint: did you mean 'answer'?"
    )


def test_render_sarif():
    (run,) = render_sarif([FINDING], version="1")["runs"]

    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["VF304"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"] == {
        "startLine": 3,
        "startColumn": 9,
    }


@pytest.mark.parametrize(
    "pointer, shown", [("", ""), ("/id", "id"), ("/nodes/3/data/a~1b", "nodes[3].data.a/b")]
)
def test_render_pointer(pointer, shown):
    assert render_pointer(pointer) == shown


def test_explain_shows_both_examples():
    text = explain("vf301").to_markdown()

    assert text.startswith("## VF301: ")
    assert '"check"' in text
    assert text.count("```json") == 2


@pytest.mark.parametrize("name", sorted(node_types()))
def test_every_node_type_is_explained(name):
    text = explain_node(name).text

    assert node_types()[name].doc in text
    assert "Kind: " in text


@pytest.mark.parametrize(
    "look_up, name, hint",
    [
        (explain, "VF999", "did you mean"),
        (explain, "nonsense", "codes look like VF301"),
        (explain_node, "uppercas", "uppercase"),
        (explain_node, "join_exec", REFUSED_TYPES["join_exec"]),
    ],
)
def test_unknown_names_are_not_found(look_up, name, hint):
    with pytest.raises(NotFound) as caught:
        look_up(name)

    assert hint in caught.value.hint


def test_schema_is_valid_and_accepts_what_checks_accept():
    schema = visualflow_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)

    assert validator.is_valid(PASS)
    assert not validator.is_valid({**PASS, "nodes": [{"id": "n", "type": "nope"}]})
    assert not validator.is_valid({"nodes": []})
    assert set(schema["$defs"]["node"]["properties"]["type"]["enum"]) == set(node_types())


@pytest.mark.skipif(not SHARED_FLOWS.is_dir(), reason="published flows are not at ../shared/flows")
def test_published_flows_fail_only_for_types_that_are_not_supported():
    errors = {
        (path.name, item.code)
        for path in SHARED_FLOWS.glob("*.json")
        for item in check_document(path.read_bytes()).errors
    }

    assert {code for _, code in errors} <= {"VF002", "VF202"}
