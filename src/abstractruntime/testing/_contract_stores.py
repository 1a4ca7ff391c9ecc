"""The contract of a classic pair: what a run store and a ledger store promise by themselves."""

# ruff: noqa: S101 - a contract is made of asserts

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Any

from abstractruntime.core.models import (
    JsonObject,
    RunState,
    RunStatus,
    StepRecord,
    StepStatus,
    WaitReason,
    WaitState,
)
from abstractruntime.storage.base import (
    LedgerStore,
    QueryableRunIndexStore,
    QueryableRunStore,
    RunStore,
)
from abstractruntime.testing._contract_tools import (
    expect,
    ids_of,
    moment,
    parked,
    refuses,
    sample_record,
    sample_run,
)

Stores = tuple[RunStore, LedgerStore]

RECORD_KEYS = frozenset(StepRecord.__dataclass_fields__) - {"seq", "commit"}
INDEX_KEYS = frozenset(
    {
        "run_id",
        "workflow_id",
        "status",
        "wait_reason",
        "wait_until",
        "parent_run_id",
        "actor_id",
        "session_id",
        "created_at",
        "updated_at",
    }
)
_UNKNOWN_IDS = ("nobody", "", "../../etc/passwd", "a\x00b", "x" * 300)


class StoresUnderTest:
    """Gives the contract its stores."""

    @abstractmethod
    def make_stores(self) -> Stores:
        """Give a run store and a ledger store that are empty."""

    def reopen(self, stores: Stores) -> Stores:
        """Give other store objects over the same data, as another process would open them."""
        return stores


class RunStoreContract(StoresUnderTest):
    """What `save` and `load` promise."""

    def test_an_unknown_run_is_none(self) -> None:
        runs, _ = self.make_stores()
        for run_id in _UNKNOWN_IDS:
            expect(runs.load(run_id), None, repr(run_id))

    def test_a_run_comes_back_as_it_was_saved(self) -> None:
        stores = self.make_stores()
        run = _full_run()

        stores[0].save(run)

        for runs, _ in (stores, self.reopen(stores)):
            expect(runs.load("r"), run, "the run")

    def test_status_and_reason_are_enum_members_equal_to_their_text(self) -> None:
        runs, _ = self.make_stores()
        runs.save(parked("r", until=moment(1)))

        run = _loaded(runs, "r")

        assert run.status is RunStatus.WAITING
        assert run.waiting is not None
        assert run.waiting.reason is WaitReason.UNTIL
        expect((run.status, run.waiting.reason), ("waiting", "until"), "as text")

    def test_a_save_replaces_everything(self) -> None:
        runs, _ = self.make_stores()
        runs.save(_full_run())
        last = sample_run("r", status=RunStatus.COMPLETED, output={})

        runs.save(last)

        expect(runs.load("r"), last, "the run")

    def test_what_the_caller_changes_later_is_not_stored(self) -> None:
        runs, _ = self.make_stores()
        run = sample_run("r", vars={"list": [1]})
        runs.save(run)

        run.vars["list"].append("after save")
        run.status = RunStatus.FAILED
        _loaded(runs, "r").vars["list"].append("after load")

        expect(_loaded(runs, "r").vars, {"list": [1]}, "vars")
        assert _loaded(runs, "r").status is RunStatus.RUNNING

    def test_what_is_not_json_is_refused_and_the_stored_run_kept(self) -> None:
        runs, _ = self.make_stores()
        runs.save(sample_run("r", vars={"x": 1}))

        for value in (object(), {1, 2}, float("nan"), "\ud800"):
            with refuses(ValueError, TypeError):
                runs.save(sample_run("r", vars={"x": value}))

        expect(_loaded(runs, "r").vars, {"x": 1}, "vars")

    def test_python_keys_and_tuples_become_json(self) -> None:
        runs, _ = self.make_stores()
        runs.save(sample_run("r", vars={"x": (1, 2), "y": {3: RunStatus.FAILED}}))

        expect(_loaded(runs, "r").vars, {"x": [1, 2], "y": {"3": "failed"}}, "vars")


class RunQueriesContract(StoresUnderTest):
    """What the queries promise; for stores that have them."""

    def test_the_store_declares_its_queries(self) -> None:
        runs, _ = self.make_stores()
        assert isinstance(runs, QueryableRunStore)
        assert isinstance(runs, QueryableRunIndexStore)

    def test_list_runs_filters(self) -> None:
        runs = self._filled()
        cases: list[tuple[JsonObject, list[str]]] = [
            ({}, ["timer", "asking", "done", "live"]),
            ({"status": RunStatus.WAITING}, ["timer", "asking"]),
            ({"wait_reason": WaitReason.USER}, ["asking", "done"]),
            ({"workflow_id": "other"}, ["done"]),
            ({"status": RunStatus.WAITING, "wait_reason": WaitReason.USER}, ["asking"]),
            ({"status": RunStatus.FAILED}, []),
        ]
        for filters, expected in cases:
            expect(ids_of(runs.list_runs(**filters)), expected, str(filters))

    def test_list_runs_gives_the_newest_up_to_a_limit(self) -> None:
        runs = self._filled()
        cases = [(1, 1), (3, 3), (50, 4), (0, 4), (-2, 4)]
        for limit, expected in cases:
            found = ids_of(runs.list_runs(limit=limit))
            expect(found, ["timer", "asking", "done", "live"][:expected], f"limit {limit}")

    def test_listed_runs_are_the_callers_own(self) -> None:
        runs = self._filled()
        for run in runs.list_runs():
            run.vars["changed"] = True

        assert not any(run.vars for run in runs.list_runs())

    def test_due_timers_come_earliest_first_and_compare_as_moments(self) -> None:
        runs, _ = self._queryable()
        untils = {
            "second": "2026-01-01T00:00:02Z",
            "offset": "2026-01-01T02:00:01+02:00",
            "half": "2026-01-01T00:00:01.5+00:00",
            "later": moment(9),
            "elsewhere": "2025-12-31T23:00:09-01:00",
            "no-moment": "tomorrow",
        }
        for run_id, until in untils.items():
            runs.save(parked(run_id, until=until))
        runs.save(parked("user", WaitReason.USER, until=moment(1)))
        runs.save(parked("cancelled", until=moment(1), status=RunStatus.CANCELLED))
        runs.save(parked("open", WaitReason.UNTIL))

        due = ["offset", "half", "second"]
        expect(ids_of(runs.list_due_wait_until(now_iso="2026-01-01T00:00:02Z")), due, "due")
        one = runs.list_due_wait_until(now_iso=moment(2), limit=1)
        expect(ids_of(one), due[:1], "the first")
        expect(ids_of(runs.list_due_wait_until(now_iso=moment(0))), [], "due at midnight")

    def test_a_run_that_went_on_is_not_due(self) -> None:
        runs, _ = self._queryable()
        runs.save(parked("r", until=moment(1)))
        runs.save(sample_run("r"))

        expect(runs.list_due_wait_until(now_iso=moment(5)), [], "due")

    def test_children_come_oldest_first(self) -> None:
        stores = self._queryable()
        runs = stores[0]
        expect(runs.list_children(parent_run_id="p"), [], "children of nobody")
        for at, run_id in enumerate(["z", "a", "m"]):
            runs.save(sample_run(run_id, at=at, parent_run_id="p"))
        runs.save(sample_run("other", parent_run_id="q"))
        runs.save(sample_run("a", at=1, parent_run_id="p", status=RunStatus.COMPLETED))

        expect(ids_of(runs.list_children(parent_run_id="p")), ["z", "a", "m"], "children")
        ended = runs.list_children(parent_run_id="p", status=RunStatus.COMPLETED)
        expect(ids_of(ended), ["a"], "completed children")

    def test_children_that_another_process_saved_are_found(self) -> None:
        stores = self._queryable()
        stores[0].save(sample_run("c1", parent_run_id="p"))
        expect(ids_of(stores[0].list_children(parent_run_id="p")), ["c1"], "children")

        self.reopen(stores)[0].save(sample_run("c2", at=1, parent_run_id="p"))

        expect(ids_of(stores[0].list_children(parent_run_id="p")), ["c1", "c2"], "children")

    def test_the_index_has_ten_texts_per_run(self) -> None:
        runs, _ = self._queryable()
        runs.save(parked("r", until=moment(3), session_id="s", actor_id="me", parent_run_id="p"))
        runs.save(parked("open", WaitReason.USER, at=1))

        opened, row = runs.list_run_index()

        expect(frozenset(row), INDEX_KEYS, "the keys")
        given = {"status": "waiting", "wait_reason": "until", "wait_until": moment(3)}
        expect({name: row[name] for name in given}, given, "the row")
        expect((row["session_id"], row["actor_id"], row["parent_run_id"]), ("s", "me", "p"))
        expect((opened["wait_reason"], opened["wait_until"]), ("user", None), "no deadline")
        assert all(type(value) in (str, type(None)) for value in row.values())

    def test_the_index_filters(self) -> None:
        runs, _ = self._queryable()
        runs.save(sample_run("root", at=1, session_id="s"))
        runs.save(sample_run("child", at=2, session_id="s", parent_run_id="root"))
        runs.save(parked("other", at=3, session_id="t", workflow_id="v"))
        cases: list[tuple[JsonObject, list[str]]] = [
            ({}, ["other", "child", "root"]),
            ({"session_id": " s "}, ["child", "root"]),
            ({"root_only": True}, ["other", "root"]),
            ({"session_id": "s", "root_only": True}, ["root"]),
            ({"status": RunStatus.WAITING}, ["other"]),
            ({"workflow_id": "w"}, ["child", "root"]),
            ({"limit": 2}, ["other", "child"]),
            ({"limit": 0}, ["other", "child", "root"]),
        ]
        for filters, expected in cases:
            found = [row["run_id"] for row in runs.list_run_index(**filters)]
            expect(found, expected, str(filters))

    def _queryable(self) -> tuple[Any, LedgerStore]:
        return self.make_stores()

    def _filled(self) -> Any:
        runs, _ = self._queryable()
        runs.save(sample_run("live", at=1))
        runs.save(parked("timer", until=moment(9), at=4))
        runs.save(parked("asking", WaitReason.USER, at=3))
        done = parked("done", WaitReason.USER, at=2, workflow_id="other")
        done.status = RunStatus.COMPLETED
        runs.save(done)
        return runs


class LedgerStoreContract(StoresUnderTest):
    """What `append` and `list` promise, and the optional methods where a store has them."""

    def test_an_unknown_run_has_no_records(self) -> None:
        _, ledger = self.make_stores()
        for run_id in _UNKNOWN_IDS:
            expect(ledger.list(run_id), [], repr(run_id))

    def test_records_stay_in_order_and_apart(self) -> None:
        stores = self.make_stores()
        for number in range(12):
            for run_id in ("r", "other"):
                stores[1].append(sample_record(run_id, number))

        expected = [f"n{number}" for number in range(12)]
        for _, ledger in (stores, self.reopen(stores)):
            for run_id in ("r", "other"):
                expect([r["node_id"] for r in ledger.list(run_id)], expected, run_id)

    def test_a_record_has_sixteen_keys_and_plain_values(self) -> None:
        _, ledger = self.make_stores()
        record = sample_record()
        ledger.append(record)

        (stored,) = ledger.list("r")

        expect(frozenset(stored), RECORD_KEYS, "the keys")
        expect(stored, record.to_dict(), "the record")
        expect(stored["effect"], {"type": "llm_call", **_payload_of(record)}, "the effect")

    def test_one_record_object_is_appended_twice(self) -> None:
        _, ledger = self.make_stores()
        record = sample_record()
        ledger.append(record)
        ledger.append(record.finish_success({"x": 1}))

        first, second = ledger.list("r")

        statuses = (first["status"], second["status"])
        expect(statuses, ("started", "completed"), "statuses")
        expect(statuses, (StepStatus.STARTED, StepStatus.COMPLETED), "statuses as members")
        expect((first["result"], second["result"]), (None, {"x": 1}), "results")
        expect(first["step_id"], second["step_id"], "step ids")

    def test_what_the_caller_changes_is_not_stored(self) -> None:
        _, ledger = self.make_stores()
        record = sample_record().finish_success({"list": [1]})
        ledger.append(record)
        assert record.result is not None

        record.result["list"].append("after append")
        listed = ledger.list("r")
        listed[0]["result"]["list"].append("after list")
        listed.clear()

        expect([r["result"] for r in ledger.list("r")], [{"list": [1]}], "results")

    def test_what_is_not_json_is_refused_and_nothing_appended(self) -> None:
        _, ledger = self.make_stores()
        ledger.append(sample_record())

        for value in (object(), {1, 2}, float("inf"), "\ud800"):
            with refuses(ValueError, TypeError):
                ledger.append(sample_record("r", 1).finish_success({"x": value}))

        expect(len(ledger.list("r")), 1, "records")

    def test_threads_lose_and_mix_up_nothing(self) -> None:
        stores = self.make_stores()
        others = self.reopen(stores)

        def write(ledger: LedgerStore, start: int) -> None:
            for number in range(start, start + 20):
                ledger.append(sample_record("r", number))

        ledgers = (stores[1], others[1], stores[1])
        threads = [
            threading.Thread(target=write, args=(ledger, 100 * i))
            for i, ledger in enumerate(ledgers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        numbers = [r["effect"]["payload"]["number"] for r in stores[1].list("r")]
        for start in (0, 100, 200):
            own = [n for n in numbers if start <= n < start + 100]
            expect(own, list(range(start, start + 20)), "records of one thread")

    def test_the_optional_methods_agree_with_list(self) -> None:
        _, ledger = self.make_stores()
        for number in range(5):
            ledger.append(sample_record("r", number))
        count: Any = getattr(ledger, "count", None)
        count_many: Any = getattr(ledger, "count_many", None)
        list_after: Any = getattr(ledger, "list_after", None)

        if count is not None:
            expect((count("r"), count("nobody")), (5, 0), "count")
        if count_many is not None:
            # A wrapper whose inner store cannot count many gives nothing.
            assert count_many(["r", "nobody"]) in ({"r": 5}, {}), "count_many"
        if list_after is not None:
            for after in (0, 3, 5, 9):
                found = list_after(run_id="r", after=after)
                records = found[0] if isinstance(found, tuple) else found
                expect(records, ledger.list("r")[after:], f"list_after {after}")

    def test_subscribers_get_what_is_stored(self) -> None:
        _, ledger = self.make_stores()
        subscribe: Any = getattr(ledger, "subscribe", None)
        if subscribe is None:
            return
        seen: list[JsonObject] = []
        unsubscribe = subscribe(seen.append, run_id="r")
        record = sample_record()
        ledger.append(record)
        ledger.append(sample_record("other"))
        ledger.append(record.finish_success({"x": 1}))

        unsubscribe()
        ledger.append(sample_record("r", 1))

        expect(seen, ledger.list("r")[:2], "published records (C3)")


def _full_run() -> RunState:
    """Make a run in which every field has a value that formats like to lose."""
    wait = WaitState(
        WaitReason.USER,
        wait_key="k",
        until=moment(9),
        resume_to_node="b",
        result_key="a.b",
        prompt="?",
        choices=["ja", "nein"],
        allow_free_text=False,
        details={"deep": [{"x": None}]},
    )
    values: JsonObject = {
        "text": 'é \u2028 \x1f "\\',
        "numbers": [0, -1, 2**70, 1.5, 1e300, 0.1],
        "": {"a.b": True, "a/b": None, "ä": []},
    }
    return sample_run(
        "r",
        at=5,
        status=RunStatus.WAITING,
        vars=values,
        waiting=wait,
        output={"x": {}},
        error="a\nb",
        actor_id="me",
        session_id="s",
        parent_run_id="p",
        ledger_seq=7,
    )


def _loaded(runs: RunStore, run_id: str) -> RunState:
    run = runs.load(run_id)
    assert run is not None, f"run {run_id!r} is gone"
    return run


def _payload_of(record: StepRecord) -> JsonObject:
    assert record.effect is not None
    return {name: record.effect[name] for name in ("payload", "result_key")}
