"""No node gives more than a value may be, and those that multiply say so before they build."""

import contextlib
import itertools
import tracemalloc

import pytest
from flow_builder import Host, end, flow, node, start
from pure_nodes import error_of, pure_types

from abstractruntime import Runtime, open_store
from abstractruntime.nodes import budget
from abstractruntime.nodes.budget import ValueTooLarge, bounded
from abstractruntime.storage._store import run_log
from abstractruntime.visualflow_compiler.compiler import compile_visualflow

TEXT = "x" * 40_000
TEN = {"inputs": [{"id": name} for name in "abcdefghij"]}
ALL_TEN = dict.fromkeys("abcdefghij", TEXT)

MULTIPLYING = [
    pytest.param("concat", ALL_TEN, TEN, id="many parts"),
    pytest.param("join", {"items": [""] * 100, "delimiter": TEXT}, {}, id="a long delimiter"),
    pytest.param("replace", {"text": "ab" * 100, "pattern": "b", "replacement": TEXT}, {}, id="replace"),
    pytest.param("format", {"template": "{x}" * 100, "values": {"x": TEXT}}, {}, id="fields"),
    pytest.param("string_template", {"template": "{{x}}" * 100, "vars": {"x": TEXT}}, {}, id="placeholders"),
    pytest.param("string_template", {"template": "{{x}}\n" * 100, "vars": {"x": TEXT}}, {}, id="lines"),
    pytest.param(
        "string_template",
        {"template": f"{{{{x | join({TEXT})}}}}", "vars": {"x": [""] * 100}},
        {},
        id="a filter",
    ),
    pytest.param("stringify_json", {"value": [[[1] * 2000] * 10], "indent": 64}, {}, id="indents"),
    pytest.param("array_concat", dict.fromkeys("abcdefghij", [1] * 400), TEN, id="lists"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    pure_types()
    monkeypatch.setattr(budget, "MAX_TEXT", 100_000)
    monkeypatch.setattr(budget, "MAX_VALUES", 3_000)


@pytest.mark.parametrize("kind,inputs,data", MULTIPLYING)
def test_what_multiplies_counts_before_it_builds(kind, inputs, data):
    tracemalloc.start()
    try:
        assert "result" in error_of(kind, inputs, data)
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()


SHARED: list = [1]
for _ in range(64):
    SHARED = [SHARED, SHARED]


@pytest.mark.parametrize(
    "value,is_large",
    [
        pytest.param("x" * 100_000, False, id="text"),
        pytest.param("x" * 100_001, True, id="longer text"),
        pytest.param({"a": ["x" * 50_001] * 2}, True, id="text inside"),
        pytest.param({"x" * 100_001: 1}, True, id="key"),
        pytest.param([{}] * 2_900, False, id="objects"),
        pytest.param([{}] * 3_001, True, id="more objects"),
        pytest.param([10**40_000] * 3, True, id="huge integers"),
        pytest.param(SHARED, True, id="shared lists count as often as they are reached"),
        pytest.param([None, True, 1.5], False, id="small"),
    ],
)
def test_bounded(value, is_large):
    if is_large:
        with pytest.raises(ValueTooLarge):
            bounded(value)
    else:
        assert bounded(value) is value


def doubling(steps: int) -> dict:
    """A flow whose pure nodes double a text again and again; 40 of them make a terabyte."""
    names = [f"c{i}" for i in range(steps)]
    nodes = [node(name, "concat", "a b", "result") for name in names]
    edges = [f"{a}.result > {b}.{pin}" for a, b in itertools.pairwise(names) for pin in "ab"]
    return flow(
        node("s", "on_flow_start", "", "exec-out x"),
        *nodes,
        node("e", "on_flow_end", "exec-in text", ""),
        edges="\n".join(["s > e", "s.x > c0.a", "s.x > c0.b", *edges, f"{names[-1]}.result > e.text"]),
    )  # fmt: skip


def test_a_text_that_doubles_fails_its_run():
    host = Host(doubling(40), {"x": "0123456789"}).go()

    error = "result is longer than 100000 characters"
    assert host.output == {"error": error, "node": "e", "success": False}
    assert host.run.vars["_flow_error_source"] == "c13"


def test_the_variables_of_a_run_have_a_limit(tmp_path, monkeypatch):
    """A step that would take them beyond it fails its run; what was committed stays."""
    monkeypatch.setattr(run_log, "MAX_STATE_BYTES", 30_000)
    document = flow(
        start("x"), node("c", "concat", "a b", "result"),
        node("v", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "y"}), end("y"),
        edges="s > v; v > e; s.x > c.a; s.x > c.b; c.result > v.value",
    )  # fmt: skip
    with contextlib.closing(open_store(tmp_path)) as engine:
        runtime = Runtime.on_engine(engine)
        spec = compile_visualflow(document)
        run_id = runtime.start(workflow=spec, vars={"x": "x" * 20_000})
        state = runtime.tick(workflow=spec, run_id=run_id)
        assert state.status.value == "failed"
        assert "at most 30000 are kept" in state.error
        assert engine.peek(run_id).vars["x"] == "x" * 20_000


@pytest.mark.parametrize("value", [[0] * 2_900, dict.fromkeys(map(str, range(2_900)))])
def test_a_value_that_is_judged_is_not_copied(value):
    tracemalloc.start()
    bounded(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 5_000
