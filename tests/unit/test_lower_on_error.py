"""Opt-in: a failing node gives its error as a value, and the flow goes on."""

from __future__ import annotations

import pytest
from flow_builder import START, Host, end, flow, node, run

from abstractruntime import EffectType, Runtime
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.errors import StoreFull
from abstractruntime.storage.artifacts import InMemoryArtifactStore, compute_artifact_id
from abstractruntime.storage.directory import open_store
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.visualflow_compiler import compile_visualflow
from abstractruntime.visualflow_compiler._lower._failures import with_kept_calls
from abstractruntime.visualflow_compiler.check import check_flow
from abstractruntime.visualflow_compiler.document import FlowDocument

PARSE = node("p", "parse_json", "exec-in text", "exec-out", onError="continue")
PINS = "p.error > e.error; p.success > e.ok; p.result > e.v"


@pytest.mark.parametrize("rebuild", [False, True], ids=["live", "rebuilt"])
@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("[1]", {"error": None, "ok": True, "v": [1]}),
        ("", {"error": "parse_json requires a non-empty 'text' input.", "ok": False, "v": None}),
    ],
)
def test_function_goes_on(text, output, rebuild):
    document = flow(START, PARSE, end("error", "ok", "v"), edges=f"s > p; p > e; {PINS}")

    host = Host(document, {"text": text}, rebuild=rebuild).go()

    assert host.output == {**output, "success": True}
    assert "_flow_error" not in host.run.vars


def test_a_result_that_looks_like_a_failure_is_none():
    text = '{"success": false, "error": "mine"}'
    document = flow(START, PARSE, end("error", "ok", "v"), edges=f"s > p; p > e; {PINS}")

    output = run(document, {"text": text})

    assert output == {
        "error": None,
        "ok": True,
        "v": {"success": False, "error": "mine"},
        "success": True,
    }


def test_the_error_of_a_pure_node_belongs_to_its_consumer():
    pure = node("d", "divide", "a b", "result", pinDefaults={"a": 1, "b": 0})
    keep = node(
        "v",
        "set_var",
        "exec-in name value",
        "exec-out",
        pinDefaults={"name": "x"},
        onError="continue",
    )
    document = flow(
        START, pure, keep, end("error"), edges="s > v; v > e; d.result > v.value; v.error > e.error"
    )

    assert run(document) == {"error": "Division by zero", "success": True}


def test_a_loop_goes_on_with_the_next_item():
    document = flow(
        START,
        node("l", "loop", "exec-in items", "loop done", pinDefaults={"items": ["1", "", "3"]}),
        PARSE,
        end(),
        edges="s > l; l.loop > p; l.item > p.text; l.done > e",
    )

    host = Host(document).go()

    assert host.path == ["s", "l", "p", "l", "p", "l", "p", "l", "e"]


def test_success_after_failure_forgets_the_error():
    document = flow(
        START,
        node("l", "loop", "exec-in items", "loop done", pinDefaults={"items": ["", "3"]}),
        PARSE,
        end("error", "ok", "v"),
        edges=f"s > l; l.loop > p; l.item > p.text; l.done > e; {PINS}",
    )

    assert run(document) == {"error": None, "ok": True, "v": {"value": 3}, "success": True}


def test_without_a_next_node_the_run_ends_with_the_error():
    document = flow(START, PARSE, edges="s > p")

    assert run(document, {"text": "{"})["success"] is False


# -- effects -------------------------------------------------------------------------------

CALL = node(
    "p", "llm_call", "exec-in prompt", "exec-out response", onError="continue", outputKey="said"
)
ANSWERED = flow(
    START,
    CALL,
    end("error", "ok", "v"),
    edges="s > p; p > e; p.error > e.error; p.success > e.ok; p.response > e.v",
)


ASK = node("q", "ask_user", "exec-in prompt", "exec-out response")
CALL_AND_FAIL = node("p", "llm_call", "exec-in prompt", "exec-out response")


def refuse(_run, _effect):
    return EffectOutcome.failed("the model is away")


def runtimes(tmp_path, **options):
    yield Runtime(run_store=InMemoryRunStore(), ledger_store=InMemoryLedgerStore(), **options)
    yield Runtime.on_engine(open_store(tmp_path / "store"), **options)


def drive(runtime, document):
    spec = compile_visualflow(document)
    run_id = runtime.start(workflow=spec)
    return runtime.tick(workflow=spec, run_id=run_id)


def test_a_failing_effect_is_a_value(tmp_path):
    for runtime in runtimes(tmp_path, effect_handlers={EffectType.LLM_CALL: refuse}):
        state = drive(runtime, ANSWERED)

        assert state.output == {
            "error": "the model is away",
            "ok": False,
            "v": None,
            "success": True,
        }
        assert "said" not in state.vars
        records = runtime.ledger_store.list(state.run_id)
        assert [r["error"] for r in records if r["status"] == "failed"] == ["the model is away"]


def test_a_stored_failure_survives_a_new_process(tmp_path):
    spec = compile_visualflow(ANSWERED)
    runtime = Runtime.on_engine(open_store(tmp_path), effect_handlers={EffectType.LLM_CALL: refuse})
    run_id = runtime.start(workflow=spec)
    runtime.tick(workflow=spec, run_id=run_id, max_steps=2)

    again = Runtime.on_engine(open_store(tmp_path))
    state = again.tick(workflow=compile_visualflow(ANSWERED), run_id=run_id)

    assert (state.output or {})["error"] == "the model is away"


def test_a_working_effect_has_no_error(tmp_path):
    def answer(_run, _effect):
        return EffectOutcome.completed({"content": "hi"})

    for runtime in runtimes(tmp_path, effect_handlers={EffectType.LLM_CALL: answer}):
        state = drive(runtime, ANSWERED)

        assert state.output == {"error": None, "ok": True, "v": "hi", "success": True}
        assert state.vars["said"] == "hi"


def test_the_failure_of_a_child_is_a_value(tmp_path):
    from abstractruntime import WorkflowRegistry

    document = flow(
        START,
        node("p", "subflow", "exec-in", "exec-out", subflowId="gone", onError="continue"),
        end("error"),
        edges="s > p; p > e; p.error > e.error",
    )
    for runtime in runtimes(tmp_path, workflow_registry=WorkflowRegistry()):
        state = drive(runtime, document)

        assert "gone" in (state.output or {})["error"]


def test_an_effect_without_a_next_node_fails_the_run(tmp_path):
    for runtime in runtimes(tmp_path, effect_handlers={EffectType.LLM_CALL: refuse}):
        state = drive(runtime, flow(START, CALL, edges="s > p"))

        assert (state.status.value, state.error) == ("failed", "the model is away")


def test_a_failing_stage_is_the_failure_of_its_node(tmp_path):
    recall = {"use_span_memory": True, "prompt": "p"}
    asking = node(
        "p", "llm_call", "exec-in prompt", "exec-out", pinDefaults=recall, onError="continue"
    )
    document = flow(START, asking, end("error"), edges="s > p; p > e; p.error > e.error")

    for runtime in runtimes(tmp_path):
        state = drive(runtime, document)

        assert "requires an ArtifactStore" in (state.output or {})["error"]
        assert "p" not in state.vars["_temp"].get("memory_sources", {})


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_child_that_fails_later(tmp_path, goes_on):
    from abstractruntime import WorkflowRegistry
    from abstractruntime._runtime.driver import Driver

    child = {**flow(START, ASK, CALL_AND_FAIL, edges="s > q; q > p"), "id": "child"}
    wish = {"onError": "continue"} if goes_on else {}
    parent = flow(
        START,
        node("p", "subflow", "exec-in", "exec-out", subflowId="child", **wish),
        end("error"),
        edges="s > p; p > e; p.error > e.error",
    )
    registry = WorkflowRegistry()
    for document in (child, parent):
        registry.register(compile_visualflow(document))
    runtime = Runtime.on_engine(
        open_store(tmp_path),
        workflow_registry=registry,
        effect_handlers={EffectType.LLM_CALL: refuse},
    )
    run_id = runtime.start(workflow=registry.get("f"))
    driver = Driver(runtime)
    driver.drive(run_id)
    driver.answer(run_id, {"response": "x"}, wait_key=None)
    driver.drive(run_id)

    state = runtime.get_state(run_id)
    if goes_on:
        assert "the model is away" in (state.output or {})["error"]
    else:
        assert (state.status.value, state.output) == ("failed", None)


# -- the check -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "outs", "wish", "code"),
    [
        ("parse_json", "exec-out", "continue", None),
        ("parse_json", "exec-out", "fail", None),
        ("parse_json", "exec-out", "ignore", "VF206"),
        ("loop", "loop done", "continue", "VF206"),
        ("on_flow_end", "", "continue", "VF206"),
        ("llm_call", "exec-out", "continue", None),
    ],
)
def test_check(kind, outs, wish, code):
    document = flow(START, node("x", kind, "exec-in", outs, onError=wish), edges="s > x")

    codes = {d.code for d in check_flow(FlowDocument(document)).diagnostics}

    assert ("VF206" if code else None) == code
    assert ("VF206" in codes) is (code is not None)


class Broken:
    def store(self, *_args, **_kwargs):
        raise StoreFull("no space left")


@pytest.mark.parametrize(
    ("artifacts", "calls"),
    [(None, "t"), (Broken(), "t"), (InMemoryArtifactStore(), {"$artifact": compute_artifact_id(b"t", run_id="r")})],
    ids=["none", "full disk", "kept"],
)  # fmt: skip
def test_the_calls_stay_with_the_run_where_they_cannot_be_an_artifact(artifacts, calls):
    facts = {"line": 3, "raised": {"class": "E", "message": "m", "traceback": "t"}}

    kept = with_kept_calls(facts, artifacts, "r")

    assert kept == {"line": 3, "raised": {"class": "E", "message": "m", "traceback": calls}}
    assert facts["raised"]["traceback"] == "t"
    assert with_kept_calls({"line": 3}, artifacts, "r") == {"line": 3}
