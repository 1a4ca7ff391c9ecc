"""What code written for 0.4.x does with each public class, over each pair of stores.

C1 to C18 are the constraints that the hosts of 0.4.x rely on; there is one test for each.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from awkward_hosts import LLM, START, TOOL, asks, done, ok, spec

from abstractruntime import (
    DefaultEffectPolicy,
    Effect,
    EffectType,
    HashChainedLedgerStore,
    InMemoryArtifactStore,
    InMemoryLedgerStore,
    InMemoryRunStore,
    JsonFileRunStore,
    JsonlLedgerStore,
    ObservableLedgerStore,
    OffloadingLedgerStore,
    RunStatus,
    Runtime,
    Scheduler,
    SqliteDatabase,
    SqliteLedgerStore,
    SqliteRunStore,
    StepPlan,
    WaitReason,
    WorkflowRegistry,
    create_scheduled_runtime,
    open_store,
    verify_ledger_chain,
)
from abstractruntime.core import RuntimeConfig
from abstractruntime.core.models import RunState, StepRecord
from abstractruntime.core.runtime import EffectOutcome, utc_now_iso
from abstractruntime.storage import LedgerStore, RunStore

LONG_AGO, FAR_AHEAD = "2000-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"


def memory(directory):
    return InMemoryRunStore(), InMemoryLedgerStore()


def files(directory):
    return JsonFileRunStore(directory), JsonlLedgerStore(directory)


def sqlite(directory):
    database = SqliteDatabase(directory / "runs.sqlite")
    return SqliteRunStore(database), SqliteLedgerStore(database)


def directory(path):
    store = open_store(path / "store")
    return store.runs, store.ledgers


@pytest.fixture(params=[memory, files, sqlite, directory], ids=lambda make: make.__name__)
def stores(request, tmp_path):
    return request.param(tmp_path)


def runtime(stores, handler=ok, *specs, **options: Any) -> Runtime:
    return Runtime(
        run_store=stores[0],
        ledger_store=stores[1],
        effect_handlers={LLM: handler, TOOL: handler},
        workflow_registry=registry(*specs),
        **options,
    )


def registry(*specs):
    found = WorkflowRegistry()
    for one in specs:
        found.register(one)
    return found


def begun(rt, workflow, **options):
    return rt.tick(workflow=workflow, run_id=rt.start(workflow=workflow), **options)


ASK = spec("ask", a=asks(EffectType.ASK_USER, {"prompt": "why?"}, then="z"), z=done)
CALL = spec("call", a=asks(LLM, {"prompt": "p"}, then="z"), z=done)
WAIT = spec("wait", a=asks(EffectType.WAIT_UNTIL, {"until": FAR_AHEAD}, then="z"), z=done)


def start_child(workflow_id, **payload):
    return asks(START, {"workflow_id": workflow_id, **payload}, then="z")


PARENT = spec("parent", a=start_child("ask"), z=done)


# -- constraints -----------------------------------------------------------------


def test_c1_the_last_record_of_a_blocked_run_is_its_wait(stores):
    rt = runtime(stores)
    run = begun(rt, ASK)

    last = rt.get_ledger(run.run_id)[-1]
    assert (last["status"], last["effect"]["type"]) == ("waiting", "ask_user")
    assert last["result"]["wait"]["wait_key"] == run.waiting.wait_key


def completions(records):
    return [r["result"] for r in records if (r["result"] or {}).get("completed") is True]


@pytest.mark.parametrize("ends", ["output", "answer"])
def test_c2_a_completed_run_ends_with_its_status(stores, ends):
    workflow = CALL if ends == "output" else spec("x", a=asks(EffectType.ASK_USER, {"prompt": "?"}))
    rt = runtime(stores)
    run = begun(rt, workflow)
    before = len(rt.get_ledger(run.run_id))
    if ends == "answer":
        key = run.waiting.wait_key
        run = rt.resume(workflow=workflow, run_id=run.run_id, wait_key=key, payload={"n": 1})
        assert len(rt.get_ledger(run.run_id)) >= before + 2
    records = rt.get_ledger(run.run_id)

    assert records[-1]["effect"]["payload"]["name"] == "abstract.status"
    (completed,) = completions(records[:-1])
    assert completed["output"] == run.output
    if ends == "answer":
        assert (completed["via"], completed["wait_key"]) == ("resume", key)


def test_c3_start_and_outcome_are_listed_and_published_as_one_step(stores):
    seen = []
    # The directory store publishes by itself; the other ledgers are wrapped.
    publishes = hasattr(stores[1], "subscribe")
    rt = runtime((stores[0], stores[1] if publishes else ObservableLedgerStore(stores[1])))
    run_id = rt.start(workflow=CALL)
    unsubscribe = rt.subscribe_ledger(seen.append, run_id=run_id)
    rt.tick(workflow=CALL, run_id=run_id)
    unsubscribe()

    for records in (seen, rt.get_ledger(run_id)):
        step = [r for r in records if (r["effect"] or {}).get("type") == "llm_call"]
        assert [r["status"] for r in step] == ["started", "completed"]
        assert len({r["step_id"] for r in step}) == 1


def test_c4_a_retry_sleeps_once_through_the_time_module(stores, monkeypatch):
    naps = []
    monkeypatch.setattr(time, "sleep", naps.append)
    policy = DefaultEffectPolicy(default_max_attempts=3, default_backoff_base=0.01)
    rt = runtime(stores, lambda run, effect: EffectOutcome.failed("no"), effect_policy=policy)

    assert begun(rt, CALL).status is RunStatus.FAILED
    assert naps == [0.01, 0.02]


def tool_calls(call_ids):
    calls = [{"name": "t", "arguments": {"x": 1}, "call_id": next(call_ids)}]
    return StepPlan("a", Effect(TOOL, {"tool_calls": calls}, "out"), "z")


def test_c5_a_rewound_run_finds_its_effects_done_though_call_ids_changed(stores):
    calls = []
    call_ids = iter("abcdef")
    workflow = spec("tools", a=lambda run, ctx: tool_calls(call_ids), z=done)

    def handler(run, effect):
        calls.append(effect.payload["tool_calls"][0]["call_id"])
        return EffectOutcome.completed({"mode": "executed", "results": []})

    run = begun(runtime(stores, handler), workflow)
    run.status, run.current_node, run.output = RunStatus.RUNNING, "a", None
    stores[0].save(run)

    again = runtime(stores, handler).tick(workflow=workflow, run_id=run.run_id)
    assert (again.status, len(calls)) == (RunStatus.COMPLETED, 1)


def test_c6_an_answered_child_leaves_its_parent_to_the_host(stores):
    rt = runtime(stores, ok, ASK, PARENT)
    parent = begun(rt, PARENT)
    (child,) = stores[0].list_children(parent_run_id=parent.run_id)
    end = rt.resume(workflow=ASK, run_id=child.run_id, wait_key=None, payload={"n": 1})
    assert (end.status, rt.get_state(parent.run_id).status) == ("completed", "waiting")

    driver = Scheduler(runtime=rt, registry=rt.workflow_registry)
    resumed = driver.resume_subworkflow_parent(child_run_id=end.run_id, child_output=end.output)
    assert resumed is not None
    assert resumed.output["out"] == {"sub_run_id": end.run_id, "output": end.output}


def test_c7_a_ticked_state_has_node_traces(stores):
    rt = runtime(stores)
    run = begun(rt, CALL)

    (step,) = run.vars["_runtime"]["node_traces"]["a"]["steps"]
    assert (step["status"], step["effect"]["type"]) == ("completed", "llm_call")
    assert rt.get_node_trace(run.run_id, "a")["steps"][0]["status"] == "completed"


def two(run, effect):
    return EffectOutcome.completed({"n": 2})


def three(run, effect, default_next_node):
    return EffectOutcome.completed({"n": 3, "next": default_next_node})


def named(run, effect, *, extra=None):
    return EffectOutcome.completed({"n": "named"})


class Raises:
    calls = 0

    def __call__(self, run, effect):
        self.calls += 1
        raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("handler", "result"),
    [(two, {"n": 2}), (three, {"n": 3, "next": "z"}), (named, {"n": "named"})],
    ids=["two", "three", "keyword"],
)
def test_c8_handlers_take_two_or_three_arguments(stores, handler, result):
    assert begun(runtime(stores, handler), CALL).output == {"out": result}


def test_c8_a_raising_handler_is_called_once_for_an_attempt(stores):
    handler = Raises()
    run = begun(runtime(stores, handler), CALL)

    assert (run.status, handler.calls) == ("failed", 1)
    assert "broken" in run.error


class PlainRuns(RunStore):
    """A host's own store: no queries."""

    def __init__(self) -> None:
        self.runs: dict[str, RunState] = {}

    def save(self, run: RunState) -> None:
        self.runs[run.run_id] = run

    def load(self, run_id: str) -> RunState | None:
        return self.runs.get(run_id)


class PlainLedger(LedgerStore):
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, record: StepRecord) -> None:
        self.records.append(record.to_dict())

    def list(self, run_id: str) -> list[dict[str, Any]]:
        return [r for r in self.records if r["run_id"] == run_id]


def test_c9_only_the_scheduler_needs_queries():
    rt = runtime((PlainRuns(), PlainLedger()))

    assert begun(rt, CALL).output == {"out": {"ok": True}}
    with pytest.raises(TypeError, match="QueryableRunStore"):
        Scheduler(runtime=rt, registry=registry())


def test_c10_resuming_with_no_steps_executes_nothing(stores):
    workflow = spec("x", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="b"),
                    b=asks(LLM, {"p": 1}, key="late", then="z"), z=done)  # fmt: skip
    handler = Raises()
    rt = runtime(stores, handler)
    run = begun(rt, workflow)
    run = rt.resume(workflow=workflow, run_id=run.run_id, wait_key=None, payload=1, max_steps=0)

    assert (run.status, run.current_node, run.vars["out"]) == ("running", "b", 1)
    assert handler.calls == 0


def test_c11_a_host_may_edit_the_deadline_of_a_wait(stores):
    rt = runtime(stores)
    run = begun(rt, WAIT)
    assert run.waiting.reason == WaitReason.UNTIL
    run.waiting.until = LONG_AGO
    stores[0].save(run)

    assert rt.tick(workflow=WAIT, run_id=run.run_id).status == "completed"


def test_c12_enums_equal_their_text(stores):
    run = begun(runtime(stores), CALL)

    assert (run.status == "completed") is True
    assert [kind == kind.value for kind in EffectType] == [True] * 17


@pytest.mark.parametrize(
    ("support", "native"), [(" native ", True), ("prompted", False)], ids=["native", "prompted"]
)
def test_c13_an_empty_runtime_namespace_is_seeded(stores, support, native):
    config = RuntimeConfig(provider="p", model=" m ", model_capabilities={"tool_support": support})
    rt = runtime(stores, config=config)
    run = rt.get_state(rt.start(workflow=CALL, vars={"_runtime": {}}))

    assert run.vars["_runtime"] == {
        "provider": "p", "model": "m", "tool_support": support.strip(),
        "supports_native_tools": native,
    }  # fmt: skip


def test_c14_file_names_are_the_documented_ones(tmp_path):
    run = begun(runtime(files(tmp_path)), CALL)

    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert {f"run_{run.run_id}.json", f"ledger_{run.run_id}.jsonl"} <= names


def broken(run, ctx):
    raise LookupError("no such thing")


def test_c15_a_child_that_raises_fails_its_parent_by_name(stores):
    rt = runtime(stores, ok, spec("fragile", a=broken))
    run = begun(rt, spec("parent", a=start_child("fragile"), z=done))

    assert run.status == "failed"
    assert "fragile" in run.error
    assert "no such thing" in run.error


def test_c16_cancelling_a_tree_gives_every_run_of_it(stores):
    top = spec("top", a=start_child("parent"), z=done)
    rt = runtime(stores, ok, ASK, PARENT, top)
    run = begun(rt, top)
    driver = Scheduler(runtime=rt, registry=rt.workflow_registry)

    ended = driver.cancel_with_children(run.run_id, reason="enough")
    assert run.run_id in {r.run_id for r in ended}
    assert [(r.workflow_id, r.status) for r in sorted(ended, key=lambda r: r.workflow_id)] == [
        ("ask", "cancelled"), ("parent", "cancelled"), ("top", "cancelled")
    ]  # fmt: skip


def test_c17_a_paused_timer_waits_for_the_host(stores):
    rt = runtime(stores)
    run = begun(rt, WAIT)
    run.waiting.until = LONG_AGO
    stores[0].save(run)
    rt.pause_run(run.run_id, reason="hold")

    assert rt.tick(workflow=WAIT, run_id=run.run_id).status == "waiting"
    rt.resume_run(run.run_id)
    assert rt.tick(workflow=WAIT, run_id=run.run_id).status == "completed"


def test_c18_every_effect_record_of_a_file_ledger_has_a_key(tmp_path):
    rt = runtime(files(tmp_path), ok, ASK, PARENT)
    run_id = begun(rt, CALL).run_id

    keys = [r["idempotency_key"] for r in JsonlLedgerStore(tmp_path).list(run_id) if r["effect"]]
    assert len(keys) == 3
    assert {len(key) for key in keys} == {32}


# -- the classes together ----------------------------------------------------------


def test_the_files_of_one_process_are_continued_by_another(tmp_path):
    run = begun(runtime(files(tmp_path)), ASK)
    other = runtime(files(tmp_path))

    end = other.resume(workflow=ASK, run_id=run.run_id, wait_key=run.waiting.wait_key, payload="y")
    assert end.output == {"out": "y"}


def test_a_chained_ledger_verifies(stores):
    rt = runtime((stores[0], HashChainedLedgerStore(stores[1])))
    run = begun(rt, CALL)

    verdict = verify_ledger_chain(rt.get_ledger(run.run_id))
    assert verdict["ok"] is True


def test_a_scheduled_runtime_asks_and_answers():
    scheduled = create_scheduled_runtime(auto_start=False, artifact_store=InMemoryArtifactStore())
    run_id, run = scheduled.run(ASK, vars={"a": 1}, actor_id="me")
    assert (run.status, run.actor_id, run.waiting.prompt) == ("waiting", "me", "why?")
    assert [r.run_id for r in scheduled.find_waiting_runs(wait_reason=WaitReason.USER)] == [run_id]

    assert scheduled.respond(run_id, {"response": "because"}).output == {
        "out": {"response": "because"}
    }
    with pytest.raises(ValueError, match="not waiting"):
        scheduled.respond(run_id, {})
    assert scheduled.is_running is False


def test_a_polling_cycle_fires_what_is_due(stores):
    fired = []
    rt = runtime(stores, ok, WAIT)
    due, later = begun(rt, WAIT), begun(rt, WAIT)
    due.waiting.until = LONG_AGO
    stores[0].save(due)
    driver = Scheduler(
        runtime=rt, registry=rt.workflow_registry, on_run_resumed=lambda r: fired.append(r.run_id)
    )

    assert driver.poll_once() == 1
    assert fired == [due.run_id]
    assert (driver.stats.poll_cycles, driver.stats.runs_resumed) == (1, 1)
    assert rt.get_state(later.run_id).status == "waiting"


def test_a_scheduler_starts_and_stops_its_thread():
    scheduled = create_scheduled_runtime(poll_interval_s=60.0)
    try:
        assert scheduled.is_running
        with pytest.raises(RuntimeError, match="already running"):
            scheduled.scheduler.start()
    finally:
        scheduled.stop()
    scheduled.stop()
    assert not scheduled.is_running


def test_an_event_from_the_host_reaches_its_listener():
    listens = asks(EffectType.WAIT_EVENT, {"name": "go", "scope": "global"}, then="z")
    scheduled = create_scheduled_runtime(auto_start=False)
    run_id, _ = scheduled.run(spec("listener", a=listens, z=done))

    (end,) = scheduled.scheduler.emit_event(name="go", payload={"n": 1}, scope="global")
    assert (end.run_id, end.status, end.output["out"]["payload"]) == (run_id, "completed", {"n": 1})


def test_times_are_utc_with_microseconds():
    assert len(utc_now_iso()) == len(LONG_AGO) + len(".000000")


def test_an_offloading_ledger_passes_subscriptions_on():
    artifacts = InMemoryArtifactStore()
    observed = OffloadingLedgerStore(
        ObservableLedgerStore(InMemoryLedgerStore()), artifact_store=artifacts
    )
    seen = []
    runtime = Runtime(run_store=InMemoryRunStore(), ledger_store=observed)
    runtime.subscribe_ledger(seen.append)
    begun(runtime, ASK)

    assert [r["status"] for r in seen] == ["started", "waiting"]
    plain = OffloadingLedgerStore(InMemoryLedgerStore(), artifact_store=artifacts)
    with pytest.raises(RuntimeError, match="subscribe"):
        plain.subscribe(seen.append)
