"""Snapshot stores: both follow the same rules; the file one keeps whole files only."""

from __future__ import annotations

import json
import os

import pytest

from abstractruntime.core.models import RunState, RunStatus
from abstractruntime.storage.snapshots import (
    InMemorySnapshotStore,
    JsonSnapshotStore,
    Snapshot,
    SnapshotStore,
)

RUN = RunState("run-1", "w", RunStatus.RUNNING, "n", {"a": [1]})


@pytest.fixture(params=["memory", "json"])
def store(request, tmp_path):
    return InMemorySnapshotStore() if request.param == "memory" else JsonSnapshotStore(tmp_path)


def a_snapshot(snapshot_id, *, created_at="2026-01-01T00:00:00+00:00", **more):
    return Snapshot(snapshot_id, more.pop("run_id", "run-1"), created_at=created_at, **more)


def test_a_snapshot_of_a_run_is_a_copy():
    snapshot = Snapshot.from_run(run=RUN, name="before", tags=["x"], step_id="s")
    RUN.vars["a"].append(2)

    assert snapshot.run_state["vars"] == {"a": [1]}
    assert RunState.from_dict(snapshot.run_state).run_id == "run-1"
    assert (snapshot.name, snapshot.tags, snapshot.step_id) == ("before", ["x"], "s")


def test_save_load_delete(store):
    snapshot = a_snapshot("s1", updated_at="old", run_state={"vars": {"a": [1]}})
    store.save(snapshot)
    loaded = store.load("s1")

    assert isinstance(store, SnapshotStore)
    assert snapshot.updated_at != "old"
    assert loaded == snapshot
    loaded.run_state["vars"]["a"].append(2)
    assert store.load("s1").run_state == {"vars": {"a": [1]}}
    assert (store.delete("s1"), store.delete("s1"), store.load("s1")) == (True, False, None)


@pytest.mark.parametrize(
    "filters, expected",
    [
        ({}, ["c", "b", "a"]),
        ({"run_id": "run-2"}, ["c"]),
        ({"tag": "GREEN"}, ["b"]),
        ({"tag": "gre"}, []),
        ({"query": "FIRST"}, ["a"]),
        ({"query": "second"}, ["b"]),
        ({"tag": "red", "query": "third"}, ["c"]),
        ({"tag": "green", "query": "first"}, []),
        ({"limit": 2}, ["c", "b"]),
        ({"limit": 0}, []),
        ({"limit": -1}, []),
    ],
    ids=str,
)
def test_filters(store, filters, expected):
    store.save(a_snapshot("a", created_at="2026-01-01", name="The first", tags=["Red"]))
    store.save(a_snapshot("b", created_at="2026-01-02", description="Second", tags=["Green"]))
    store.save(a_snapshot("c", created_at="2026-01-03", name="third", run_id="run-2", tags=["red"]))

    assert [s.snapshot_id for s in store.list(**filters)] == expected


@pytest.mark.parametrize("bad", ["", "../x", "a/b", "a\n", "a\x00", "x" * 129])
@pytest.mark.parametrize("verb", ["save", "load", "delete"])
def test_an_id_that_could_name_a_path_is_refused(store, verb, bad):
    argument = a_snapshot(bad) if verb == "save" else bad

    with pytest.raises(ValueError, match="snapshot id"):
        getattr(store, verb)(argument)


def test_a_state_that_is_not_json_is_refused_before_anything_is_written(store):
    with pytest.raises(ValueError, match="set at '/run_state/x'"):
        store.save(a_snapshot("s", run_state={"x": {1}}))
    assert store.list() == []


def test_the_file_is_the_documented_one(tmp_path):
    JsonSnapshotStore(tmp_path).save(a_snapshot("s1", name="é"))

    text = (tmp_path / "snapshot_s1.json").read_text("utf-8")
    assert list(json.loads(text)) == [
        "snapshot_id",
        "run_id",
        "step_id",
        "name",
        "description",
        "tags",
        "created_at",
        "updated_at",
        "run_state",
    ]
    assert '  "name": "é"' in text
    assert os.listdir(tmp_path) == ["snapshot_s1.json"]


@pytest.mark.parametrize(
    "text, error", [("{", ValueError), ("[]", ValueError), ('{"snapshot_id": "s1"}', KeyError)]
)
def test_a_damaged_file_is_named_by_load_and_left_out_by_list(tmp_path, text, error):
    store = JsonSnapshotStore(tmp_path)
    store.save(a_snapshot("good"))
    (tmp_path / "snapshot_s1.json").write_text(text)

    with pytest.raises(error, match=r"'snapshot_s1.json' is not a snapshot"):
        store.load("s1")
    assert [s.snapshot_id for s in store.list()] == ["good"]


def test_listing_creates_nothing(tmp_path):
    assert JsonSnapshotStore(tmp_path / "none").list() == []
    assert not (tmp_path / "none").exists()
