"""Subscribers of a directory store."""

from __future__ import annotations

import pytest

from abstractruntime.core.models import RunState, RunStatus, StepRecord, StepStatus
from abstractruntime.errors import StoreError
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage.directory import open_store


def a_record(run_id="r", step="s", status=StepStatus.COMPLETED, **fields):
    return StepRecord(run_id, step, "n", status, started_at="t", **fields)


def created(store, run_id="r"):
    run = RunState(run_id, "w", RunStatus.RUNNING, "n", {"a": 1})
    return store.create(run, a_record(run_id, result={"internal": "run_started"}))


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store") as engine:
        yield engine


def test_subscribers_get_what_is_stored_in_order(store):
    heard = []
    store.subscribe(heard.append)
    log = created(store)
    record = a_record(step="s1", status=StepStatus.STARTED)
    log.commit(record)
    log.commit(record.finish_success({"x": 1}), a_record(step="s2"))
    log.append_bare(a_record(step="s3"))

    assert heard == [stored.record for stored in store.records("r")]
    assert [(r["step_id"], r["status"]) for r in heard[1:3]] == [
        ("s1", "started"),
        ("s1", "completed"),
    ]
    log.close()


def test_a_subscriber_hears_of_its_run_until_it_ends_that(store):
    heard = []
    stop = store.ledgers.subscribe(heard.append, run_id="b")
    created(store, "a").close()
    created(store, "b").close()
    stop()
    stop()
    created(store, "c").close()

    assert [record["run_id"] for record in heard] == ["b"]


def test_every_subscriber_gets_a_copy_of_its_own(store):
    heard = []
    store.subscribe(lambda record: record.clear())
    store.subscribe(heard.append)
    created(store).close()

    assert heard[0]["run_id"] == "r"
    store.ledgers.clear_subscribers()
    created(store, "b").close()
    assert len(heard) == 1


def test_a_raising_subscriber_disturbs_nobody(store):
    heard = []

    def refuse(record):
        raise RuntimeError("no")

    store.subscribe(refuse)
    store.subscribe(heard.append)
    log = created(store)
    log.run.vars["a"] = 2
    log.commit(a_record(step="s1"))
    log.close()

    assert len(heard) == 2
    assert store.peek("r").vars == {"a": 2}
    assert str(store.services.observers.last_error) == "no"


def test_a_subscriber_may_read_the_run_and_unsubscribe_while_it_is_called(store):
    seen = []

    def once(record):
        seen.append(store.peek("r").vars["a"])
        stop()

    log = created(store)
    stop = store.subscribe(once)
    log.run.vars["a"] = 5
    log.commit(a_record(step="s1"), a_record(step="s2"))
    log.close()

    assert seen[0] == 5
    assert store.services.observers.subscribers == ()


def test_a_record_that_was_not_written_is_not_published():
    fs = SimFileSystem()
    store = open_store("/s", fs=fs)
    log = created(store)
    heard = []
    store.subscribe(heard.append)
    fs.fail_at[len(fs.calls) + 1] = 28  # the size check comes first

    with pytest.raises(StoreError):
        log.commit(a_record(step="s1"))
    assert heard == []
    log.commit(a_record(step="s2"))
    assert [record["step_id"] for record in heard] == ["s2"]
    log.close()
