"""The commands on a directory that version 0.4.x wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from legacy_directory import chained, checkpoint, record, status_record, waiting_run, write_run

from abstractruntime.storage.directory import open_store

ROOT = Path(__file__).resolve().parents[2]
APPROVAL = str(ROOT / "bundles" / "release-approval" / "flow.json")


@pytest.fixture
def old(art: Any, tmp_path: Path) -> Any:
    """A run that waits, one that is finished and chained, one with an odd id, a damaged one."""
    store = tmp_path / "store"
    write_run(store, waiting_run(), [record(status="started"), record()], tail=b"{torn")
    done = checkpoint("done", "completed", "end", output={"ok": True})
    write_run(store, done, chained([record("done"), status_record("done")]))
    write_run(store, checkpoint("odd.id"), None)
    write_run(store, checkpoint("bad"), [record("bad")])
    (store / "run_bad.json").write_bytes(b"{")
    return art


def files(tmp_path: Path) -> dict[str, bytes]:
    paths = (tmp_path / "store").rglob("*")
    return {str(p.relative_to(tmp_path)): p.read_bytes() for p in paths if p.is_file()}


def test_runs_lists_all_and_names_the_damaged_one(old: Any, tmp_path: Path) -> None:
    before = files(tmp_path)

    result = old("runs", "--json")

    rows = {row["run_id"]: row["status"] for row in result.document["runs"]}
    assert result.code == 0
    assert rows == {"r1": "waiting", "done": "completed", "odd.id": "running", "bad": "damaged"}
    assert "the checkpoint of run 'bad', of version 0.4.x, cannot be read" in result.err
    assert files(tmp_path) == before


LOOKS = [
    ("inspect", "r1"),
    ("inspect", "done", "--json"),
    ("inspect", "odd.id"),
    ("inspect", "r1", "--step", "1"),
    ("ledger", "show", "r1"),
    ("ledger", "tail", "done"),
    ("ledger", "verify", "r1"),
    ("ledger", "verify", "odd.id"),
    ("show", "done"),
    ("export-history", "r1"),
    ("ledger", "verify", "done"),
]


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_looking_works_and_changes_nothing(old: Any, tmp_path: Path, words: Any) -> None:
    before = files(tmp_path)

    result = old(*words)

    assert (result.code, "Traceback" in result.err) == (0, False), result.err
    assert result.out
    assert files(tmp_path) == before


def test_inspect_shows_what_the_run_waits_for(old: Any) -> None:
    document = old("inspect", "r1", "--json").document
    assert (document["status"], document["ledger"]["records"]) == ("waiting", 2)
    assert document["waiting"]["wait_key"] == "user:r1:ask"


@pytest.mark.parametrize(
    "run_id, facts",
    [("r1", ("valid_unsigned", 2, False)), ("done", ("valid_unsigned", 2, True))],
)
def test_verify_gives_a_verdict(old: Any, run_id: str, facts: Any) -> None:
    result = old("ledger", "verify", run_id, "--json")
    document = result.document
    assert (document["verdict"], document["records"], document["final"]) == facts
    assert result.code == 0
    assert old("ledger", "verify", run_id, "--require-signed").code == 3


def test_verify_takes_an_imported_ledger_as_one(old: Any, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as engine:
        for run_id in ("r1", "done"):
            log = engine.open(run_id)
            log.settle()
            log.close()

    plain = old("ledger", "verify", "r1", "--json").document
    ended = old("ledger", "verify", "done", "--json").document

    assert (plain["verdict"], plain["records"], plain["torn_tail_bytes"]) == (
        "valid_unsigned",
        3,
        0,
    )
    assert plain["warnings"] == ["2 records carry no hash; the record that imports them pins them"]
    assert (ended["verdict"], ended["records"], ended["final"]) == ("valid_unsigned", 4, True)
    for run_id in ("r1", "done"):
        assert old("inspect", run_id).code == old("ledger", "show", run_id).code == 0


def test_resume_says_who_can_go_on_with_the_run(old: Any) -> None:
    result = old("resume", "r1", "--input", "yes")
    # The run exists, so it is not one that is not found.
    assert result.code == 2
    assert "was not started from a bundle" in result.err
    assert "the program that started it" in result.err


@pytest.mark.parametrize("words", [("inspect", "bad"), ("resume", "bad", "--input", "x")])
def test_the_damaged_run_says_what_is_wrong(old: Any, words: Any) -> None:
    result = old(*words)
    assert result.code == 1
    assert "restore run_bad.json from a backup" in result.err


def test_a_new_run_makes_the_directory_a_store(old: Any, tmp_path: Path) -> None:
    assert old("run", APPROVAL, "--run-id", "new").code == 4
    assert old("resume", "new", "--input", "approve").code == 0

    rows = {row["run_id"]: row["status"] for row in old("runs", "--json").document["runs"]}

    assert (rows["new"], rows["r1"], rows["bad"]) == ("completed", "waiting", "damaged")
    assert (tmp_path / "store" / "store.json").exists()
    assert not (tmp_path / "store" / "imported").exists()


def test_the_doctor_looks_at_old_runs_too(old: Any) -> None:
    result = old("doctor", "--json")
    subjects = {item["subject"]: item["level"] for item in result.document["findings"]}
    assert (result.code, subjects["run bad"], subjects["run r1"]) == (1, "error", "note")
