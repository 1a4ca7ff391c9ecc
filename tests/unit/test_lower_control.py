from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from flow_builder import END, START, Host, end, flow, node, run, start

from abstractruntime.core.models import RunState
from abstractruntime.visualflow_compiler import Services, compile_visualflow


def log(node_id: str, source: str) -> tuple[list, str]:
    """Nodes and edges that append the value at `source` to the variable `log`."""
    nodes = [
        node(node_id, "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "log"}),
        node(f"{node_id}_cur", "get_var", "name", "value", pinDefaults={"name": "log"}),
        node(f"{node_id}_app", "array_append", "array item", "result"),
    ]
    edges = (
        f"{node_id}_cur.value > {node_id}_app.array; {source} > {node_id}_app.item; "
        f"{node_id}_app.result > {node_id}.value"
    )
    return nodes, edges


def logged(document, inputs=None, **options) -> Any:
    host = Host(document, inputs, **options).go()
    return host.run.vars.get("log", [])


@pytest.mark.parametrize(
    ("items", "seen"),
    [
        ([1, 2], [1, 2]),
        ([], []),
        (None, []),
        ("ab", ["ab"]),
        ({"a": 1}, [{"a": 1}]),
        ([None], [None]),
        (0, [0]),
    ],
    ids=["list", "empty", "null", "text", "object", "null item", "zero"],
)
def test_loop_visits_each_item(items, seen):
    nodes, edges = log("v", "l.item")
    document = flow(
        start("items"),
        node("l", "loop", "exec-in items", "loop done item index total"),
        *nodes,
        END,
        edges=f"s > l; s.items > l.items; l.loop > v; l.done > e; {edges}",
    )

    assert logged(document, {"items": items}) == seen


def test_loops_nest_and_start_afresh():
    nodes, edges = log("v", "inner.item")
    document = flow(
        start("rows"),
        node("outer", "loop", "exec-in items", "loop done item"),
        node("inner", "loop", "exec-in items", "loop done item"),
        *nodes,
        END,
        edges=f"s > outer; s.rows > outer.items; outer.loop > inner; outer.item > inner.items; "
        f"inner.loop > v; outer.done > e; {edges}",
    )

    assert logged(document, {"rows": [[1, 2], [], [3]]}, rebuild=True) == [1, 2, 3]


def test_edge_back_to_an_outer_loop_abandons_the_inner_one():
    nodes, edges = log("v", "inner.item")
    document = flow(
        start("rows"),
        node("outer", "loop", "exec-in items", "loop done item"),
        node("inner", "loop", "exec-in items", "loop done item"),
        *nodes,
        END,
        edges=f"s > outer; s.rows > outer.items; outer.loop > inner; outer.item > inner.items; "
        f"inner.loop > v; v > outer; outer.done > e; {edges}",
    )

    assert logged(document, {"rows": [[1, 2], [3, 4]]}) == [1, 3]


@pytest.mark.parametrize(
    ("bounds", "values"),
    [
        ({"start": 0, "end": 3}, [0, 1, 2]),
        ({"start": 3, "end": 0, "step": -1}, [3, 2, 1]),
        ({"start": 0, "end": 3, "step": -1}, []),
        ({"start": 0, "end": 1, "step": 0.25}, [0.0, 0.25, 0.5, 0.75]),
        ({"start": " 1 ", "end": "3"}, [1, 2]),
        ({"start": False, "end": True}, [0]),
        ({"start": 0, "end": 2, "step": "x"}, [0, 1]),
        ({"start": 2**70, "end": 2**70 + 2}, [2**70, 2**70 + 1]),
    ],
    ids=["up", "down", "wrong way", "quarters", "texts", "bools", "bad step", "big"],
)
def test_for_counts(bounds, values):
    nodes, edges = log("v", "l.i")
    document = flow(
        START,
        node("l", "for", "exec-in start end step", "loop done i index total", pinDefaults=bounds),
        *nodes,
        END,
        edges=f"s > l; l.loop > v; l.done > e; {edges}",
    )

    found = logged(document)

    assert found == values
    assert [type(v) for v in found] == [type(v) for v in values]


def test_for_does_not_accumulate_rounding():
    nodes, edges = log("v", "l.i")
    document = flow(
        START,
        node(
            "l",
            "for",
            "exec-in start end step",
            "loop done i",
            pinDefaults={"start": 0, "end": 1, "step": 0.1},
        ),
        *nodes,
        END,
        edges=f"s > l; l.loop > v; l.done > e; {edges}",
    )

    assert logged(document) == [0.1 * index if index else 0 for index in range(10)]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"end": 3}, "For loop requires numeric 'start' and 'end'."),
        ({"start": 0, "end": None}, "For loop requires numeric 'start' and 'end'."),
        ({"start": 0, "end": 3, "step": 0}, "For loop requires a non-zero 'step'."),
    ],
    ids=["no start", "null end", "zero step"],
)
def test_for_refuses_a_bad_range(bounds, message):
    document = flow(
        START,
        node("l", "for", "exec-in start end step", "loop done", pinDefaults=bounds),
        END,
        edges="s > l; l.loop > e",
    )

    assert run(document)["error"] == message


@pytest.mark.parametrize(
    ("end_at", "ok"), [(5, True), (6, False)], ids=["exactly the cap", "one more"]
)
def test_cap_counts_iterations_that_run(end_at, ok):
    nodes, edges = log("v", "l.i")
    document = flow(
        START,
        node(
            "l",
            "for",
            "exec-in start end step",
            "loop done i",
            pinDefaults={"start": 0, "end": end_at},
        ),
        *nodes,
        end("ok", pinDefaults={"ok": True}),
        edges=f"s > l; l.loop > v; l.done > e; {edges}",
    )

    output = run(document, services=Services(max_iterations=5))

    assert output.get("ok", False) is ok
    assert ok or output["error"] == "For loop exceeded max_iterations=5"


def test_while_reads_its_condition_anew():
    nodes, edges = log("v", "w.index")
    document = flow(
        START,
        node("w", "while", "exec-in condition", "loop done item index"),
        *nodes,
        node("less", "compare", "a b op", "result", pinDefaults={"b": 3, "op": "<"}),
        node("len", "array_length", "array", "result"),
        node("cur", "get_var", "name", "value", pinDefaults={"name": "log"}),
        END,
        edges=f"s > w; w.loop > v; w.done > e; cur.value > len.array; len.result > less.a; "
        f"less.result > w.condition; {edges}",
    )

    assert logged(document) == [0, 1, 2]


@pytest.mark.parametrize(
    ("kind", "declared", "expected"),
    [
        ("sequence", "then:0 then:1 then:10", ["0", "1", "10"]),
        ("sequence", "", ["0", "1", "10"]),
        ("parallel", "then:10 then:1 then:0 completed", ["0", "1", "10"]),
    ],
    ids=["declared", "undeclared", "parallel in any order"],
)
def test_branches_run_by_number(kind, declared, expected):
    nodes, edges = [], ""
    for name in ("10", "0", "1"):
        literal = node(f"t{name}", "literal_string", "", "value", literalValue=name)
        more, wires = log(f"v{name}", f"t{name}.value")
        nodes += [literal, *more]
        edges += f"q.then:{name} > v{name}; {wires}; "
    document = flow(START, node("q", kind, "exec-in", declared), *nodes, edges=f"s > q; {edges}")

    assert logged(document) == expected


@pytest.mark.parametrize(
    ("value", "branch"),
    [
        ("a", "case:one"),
        (1, "case:two"),
        (1.0, "case:two"),
        (1.5, "default"),
        (True, "case:yes"),
        (None, "case:blank"),
        ([], "default"),
    ],
    ids=str,
)
def test_switch_compares_texts(value, branch):
    cases = [
        {"id": "one", "value": "a"},
        {"id": "two", "value": 1},
        {"id": "yes", "value": "true"},
        {"id": "blank", "value": ""},
        {"id": "", "value": "a"},
        {"id": "never", "value": None},
        "junk",
    ]
    document = flow(
        start("v"),
        node("w", "switch", "exec-in value", "default", switchConfig={"cases": cases}),
        edges="s > w; s.v > w.value",
    )

    assert run(document, {"v": value})["branch"] == branch


def test_wait_inside_a_loop_continues_in_a_new_process():
    nodes, edges = log("v", "q.response")
    document = flow(
        start("items"),
        node("l", "loop", "exec-in items", "loop done item"),
        node("q", "ask_user", "exec-in prompt", "exec-out response"),
        *nodes,
        end("log"),
        node("out", "get_var", "name", "value", pinDefaults={"name": "log"}),
        edges=f"s > l; s.items > l.items; l.loop > q; l.item > q.prompt; q > v; l.done > e; out.value > e.log; {edges}",
    )
    first = Host(document, {"items": ["a", "b"]}, answers=({"response": "A"}, {"response": "B"}))
    while first.path[-1:] != ["q"]:
        first.step()

    second = Host(compile_visualflow(document), answers=({"response": "B"},))
    second.run = RunState.from_dict(json.loads(json.dumps(first.run.to_dict())))

    assert second.go().output == {"log": ["A", "B"], "success": True}
    assert [effect.payload["prompt"] for effect in first.effects + second.effects] == ["a", "b"]


def test_interleaved_runs_of_one_workflow_do_not_meet():
    nodes, edges = log("v", "l.item")
    spec = compile_visualflow(
        flow(
            start("items"),
            node("l", "loop", "exec-in items", "loop done item"),
            *nodes,
            END,
            edges=f"s > l; s.items > l.items; l.loop > v; l.done > e; {edges}",
        )
    )
    hosts = [Host(spec, {"items": [n, n + 1, n + 2]}) for n in range(8)]

    threads = [threading.Thread(target=host.go) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [host.run.vars["log"] for host in hosts] == [[n, n + 1, n + 2] for n in range(8)]
