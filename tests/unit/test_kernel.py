"""The kernel over a classic pair: what each kind of plan and outcome makes of a run."""

from __future__ import annotations

import pytest

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import Effect, EffectType, RunStatus, StepPlan
from abstractruntime.core.policy import DefaultEffectPolicy, compute_idempotency_key
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.errors import NotFound, WaitMismatch
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore


class Recorder:
    """An effect handler that fails the first `failures` times."""

    def __init__(self, failures: int = 0) -> None:
        self.calls = 0
        self.failures = failures

    def __call__(self, run, effect):
        self.calls += 1
        if self.calls <= self.failures:
            raise RuntimeError(f"no luck {self.calls}")
        return EffectOutcome.completed({"n": self.calls})


def runtime(handler=None, **options) -> Runtime:
    options.setdefault("effect_handlers", {EffectType.LLM_CALL: handler or Recorder()})
    return Runtime(run_store=InMemoryRunStore(), ledger_store=InMemoryLedgerStore(), **options)


def workflow(**nodes) -> WorkflowSpec:
    return WorkflowSpec("w", next(iter(nodes)), dict(nodes))


def effect_node(kind, payload, *, key="out", then=None):
    return lambda run, ctx: StepPlan(run.current_node, Effect(kind, payload, key), then)


def done(run, ctx):
    return StepPlan(
        "done", complete_output={"vars": {k: v for k, v in run.vars.items() if k[0] != "_"}}
    )


def sequence(rt, run_id):
    return [
        (r["node_id"], (r["effect"] or {}).get("type"), r["status"]) for r in rt.get_ledger(run_id)
    ]


def go(rt, spec, **inputs):
    run_id = rt.start(workflow=spec, vars=inputs)
    return rt.tick(workflow=spec, run_id=run_id)


def test_effect_result_lands_at_its_key_and_the_ledger_keeps_the_04_sequence():
    rt = runtime()
    spec = workflow(a=effect_node(EffectType.LLM_CALL, {"prompt": "x"}, then="done"), done=done)

    state = go(rt, spec)

    assert state.output == {"vars": {"out": {"n": 1}}}
    assert sequence(rt, state.run_id) == [
        ("a", "llm_call", "started"),
        ("a", "llm_call", "completed"),
        ("done", None, "completed"),
        ("done", "emit_event", "completed"),
    ]


def test_terminal_effect_completes_with_its_result():
    state = go(runtime(), workflow(a=effect_node(EffectType.LLM_CALL, {})))

    assert (state.status, state.output) == ("completed", {"success": True, "result": {"n": 1}})


def test_loop_with_equal_payloads_executes_each_time():
    handler = Recorder()

    def loop(run, ctx):
        run.vars["i"] = run.vars.get("i", 0) + 1
        if run.vars["i"] > 3:
            return StepPlan("loop", complete_output={})
        return StepPlan("loop", Effect(EffectType.LLM_CALL, {"prompt": "same"}), "loop")

    go(runtime(handler), workflow(loop=loop))

    assert handler.calls == 3


@pytest.mark.parametrize(("failures", "status", "calls"), [(2, "completed", 3), (3, "failed", 3)])
def test_retry_budget(failures, status, calls):
    handler = Recorder(failures)
    policy = DefaultEffectPolicy(default_max_attempts=3, default_backoff_base=0)

    state = go(
        runtime(handler, effect_policy=policy), workflow(a=effect_node(EffectType.LLM_CALL, {}))
    )

    assert (state.status, handler.calls) == (status, calls)
    if status == "failed":
        assert "after 3 attempts" in (state.error or "")
        assert "no luck 3" in (state.error or "")


@pytest.mark.parametrize(
    ("node", "fragment"),
    [
        (lambda run, ctx: 1 / 0, "ZeroDivisionError"),
        (lambda run, ctx: StepPlan("a"), "neither an effect nor a next node"),
        (lambda run, ctx: StepPlan("a", next_node="nowhere"), "Unknown node_id"),
        (effect_node(EffectType.LLM_CALL, {"x": {1, 2}}), "not JSON"),
        (effect_node(EffectType.TOOL_CALLS, {}), "No effect handler"),
    ],
    ids=["raises", "empty-plan", "unknown-node", "not-json", "no-handler"],
)
def test_a_bad_node_fails_its_run_and_says_why(node, fragment):
    state = go(runtime(), workflow(a=node))

    assert state.status is RunStatus.FAILED
    assert fragment in (state.error or "")


def test_a_raising_node_leaves_no_trace_in_the_variables():
    def node(run, ctx):
        run.vars["half"] = True
        raise RuntimeError("boom")

    assert "half" not in go(runtime(), workflow(a=node)).vars


def test_resume_continues_and_terminal_resume_completes():
    rt = runtime()
    spec = workflow(a=effect_node(EffectType.ASK_USER, {"prompt": "?"}, then="done"), done=done)
    terminal = workflow(a=effect_node(EffectType.ASK_USER, {"prompt": "?"}))
    waiting = go(rt, spec)
    assert waiting.waiting is not None
    assert waiting.waiting.wait_key == f"user:{waiting.run_id}:a"

    state = rt.resume(
        workflow=spec, run_id=waiting.run_id, wait_key=None, payload={"response": "y"}
    )
    end = rt.resume(workflow=terminal, run_id=go(rt, terminal).run_id, wait_key=None, payload=7)

    assert state.output == {"vars": {"out": {"response": "y"}}}
    assert end.output == {"success": True, "result": 7}
    assert sequence(rt, end.run_id)[-2:] == [
        ("a", None, "completed"),
        ("a", "emit_event", "completed"),
    ]


@pytest.mark.parametrize(
    ("prepare", "key", "fragment"),
    [
        (lambda rt, run_id: None, "other", "wait_key mismatch"),
        (lambda rt, run_id: rt.cancel_run(run_id), None, "not waiting"),
    ],
    ids=["wrong-key", "not-waiting"],
)
def test_resume_refuses(prepare, key, fragment):
    rt = runtime()
    spec = workflow(a=effect_node(EffectType.ASK_USER, {"prompt": "?"}))
    run_id = go(rt, spec).run_id
    prepare(rt, run_id)

    with pytest.raises(WaitMismatch, match=fragment):
        rt.resume(workflow=spec, run_id=run_id, wait_key=key, payload={})


def test_pause_holds_a_running_run_until_unpaused():
    rt = runtime()
    spec = workflow(a=lambda run, ctx: StepPlan("a", next_node="done"), done=done)
    run_id = rt.start(workflow=spec)

    rt.pause_run(run_id, reason="lunch")
    held = rt.tick(workflow=spec, run_id=run_id)
    rt.resume_run(run_id)

    assert held.status is RunStatus.WAITING
    assert rt.tick(workflow=spec, run_id=run_id).status is RunStatus.COMPLETED


def test_cancel_is_final():
    rt = runtime()
    run_id = rt.start(workflow=workflow(a=done))

    rt.cancel_run(run_id, reason="enough")

    state = rt.tick(workflow=workflow(a=done), run_id=run_id)
    assert (state.status, state.error) == ("cancelled", "enough")


def test_sync_child_runs_in_place_and_its_failure_names_workflow_and_cause():
    registry = WorkflowRegistry()
    registry.register(WorkflowSpec("good", "done", {"done": done}))
    registry.register(WorkflowSpec("bad", "a", {"a": lambda run, ctx: 1 / 0}))
    rt = runtime(workflow_registry=registry)

    def call(name):
        return workflow(
            a=effect_node(EffectType.START_SUBWORKFLOW, {"workflow_id": name, "vars": {"x": 1}})
        )

    good, bad = go(rt, call("good")), go(rt, call("bad"))

    assert good.output is not None
    assert good.output["result"]["output"] == {"vars": {"x": 1}}
    assert bad.status is RunStatus.FAILED
    assert "bad" in (bad.error or "")
    assert "ZeroDivisionError" in (bad.error or "")


def test_unknown_run_is_a_key_error():
    with pytest.raises(KeyError, match="Unknown run_id"):
        runtime().get_state("nope")
    with pytest.raises(NotFound):
        runtime().tick(workflow=workflow(a=done), run_id="nope")


@pytest.mark.parametrize(
    ("node", "kind", "payload", "key"),
    [
        ("n1", EffectType.LLM_CALL, {"prompt": "test"}, "85f533fa0265b4c130d0b0c77b1f0703"),
        (
            "n1",
            EffectType.LLM_CALL,
            {"prompt": "h\u00e9llo", "b": 1, "a": [1, 2.5, None, True]},
            "996dcd01a0291018bd19bc2fa89ba726",
        ),
        (
            "t",
            EffectType.TOOL_CALLS,
            {
                "tool_calls": [
                    {"name": "t", "arguments": {"x": 1}},
                    {"arguments": "not json", "function": {"name": "q", "arguments": {"y": 2}}},
                ],
                "allowed_tools": ["a", "b"],
            },
            "b1daae514cbd7270e111a0fe2d0aa5cc",
        ),
    ],
)
def test_payload_keys_are_those_of_04(node, kind, payload, key):
    assert compute_idempotency_key(run_id="r1", node_id=node, effect=Effect(kind, payload)) == key
