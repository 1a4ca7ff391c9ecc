"""What people see and do after something went wrong: interrupted runs, damage, the doctor."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.storage.directory import open_store

ROOT = Path(__file__).resolve().parents[2]
APPROVAL = str(ROOT / "bundles" / "release-approval" / "flow.json")


@pytest.fixture
def interrupted(art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run `r1` whose process died before its first step."""
    with monkeypatch.context() as patch:
        patch.setattr("abstractruntime._runtime.driver.Driver._pass", _die)
        assert art("run", APPROVAL, "--run-id", "r1").code == 130
    return art


def _die(*_: object) -> bool:
    raise KeyboardInterrupt


def findings(art: Any) -> list[dict[str, Any]]:
    return [item for item in art("doctor", "--json").document["findings"] if item["level"] != "ok"]


def test_a_run_without_owner_is_shown_as_interrupted(interrupted: Any) -> None:
    document = interrupted("inspect", "r1", "--json").document

    assert (document["status"], document["ledger"]["records"]) == ("interrupted", 1)


@pytest.mark.parametrize("args", [("tick", "r1"), ("tick", "--due")], ids=["named", "due"])
def test_tick_goes_on_with_an_interrupted_run(interrupted: Any, args: tuple[str, ...]) -> None:
    interrupted(*args)

    assert interrupted("inspect", "r1", "--json").document["waiting"]["reason"] == "user"


def test_tick_due_reports_one_that_cannot_go_on_and_drives_the_others(
    interrupted: Any, tmp_path: Path
) -> None:
    flow = json.loads(Path(APPROVAL).read_text("utf-8"))
    flow["name"] = "another"
    (tmp_path / "f.json").write_text(json.dumps(flow))
    interrupted("run", "f.json", "--run-id", "r2", "--input", "hold_minutes=0")
    first = json.loads((tmp_path / "store" / "ledger_r1.jsonl").read_text().splitlines()[0])
    (tmp_path / "store" / "bundles" / f"{first['result']['bundle_digest']}.flowbundle").unlink()

    result = interrupted("tick", "--due", "--json")

    assert result.code == 66
    assert [error["code"] for error in result.document["errors"]] == ["not_found"]


def test_tick_needs_exactly_one_target(art: Any) -> None:
    assert art("tick").code == art("tick", "r1", "--due").code == 2


def test_doctor_names_an_interrupted_run_and_the_command(interrupted: Any) -> None:
    found = next(item for item in findings(interrupted) if item["subject"] == "run r1")

    assert (found["level"], found["hint"]) == ("warning", "art tick r1")


def test_doctor_finds_a_damaged_ledger_and_changes_nothing(parked: Any, tmp_path: Path) -> None:
    ledger = tmp_path / "store" / "ledger_demo.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b"2.1.0", b"9.9.9"))
    # A change that is 50 ms old lets a query note in the index that it has seen the directory.
    os.utime(tmp_path / "store", (1, 1))

    def stored() -> dict[Path, bytes]:
        files = (path for path in tmp_path.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in files if "index.sqlite" not in path.name}

    before = stored()

    result = parked("doctor")

    assert result.code == 1
    assert "art ledger verify demo" in result.out
    assert stored() == before


def test_doctor_finds_a_key_that_others_can_read(art: Any, tmp_path: Path) -> None:
    art("key", "new", "release")
    (tmp_path / "config" / "keys" / "release.pem").chmod(0o644)

    assert art("doctor").code == 1
    assert any("chmod 600" in (item["hint"] or "") for item in findings(art))


def test_torn_tail_is_a_note_and_the_run_goes_on(parked: Any, tmp_path: Path) -> None:
    with (tmp_path / "store" / "ledger_demo.jsonl").open("ab") as file:
        file.write(b'{"run_id": "de')

    assert parked("ledger", "verify", "demo", "--json").document["torn_tail_bytes"] == 14
    assert any("torn tail" in item["message"] for item in findings(parked))
    assert parked("resume", "demo", "--input", "approve").code == 0
    assert parked("ledger", "verify", "demo", "--json").document["torn_tail_bytes"] == 0


def test_a_ledger_that_lost_records_stops_everything(parked: Any, tmp_path: Path) -> None:
    parked("resume", "demo", "--input", "approve")
    ledger = tmp_path / "store" / "ledger_demo.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[:-2]))

    result = parked("inspect", "demo")

    assert result.code == 1
    assert "= hint: " in result.err


def test_an_owned_run_waits_for_its_owner_when_asked(
    parked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ART_LOCK_TIMEOUT", "0.01")
    with open_store(tmp_path / "store") as engine:
        log = engine.open("demo")
        busy = parked("resume", "demo", "--input", "approve")
        log.close()

    assert busy.code == 75
    assert parked("resume", "demo", "--input", "approve").code == 0
