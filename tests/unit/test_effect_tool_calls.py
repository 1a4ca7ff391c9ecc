from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pytest

from abstractruntime.core.answers import results_in_call_order
from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, EffectType, RunState, WaitReason
from abstractruntime.effects.tool_calls import ToolCalls
from abstractruntime.errors import UsageError
from abstractruntime.testing import FakeClock, StubTools
from abstractruntime.tools import Delegated, MappingTools, Passthrough


@dataclass
class Point:
    x: int


def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    More is not told.
    """
    return a + b


def fail() -> None:
    raise RuntimeError("out of order")


TOOLS = MappingTools(
    {
        "add": add,
        "fail": fail,
        "soft": lambda: {"success": False, "error": "soft", "x": 1},
        "said": lambda: "Error: said",
        "point": lambda: Point(1),
        "day": lambda: date(2030, 1, 2),
        "nan": lambda: float("nan"),
    }
)


def call(name, index=1, **arguments):
    return {"name": name, "arguments": arguments, "call_id": name, "runtime_call_id": f"r{index}"}


def perform(executor, calls, **payload):
    run = RunState.new(workflow_id="w", entry_node="n")
    ctx = EffectContext(run, "n", "next", "occ", 1, FakeClock())
    effect = Effect(EffectType.TOOL_CALLS, {"tool_calls": calls, **payload}, "out")
    return run, ToolCalls(executor)(ctx, effect)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (call("add", a=1), (True, 2, None)),
        ({**call("add"), "arguments": '{"a": 2, "b": 3}'}, (True, 5, None)),
        (call("point"), (True, {"x": 1}, None)),
        (call("day"), (True, "2030-01-02", None)),
        (call("soft"), (False, {"success": False, "error": "soft", "x": 1}, "soft")),
        (call("said"), (False, None, "said")),
        (call("fail"), (False, None, "out of order")),
        (call("none"), (False, None, "Tool 'none' not found")),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_one_call(given, expected):
    _, outcome = perform(TOOLS, [given])

    (result,) = outcome.result["results"]
    assert (result["success"], result["output"], result["error"]) == expected
    assert result["runtime_call_id"] == "r1"


@pytest.mark.parametrize(
    ("given", "word"),
    [(call("add", c=1), "unexpected keyword"), (call("nan"), "not JSON")],
    ids=["arguments", "output"],
)
def test_a_call_that_cannot_end_well_is_a_failed_result(given, word):
    _, outcome = perform(TOOLS, [given])

    assert word in outcome.result["results"][0]["error"]


def test_blocked_calls_never_reach_the_executor():
    stub = StubTools({"a": 1, "b": 2})
    calls = [call("a"), call("b"), "text", {"arguments": {}}]

    _, outcome = perform(stub, calls, allowed_tools=["b"])

    assert [c["name"] for c in stub.calls] == ["b"]
    assert [r["success"] for r in outcome.result["results"]] == [False, True, False, False]
    assert "not allowed" in outcome.result["results"][0]["error"]


@pytest.mark.parametrize("calls", [[], [call("a")]], ids=["no calls", "none allowed"])
def test_nothing_to_do_never_waits(calls):
    _, outcome = perform(None, calls, allowed_tools=[])

    assert outcome.status == "completed"
    assert len(outcome.result["results"]) == len(calls)


def test_an_executor_that_gives_too_little_leaves_failed_results():
    class Short(Passthrough):
        def execute(self, calls, ctx):
            return []

    _, outcome = perform(Short(), [call("a")])

    assert outcome.result["results"][0]["error"] == "Missing tool result"


def test_a_payload_without_a_list_fails():
    _, outcome = perform(TOOLS, {"name": "add"})

    assert outcome.status == "failed"


def test_without_an_executor_the_run_waits_for_its_host():
    run, outcome = perform(None, [call("a", secret=1), call("b")], allowed_tools=["b"])

    wait = outcome.wait
    assert wait.reason is WaitReason.EVENT
    assert wait.wait_key == f"tool_calls:{run.run_id}:n"
    assert (wait.resume_to_node, wait.result_key) == ("next", "out")
    assert wait.details["mode"] == "approval_required"
    assert [c["name"] for c in wait.details["tool_calls"]] == ["b"]
    assert wait.prompt == "give the results of b({})"
    assert "secret" not in str(wait.to_dict())
    merged = results_in_call_order(wait.details, {"results": [{"success": True}]})
    assert [r["success"] for r in merged["results"]] == [False, True]


def test_an_executor_names_its_own_wait():
    class Job(Passthrough):
        def execute(self, calls, ctx):
            return Delegated("delegated", wait_key="job-1", details={"server": "s"})

    _, outcome = perform(Job(), [call("a")])

    assert (outcome.wait.reason, outcome.wait.wait_key) == (WaitReason.JOB, "job-1")
    assert outcome.wait.details["executor"] == {"server": "s"}
    assert "original_call_count" not in outcome.wait.details


def test_specifications_of_functions():
    spec = next(s for s in TOOLS.specs() if s["name"] == "add")

    assert spec == {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}},
    }


@pytest.mark.parametrize("functions", [[add, add], [3]], ids=["twice", "no function"])
def test_a_table_of_tools_is_checked(functions):
    with pytest.raises(UsageError, match="tool"):
        MappingTools.of(functions)


def test_stub_tools_answer_from_a_table():
    stub = StubTools(
        {"value": 7, "twice": lambda n: 2 * n, "bad": ValueError("bad")},
        default=lambda name, arguments: f"{name}:{arguments}",
    )

    _, outcome = perform(stub, [call("value"), call("twice", n=4), call("bad"), call("x", y=1)])

    results = outcome.result["results"]
    assert [r["output"] for r in results] == [7, 8, None, "x:{'y': 1}"]
    assert results[2]["error"] == "bad"
    assert [c.run_id for c in stub.contexts] == [stub.contexts[0].run_id] * 4
