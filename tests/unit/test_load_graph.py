"""Steps, entry, reach and order of a flow."""

import pytest

from abstractruntime.visualflow_compiler.check._examples import flow, node
from abstractruntime.visualflow_compiler.document import FlowDocument

START = node("s", "on_flow_start", "", "exec-out a")
END = node("e", "on_flow_end", "exec-in v")


def a_graph(*nodes, edges=(), **top):
    return FlowDocument.of(flow(*nodes, edges=edges, **top)).require_loaded().graph


@pytest.mark.parametrize(
    "type_name, inputs, expected",
    [
        ("literal_string", "exec-in", False),
        ("json_schema", "", False),
        ("uppercase", "text", False),
        ("uppercase", "", False),
        ("uppercase", "exec-in text", True),
        ("code", "text", False),
        ("code", "", True),
        ("code", "exec-in", True),
        ("on_flow_end", "answer", True),
        ("on_flow_end", "", True),
        ("ask_user", "prompt", True),
        ("loop", "items", True),
        ("no_such_type", "x", False),
        ("no_such_type", "", True),
        ("no_such_type", "exec-in", True),
    ],
)
def test_steps_and_pure_nodes(type_name, inputs, expected):
    assert a_graph(node("n", type_name, inputs)).is_step("n") is expected


@pytest.mark.parametrize(
    "nodes, edges, named, expected",
    [
        ((END, START), ("s > e",), None, ("s", "first_root")),
        ((END, START), ("s > e",), "s", ("s", "named")),
        ((START, END), ("s > e",), "gone", ("s", "first_root")),
        ((START, END), ("s > e",), "e", ("s", "trigger")),
        ((END,), (), "e", ("e", "named")),
        (
            (END, node("t", "set_var", "exec-in", "exec-out")),
            ("t > e", "e > t"),
            None,
            ("e", "first_step"),
        ),
    ],
    ids=["by-order", "named", "unknown", "dead-end", "only-end", "ring"],
)
def test_entry(nodes, edges, named, expected):
    entry = a_graph(*nodes, edges=edges, entryNode=named).entry

    assert (entry.node_id, entry.reason) == expected


def test_flow_without_steps_has_no_entry_and_reaches_nothing():
    graph = a_graph(node("p", "uppercase", "text", "result"))

    assert graph.entry is None
    assert not graph.reachable
    assert not graph.live


def test_live_nodes_are_reachable_steps_and_what_they_pull():
    graph = a_graph(
        START,
        END,
        node("used", "uppercase", "text", "result"),
        node("loose", "uppercase", "text", "result"),
        node("away", "set_var", "exec-in value", "exec-out"),
        edges=(
            "s > e",
            "s.a > used.text",
            "used.result > e.v",
            "used.result > loose.text",
            "loose.result > away.value",
        ),
    )

    assert graph.reachable == {"s", "e"}
    assert graph.live == {"s", "e", "used"}


def test_pure_ancestors_come_sources_first():
    chain = [node(f"p{i}", "uppercase", "text", "result") for i in range(5000)]
    edges = tuple(f"p{i}.result > p{i + 1}.text" for i in range(4999))
    graph = a_graph(START, END, *chain, edges=(*edges, "p4999.result > e.v"))

    assert graph.pure_ancestors("e") == tuple(f"p{i}" for i in range(5000))
    assert graph.pure_cycles() == []


@pytest.mark.parametrize(
    "edges, cycles",
    [
        (("p.result > p.text",), [{"p"}]),
        (("p.result > q.text", "q.result > p.text"), [{"p", "q"}]),
        (("p.result > q.text", "q.result > c.text", "c.output > p.text"), []),
    ],
    ids=["itself", "pair", "through-a-step"],
)
def test_pure_cycles(edges, cycles):
    graph = a_graph(
        node("p", "uppercase", "text", "result"),
        node("q", "uppercase", "text", "result"),
        node("c", "code", "exec-in text", "exec-out output"),
        edges=edges,
    )

    assert [set(cycle) for cycle in graph.pure_cycles()] == cycles
