"""Directories of 0.4.x: read as they are, imported run by run, continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ledger_files import verify_file
from legacy_directory import (
    QUESTION,
    T,
    chained,
    checkpoint,
    checkpoint_bytes,
    ledger_bytes,
    record,
    status_record,
    waiting_run,
    write_run,
)
from legacy_flow import Host, key_of

from abstractruntime.core.commands import Cancel, Command
from abstractruntime.core.models import RunState, RunStatus, StepRecord, StepStatus
from abstractruntime.core.ports import RunQuery
from abstractruntime.errors import (
    Busy,
    ChainBroken,
    HeadMismatch,
    IntegrityError,
    InvalidValue,
    NotFound,
    UsageError,
)
from abstractruntime.signing import verify_ledger
from abstractruntime.signing.keys import generate
from abstractruntime.storage._store.heads import KeySigner
from abstractruntime.storage.directory import open_store

DONE = [record(status="started"), record(idempotency_key=key_of())]
ASKED = [
    *DONE,
    record(status="started", node="ask", idempotency_key="k2"),
    record(status="waiting", node="ask", idempotency_key="k2", result={"wait": QUESTION}),
]


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def own(engine: Any, run_id: str = "r1") -> RunState:
    """Open a run for writing and give it up again."""
    log = engine.open(run_id)
    log.settle()
    log.close()
    return log.run


def verdict(root: Path, run_id: str = "r1") -> Any:
    with (root / f"ledger_{run_id}.jsonl").open("rb") as file:
        return verify_ledger(file, run_id=run_id)


# -- reading -------------------------------------------------------------------


def test_looking_changes_nothing(tmp_path):
    write_run(tmp_path, waiting_run(), ASKED, tail=b'{"run_id"')
    write_run(tmp_path, checkpoint("r2", "completed", output={"ok": True}), None)
    before = snapshot(tmp_path)

    with open_store(tmp_path, create=False) as engine:
        found = {h.run_id: h.status.value for h in engine.find(RunQuery())}
        records = [item.record["status"] for item in engine.records("r1")]
        facts = [engine.head(run_id).records for run_id in ("r1", "r2")]
        peeked = engine.peek("r2").output
        last = engine.recent("r1", 1)[0].seq

    assert found == {"r1": "waiting", "r2": "completed"}
    assert records == ["started", "completed", "started", "waiting"]
    assert (facts, peeked, last) == ([4, 0], {"ok": True}, 3)
    assert snapshot(tmp_path) == before


def test_queries_see_what_04x_wrote_since(tmp_path):
    write_run(tmp_path, checkpoint(), None)
    engine = open_store(tmp_path)
    assert [h.status for h in engine.find(RunQuery())] == [RunStatus.RUNNING]

    write_run(tmp_path, waiting_run(), None)

    for _ in range(2):
        assert [h.wait_key for h in engine.find(RunQuery(live_only=True))] == [QUESTION["wait_key"]]


@pytest.mark.parametrize("run_id", ["a.b", "with blank", "café", "x" * 150])
def test_an_id_that_only_04x_allowed_is_read_and_not_written(tmp_path, run_id):
    write_run(tmp_path, checkpoint(run_id), [record(run_id)])
    engine = open_store(tmp_path)

    assert [h.run_id for h in engine.find(RunQuery())] == [run_id]
    assert engine.peek(run_id).run_id == run_id
    assert len(list(engine.records(run_id))) == engine.head(run_id).records == 1
    for write in (engine.open, lambda r: engine.post(r, Command("c", Cancel()))):
        with pytest.raises(UsageError, match="1 to 128 letters"):
            write(run_id)
    assert not (tmp_path / "store.json").exists()


DAMAGE: dict[str, bytes | None] = {
    "not json": b"{",
    "not an object": b"[]",
    "no status": b'{"run_id": "r1"}',
    "unknown status": checkpoint_bytes(checkpoint(status="odd")),
    "vars no object": checkpoint_bytes(checkpoint(vars=[1])),
    "other run": checkpoint_bytes(checkpoint("r9")),
    "missing": None,
}


@pytest.mark.parametrize("data", DAMAGE.values(), ids=DAMAGE)
def test_a_broken_checkpoint_damages_its_run_alone(tmp_path, data):
    write_run(tmp_path, checkpoint(), DONE)
    write_run(tmp_path, checkpoint("r2"), [])
    path = tmp_path / "run_r1.json"
    path.unlink() if data is None else path.write_bytes(data)
    engine = open_store(tmp_path)

    assert [h.run_id for h in engine.find(RunQuery())] == ["r2"]
    for look in (engine.peek, engine.open):
        with pytest.raises(IntegrityError, match="checkpoint of run 'r1'"):
            look("r1")
    assert len(list(engine.records("r1"))) == 2


@pytest.mark.parametrize(
    "data, error",
    [(b"{\n  cut", IntegrityError), (b'{"run_id":"r1', NotFound), (bytes(9), NotFound)],
    ids=["of 0.4.x", "cut", "zeros"],
)
def test_without_a_ledger_only_a_checkpoint_of_04x_is_damage(tmp_path, data, error):
    write_run(tmp_path, checkpoint("r2"), None)
    (tmp_path / "run_r1.json").write_bytes(data)
    with pytest.raises(error):
        open_store(tmp_path).peek("r1")


def test_numbers_that_are_not_json_are_shown_by_name(tmp_path):
    odd = float("nan")
    write_run(tmp_path, checkpoint(vars={"x": odd}), [record(result={"x": odd})])
    engine = open_store(tmp_path)

    assert next(engine.records("r1")).record["result"] == {"x": "NaN"}
    with pytest.raises(InvalidValue) as caught:
        engine.open("r1")
    assert "run_r1.json" in str(caught.value.hint)


def test_an_unknown_run_makes_no_store(tmp_path):
    write_run(tmp_path, checkpoint(), DONE)
    engine = open_store(tmp_path)
    for call in (engine.open, lambda r: engine.post(r, Command("c", Cancel()))):
        with pytest.raises(NotFound):
            call("nobody")
    assert not (tmp_path / "store.json").exists()


# -- importing -----------------------------------------------------------------


@pytest.mark.parametrize("chain", [False, True], ids=["plain", "chained"])
def test_the_first_write_imports_the_run_and_nothing_else(tmp_path, chain):
    records = [json.loads(json.dumps(item)) for item in ASKED]
    write_run(tmp_path, waiting_run(), chained(records) if chain else records)
    write_run(tmp_path, waiting_run("r2"), [])
    before = snapshot(tmp_path)

    own(open_store(tmp_path))

    after = snapshot(tmp_path)
    assert after["imported/run_r1.json"] == before["run_r1.json"]
    assert after["ledger_r1.jsonl"].startswith(before["ledger_r1.jsonl"])
    assert all(after[name] == before[name] for name in ("run_r2.json", "ledger_r2.jsonl"))
    store = json.loads(after["store.json"])
    assert (store["format"], store["imported_from"]) == ("art-store/1", "0.4")
    lines = [json.loads(line) for line in after["ledger_r1.jsonl"].splitlines()]
    assert [line.get("seq") for line in lines] == [None] * 4 + [4]
    assert lines[4]["result"]["internal"] == "imported"
    assert lines[4]["result"]["ledger"]["records"] == 4
    assert lines[4]["prev_hash"] == (records[-1]["record_hash"] if chain else None)


def test_an_import_happens_once(tmp_path):
    write_run(tmp_path, waiting_run(), ASKED)
    own(open_store(tmp_path))
    once = (tmp_path / "ledger_r1.jsonl").read_bytes()
    state = open_store(tmp_path).peek("r1")
    (tmp_path / "run_r1.json").unlink()

    again = open_store(tmp_path)

    assert own(again) == again.peek("r1") == state
    assert (tmp_path / "ledger_r1.jsonl").read_bytes() == once


def test_a_new_run_lives_beside_old_ones(tmp_path):
    write_run(tmp_path, waiting_run(), ASKED)
    engine = open_store(tmp_path)
    first = StepRecord("new", "s", "n", StepStatus.COMPLETED, result={"internal": "run_started"})
    log = engine.create(RunState("new", "flow", RunStatus.RUNNING, "n"), first)
    log.close()

    assert (tmp_path / "store.json").exists()
    again = open_store(tmp_path)
    assert again.store_origin == engine.store_origin
    assert {h.run_id for h in again.find(RunQuery())} == {"new", "r1"}
    with pytest.raises(UsageError, match="exists already"):
        again.create(RunState("r1", "flow", RunStatus.RUNNING, "n"), first)


def test_two_processes_agree_on_the_store(tmp_path):
    write_run(tmp_path, waiting_run(), ASKED)
    write_run(tmp_path, waiting_run("r2"), [])
    first, second = open_store(tmp_path), open_store(tmp_path)
    third = open_store(tmp_path, origin="elsewhere/1")

    own(first)
    own(second, "r2")

    assert first.store_origin == second.store_origin == open_store(tmp_path).store_origin
    with pytest.raises(Busy, match="has just made"):
        third.open("r1")


def test_a_torn_tail_is_kept_and_cut(tmp_path):
    write_run(tmp_path, waiting_run(), ASKED, tail=b'{"run_id"\x00')
    own(open_store(tmp_path))

    assert [p.read_bytes() for p in (tmp_path / "quarantine").iterdir()] == [b'{"run_id"\x00']
    last = json.loads((tmp_path / "ledger_r1.jsonl").read_bytes().splitlines()[-1])
    assert last["commit"]["recovered"]["bytes"] == 10
    assert verdict(tmp_path).ok


def test_a_bad_line_in_the_middle_stops_the_import(tmp_path):
    write_run(tmp_path, waiting_run(), DONE)
    path = tmp_path / "ledger_r1.jsonl"
    path.write_bytes(path.read_bytes() + b"{broken\n" + ledger_bytes(DONE))
    before = snapshot(tmp_path)

    with pytest.raises(ChainBroken, match="line 3"):
        open_store(tmp_path).open("r1")
    after = snapshot(tmp_path)
    assert all(after[name] == data for name, data in before.items())
    assert not (tmp_path / "imported").exists()


def test_a_run_that_04x_drove_after_its_import_is_refused(tmp_path):
    write_run(tmp_path, waiting_run(), ASKED)
    own(open_store(tmp_path))
    path = tmp_path / "ledger_r1.jsonl"
    path.write_bytes(path.read_bytes() + ledger_bytes(DONE))
    (tmp_path / "run_r1.json").write_bytes(checkpoint_bytes(checkpoint()))

    with pytest.raises(ChainBroken, match="went on with run 'r1' after it was imported"):
        open_store(tmp_path).open("r1")


def test_a_lost_ledger_is_noticed_after_the_import(tmp_path):
    write_run(tmp_path, waiting_run(), None)
    own(open_store(tmp_path))
    (tmp_path / "ledger_r1.jsonl").unlink()

    with pytest.raises(HeadMismatch):
        open_store(tmp_path).peek("r1")


# -- going on ------------------------------------------------------------------


@pytest.mark.parametrize("records", [ASKED, [], None], ids=["ledger", "empty", "no ledger"])
def test_a_waiting_run_takes_its_answer(tmp_path, records):
    write_run(tmp_path, waiting_run(), records)
    host = Host(open_store(tmp_path))

    run = host.answer(key=QUESTION["wait_key"])

    assert run.status is RunStatus.COMPLETED
    assert run.output == {"r": None, "answer": {"response": "yes"}}
    assert host.calls == []
    found = verdict(tmp_path)
    assert (found.verdict, found.final) == ("valid_unsigned", True)
    assert open_store(tmp_path).peek("r1").output == run.output


WAITS = {
    "event": {"reason": "event", "wait_key": "evt:session:s:go"},
    "job": {"reason": "job", "wait_key": "job:1"},
    "child": {"reason": "subworkflow", "wait_key": "subworkflow:r2"},
    "until": {"reason": "until", "wait_key": None, "until": "2999-01-01T00:00:00+00:00"},
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_every_wait_can_be_answered(tmp_path, wait):
    write_run(tmp_path, waiting_run(**wait), ASKED)
    host = Host(open_store(tmp_path))
    assert host.tick().status is RunStatus.WAITING
    assert host.answer(key=wait["wait_key"]).status is RunStatus.COMPLETED


def test_a_timer_that_is_due_fires(tmp_path):
    wait = {**WAITS["until"], "until": "2025-01-02T00:00:00+00:00"}
    write_run(tmp_path, waiting_run(**wait), [])
    engine = open_store(tmp_path)
    assert [h.run_id for h in engine.find(RunQuery(due_at="2026-01-01T00:00:00+00:00"))] == ["r1"]
    assert Host(engine).tick().status is RunStatus.COMPLETED


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "not closed"])
def test_a_finished_run_stays_finished_and_is_closed(tmp_path, status, closed):
    records = [*DONE, status_record(status=status)] if closed else DONE
    write_run(tmp_path, checkpoint(status=status, output={"ok": 1}), records)
    engine = open_store(tmp_path)

    host = Host(engine)
    assert host.tick().status.value == status
    assert own(engine).output == {"ok": 1}

    assert (host.calls, verdict(tmp_path).final) == ([], True)


LAST: dict[str, tuple[list[Any], int]] = {
    "nothing": ([], 1),
    "started": ([record(status="started")], 1),
    "failed": ([record(status="started"), record(status="failed")], 1),
    "waiting": ([record(status="started"), record(status="waiting")], 1),
    "completed later": ([record(idempotency_key=key_of(), ended_at=T.format(11))], 0),
    "completed as it was saved": ([record(idempotency_key=key_of(), ended_at=T.format(10))], 0),
    "completed earlier": ([record(idempotency_key=key_of(), ended_at=T.format(9))], 1),
    "other node": ([record(idempotency_key=key_of(), ended_at=T.format(11), node="ask")], 1),
    "other key": ([record(idempotency_key="k9", ended_at=T.format(11))], 1),
    "no time": ([record(idempotency_key=key_of(), ended_at=None)], 0),
    "not the last": (
        [
            record(idempotency_key=key_of(), ended_at=T.format(11)),
            record(status="started", idempotency_key="k9"),
        ],
        1,
    ),
    "put back by its host": ([record(idempotency_key=key_of()), status_record()], 0),
}


@pytest.mark.parametrize("records, calls", LAST.values(), ids=LAST)
def test_only_an_outcome_that_the_checkpoint_lacks_is_reused(tmp_path, records, calls):
    write_run(tmp_path, checkpoint(node="call"), records)
    host = Host(open_store(tmp_path))

    run = host.tick()

    assert (run.status, len(host.calls)) == (RunStatus.WAITING, calls)
    assert run.vars["r"] == {"text": "new" if calls else "hi"}
    assert verdict(tmp_path).ok


def test_an_outcome_that_a_pause_dropped_is_reused(tmp_path):
    control = {"paused_at": T.format(7), "resumed_at": T.format(9)}
    state = checkpoint(node="call", vars={"_runtime": {"control": control}})
    write_run(tmp_path, state, [record(idempotency_key=key_of())])
    host = Host(open_store(tmp_path))
    host.tick()
    assert host.calls == []


def test_an_outcome_is_reused_once(tmp_path):
    write_run(
        tmp_path, checkpoint(node="call"), [record(idempotency_key=key_of(), ended_at=T.format(11))]
    )
    own(open_store(tmp_path))
    host = Host(open_store(tmp_path))
    host.tick()
    engine = open_store(tmp_path)
    log = engine.open("r1")
    assert log.reusable(key_of()) is None
    log.close()


# -- verifying -----------------------------------------------------------------


def _edit_old(lines: list[bytes]) -> None:
    lines[1] = lines[1].replace(b'"hi"', b'"ho"')


def _drop_old(lines: list[bytes]) -> None:
    del lines[0]


def _drop_import(lines: list[bytes]) -> None:
    del lines[4]


@pytest.mark.parametrize(
    "change, code",
    [
        (_edit_old, "import_mismatch"),
        (_drop_old, "import_mismatch"),
        (_drop_import, "import_missing"),
    ],
)
def test_what_was_imported_cannot_change_unseen(tmp_path, change, code):
    write_run(tmp_path, waiting_run(), ASKED)
    Host(open_store(tmp_path)).answer()
    assert "the record that imports them pins them" in verdict(tmp_path).warnings[0]
    path = tmp_path / "ledger_r1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines)
    path.write_bytes(b"".join(lines))

    assert code in {defect.code for defect in verdict(tmp_path).defects}
    (tmp_path / "run_r1.json").unlink()
    with pytest.raises(ChainBroken):
        open_store(tmp_path).peek("r1")


def test_an_import_hides_no_damage_and_adds_none(tmp_path):
    records = chained([json.loads(json.dumps(item)) for item in ASKED])
    records[1]["result"] = {"text": "edited"}
    write_run(tmp_path, waiting_run(), records)
    before = verdict(tmp_path)
    Host(open_store(tmp_path)).answer()

    assert not before.ok
    assert verdict(tmp_path).defects == before.defects


def test_a_chain_that_began_late_goes_on(tmp_path):
    late = chained([json.loads(json.dumps(item)) for item in ASKED[2:]])
    write_run(tmp_path, waiting_run(), [*ASKED[:2], *late])
    Host(open_store(tmp_path)).answer()

    assert verdict(tmp_path).verdict == "valid_unsigned"


def test_signed_heads_cover_the_older_records(tmp_path):
    write_run(tmp_path, waiting_run(), ASKED)
    key = generate("o/1")
    with open_store(tmp_path, origin="o/1", signer=KeySigner(key)) as engine:
        Host(engine).answer()
        path, heads = engine._layout.ledger("r1"), engine._layout.heads("r1")

    found = verify_file(path, heads=Path(heads), keys=[key.verifier], origin="o/1")

    # The host says that nothing changed since it found them, not that it wrote them.
    assert (found.verdict, found.final) == ("valid_unsigned", True)
    (warning,) = [w for w in found.warnings if "as they were found" in w]
    assert f"signed {found.records} records" in warning
