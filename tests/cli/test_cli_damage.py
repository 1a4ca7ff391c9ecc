"""One damaged run stops nobody else; a ledger is held against its checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPROVAL = str(ROOT / "bundles" / "release-approval" / "flow.json")


@pytest.fixture
def three(art: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs t1, t2 and t3 that wait for an answer."""
    for name in ("t1", "t2", "t3"):
        assert art("run", APPROVAL, "--run-id", name).code == 4
    return art


def garbage(store: Path, run_id: str) -> None:
    (store / f"ledger_{run_id}.jsonl").write_bytes(b"\x00\xffgarbage\n{]\n")


def truncated(store: Path, run_id: str) -> None:
    path = store / f"ledger_{run_id}.jsonl"
    path.write_bytes(path.read_bytes()[:-200])


def cut_at_a_line(store: Path, run_id: str) -> None:
    path = store / f"ledger_{run_id}.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


def lost(store: Path, run_id: str) -> None:
    (store / f"ledger_{run_id}.jsonl").unlink()


DAMAGES: list[Callable[[Path, str], None]] = [garbage, truncated, cut_at_a_line, lost]
BY_NAME = pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)


@BY_NAME
@pytest.mark.parametrize("indexed", [True, False], ids=["indexed", "no-index"])
def test_runs_lists_the_damaged_one_as_such(
    three: Any, tmp_path: Path, damage: Any, indexed: bool
) -> None:
    damage(tmp_path / "store", "t1")
    for path in tmp_path.glob("store/index*") if not indexed else ():
        path.unlink()

    result = three("runs", "--json")

    rows = {row["run_id"]: row["status"] for row in result.document["runs"]}
    assert (result.code, rows) == (0, {"t1": "damaged", "t2": "waiting", "t3": "waiting"})
    assert [error["exit_code"] for error in result.document["errors"]] == [1]
    assert "damaged: run t1" in result.err


@BY_NAME
def test_the_others_go_on(three: Any, tmp_path: Path, damage: Any) -> None:
    damage(tmp_path / "store", "t1")

    assert three("inspect", "@last", "--json").document["run_id"] == "t3"
    assert three("resume", "t2", "--input", "approve").code == 0
    assert three("tick", "--due").code == 0


@BY_NAME
def test_the_damaged_run_itself_says_what_is_wrong(three: Any, tmp_path: Path, damage: Any) -> None:
    damage(tmp_path / "store", "t1")

    result = three("inspect", "t1")

    assert result.code == 1
    assert "art ledger verify t1" in result.err


@BY_NAME
def test_verify_and_doctor_name_the_damage(three: Any, tmp_path: Path, damage: Any) -> None:
    damage(tmp_path / "store", "t1")

    one, everything = three("ledger", "verify", "t1", "--json"), three("ledger", "verify", "--all")
    doctor = three("doctor", "--json")

    assert (one.code, everything.code, doctor.code) == (1, 1, 1)
    assert "checkpoint_beyond_ledger" in [defect["code"] for defect in one.document["defects"]]
    wrong = [item for item in doctor.document["findings"] if item["level"] == "error"]
    assert [(item["subject"], item["hint"]) for item in wrong] == [
        ("run t1", "art ledger verify t1")
    ]


def test_a_cut_ledger_is_invalid_with_both_lengths(three: Any, tmp_path: Path) -> None:
    ledger = tmp_path / "store" / "ledger_t1.jsonl"
    whole = len(ledger.read_bytes())
    cut_at_a_line(tmp_path / "store", "t1")

    in_store = three("ledger", "verify", "t1", "--json")
    bare = three("ledger", "verify", str(ledger), "--json")

    defect = in_store.document["defects"][0]
    assert (defect["expected"], defect["found"]) == (whole, len(ledger.read_bytes()))
    assert (in_store.document["verdict"], defect["record"]) == ("invalid", 1)
    assert (bare.code, bare.document["verdict"]) == (0, "valid_unsigned")


def test_a_rewritten_ledger_does_not_match_its_checkpoint(three: Any, tmp_path: Path) -> None:
    checkpoint = tmp_path / "store" / "run_t1.json"
    content = json.loads(checkpoint.read_bytes())
    content["_meta"]["head"] = "0" * 64
    checkpoint.write_text(json.dumps(content))

    result = three("ledger", "verify", "t1", "--json")

    assert (result.code, result.document["defects"][0]["code"]) == (1, "checkpoint_mismatch")


@pytest.mark.parametrize("content", [b"", b"{", b'{"_meta": 3}', b"\xff"])
def test_an_unreadable_checkpoint_says_nothing(three: Any, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "store" / "run_t1.json").write_bytes(content)

    assert three("ledger", "verify", "t1").code == 0


def test_tick_due_reports_a_damaged_run_and_drives_the_others(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("abstractruntime._runtime.driver.Driver._pass", die)
        for name in ("r1", "r2"):
            assert art("run", APPROVAL, "--run-id", name).code == 130
    art("runs")
    garbage(tmp_path / "store", "r1")

    result = art("tick", "--due", "--json")

    assert result.code == 1
    assert [row["run_id"] for row in result.document["runs"]] == ["r2"]
    assert len(result.document["errors"]) == 1
    assert "r1" in result.err


def test_stored_bytes_come_out_as_they_are(three: Any, tmp_path: Path) -> None:
    shown = three("ledger", "show", "t1", "--jsonl").out
    (tmp_path / "copy.jsonl").write_text(shown, encoding="utf-8")

    assert shown.encode() == (tmp_path / "store" / "ledger_t1.jsonl").read_bytes()
    assert three("ledger", "verify", "copy.jsonl").code == 0
    assert three("ledger", "tail", "t1", "-n", "1", "--jsonl").out == shown.splitlines(True)[-1]


def test_verify_reads_a_ledger_from_stdin(
    three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "store" / "ledger_t1.jsonl").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        result = three("ledger", "verify", "-", "--json")

    assert (result.code, result.document["records"]) == (0, 3)
