"""Damage is named without changing anything; repair mends what the ledger tells, and says so."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from legacy_directory import checkpoint, record, waiting_run, write_run
from legacy_flow import Host, workflow

from abstractruntime._json import dump_line
from abstractruntime.core.commands import Answer, Command
from abstractruntime.core.models import RunStatus
from abstractruntime.core.outcome import Outcome
from abstractruntime.core.ports import RunQuery
from abstractruntime.errors import Busy, IntegrityError, NotFound, UsageError
from abstractruntime.signing import verify_ledger
from abstractruntime.storage.directory import open_store
from abstractruntime.storage.repair import apply_repair, diagnose, plan_repair


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with run r1, which waits, and run r2, which is finished."""
    store = tmp_path / "store"
    with open_store(store) as engine:
        host = Host(engine)
        for run_id in ("r1", "r2"):
            host.runtime.start(workflow=workflow(), run_id=run_id)
            host.tick(run_id)
        host.answer("r2")
        engine.find(RunQuery())
    return store


def snapshot(root: Path) -> dict[str, bytes]:
    names = (p for p in root.rglob("*") if p.is_file() and "index" not in p.name)
    return {str(p.relative_to(root)): p.read_bytes() for p in names}


def append(root: Path, data: bytes, run_id: str = "r1") -> None:
    with (root / f"ledger_{run_id}.jsonl").open("ab") as file:
        file.write(data)


def torn(root: Path) -> None:
    append(root, b'{"run_id":"r1","st')


def zeros(root: Path) -> None:
    append(root, bytes(64))


def no_json(root: Path) -> None:
    (root / "run_r1.json").write_bytes(b"{")


def other_head(root: Path) -> None:
    edit_checkpoint(root, lambda content: content["_meta"].update(head="0" * 64))


def other_state(root: Path) -> None:
    edit_checkpoint(root, lambda content: content["vars"].update(r="changed"))


def format_1(root: Path) -> None:
    def downgrade(content: Any) -> None:
        at, meta = content.pop("_at"), content["_meta"]
        content["vars"].update(r="changed")
        del meta["closed"]
        meta.update(at, format=1, pending=None)

    edit_checkpoint(root, downgrade)


def edit_checkpoint(root: Path, change: Callable[[Any], None]) -> None:
    path = root / "run_r1.json"
    content = json.loads(path.read_bytes())
    change(content)
    path.write_bytes(dump_line(content))


def temp(root: Path) -> None:
    (root / "run_r1.json.1-2.tmp").write_bytes(b"half")


def old_run(root: Path) -> None:
    write_run(root, waiting_run("r1"), [record("r1")])


MENDED: dict[str, tuple[Callable[[Path], None], str, tuple[str, ...]]] = {
    "torn": (torn, "torn_tail", ("cut_torn_tail",)),
    "zeros": (zeros, "torn_tail", ("cut_torn_tail",)),
    "no json": (no_json, "checkpoint_invalid", ("rebuild_checkpoint",)),
    "other head": (other_head, "checkpoint_mismatch", ("rebuild_checkpoint",)),
    "other state": (other_state, "checkpoint_mismatch", ("rebuild_checkpoint",)),
    "format 1": (format_1, "checkpoint_unfixed", ("rebuild_checkpoint",)),
    "temp file": (temp, "temp_files", ("remove_temp_files",)),
    "0.4.x": (old_run, "not_imported", ("import",)),
}


def test_a_sound_store_has_no_findings(root):
    with open_store(root) as engine:
        before = snapshot(root)
        assert diagnose(engine) == []
        plan = plan_repair(engine, "r1")
        assert (plan.steps, apply_repair(engine, plan)) == ((), plan)
    assert snapshot(root) == before


@pytest.mark.parametrize("damage, code, steps", MENDED.values(), ids=MENDED)
def test_what_the_ledger_tells_is_mended(root, damage, code, steps):
    with open_store(root) as engine:
        state = engine.peek("r1")
    damage(root)
    before = snapshot(root)
    with open_store(root) as engine:
        plan = plan_repair(engine, "r1")
        assert ([f.code for f in plan.findings], plan.steps) == ([code], steps)
        (told,) = plan.to_dict()["steps"]
        assert told["text"]
        assert snapshot(root) == before

        left = apply_repair(engine, plan)

        assert left.findings == ()
        last = engine.recent("r1", 1)[0].record["result"]
        assert (last["action"], last["steps"], last["found"]) == ("repair", list(steps), [code])
        if damage is not old_run:
            assert engine.peek("r1") == state
    with (root / "ledger_r1.jsonl").open("rb") as file:
        assert verify_ledger(file, run_id="r1").ok


@pytest.mark.parametrize("damage", [torn, no_json, other_head], ids=lambda d: d.__name__)
def test_what_is_replaced_is_kept(root, damage):
    damage(root)
    name = "ledger_r1.jsonl" if damage is torn else "run_r1.json"
    bad = (root / name).read_bytes()
    with open_store(root) as engine:
        apply_repair(engine, plan_repair(engine, "r1"))

    kept = [p for p in (root / "quarantine").iterdir() if p.name.startswith(name)]
    assert [bad.endswith(p.read_bytes()) for p in kept] == [True]


def test_a_missing_checkpoint_matters_only_for_a_long_ledger(root, monkeypatch):
    (root / "run_r1.json").unlink()
    with open_store(root) as engine:
        assert plan_repair(engine, "r1").findings == ()
        monkeypatch.setattr("abstractruntime.storage._care.diagnosis._CHECKPOINT_WORTH_BYTES", 10)
        plan = plan_repair(engine, "r1")
        assert [f.code for f in plan.findings] == ["checkpoint_missing"]
        assert apply_repair(engine, plan).findings == ()
    assert (root / "run_r1.json").exists()


def test_a_finished_run_without_its_closing_record_is_closed(root):
    path = root / "ledger_r2.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    (root / "run_r2.json").unlink()
    with open_store(root) as engine:
        plan = plan_repair(engine, "r2")
        assert plan.steps == ("close_run",)
        assert apply_repair(engine, plan).findings == ()
    with path.open("rb") as file:
        assert verify_ledger(file, run_id="r2").final


def test_commands_for_a_finished_run_are_cleared(root):
    with open_store(root) as engine:
        engine.post("r2", Command("c1", Answer()))
        plan = plan_repair(engine, "r2")
        assert plan.steps == ("clear_inbox",)
        assert apply_repair(engine, plan).findings == ()
        assert engine.find(RunQuery(has_commands=True)) == []


def test_a_command_that_is_not_what_was_posted_is_set_aside(root):
    with open_store(root) as engine:
        engine.post("r1", Command("c1", Answer()))
        path = next((root / "inbox" / "r1").iterdir())
        path.write_bytes(b"{")
        plan = plan_repair(engine, "r1")
        assert [(f.code, f.step) for f in plan.findings] == [
            ("command_altered", "set_commands_aside")
        ]
        assert apply_repair(engine, plan).findings == ()
    assert [
        p.name.startswith(f"inbox_r1.{path.name}") for p in (root / "quarantine").iterdir()
    ] == [True]


def test_a_stale_index_is_mended(root):
    with open_store(root) as engine:
        header, size = engine.services.recovery.header("r2")
        wrong = replace(header, status=RunStatus.FAILED, outcome=Outcome.FAILED)
        engine.services.index.put(wrong, size, now=True)
        plan = plan_repair(engine, "r2")
        assert plan.steps == ("update_index",)
        assert apply_repair(engine, plan).findings == ()
        assert {h.status for h in engine.find(RunQuery(id_prefix="r2"))} == {RunStatus.COMPLETED}


def middle(root: Path) -> None:
    path = root / "ledger_r1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"started"', b'"startet"')
    path.write_bytes(b"".join(lines))


def last_line(root: Path) -> None:
    append(root, b"garbage\n")


def short(root: Path) -> None:
    path = root / "ledger_r1.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


def lost(root: Path) -> None:
    (root / "ledger_r1.jsonl").unlink()


def old_checkpoint(root: Path) -> None:
    write_run(root, waiting_run("r1"), [record("r1")])
    (root / "run_r1.json").write_bytes(b"{")


HOPELESS: dict[str, tuple[Callable[[Path], None], str]] = {
    "middle": (middle, "bad_line"),
    "last": (last_line, "bad_line"),
    "short": (short, "ledger_too_short"),
    "lost": (lost, "ledger_too_short"),
    "0.4.x": (old_checkpoint, "damaged"),
}


@pytest.mark.parametrize("damage, code", HOPELESS.values(), ids=HOPELESS)
def test_what_cannot_be_mended_is_said_so(root, damage, code):
    damage(root)
    temp(root)
    before = snapshot(root)
    with open_store(root) as engine:
        plan = plan_repair(engine, "r1")
        assert (plan.steps, [f.code for f in plan.blocked_by]) == ((), [code])
        with pytest.raises(IntegrityError, match="cannot be repaired") as caught:
            apply_repair(engine, plan)
        others = [f for f in diagnose(engine) if f.run_id != "r1"]
    assert caught.value.hint
    assert others == []
    assert snapshot(root) == before


def test_what_belongs_to_no_run_is_counted(root):
    (root / "inbox" / "gone").mkdir(parents=True)
    (root / "inbox" / "gone" / "1.json").write_text("{}")
    (root / "artifacts" / "blobs").mkdir(parents=True)
    blob = root / "artifacts" / "blobs" / f"{'a' * 64}.bin"
    blob.write_bytes(b"x")
    os.utime(blob, (0, 0))
    with open_store(root) as engine:
        found = {f.code: f.message for f in diagnose(engine)}
    assert found.keys() == {"inbox_orphan", "orphan_artifacts"}
    assert found["orphan_artifacts"].startswith("1 artifacts and blobs")


def test_a_run_that_was_never_born_is_a_note(root):
    (root / "ledger_r3.jsonl").write_bytes(b'{"run')
    with open_store(root) as engine:
        assert [(f.code, f.level) for f in diagnose(engine, "r3")] == [("unborn", "note")]
        with pytest.raises(NotFound):
            diagnose(engine, "r4")


def test_an_old_id_cannot_be_imported(root):
    write_run(root, checkpoint("a.b"), [])
    with open_store(root) as engine:
        plan = plan_repair(engine, "a.b")
    assert ([f.code for f in plan.findings], plan.steps) == (["not_imported"], ())


def test_a_plan_holds_for_the_run_it_was_made_for(root):
    torn(root)
    with open_store(root) as engine:
        plan = plan_repair(engine, "r1")
        log = engine.open("r1")
        with pytest.raises((Busy, UsageError)):
            apply_repair(engine, plan)
        log.close()
        with pytest.raises(UsageError, match="has changed since"):
            apply_repair(engine, plan)
