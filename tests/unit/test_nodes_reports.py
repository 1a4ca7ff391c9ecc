import pytest
from pure_nodes import evaluate, same

META = {"schema": "abstractcode.agent.v1.meta", "version": 1}


@pytest.mark.parametrize(
    "inputs,expected",
    [
        ({"task": None, "messages": None}, {"task": "", "messages": []}),
        ({"task": 7, "messages": {"role": "user"}}, {"task": "7", "messages": [{"role": "user"}]}),
        ({"task": "t", "context_extra": [1]}, {"task": "t", "messages": []}),
        ({"context_extra": {"k": 1, "task": "x"}}, {"k": 1, "task": "", "messages": []}),
    ],
)
def test_make_context(inputs, expected):
    assert evaluate("make_context", inputs) == {"context": expected}


@pytest.mark.parametrize(
    "inputs,expected",
    [
        ({"version": "zz", "iterations": "x", "tool_calls": True, "usage": [1]}, {}),
        ({"version": "2.7", "iterations": 3.9}, {"version": 2, "iterations": 3}),
        ({"provider": 5, "model": ["x"], "output_mode": 5}, {"provider": "5", "model": "['x']"}),
        ({"gen_time": True, "ttft_ms": "9"}, {"ttft_ms": "9"}),
        (
            {"trace": {"trace_id": "a", "z": 1}, "trace_id": "b"},
            {"trace": {"trace_id": "b", "z": 1}},
        ),
        ({"trace": "t-1"}, {"trace": {"trace_id": "t-1"}}),
        ({"warnings": ["w", None, " "]}, {"warnings": ["w", "None"]}),
        ({"warnings": "one", "debug": 0}, {"warnings": ["one"], "debug": 0}),
        (
            {"extra": {"schema": "e", "k": 1, "model": "old"}, "model": "new"},
            {"k": 1, "model": "new"},
        ),
    ],
)
def test_make_meta_keeps_usable_values(inputs, expected):
    assert same(evaluate("make_meta", inputs), {"meta": {**META, **expected}})


def test_make_scratchpad_replaces_what_has_the_wrong_type():
    inputs = {
        "sub_run_id": " ", "task": 7, "messages": "x", "context_extra": [1], "node_traces": [1],
        "steps": None, "tool_calls": {"a": 1},
    }  # fmt: skip

    assert evaluate("make_scratchpad", inputs)["scratchpad"] == {
        "task": "7", "messages": ["x"], "node_traces": {}, "steps": [], "tool_calls": [{"a": 1}],
        "tool_results": [],
    }  # fmt: skip


def test_system_datetime_reads_the_clock_of_the_scope(monkeypatch):
    monkeypatch.setattr("locale.getlocale", lambda: (None, None))
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.setenv("LANG", "en_GB.UTF-8")

    output = evaluate("system_datetime", {})

    assert set(output) == {"iso", "timezone", "utc_offset_minutes", "locale"}
    assert output["iso"][:4] == "2026"
    assert output["locale"] == "en_GB"
    assert -14 * 60 <= output["utc_offset_minutes"] <= 14 * 60


def test_tool_parameters_ignores_undeclared_inputs():
    data = {"toolParametersConfig": {"name": "ls"}, "inputs": [{"id": "path"}, {"id": "depth"}]}

    output = evaluate("tool_parameters", {"path": ".", "extra": 1}, data)

    call = {"name": "ls", "arguments": {"path": "."}}
    assert output == {"path": ".", "depth": None, "tool_call": call}


@pytest.mark.parametrize(
    "entry,line",
    [
        ({"name": "n", "success": True, "output": 3.0}, "- n() [SUCCESS] : 3.0"),
        ({"tool": "t", "output": {"b": 1, "a": [1]}}, '- t(1) [DONE] : {"a":[1],"b":1}'),
        ({"success": "yes", "output": " "}, "- tool() [DONE] : (no output)"),
        ({"name": "n", "arguments": {"x": None, "q": "é\nx"}, "output": "a\nb"}, "- n(é x) [DONE] : a b"),
        ({"name": "n", "success": False, "error": "bad\nthing"}, "- n() [FAILURE] : bad\nthing"),
        ({"name": "n", "success": False, "output": "o"}, "- n() [FAILURE] : o"),
        ({"name": "n", "arguments": {"a": 1}, "output": {"rendered": "l1\nl2"}}, "- n(1) [DONE] : l1\nl2"),
        ({"name": "n", "output": "x" * 500}, "- n() [DONE] : " + "x" * 419 + "…"),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_format_tool_results(entry, line):
    assert evaluate("format_tool_results", {"tool_results": ["skipped", entry]}) == line
    assert evaluate("format_tool_results", {"tool_results": entry}) == line


@pytest.mark.parametrize("results", [None, [], "x", [1]], ids=repr)
def test_no_tool_results_give_no_text(results):
    assert evaluate("format_tool_results", {"tool_results": results}) == ""
