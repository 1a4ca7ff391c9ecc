"""What a comparison of flows sees, and what it does not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from flow_builder import END, flow, node, start

from abstractruntime.nodes.base import Element
from abstractruntime.visualflow_compiler import _diff_match
from abstractruntime.visualflow_compiler._diff_match import match_elements
from abstractruntime.visualflow_compiler.diff import Side, diff_flows, diff_sides
from abstractruntime.visualflow_compiler.diff_text import diff_lines
from abstractruntime.visualflow_compiler.document import FlowDocument

CODE = "def transform(_input):\n    return 1\n"
BASE = flow(
    start("name:string", name="x"),
    node("ask", "ask_user", "exec-in prompt:string", "exec-out response", label="Ask the manager",
         pinDefaults={"prompt": "Well?"}),
    node("c", "code", "exec-in name", "exec-out", label="Compute", code=CODE),
    node("lit", "literal_string", "", "value", literalValue="one", label="One"),
    END,
    edges="s > ask; ask > c; c > e; s.name > c.name; lit.value > ask.prompt",
    name="Flow",
)  # fmt: skip


def changed(edit: Callable[[dict[str, Any]], Any]) -> list[tuple[str, str | None, Any, Any]]:
    after = copy.deepcopy(BASE)
    edit(after)
    return [
        (c.kind, c.node, c.before, c.after)
        for c in diff_flows(FlowDocument(BASE), FlowDocument(after))
    ]


def data(document: dict[str, Any], node_id: str) -> dict[str, Any]:
    return next(n for n in document["nodes"] if n["id"] == node_id)["data"]


def wire(document: dict[str, Any], source: str, target: str) -> dict[str, Any]:
    return next(e for e in document["edges"] if (e["source"], e["target"]) == (source, target))


def look(document: dict[str, Any]) -> None:
    for at, item in enumerate(document["nodes"]):
        item |= {"position": {"x": at, "y": 2}, "width": 5, "selected": True}
        item["data"] |= {"headerColor": "#fff", "icon": "x", "color": "red"}
    for at, edge in enumerate(document["edges"]):
        edge |= {"id": f"e{at}", "animated": True}
    document |= {"created_at": "1", "updated_at": "2", "viewport": {}}
    document["nodes"].insert(1, document["nodes"].pop())


@pytest.mark.parametrize(
    "edit, expected",
    [
        pytest.param(look, [], id="looks"),
        pytest.param(
            lambda d: d.update(name="Other"), [("flow", None, "Flow", "Other")], id="name"
        ),
        pytest.param(
            lambda d: d.update(entryNode="ask"), [("entry", None, "s", "ask")], id="entry"
        ),
        pytest.param(
            lambda d: data(d, "ask").update(label="Ask Ann"),
            [("label", "ask", "Ask the manager", "Ask Ann")],
            id="label",
        ),
        pytest.param(
            lambda d: d["nodes"][1].update(type="answer_user"),
            [("type", "ask", "ask_user", "answer_user")],
            id="type",
        ),
        pytest.param(
            lambda d: data(d, "s")["pinDefaults"].update(name="y"),
            [("default", "s", "x", "y")],
            id="default",
        ),
        pytest.param(
            lambda d: data(d, "s").update(pinDefaults={}),
            [("default_removed", "s", "x", None)],
            id="default-removed",
        ),
        pytest.param(
            lambda d: data(d, "s")["pinDefaults"].update(z=None),
            [("default_added", "s", None, None)],
            id="null-default-added",
        ),
        pytest.param(
            lambda d: data(d, "lit").update(literalValue=1),
            [("setting", "lit", "one", 1)],
            id="value",
        ),
        pytest.param(
            lambda d: data(d, "c")["inputs"].append({"id": "n", "type": "number"}),
            [("input_pin_added", "c", None, "number")],
            id="pin-added",
        ),
        pytest.param(
            lambda d: data(d, "c")["inputs"].reverse(),
            [("input_order", "c", ["exec-in", "name"], ["name", "exec-in"])],
            id="pin-order",
        ),
        pytest.param(
            lambda d: wire(d, "ask", "c").update(target="e"),
            [("wire", None, "ask.exec-out -> c.exec-in", "ask.exec-out -> e.exec-in")],
            id="control-moved",
        ),
        pytest.param(
            lambda d: d["edges"].remove(wire(d, "lit", "ask")),
            [("wire_removed", None, "lit.value -> ask.prompt", None)],
            id="wire-removed",
        ),
        pytest.param(
            lambda d: d["nodes"].append(node("new", "switch", "exec-in", "default")),
            [("node_added", "new", None, "switch")],
            id="node-added",
        ),
        pytest.param(
            lambda d: (d["nodes"].pop(3), d["edges"].pop()),
            [
                ("node_removed", "lit", "literal_string", None),
                ("wire_removed", None, "lit.value -> ask.prompt", None),
            ],
            id="node-removed",
        ),
    ],
)
def test_changes(edit: Callable[[dict[str, Any]], Any], expected: list[Any]) -> None:
    assert changed(edit) == expected


def rename(document: dict[str, Any]) -> None:
    document["nodes"][1]["id"] = "frage"
    for edge in document["edges"]:
        edge |= {end: "frage" for end in ("source", "target") if edge[end] == "ask"}


def test_a_renamed_node_keeps_its_wires() -> None:
    assert changed(rename) == [("node_renamed", "frage", "ask", "frage")]


def test_a_renamed_node_may_change_a_little() -> None:
    def edit(document: dict[str, Any]) -> None:
        rename(document)
        data(document, "frage")["label"] = "Ask the managers"

    assert [kind for kind, *_ in changed(edit)] == ["node_renamed", "label"]


def test_another_node_of_the_type_is_no_renamed_one() -> None:
    def edit(document: dict[str, Any]) -> None:
        rename(document)
        data(document, "frage").update(label="Zzz", pinDefaults={}, inputs=[], outputs=[])

    assert {"node_removed", "node_added"} <= {kind for kind, *_ in changed(edit)}


def test_of_many_nodes_with_other_ids_those_with_one_label_belong_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nodes(prefix: str) -> dict[str, Element]:
        found = [
            Element(f"{prefix}{i}", "set_var", label=f"label {i}" if i % 2 else "")
            for i in range(300)
        ]
        return {element.id: element for element in found}

    monkeypatch.setattr(_diff_match, "_ratio", lambda one, other: float(one == other))
    assert match_elements(nodes("a"), nodes("b")) == {f"a{i}": f"b{i}" for i in range(1, 300, 2)}


def test_code_is_compared_line_by_line() -> None:
    after = copy.deepcopy(BASE)
    data(after, "c")["code"] = CODE.replace("1", "2")

    (change,) = diff_flows(FlowDocument(BASE), FlowDocument(after))

    assert change.lines[-2:] == ("-    return 1", "+    return 2")


def test_the_order_of_wires_into_one_pin_counts() -> None:
    before, after = copy.deepcopy(BASE), copy.deepcopy(BASE)
    extra = {"source": "s", "sourceHandle": "name", "target": "ask", "targetHandle": "prompt"}
    before["edges"].append(extra)
    after["edges"].insert(0, extra)

    assert [change.kind for change in diff_flows(FlowDocument(before), FlowDocument(after))] == [
        "wire_order"
    ]


def test_sides_with_other_flows() -> None:
    base = FlowDocument(BASE)
    found = diff_sides(Side({"a": base, "b": base}, ("a",)), Side({"b": base, "c": base}, ("b",)))

    assert [(flow.flow_id, flow.status) for flow in found.flows] == [
        ("a", "removed"), ("b", "same"), ("c", "added"),
    ]  # fmt: skip
    assert list(diff_lines(found)) == [
        'entrypoints: ["a"] => ["b"]', "- flow a", "+ flow c",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["a\nb", "x" * 300, "\x1b[31m"], ids=["lines", "long", "control"])
def test_a_change_is_told_in_one_line(text: str) -> None:
    after = copy.deepcopy(BASE)
    data(after, "lit")["literalValue"] = text

    sides = (Side({"f": FlowDocument(document)}) for document in (BASE, after))
    lines = list(diff_lines(diff_sides(*sides)))

    assert len(lines) == 3
    assert all(len(line) < 200 and "\n" not in line for line in lines)
