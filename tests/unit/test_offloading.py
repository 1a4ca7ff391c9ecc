"""Keeping large values out of checkpoints and ledgers, and putting them back."""

from __future__ import annotations

import copy
import json

import pytest

from abstractruntime._json import dump_line
from abstractruntime.core.models import RunState, RunStatus, StepRecord
from abstractruntime.errors import IntegrityError, StoreIOError
from abstractruntime.storage import _sizes
from abstractruntime.storage.artifacts import (
    InMemoryArtifactStore,
    artifact_ref,
    is_artifact_ref,
    resolve_artifact,
)
from abstractruntime.storage.base import QueryableRunStore
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.storage.offloading import (
    DEFAULT_MAX_INLINE_BYTES,
    OffloadingLedgerStore,
    OffloadingRunStore,
    _default_max_inline_bytes,
    offload_large_values,
    restore_offloaded,
)

BIG = "x" * 200
REF = {"$artifact": "a" * 32, "label": BIG}


@pytest.fixture
def artifacts():
    return InMemoryArtifactStore()


def offload(value, artifacts, **options):
    options = {"max_inline_bytes": 100, "run_id": "r", **options}
    return offload_large_values(value, artifact_store=artifacts, **options)


def paths(artifacts):
    return {m.tags["path"]: m.tags["kind"] for m in artifacts.list_all()}


# ---- the rules


@pytest.mark.parametrize(
    "value, options, expected",
    [
        ({"a": BIG}, {}, {"a": "text"}),
        ({"a": [1, {"b": BIG}]}, {}, {"a[1].b": "text"}),
        ({"a": {"b": list(range(90))}}, {}, {"a.b": "json"}),
        ({"a": {str(n): "y" * 9 for n in range(20)}}, {}, {"a": "json"}),
        ({"a": BIG}, {"root_path": "vars"}, {"vars.a": "text"}),
        ([BIG], {}, {"[0]": "text"}),
        ({"a": b"1"}, {}, {"a": "bytes"}),
        ({"a": bytearray(b"1")}, {"allow_offload": lambda *_: False}, {"a": "bytes"}),
        (b"1", {"root_path": "p"}, {"p": "bytes"}),
        ("é" * 51, {"allow_root_replace": True, "root_path": "o"}, {"o": "text"}),
        ({1: BIG, None: 2}, {}, {"1": "text"}),
        ({"a": [], "b": {"x": {1}, "y": BIG}}, {}, {"b.y": "text"}),
        ({"a": {"t": (BIG, 1)}, "b": BIG}, {}, {"a": "json", "b": "text"}),
    ],
)
def test_what_is_replaced(artifacts, value, options, expected):
    new = offload(value, artifacts, **options)

    assert paths(artifacts) == expected
    assert new is not value


def no(path, value):
    return False


def spoilt(path, value):
    raise LookupError(path)


def leaves(path, value):
    return not isinstance(value, dict | list)


@pytest.mark.parametrize(
    "value, options",
    [
        ({"a": BIG, "b": b"1"}, {"max_inline_bytes": 0}),
        ({"a": BIG}, {"max_inline_bytes": -1}),
        ({"a": "x" * 100}, {}),
        (BIG, {}),
        ([1] * 90, {}),
        (REF, {"allow_root_replace": True}),
        ({"a": REF}, {"allow_offload": leaves}),
        ({"a": BIG}, {"allow_offload": no}),
        ({"a": BIG}, {"allow_offload": spoilt}),
        ({"a": (BIG, b"1")}, {}),
        ({"a": (BIG,)}, {"allow_offload": leaves}),
        ({"a": {BIG}}, {}),
        ({"a": ["\ud800" * 200]}, {}),
        ({"a": [float("nan")] * 50}, {}),
        (None, {}),
    ],
)
def test_what_is_left_alone(artifacts, value, options):
    assert offload(value, artifacts, **options) is value
    assert artifacts.list_all() == []


def test_only_what_changed_is_copied(artifacts):
    value = {"same": {"x": [1]}, "big": BIG}
    before = copy.deepcopy(value)

    new = offload(value, artifacts)

    assert value == before
    assert new["same"] is value["same"]


def test_the_smallest_parts_that_suffice_are_replaced(artifacts):
    value = {"a": {"b": {"big": BIG, "small": 1}}}

    new = offload(value, artifacts)

    assert new["a"]["b"]["small"] == 1
    assert is_artifact_ref(new["a"]["b"]["big"])


def test_a_reference_says_what_it_names(artifacts):
    ref = offload({"a": BIG}, artifacts, base_tags={"source": "s"})["a"]

    assert {k: ref[k] for k in ("size_bytes", "content_type", "run_id")} == {
        "size_bytes": 200,
        "content_type": "text/plain",
        "run_id": "r",
    }
    artifact = resolve_artifact(ref, artifacts)
    assert artifact.as_text() == BIG
    assert artifact.metadata.tags == {"source": "s", "path": "a", "kind": "text"}


def test_offloading_twice_changes_nothing(artifacts):
    once = offload({"a": [BIG, {"b": list(range(90))}]}, artifacts, max_inline_bytes=250)

    assert offload(once, artifacts, max_inline_bytes=250) is once


def test_user_data_that_looks_like_a_reference_hides_nothing_large(artifacts):
    value = {"a": {"$artifact": "mine", "payload": "y" * 9000}}

    offload(value, artifacts, max_inline_bytes=1000)

    assert "a.payload" in paths(artifacts)


@pytest.mark.parametrize("kind", [dict, list])
def test_a_value_that_contains_itself_is_an_error(artifacts, kind):
    value = {"x": BIG}
    value["self"] = value if kind is dict else [value]

    with pytest.raises(ValueError, match="contains itself"):
        offload(value, artifacts)


def test_a_value_that_appears_twice_is_no_cycle(artifacts):
    shared = {"big": BIG}

    new = offload({"a": shared, "b": shared}, artifacts, max_inline_bytes=190)

    assert new["a"] == new["b"]


def test_too_deep_is_a_value_error(artifacts):
    value = BIG
    for _ in range(5000):
        value = [value]

    with pytest.raises(ValueError, match="nested too deep"):
        offload({"a": value}, artifacts)


def test_the_work_grows_with_the_size_not_with_the_depth(artifacts, monkeypatch):
    written = []

    def counting(value):
        written.append(len(dump_line(value)))
        return dump_line(value)

    monkeypatch.setattr(_sizes, "dump_line", counting)
    value = {"leaf": b""}
    for _ in range(100):
        value = {"k": value, "text": "x" * 90}
    offload(value, artifacts, allow_offload=no)

    assert sum(written) < 2 * 100 * 100


# ---- the limit


@pytest.mark.parametrize(
    "text, expected",
    [(None, 262144), ("", 262144), ("x", 262144), (" 12 ", 12), ("0", 0), ("-1", -1)],
)
def test_the_default_limit(monkeypatch, text, expected):
    monkeypatch.delenv("ABSTRACTRUNTIME_MAX_INLINE_BYTES", raising=False)
    if text is not None:
        monkeypatch.setenv("ABSTRACTRUNTIME_MAX_INLINE_BYTES", text)

    assert _default_max_inline_bytes() == expected
    assert DEFAULT_MAX_INLINE_BYTES == 262144


# ---- run stores


def a_run(status=RunStatus.COMPLETED):
    variables = {"public": BIG, "_temp": {"x": BIG + "x", "_y": [list(range(90))]}, "_top": BIG}
    return RunState("r", "w", status, "n", variables, output={"answer": [BIG + "o"] * 3})


def run_store(artifacts, inner=None):
    return OffloadingRunStore(
        inner or InMemoryRunStore(), artifact_store=artifacts, max_inline_bytes=100
    )


def test_an_ended_run_is_offloaded_below_private_variables_and_in_its_output(artifacts):
    store, run = run_store(artifacts), a_run()
    store.save(run)
    loaded = store.load("r")

    assert (run.vars, run.output) == (a_run().vars, a_run().output)
    assert loaded.vars["public"] == loaded.vars["_top"] == BIG
    assert is_artifact_ref(loaded.vars["_temp"]["x"])
    assert is_artifact_ref(loaded.vars["_temp"]["_y"][0])
    assert is_artifact_ref(loaded.output["answer"])
    sources = {m.tags["path"]: m.tags["source"] for m in artifacts.list_all()}
    assert sources["vars._temp.x"] == "run_store_offload"
    assert sources["output.answer"] == "run_output_offload"


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.WAITING])
def test_a_living_run_is_saved_as_it_is(artifacts, status):
    store = run_store(artifacts)
    store.save(a_run(status))

    assert store.load("r").vars == a_run().vars
    assert artifacts.list_all() == []


def test_a_loaded_run_can_be_restored(artifacts):
    store = run_store(artifacts)
    store.save(a_run())

    restored = store.restore(store.load("r"))

    assert (restored.vars, restored.output) == (a_run().vars, a_run().output)


def test_queries_are_delegated(artifacts):
    store = run_store(artifacts)
    store.save(a_run())

    assert isinstance(store, QueryableRunStore)
    assert [r.run_id for r in store.list_runs(status=RunStatus.COMPLETED)] == ["r"]
    assert store.list_children(parent_run_id="x") == []
    assert store.list_due_wait_until(now_iso="2026-01-01") == []


@pytest.mark.parametrize(
    "query, arguments",
    [
        ("list_runs", {}),
        ("list_due_wait_until", {"now_iso": "x"}),
        ("list_children", {"parent_run_id": "x"}),
        ("list_run_index", {}),
    ],
)
def test_a_query_that_the_inner_store_lacks(artifacts, query, arguments):
    class Plain:
        pass

    with pytest.raises(NotImplementedError, match=f"Plain has no {query}"):
        getattr(run_store(artifacts, Plain()), query)(**arguments)


# ---- ledger stores


def a_record(result=None, run_id="r"):
    run = RunState(run_id, "w", RunStatus.RUNNING, "n")
    record = StepRecord.start(run=run, node_id="n", effect=None, idempotency_key="k")
    record.effect = {"type": "llm_call", "payload": {"prompt": BIG + "?"}, "result_key": None}
    return record.finish_success({"text": BIG, "list": [1]} if result is None else result)


def ledger(artifacts, inner=None):
    return OffloadingLedgerStore(
        inner or InMemoryLedgerStore(), artifact_store=artifacts, max_inline_bytes=100
    )


def test_effect_and_result_are_offloaded_and_the_record_is_not_touched(artifacts):
    store, record = ledger(artifacts), a_record()
    store.append(record)
    (stored,) = store.list("r")

    assert record.result["text"] == BIG
    assert is_artifact_ref(stored["effect"]["payload"]["prompt"])
    assert is_artifact_ref(stored["result"]["text"])
    assert stored["result"]["list"] == [1]
    assert {m.tags["source"] for m in artifacts.list_all()} == {
        "ledger_effect_offload",
        "ledger_result_offload",
    }


def test_the_root_of_a_result_stays_an_object(artifacts):
    store = ledger(artifacts)
    store.append(a_record({str(n): n for n in range(99)}))

    assert store.list("r")[0]["result"]["98"] == 98


@pytest.mark.parametrize(
    "result",
    [
        {"text": BIG, "list": [1]},
        {"deep": {"a": [{"b": BIG}, {"c": list(range(90))}]}},
        {"kept": artifact_ref("a" * 32), "mine": {"$artifact": 5}},
        {"small": 1},
        {},
    ],
    ids=["text", "deep", "own references", "small", "empty"],
)
def test_a_listed_record_can_be_restored_for_reuse(artifacts, result):
    store, record = ledger(artifacts), a_record(result)
    store.append(record)

    restored = store.restore(store.list("r")[0])

    assert restored["result"] == result
    assert restored["effect"] == record.effect


def test_references_of_another_run_stay(artifacts):
    child = offload({"a": BIG}, artifacts, run_id="child")
    store = ledger(artifacts)
    store.append(a_record(child))

    assert store.restore(store.list("r")[0])["result"] == child


def test_bare_references_of_older_ledgers_are_restored_by_their_tags(artifacts):
    made = artifacts.store_text(BIG, run_id="r", tags={"source": "ledger_result_offload"})
    own = artifacts.store_text("y", run_id="r", tags={"kind": "evidence"})
    value = {"a": artifact_ref(made.artifact_id), "b": artifact_ref(own.artifact_id)}

    assert restore_offloaded(value, artifacts, run_id="r") == {"a": BIG, "b": value["b"]}


@pytest.mark.parametrize("damage", ["missing", "other content", "other run"])
def test_what_cannot_be_restored_is_an_error(artifacts, damage):
    ref = offload({"a": BIG}, artifacts)["a"]
    artifacts.delete(ref["$artifact"])
    if damage != "missing":
        content = b"other" if damage == "other content" else BIG.encode()
        owner = "r" if damage == "other content" else "s"
        artifacts.store(content, run_id=owner, artifact_id=ref["$artifact"])

    with pytest.raises(IntegrityError, match=ref["$artifact"]):
        restore_offloaded({"a": ref}, artifacts, run_id="r")


def test_a_record_is_stored_as_it_is_when_offloading_fails():
    class Full(InMemoryArtifactStore):
        def store(self, content, **more):
            raise StoreIOError("full")

    runs, records = run_store(Full()), ledger(Full())
    runs.save(a_run())
    records.append(a_record())

    assert runs.load("r").output == a_run().output
    assert records.list("r")[0]["result"]["text"] == BIG
    assert str(runs.last_offload_error) == str(records.last_offload_error) == "full"


def test_what_is_stored_is_json(artifacts):
    store = ledger(artifacts)
    store.append(a_record({"raw": b"\x00"}))

    assert json.loads(json.dumps(store.list("r")))[0]["result"]["raw"]["size_bytes"] == 1
