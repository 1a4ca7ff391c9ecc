"""What happens when a file of a store is deleted: row by row of the table in `docs/architecture.md`."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from legacy_directory import record, waiting_run, write_run

from abstractruntime.cli.app import main
from abstractruntime.core.commands import Cancel, Command
from abstractruntime.storage.directory import open_store

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
APPROVAL = str(ROOT / "bundles" / "release-approval")
REPORT = str(ROOT / "bundles" / "nightly-report" / "flow.json")

ROWS: dict[str, Callable[[Any, Path], None]] = {}


def row(name: str) -> Any:
    def declare(test: Callable[[Any, Path], None]) -> Callable[[Any, Path], None]:
        ROWS[name] = test
        return test

    return declare


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store with every kind of file; `w` waits, `d` is done, `big` has a large value."""
    root = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ART_HOME", str(root / "store"))
        patch.setenv("ART_CONFIG_DIR", str(root / "config"))
        patch.setenv("ART_HOST_KEY", "host")
        bundle, big = str(root / "r.flowbundle"), root / "big.json"
        big.write_text(json.dumps({"hours": 0, "lines": ["ERROR " + "x" * 300_000]}))
        for code, *words in (
            (0, "key", "new", "host", "--usage", "host"),
            (0, "compile", APPROVAL, "--unsigned", "-o", bundle),
            (4, "run", bundle, "--run-id", "w", "--input", "service=api"),
            (0, "run", REPORT, "--run-id", "d", "--input", "hours=0"),
            (0, "run", REPORT, "--run-id", "big", "--input", f"@{big}"),
            (0, "run", REPORT, "--run-id", "old", "--input", "hours=0"),
            (0, "gc", "--purge", "old", "--apply", "--yes"),
            (0, "snapshot", "create", "w"),
        ):
            with contextlib.redirect_stdout(io.StringIO()):
                assert main(words) == code, words
    with (root / "store" / "ledger_w.jsonl").open("ab") as ledger:
        ledger.write(b'{"torn')
    with open_store(root / "store") as engine, contextlib.closing(engine.open("w")):
        engine.post("w", Command("later", Cancel()))
    return root


@pytest.fixture
def store(original: Path, art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ART_HOST_KEY", "host")
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return tmp_path / "store"


@row("store.json")
def _store_file(art: Any, store: Path) -> None:
    before = (store / "store.json").read_bytes()
    (store / "store.json").unlink()

    run = ("run", REPORT, "--run-id", "new", "--input", "hours=0")
    assert art("inspect", "w").code == 0
    assert art(*run).code == 74
    assert art("repair", "w", "--apply").code == 0
    assert json.loads((store / "store.json").read_bytes())["origin"] == json.loads(before)["origin"]
    assert art("ledger", "verify", "d", "--json").document["verdict"] == "valid"
    assert art(*run).code == 0


@row("ledger_<run>.jsonl")
def _ledger(art: Any, store: Path) -> None:
    (store / "ledger_w.jsonl").unlink()

    lost = art("inspect", "w", "--json")
    assert (lost.code, lost.document["error"]["code"]) == (1, "head_mismatch")
    for name in ("run_w.json", "heads_w.jsonl"):
        (store / name).unlink()
    assert art("inspect", "w").code == 66


@row("heads_<run>.jsonl")
def _heads(art: Any, store: Path) -> None:
    assert art("ledger", "verify", "d", "--json").document["verdict"] == "valid"
    for name in ("heads_d.jsonl", "heads_w.jsonl"):
        (store / name).unlink()

    verdict = art("ledger", "verify", "d", "--json").document
    assert verdict["verdict"] == "invalid"
    assert [defect["code"] for defect in verdict["defects"]] == ["heads_missing"]
    assert art("cancel", "w").code == 1


@row("run_<run>.json")
def _checkpoint(art: Any, store: Path) -> None:
    before = art("inspect", "w", "--json").document
    (store / "run_w.json").unlink()

    assert art("inspect", "w", "--json").document == before
    _end(art, store)
    assert (store / "run_w.json").exists()


@row("index.sqlite")
def _index(art: Any, store: Path) -> None:
    before = art("runs", "--json").document
    (store / "index.sqlite").unlink()

    assert art("runs", "--json").document == before
    assert (store / "index.sqlite").exists()


@row("locks/")
def _locks(art: Any, store: Path) -> None:
    shutil.rmtree(store / "locks")

    _end(art, store)


@row("inbox/<run>/")
def _inbox(art: Any, store: Path) -> None:
    assert list((store / "inbox" / "w").iterdir())
    shutil.rmtree(store / "inbox" / "w")

    assert art("resume", "w", "--input", "approve").code == 0


@row("bundles/")
def _bundles(art: Any, store: Path) -> None:
    shutil.rmtree(store / "bundles")

    assert art("inspect", "w").code == 0
    assert art("ledger", "verify", "w", "--json").document["verdict"] == "valid"
    assert art("resume", "w", "--input", "approve").code == 66


@row("artifacts/")
def _artifacts(art: Any, store: Path) -> None:
    shutil.rmtree(store / "artifacts")

    lost = art("inspect", "big", "--json")
    assert (lost.code, lost.document["error"]["code"]) == (1, "integrity")
    judged = art("ledger", "verify", "big", "--json")
    assert (judged.code, judged.document["verdict"]) == (1, "invalid")
    assert judged.document["defects"][0]["code"] == "large_value_missing"
    assert art("inspect", "d").code == 0


@row("quarantine/")
def _quarantine(art: Any, store: Path) -> None:
    (torn,) = (store / "quarantine").iterdir()
    assert torn.read_bytes() == b'{"torn'
    shutil.rmtree(store / "quarantine")

    assert art("ledger", "verify", "w", "--json").document["verdict"] == "valid"
    _end(art, store)


@row("snapshots/")
def _snapshots(art: Any, store: Path) -> None:
    assert len(art("snapshot", "list", "--json").document["snapshots"]) == 1
    shutil.rmtree(store / "snapshots")

    assert art("snapshot", "list", "--json").document["snapshots"] == []


@row("tombstones/")
def _tombstones(art: Any, store: Path) -> None:
    assert [path.name for path in (store / "tombstones").iterdir()] == ["old.json"]
    shutil.rmtree(store / "tombstones")

    left = {path.relative_to(store).parts[0] for path in store.rglob("*old*")}
    assert left <= {"locks"}, "a lock proves nothing"
    assert art("runs").code == 0


@row("imported/")
def _imported(art: Any, store: Path) -> None:
    # The directory of an earlier version becomes a store when it is first written.
    shutil.rmtree(store)
    write_run(store, waiting_run(), [record(status="started"), record()])
    before = (store / "run_r1.json").read_bytes()
    with open_store(store) as engine:
        engine.open("r1").close()
    assert (store / "imported" / "run_r1.json").read_bytes() == before
    shutil.rmtree(store / "imported")

    assert art("inspect", "r1").code == 0
    assert [
        path for path in store.rglob("*") if path.is_file() and path.read_bytes() == before
    ] == []


def _end(art: Any, store: Path) -> None:
    """Go on with the waiting run, as if nothing were missing."""
    shutil.rmtree(store / "inbox", ignore_errors=True)
    assert art("resume", "w", "--input", "approve").code == 0


@pytest.mark.parametrize("name", ROWS)
def test_a_store_without_it(name: str, art: Any, store: Path) -> None:
    ROWS[name](art, store)


def test_every_row_of_the_table_is_tried() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## Files of a store")[2]

    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE) == list(ROWS)
