"""The directory store as a pair of 0.4.x stores."""

from __future__ import annotations

import pytest

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import (
    Effect,
    EffectType,
    RunState,
    RunStatus,
    StepPlan,
    StepRecord,
    StepStatus,
    WaitReason,
    WaitState,
)
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.errors import Busy, InvalidValue, NotFound, UsageError
from abstractruntime.storage.base import QueryableRunIndexStore, QueryableRunStore
from abstractruntime.storage.directory import open_store
from abstractruntime.storage.ledger_chain import verify_ledger_chain


def call(n):
    return Effect(EffectType.TOOL_CALLS, {"tool_calls": [{"name": n}]}, f"out_{n}")


def flow(ask=False):
    def first(run, ctx):
        return StepPlan("first", effect=call("a"), next_node="second")

    def second(run, ctx):
        run.vars["hops"] = run.vars.get("hops", 0) + 1
        return StepPlan("second", effect=call("b"), next_node="ask" if ask else "end")

    def question(run, ctx):
        effect = Effect(EffectType.WAIT_UNTIL, {"until": "2999-01-01T00:00:00Z"}, "woke")
        return StepPlan("ask", effect=effect, next_node="end")

    def end(run, ctx):
        return StepPlan("end", complete_output={"hops": run.vars["hops"]})

    nodes = {"first": first, "second": second, "ask": question, "end": end}
    return WorkflowSpec("w", "first", nodes)


class Host:
    """A 0.4.x host: a runtime over the pair, and a count of what took place outside."""

    def __init__(self, store, spec=None):
        self.calls = []
        self.spec = spec or flow()
        self.store = store
        handlers = {EffectType.TOOL_CALLS: self.perform}
        self.runtime = Runtime(
            run_store=store.runs, ledger_store=store.ledgers, effect_handlers=handlers
        )

    def perform(self, run, effect, next_node=None):
        name = effect.payload["tool_calls"][0]["name"]
        self.calls.append(name)
        return EffectOutcome.completed({"n": len(self.calls)})

    def finish(self):
        run_id = self.runtime.start(workflow=self.spec)
        return self.runtime.tick(workflow=self.spec, run_id=run_id)


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store", origin="here/1") as engine:
        yield engine


def a_run(run_id="r", status=RunStatus.RUNNING, **fields):
    return RunState(run_id, "w", status, "first", **{"vars": {"a": 1}, **fields})


def kinds(store, run_id):
    return [(r["result"] or {}).get("action") for r in store.ledgers.list(run_id)]


def test_the_views_satisfy_the_query_protocols(store):
    assert isinstance(store.runs, QueryableRunStore)
    assert isinstance(store.runs, QueryableRunIndexStore)
    assert store.runs.engine is store


def test_a_runtime_over_the_pair_drives_the_engine(store):
    run = Host(store).finish()

    assert run.status is RunStatus.COMPLETED
    assert store.runs.load(run.run_id).output == {"hops": 1}
    assert verify_ledger_chain(store.ledgers.list(run.run_id))["ok"]


def test_a_save_is_a_control_record_with_the_difference(store):
    host = Host(store, flow(ask=True))
    run = host.finish()
    run.waiting.until = "2020-01-01T00:00:00+00:00"
    store.runs.save(run)

    last = store.ledgers.list(run.run_id)[-1]
    assert last["result"] == {"internal": "control", "action": "host_save"}
    assert set(last["commit"]) == {"epoch", "waiting", "state"}
    assert [r.run_id for r in store.runs.list_due_wait_until(now_iso="2021-01-01T01:00:00+01:00")]
    assert host.runtime.tick(workflow=host.spec, run_id=run.run_id).status is RunStatus.COMPLETED


def test_saving_what_is_stored_writes_nothing(store):
    run = Host(store).finish()
    before = store.ledgers.count(run.run_id)

    store.runs.save(run)
    store.runs.save(store.runs.load(run.run_id))
    assert store.ledgers.count(run.run_id) == before


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.COMPLETED], ids=str)
def test_saving_an_unknown_run_creates_it(store, status):
    store.runs.save(a_run(status=status, ledger_seq=7))

    first, *rest = store.ledgers.list("r")
    assert first["result"]["internal"] == "run_started"
    assert first["result"]["origin"] == "host_save"
    assert len(rest) == (status is RunStatus.COMPLETED)
    with open_store(store.path) as other:
        assert other.runs.load("r").vars == {"a": 1}


def test_a_save_that_ends_a_run_closes_its_ledger(store):
    store.runs.save(a_run())
    run = store.runs.load("r")
    run.status, run.error = RunStatus.FAILED, "given up"
    store.runs.save(run)

    assert store.ledgers.list("r")[-1]["idempotency_key"] == "system:terminal_status:failed"


@pytest.mark.parametrize("attempt", ["save", "append"])
def test_a_run_that_someone_drives_is_busy(store, attempt):
    store.runs.save(a_run())
    log = store.open("r")
    record = StepRecord("r", "s", "n", StepStatus.COMPLETED)
    with pytest.raises(Busy):
        store.runs.save(a_run(error="x")) if attempt == "save" else store.ledgers.append(record)
    log.close()


def test_a_save_of_something_that_is_not_json_changes_nothing(store):
    store.runs.save(a_run())
    with pytest.raises(InvalidValue):
        store.runs.save(a_run(vars={"a": object()}))
    assert store.runs.load("r").vars == {"a": 1}


def rewound(store, run_id, node="first"):
    run = store.runs.load(run_id)
    run.status, run.current_node, run.output = RunStatus.RUNNING, node, None
    store.runs.save(run)


def test_a_rewound_run_reuses_completed_effects(store):
    host = Host(store)
    run = host.finish()
    rewound(store, run.run_id)
    with open_store(store.path) as other:
        later = Host(other)
        again = later.runtime.tick(workflow=later.spec, run_id=run.run_id)

        assert again.output == {"hops": 2}
        assert again.vars["out_b"] == {"n": 2}
        assert (host.calls, later.calls) == (["a", "b"], [])
        assert verify_ledger_chain(other.ledgers.list(run.run_id))["ok"]
        assert other._recovery.load(run.run_id).run().vars == other.peek(run.run_id).vars
        reused = [r["result"] for r in other.ledgers.list(run.run_id)][-4:-2]
        assert [item["action"] for item in reused] == ["reuse", "reuse"]


def test_a_rewound_run_goes_on_reusing_after_a_restart(store):
    host = Host(store)
    run_id = host.finish().run_id
    rewound(store, run_id)
    host.runtime.tick(workflow=host.spec, run_id=run_id, max_steps=1)
    with open_store(store.path) as other:
        later = Host(other)
        later.runtime.tick(workflow=later.spec, run_id=run_id)
        assert later.calls == []
        rewound(other, run_id, "second")
        later.runtime.tick(workflow=later.spec, run_id=run_id)
        assert later.calls == []


def test_an_outcome_is_reused_once(store):
    host = Host(store)
    run_id = host.finish().run_id
    rewound(store, run_id)
    host.runtime.tick(workflow=host.spec, run_id=run_id, max_steps=1)
    run = store.runs.load(run_id)
    run.current_node = "first"
    store.runs.save(run)
    host.runtime.tick(workflow=host.spec, run_id=run_id)

    assert host.calls == ["a", "b", "a"]


def test_an_open_attempt_cannot_be_moved_elsewhere(store):
    store.runs.save(a_run())
    log = store.open("r")
    plan = {"next_node": "x", "occ": 0}
    log.commit(StepRecord("r", "s", "first", StepStatus.STARTED, effect=call("a").to_dict()), plan=plan)  # fmt: skip
    log.close()
    run = store.runs.load("r")
    run.vars["note"] = "fine"
    store.runs.save(run)
    run.current_node = "second"
    with pytest.raises(UsageError, match="effect without outcome"):
        store.runs.save(run)
    run.status = RunStatus.CANCELLED
    store.runs.save(run)
    assert store.runs.load("r").vars["note"] == "fine"


@pytest.mark.parametrize("run_id", ["absent", "../x", ""])
def test_unknown_runs_are_absent_everywhere(store, run_id):
    assert store.runs.load(run_id) is None
    assert store.ledgers.list(run_id) == []
    assert store.ledgers.count(run_id) == 0
    assert store.ledgers.count_many([run_id]) == {}
    assert store.ledgers.metrics_many([run_id]) == {}
    assert store.ledgers.list_after(run_id=run_id, after=3) == ([], 3)


def test_listings_filter_and_order(store):
    wait = WaitState(WaitReason.UNTIL, until="2020-01-01T00:00:00Z")
    later = WaitState(WaitReason.UNTIL, until="2020-01-01T01:30:00+02:00")
    rows = [
        a_run("a", RunStatus.WAITING, waiting=wait, created_at="1", updated_at="1"),
        a_run("b", RunStatus.WAITING, waiting=later, created_at="3", updated_at="2", parent_run_id="a"),
        a_run("c", RunStatus.COMPLETED, created_at="2", updated_at="3", session_id="s", parent_run_id="a"),
    ]  # fmt: skip
    for run in rows:
        store.runs.save(run)
    runs = store.runs

    assert [r.run_id for r in runs.list_runs()] == ["c", "b", "a"]
    assert [r.run_id for r in runs.list_runs(limit=1)] == ["c"]
    assert [r.run_id for r in runs.list_runs(status="waiting", wait_reason="until")] == ["b", "a"]
    assert [r.run_id for r in runs.list_due_wait_until(now_iso="2020-01-01T00:00:00Z")] == ["b", "a"]  # fmt: skip
    assert [r.run_id for r in runs.list_children(parent_run_id="a")] == ["c", "b"]
    assert [r["run_id"] for r in runs.list_run_index(root_only=True)] == ["a"]
    (row,) = runs.list_run_index(session_id=" s ")
    assert (row["status"], row["wait_until"], row["session_id"]) == ("completed", None, "s")


def test_a_damaged_run_is_left_out_of_listings(store):
    for run_id in "ab":
        store.runs.save(a_run(run_id, RunStatus.COMPLETED))
    assert len(store.runs.list_runs()) == 2
    with open(store._layout.ledger("a"), "r+b") as file:
        file.truncate(10)
    with open_store(store.path) as other:
        assert [run.run_id for run in other.runs.list_runs()] == ["b"]


def test_a_foreign_record_is_chained_and_changes_no_state(store):
    store.runs.save(a_run())
    store.ledgers.append(StepRecord("r", "s1", "n", StepStatus.STARTED, idempotency_key="k"))
    log = store.open("r")
    assert log.pending is None
    log.close()

    assert [r["seq"] for r in store.ledgers.list("r")] == [0, 1]
    assert verify_ledger_chain(store.ledgers.list("r"))["ok"]
    with pytest.raises(NotFound):
        store.ledgers.append(StepRecord("absent", "s", "n", StepStatus.STARTED))


def test_pages_counts_and_metrics(store):
    run_id = Host(store).finish().run_id
    ledgers = store.ledgers
    whole = ledgers.list(run_id)
    page, cursor = ledgers.list_after(run_id=run_id, after=0, limit=3)
    rest, end = ledgers.list_after(run_id=run_id, after=cursor)

    assert [page + rest, cursor, end] == [whole, 3, len(whole)]
    assert ledgers.count_many([run_id, "absent"]) == {run_id: len(whole)}
    metrics = ledgers.metrics_many([run_id])[run_id]
    assert (metrics["tool_calls"], metrics["llm_calls"], metrics["tokens_total"]) == (2, 0, 0)
    # Two effects, the completion and the closing record; the store's own records do not count.
    assert metrics["steps"] == 4
