from __future__ import annotations

import copy
import json

import pytest
from ledger_files import verify_file

from abstractruntime.core.models import RunState, RunStatus, StepRecord
from abstractruntime.signing import verify_ledger
from abstractruntime.storage.base import LedgerStore
from abstractruntime.storage.ledger_chain import (
    HashChainedLedgerStore,
    compute_record_hash,
    verify_ledger_chain,
)


class ListStore(LedgerStore):
    def __init__(self):
        self.rows = []

    def append(self, record):
        self.rows.append(json.loads(json.dumps(record.to_dict())))

    def list(self, run_id):
        return [row for row in self.rows if row["run_id"] == run_id]

    def count(self, run_id):
        return len(self.list(run_id))


def records(count):
    store = HashChainedLedgerStore(ListStore())
    run = RunState("run-1", "flow", RunStatus.RUNNING, "n")
    for _ in range(count):
        store.append(StepRecord.start(run=run, node_id="n", effect=None).finish_success({"a": 1}))
    return store.list("run-1")


def test_a_chained_store_gives_a_chain():
    report = verify_ledger_chain(records(3))

    assert report["ok"] is True
    assert (report["count"], report["errors"], report["first_bad_index"]) == (3, [], None)
    assert report["head_hash"] == report["computed_head_hash"]


def test_a_second_store_instance_continues_the_chain():
    inner = ListStore()
    run = RunState("run-1", "flow", RunStatus.RUNNING, "n")
    for _ in range(3):
        HashChainedLedgerStore(inner).append(StepRecord.start(run=run, node_id="n", effect=None))

    assert verify_ledger_chain(inner.rows)["ok"]


def test_extras_of_the_inner_store_pass_through():
    store = HashChainedLedgerStore(ListStore())

    assert store.count("run-1") == 0
    with pytest.raises(AttributeError):
        store.subscribe  # noqa: B018 - the lookup is the test


def test_an_empty_ledger_is_a_chain():
    assert verify_ledger_chain([]) == {
        "ok": True,
        "count": 0,
        "errors": [],
        "first_bad_index": None,
        "head_hash": None,
        "computed_head_hash": None,
    }


def edit(index):
    def change(rows):
        rows[index]["error"] = "x"

    return change


@pytest.mark.parametrize(
    "change, types, first",
    [
        (edit(0), ["record_hash_mismatch"], 0),
        (lambda rows: (edit(0)(rows), edit(2)(rows)), ["record_hash_mismatch"] * 2, 0),
        (lambda rows: rows.pop(1), ["prev_hash_mismatch"], 1),
        (lambda rows: rows.reverse(), ["prev_hash_mismatch"] * 4, 0),
        (lambda rows: rows[2].update(record_hash=None), ["missing_record_hash"], 2),
        (lambda rows: rows[1].update(unknown=1), ["record_hash_mismatch"], 1),
        (lambda rows: rows[1].update(signature="x"), [], None),
        (lambda rows: rows.pop(), [], None),
    ],
    ids=[
        "edit-first",
        "edit-two",
        "delete",
        "reverse",
        "no-hash",
        "unknown-key",
        "signature",
        "tail",
    ],
)
def test_chain_report(change, types, first):
    rows = copy.deepcopy(records(4))
    change(rows)

    report = verify_ledger_chain(rows)

    assert [error["type"] for error in report["errors"]] == types
    assert report["first_bad_index"] == first
    assert report["ok"] is (not types)


def test_the_hash_does_not_cover_itself_but_everything_else():
    row = records(1)[0]
    base = compute_record_hash(record=row, prev_hash=None)

    assert (
        compute_record_hash(record={**row, "record_hash": "x", "signature": "y"}, prev_hash=None)
        == base
    )
    assert compute_record_hash(record=row, prev_hash="0") != base
    for key in row.keys() - {"record_hash", "signature", "prev_hash"}:
        assert compute_record_hash(record={**row, key: "other"}, prev_hash=None) != base, key


# ---- ledgers of 0.4.x


def legacy_lines(rows):
    return [(json.dumps(row, ensure_ascii=False) + "\n").encode() for row in rows]


def test_a_chained_legacy_ledger_is_valid_unsigned():
    verdict = verify_ledger(legacy_lines(records(4)))

    assert (verdict.verdict, verdict.records, verdict.warnings) == ("valid_unsigned", 4, ())


def test_a_plain_legacy_ledger_is_valid_unsigned_with_a_warning():
    rows = [{**row, "prev_hash": None, "record_hash": None} for row in records(3)]

    verdict = verify_ledger(legacy_lines(rows))

    assert (verdict.verdict, verdict.warnings) == ("valid_unsigned", ("3 records carry no hash",))


def test_a_legacy_ledger_with_nan_raises_no_false_alarm():
    row = records(1)[0]
    row["result"] = {"x": float("nan")}
    row["record_hash"] = compute_record_hash(record=row, prev_hash=None)

    assert verify_ledger(legacy_lines([row])).verdict == "valid_unsigned"


@pytest.mark.parametrize("index", [0, 2])
def test_an_edited_legacy_ledger_is_invalid(index):
    rows = records(3)
    rows[index]["error"] = "x"

    verdict = verify_ledger(legacy_lines(rows))

    assert (verdict.verdict, verdict.first_bad_index) == ("invalid", index)


def test_a_hash_that_vanishes_in_a_chained_legacy_ledger_is_a_defect():
    rows = records(3)
    rows[1].update(prev_hash=None, record_hash=None)

    assert verify_ledger(legacy_lines(rows)).first_bad_index == 1


def test_numbered_records_behind_legacy_ones_count_on():
    rows = records(3)
    rows[2]["seq"] = 2
    rows[2]["record_hash"] = compute_record_hash(record=rows[2], prev_hash=rows[1]["record_hash"])
    compact = json.dumps(rows[2], ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    assert verify_ledger([*legacy_lines(rows[:2]), compact]).verdict == "valid_unsigned"


# ---- files


def test_a_file_without_heads_is_read(tmp_path):
    path = tmp_path / "ledger_run-1.jsonl"
    path.write_bytes(b"".join(legacy_lines(records(2))))

    verdict = verify_file(path, heads=tmp_path / "heads_run-1.jsonl", run_id="run-1")

    assert (verdict.verdict, verdict.bytes) == ("valid_unsigned", path.stat().st_size)
    assert verdict.to_dict()["format"] == "art-verify/1"
