"""Snapshots, garbage, diagnosis, repair, and following a ledger."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cli_flows import listener
from jsonschema import Draft202012Validator

from abstractruntime.cli._follow import follow
from abstractruntime.schemas import load_schema
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import FakeClock

APPROVAL = str(Path(__file__).parents[2] / "bundles" / "release-approval" / "flow.json")
COMMANDS = {
    "cancel": ("cancel", "demo"),
    "cancel-only": ("cancel", "demo", "--only"),
    "pause": ("pause", "demo"),
    "unpause": ("unpause", "demo"),
    "emit": ("emit", "go", "--run", "l1"),
    "emit-drive": ("emit", "go", "--run", "l1", "--drive"),
    "emit-nobody": ("emit", "gone", "--run", "l1"),
    "snapshot-create": ("snapshot", "create", "demo"),
    "snapshot-list": ("snapshot", "list", "demo"),
    "gc": ("gc",),
    "gc-apply": ("gc", "--apply"),
    "repair": ("repair", "demo"),
    "repair-apply": ("repair", "torn", "--apply"),
    "doctor": ("doctor",),
    "serve": ("serve", "--once"),
}


@pytest.fixture
def ready(parked: Any, tmp_path: Path) -> Any:
    listener(parked, "l1")
    listener(parked, "torn")
    tear(tmp_path, "torn")
    return parked


def tear(tmp_path: Path, run_id: str) -> None:
    with (tmp_path / "store" / f"ledger_{run_id}.jsonl").open("ab") as file:
        file.write(b'{"half')


@pytest.mark.parametrize("args", COMMANDS.values(), ids=COMMANDS)
def test_json_output_is_one_document_with_a_schema(ready: Any, args: tuple[str, ...]) -> None:
    result = ready(*args, "--json")
    name, _, version = result.document["format"].removeprefix("art-").partition("/")

    assert (version, result.code) == ("1", 0)
    Draft202012Validator(load_schema(name)).validate(result.document)


@pytest.mark.parametrize("args", COMMANDS.values(), ids=COMMANDS)
def test_jsonl_and_quiet_keep_the_contract(ready: Any, args: tuple[str, ...]) -> None:
    assert ready(*args, "--quiet").out == ""
    lines = ready(*args, "--jsonl").out.splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)


# -- snapshots -----------------------------------------------------------------------


def create(art: Any, *args: str) -> Any:
    return art("snapshot", "create", "demo", *args, "--json").document["snapshots"][0]


def test_a_run_is_put_back_to_a_snapshot(parked: Any) -> None:
    made = create(parked, "--name", "before", "--description", "d", "--tag", "ops")
    parked("resume", "demo", "--input", "approve")
    restored = parked("snapshot", "restore", made["snapshot_id"][:8], "--json")

    assert (made["name"], made["description"], made["tags"]) == ("before", "d", ["ops"])
    assert (restored.code, restored.document["waiting"]["reason"]) == (0, "user")
    assert parked("resume", "demo", "--input", "reject").document["decision"] == "reject"
    assert parked("ledger", "verify", "demo").code == 0


def test_a_snapshot_of_an_earlier_record(parked: Any) -> None:
    assert create(parked, "--at", "0")["status"] == "running"
    assert parked("snapshot", "create", "demo", "--at", "99").code == 66


def test_snapshots_are_listed_by_run_and_tag(parked: Any) -> None:
    listener(parked, "l1")
    create(parked, "--tag", "ops")
    create(parked)
    parked("snapshot", "create", "l1")

    def count(*args: str) -> int:
        return len(parked("snapshot", "list", *args, "--json").document["snapshots"])

    assert (count(), count("demo"), count("--tag", "ops"), count("-n", "1")) == (3, 2, 1, 1)
    assert parked("snapshot", "list", "l1").out.split("\t")[1:4] == ["l1", "waiting", "waiting"]


def test_a_snapshot_has_to_be_named(parked: Any) -> None:
    unknown = parked("snapshot", "restore", "nope")
    assert (unknown.code, "art snapshot list" in unknown.err) == (66, True)
    ids = {create(parked)["snapshot_id"] for _ in range(2)}
    unnamed = parked("snapshot", "restore", "")
    assert (unnamed.code, "art snapshot list" in unnamed.err) == (2, True)
    assert len(ids) == 2


def test_an_empty_name_is_not_the_only_snapshot(parked: Any) -> None:
    create(parked)
    parked("resume", "demo", "--input", "approve")

    assert parked("snapshot", "restore", "").code == 2
    assert parked("inspect", "demo", "--json").document["status"] == "completed"


def test_a_damaged_snapshot_is_named(parked: Any, tmp_path: Path) -> None:
    one = create(parked)["snapshot_id"]
    (tmp_path / "store" / "snapshots" / f"snapshot_{one}.json").write_text("garbage")

    restored, doctor = parked("snapshot", "restore", one), parked("doctor")
    listed = parked("snapshot", "list")
    assert (restored.code, "is not a snapshot" in restored.err) == (1, True)
    assert (listed.code, "art doctor" in listed.err) == (0, True)
    assert f"error: snapshot {one}: " in doctor.out


def test_the_bundle_of_a_live_run_is_missed(parked: Any, tmp_path: Path) -> None:
    (bundle,) = (tmp_path / "store" / "bundles").iterdir()
    bundle.rename(tmp_path / "kept")

    lost = parked("doctor")
    assert (lost.code, "error: run demo: bundle" in lost.out) == (1, True)
    parked("cancel", "demo")
    assert parked("doctor").code == 0


def test_the_grace_period_is_told_in_days(parked: Any) -> None:
    refused = parked("gc", "--grace", "0.01")

    assert (refused.code, "argument --grace" in refused.err) == (2, True)
    assert "0.042" in refused.err


# -- garbage -------------------------------------------------------------------------


def age(path: Path) -> None:
    os.utime(path, (1_000_000_000, 1_000_000_000))


@pytest.fixture
def garbage(parked: Any, tmp_path: Path) -> Path:
    """An old bundle that no run needs."""
    path = tmp_path / "store" / "bundles" / f"{'ab' * 32}.flowbundle"
    path.write_bytes(b"12345")
    age(path)
    return path


@pytest.mark.parametrize("args", [(), ("--dry-run",)], ids=["default", "dry-run"])
def test_gc_says_what_would_go(parked: Any, garbage: Path, args: tuple[str, ...]) -> None:
    result = parked("gc", *args)

    assert result.out == f"bundle\tbundles/{garbage.name}\t5\n"
    assert "would remove 1 file and 0 runs, 5 bytes" in result.err
    assert garbage.exists()


def test_gc_removes_when_told_to(parked: Any, garbage: Path, tmp_path: Path) -> None:
    result = parked("gc", "--apply", "--json")

    assert (result.document["applied"], result.document["size_bytes"]) == (True, 5)
    assert [path.name for path in tmp_path.glob("store/bundles/*")] != [garbage.name]
    assert not garbage.exists()
    assert parked("resume", "demo", "--input", "approve").code == 0


def test_gc_leaves_what_is_young(parked: Any, garbage: Path) -> None:
    assert parked("gc", "--grace", "36500").out == ""
    assert parked("gc", "--grace", "0").code == 2


def test_a_finished_run_is_purged_by_name_only(parked: Any, tmp_path: Path) -> None:
    assert parked("gc", "--purge", "demo").code == 2  # it waits
    parked("cancel", "demo")
    plan = parked("gc", "--purge", "@last", "--json").document
    done = parked("gc", "--purge", "demo", "--apply", "--yes")

    assert [part["run_id"] for part in plan["purges"]] == ["demo"]
    assert done.out.startswith("run\tdemo\t")
    assert parked("inspect", "demo").code == 66
    assert (tmp_path / "store" / "tombstones" / "demo.json").exists()
    assert parked("gc", "--purge", "demo", "--apply", "--yes").code == 0
    assert parked("gc", "--purge", "nope").code == 66


def test_gc_wants_one_of_two(parked: Any) -> None:
    assert parked("gc", "--dry-run", "--apply").code == 2


# -- diagnosis and repair --------------------------------------------------------------


def test_repair_plans_first(ready: Any, tmp_path: Path) -> None:
    ledger = tmp_path / "store" / "ledger_torn.jsonl"
    before = ledger.read_bytes()
    plan = ready("repair", "torn")

    assert plan.code == 0
    assert "torn tail of 6 bytes" in plan.out
    assert "would: move the torn tail" in plan.out
    assert "art repair torn --apply" in plan.err
    assert ledger.read_bytes() == before


def test_repair_does_what_it_planned_and_records_it(ready: Any) -> None:
    done = ready("repair", "torn", "--apply", "--json").document

    assert (done["applied"], done["left"]) == (True, [])
    assert "cut_torn_tail" in [step["step"] for step in done["steps"]]
    records = ready("ledger", "show", "torn", "--json").document["records"]
    assert records[-1]["result"]["action"] == "repair"
    assert "needs no repair" in ready("repair", "torn", "--apply").err
    assert ready("emit", "go", "--run", "torn", "--drive").out == "torn\tgot it\tsucceeded\n"


def test_repair_makes_nothing_up(parked: Any, tmp_path: Path) -> None:
    ledger = tmp_path / "store" / "ledger_demo.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b"2.1.0", b"9.9.9"))
    damaged = ledger.read_bytes()
    plan = parked("repair", "demo", "--json")
    done = parked("repair", "demo", "--apply")

    assert (plan.code, plan.document["blocked"], plan.document["steps"]) == (1, True, [])
    assert done.code == 1
    assert "restore its files from a backup" in done.err
    assert ledger.read_bytes() == damaged


def test_repair_of_a_run_that_somebody_drives_is_busy(ready: Any, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as owner:
        log = owner.open("l1")
        (tmp_path / "store" / "run_l1.json.x.tmp").write_bytes(b"")
        assert ready("repair", "l1", "--apply").code == 75
        log.close()


def test_repair_wants_one_of_two_and_a_run(parked: Any) -> None:
    assert parked("repair", "demo", "--plan", "--apply").code == 2
    assert parked("repair", "nope").code == 66


def doctor(art: Any) -> tuple[int, list[tuple[str, str, str | None]]]:
    result = art("doctor", "--json")
    found = result.document["findings"]
    return result.code, [
        (item["level"], item["message"], item["hint"])
        for item in found
        if item["subject"].startswith("run ")
    ]


def test_doctor_says_nothing_of_healthy_runs(parked: Any) -> None:
    parked("resume", "demo", "--input", "approve")

    assert doctor(parked) == (0, [])


def test_doctor_finds_what_repair_mends(parked: Any, tmp_path: Path) -> None:
    (tmp_path / "store" / "run_demo.json").write_bytes(b"{}")
    (tmp_path / "store" / "run_demo.json.x.tmp").write_bytes(b"")
    before = sorted(path.name for path in (tmp_path / "store").iterdir())
    code, found = doctor(parked)

    assert code == 0
    assert {hint for _, _, hint in found} == {"art repair demo --plan"}
    assert {level for level, _, _ in found} == {"warning", "note"}
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == before
    assert parked("repair", "demo", "--apply").code == 0
    assert doctor(parked) == (0, [])


def test_doctor_says_damage_once(parked: Any, tmp_path: Path) -> None:
    ledger = tmp_path / "store" / "ledger_demo.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b"2.1.0", b"9.9.9"))
    code, found = doctor(parked)

    assert (code, len(found), found[0][0]) == (1, 1, "error")


def test_doctor_is_bounded(ready: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abstractruntime.cli.doctor._MOST_DIAGNOSED", 1)

    assert "the files of the 2 oldest runs were not read" in ready("doctor").out


def changed(store: Path) -> None:
    """Change a record that a checkpoint stands for."""
    path = store / "ledger_t1.jsonl"
    path.write_bytes(path.read_bytes().replace(b"2.1.0", b"9.9.9", 1))


def shortened(store: Path) -> None:
    path = store / "ledger_t1.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("harm", "codes"), [(changed, (0, 1)), (shortened, (1, 1))], ids=["inside", "at the end"]
)
def test_doctor_reads_the_ends_of_long_ledgers_and_with_deep_all(
    parked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Any, codes: Any
) -> None:
    for name in ("t1", "t2"):
        done = parked("run", APPROVAL, "--run-id", name, "--input", '{"version": "2.1.0"}')
        assert done.code == 4
    newest = (tmp_path / "store" / "ledger_t2.jsonl").stat().st_size
    monkeypatch.setattr("abstractruntime.cli.doctor._WHOLE_BYTES", newest)
    tear(tmp_path, "demo")
    harm(tmp_path / "store")

    shown = parked("doctor")
    assert (shown.code, parked("doctor", "--deep").code) == codes
    assert "note: store: 2 long ledgers" in shown.out
    assert "not read before their checkpoints" in shown.out
    assert "run demo: torn tail" in shown.out
    assert "note: store:" not in parked("doctor", "--deep").out


# -- following a ledger ----------------------------------------------------------------


def test_tail_follows_until_the_run_has_ended(parked: Any) -> None:
    parked("resume", "demo", "--input", "approve")
    shown = parked("ledger", "show", "demo", "--jsonl").out

    assert parked("ledger", "tail", "demo", "-f", "-n", "999", "--jsonl").out == shown
    last = parked("ledger", "tail", "demo", "-f", "-n", "1")
    assert len(last.out.splitlines()) == 1
    assert parked("ledger", "tail", "demo", "-f", "--quiet").out == ""


def test_a_document_cannot_grow(parked: Any) -> None:
    assert parked("ledger", "tail", "demo", "-f", "--json").code == 2


@pytest.mark.parametrize("near", [(1,), (4, 64)], ids=["many new ones", "few new ones"])
def test_records_are_given_as_they_come(
    parked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, near: tuple[int, ...]
) -> None:
    monkeypatch.setattr("abstractruntime.cli._follow._NEAR", near)

    class Busy(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            given = ("pause", "unpause", "cancel")[len(self.slept) - 1]
            assert parked(given, "l1").code == 0

    listener(parked, "l1")
    clock = Busy()
    with open_store(tmp_path / "store") as engine:
        seqs = [item.seq for item in follow(engine, "l1", after=0, clock=clock)]
        assert seqs == [item.seq for item in engine.records("l1", after=0)]
    assert len(clock.slept) == 3


def test_the_doctor_fits_a_terminal(art: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = art("doctor").out.splitlines()
    monkeypatch.setenv("ART_FORCE_TTY", "60")
    monkeypatch.setenv("NO_COLOR", "1")

    shown = [line for line in art("doctor").out.splitlines() if "hint:" not in line]

    assert max(map(len, shown)) <= 60 < max(map(len, piped))
    assert any(line.startswith("    ") for line in shown)
