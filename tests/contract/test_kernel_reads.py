"""What a runtime tells: node traces, evidence, limits, and the records as they are written."""

from __future__ import annotations

from typing import Any

import pytest
from awkward_hosts import LLM, TOOL, asks, done, go, ok, spec

from abstractruntime.core.models import EffectType, WaitReason, WaitState
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.errors import NotFound
from abstractruntime.storage.artifacts import InMemoryArtifactStore

ASK = EffectType.ASK_USER
TWO = spec("w", a=asks(LLM, {"p": 1}, key="one", then="q"), q=asks(ASK, {"prompt": "?"}, then="z"), z=done)  # fmt: skip


# -- traces --------------------------------------------------------------------------


def test_a_tick_gives_the_traces_of_its_nodes(make):
    state = go(make(ok), TWO)

    traces = state.vars["_runtime"]["node_traces"]
    assert {node: [s["status"] for s in t["steps"]] for node, t in traces.items()} == {
        "a": ["completed"],
        "q": ["waiting"],
    }
    step = traces["a"]["steps"][0]
    assert (step["effect"]["payload"], step["result"]) == ({"p": 1}, {"ok": True})
    assert traces["q"]["steps"][0]["wait"]["prompt"] == "?"


def test_traces_are_read_from_the_ledger_in_another_process(make):
    run = go(make(ok), TWO)
    rt = make(ok)

    assert rt.get_node_traces(run.run_id) == run.vars["_runtime"]["node_traces"]
    assert rt.get_node_trace(run.run_id, "nobody") == {"node_id": "nobody", "steps": []}
    with pytest.raises(KeyError):
        rt.get_node_traces("nobody")


def test_traces_are_never_part_of_the_state(make):
    run = go(make(ok), TWO)

    assert "node_traces" not in make(ok).get_state(run.run_id).vars["_runtime"]


def test_of_repeated_attempts_the_last_counts(make):
    calls: list[int] = []

    def flaky(run, effect):
        calls.append(1)
        return EffectOutcome.failed("no") if len(calls) < 3 else EffectOutcome.completed({})

    rt = make(flaky, effect_policy=DefaultEffectPolicy(effect_max_attempts={"llm_call": 3}))
    run = go(rt, TWO)

    assert [s["status"] for s in rt.get_node_trace(run.run_id, "a")["steps"]] == ["completed"]


def test_traces_keep_the_newest_hundred(make):
    def loop(run, ctx):
        run.vars["i"] = run.vars.get("i", 0) + 1
        return asks(LLM, {"i": run.vars["i"]}, then="loop" if run.vars["i"] < 130 else None)(
            run, ctx
        )

    workflow = spec("w", loop=loop)
    rt = make(ok)
    run = go(rt, workflow, max_steps=None)

    steps = rt.get_node_trace(run.run_id, "loop")["steps"]
    assert [steps[0]["effect"]["payload"]["i"], len(steps)] == [31, 100]
    assert rt.get_node_traces(run.run_id).keys() == {"loop"}


# -- evidence ------------------------------------------------------------------------

CALLS = [{"name": "fetch_url", "arguments": {"url": "https://example.org"}}]


def fetched(run, effect):
    output = {"url": "https://example.org", "raw_text": "<html>", "content_type": "text/html"}
    result = {"call_id": "c", "name": "fetch_url", "success": True, "output": output, "error": None}
    return EffectOutcome.completed({"mode": "executed", "results": [result]})


def test_tool_results_leave_evidence_in_the_same_commit(make):
    store = InMemoryArtifactStore()
    workflow = spec("w", a=asks(TOOL, {"tool_calls": CALLS}, then="z"), z=done)
    rt = make(artifact_store=store, effect_handlers={TOOL: fetched})
    run = go(rt, workflow)

    (entry,) = rt.list_evidence(run.run_id)
    result = run.output["out"]["results"][0]
    assert (entry["tool_name"], entry["url"]) == ("fetch_url", "https://example.org")
    assert result["meta"]["evidence_id"] == entry["artifact_id"]
    assert "raw_text" not in result["output"]
    assert rt.load_evidence(entry["artifact_id"])["arguments"] == {"url": "https://example.org"}
    recorded = [r for r in rt.get_ledger(run.run_id) if r["status"] == "completed"][0:2]
    assert any(r["result"] == run.output["out"] for r in recorded)


def test_a_tool_wait_that_is_answered_leaves_evidence(make):
    waits = {"tool_calls": CALLS, "original_call_count": 1}

    def park(run, effect):
        wait = WaitState(WaitReason.JOB, "job", resume_to_node="z", result_key="out", details=waits)
        return EffectOutcome.waiting(wait)

    workflow = spec("w", a=asks(TOOL, {"tool_calls": CALLS}, then="z"), z=done)
    rt = make(effect_handlers={TOOL: park})
    run = go(rt, workflow)
    answer = fetched(run, None).result

    state = rt.resume(workflow=workflow, run_id=run.run_id, wait_key="job", payload=answer)

    assert len(rt.list_evidence(run.run_id)) == 1
    assert "raw_artifact" in state.output["out"]["results"][0]["output"]
    assert "raw_text" in answer["results"][0]["output"]  # the caller's own object


def test_evidence_needs_an_artifact_store(make):
    rt = make(artifact_store=None)

    with pytest.raises(RuntimeError, match="artifact store"):
        rt.load_evidence("x")


# -- tool calls ------------------------------------------------------------------------


def test_tool_calls_are_named_before_they_are_made(make):
    seen: list[Any] = []

    def handler(run, effect):
        seen.extend(effect.payload["tool_calls"])
        return EffectOutcome.completed({"mode": "executed", "results": []})

    calls = [{"name": " a "}, {"name": "b", "id": "m1"}, {"name": "c", "call_id": "own"}]
    workflow = spec("w", a=asks(TOOL, {"tool_calls": calls, "allowed_tools": ["b", " a", "b"]}, then="z"), z=done)  # fmt: skip
    rt = make(effect_handlers={TOOL: handler})
    run = go(rt, workflow)

    ids = [c["runtime_call_id"] for c in seen]
    assert [c["call_id"] for c in seen] == [ids[0], "m1", "own"]
    assert [i.rsplit("_", 1)[1] for i in ids] == ["1", "2", "3"]
    started = next(r for r in rt.get_ledger(run.run_id) if r["status"] == "started")
    assert started["effect"]["payload"]["tool_calls"] == seen
    assert started["effect"]["payload"]["allowed_tools"] == ["a", "b"]


def test_results_are_put_in_the_order_of_the_calls(make):
    details = {
        "original_call_count": 4,
        "blocked_by_index": {"1": {"name": "blocked"}},
        "pre_results_by_index": {"0": {"name": "known"}},
        "tool_calls": [{"name": n, "call_id": n} for n in "abcd"],
    }

    def park(run, effect):
        wait = WaitState(WaitReason.JOB, "job", resume_to_node="z", result_key="out", details=details)  # fmt: skip
        return EffectOutcome.waiting(wait)

    workflow = spec("w", a=asks(TOOL, {"tool_calls": []}, then="z"), z=done)
    rt = make(effect_handlers={TOOL: park})
    run = go(rt, workflow)
    answer = {"results": [{"name": "given", "success": True}]}

    state = rt.resume(workflow=workflow, run_id=run.run_id, wait_key="job", payload=answer)

    out = state.output["out"]
    assert [r["name"] for r in out["results"]] == ["known", "blocked", "given", "d"]
    assert (out["mode"], out["results"][3]["error"]) == ("executed", "Missing tool result")


# -- limits ----------------------------------------------------------------------------


def test_limits_are_told_and_set(make):
    rt = make(ok)
    run = go(rt, TWO)
    before = rt.get_state(run.run_id).updated_at
    make.clock.advance(1)

    rt.update_limits(run.run_id, {"current_iteration": 24, "estimated_tokens_used": 40_000, "x": 1})

    status = rt.get_limit_status(run.run_id)
    assert status["iterations"] == {"current": 24, "max": 25, "pct": 96.0, "warning": True}
    assert status["tokens"]["pct"] == 122.1
    state = rt.get_state(run.run_id)
    warned = [(w.limit_type, w.status) for w in rt.check_limits(state)]
    assert warned == [("iterations", "warning"), ("tokens", "exceeded")]
    assert "x" not in state.vars["_limits"]
    assert state.updated_at > before


@pytest.mark.parametrize(
    "limits",
    [{"max_iterations": None, "warn_iterations_pct": None}, {"max_iterations": 0, "max_tokens": 0}],
    ids=["null", "zero"],
)
def test_missing_limits_count_as_the_defaults(make, limits):
    rt = make(ok)
    run = go(rt, TWO)
    rt.update_limits(run.run_id, limits)

    status = rt.get_limit_status(run.run_id)

    assert (status["iterations"]["max"], status["tokens"]["max"]) == (25, 32768)
    assert rt.check_limits(rt.get_state(run.run_id)) == []


@pytest.mark.parametrize("method", ["get_limit_status", "list_evidence", "get_state"])
def test_unknown_runs(make, method):
    with pytest.raises(NotFound):
        getattr(make(), method)("nobody")
