"""What a store keeps of runs a second time: index rows, snapshots, tombstones, bundles; never believed."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from legacy_flow import Host, workflow
from store_files import changed_values, changes_of

from abstractruntime._json import dump_line
from abstractruntime.cli._bundles import installed_bundle
from abstractruntime.cli.app import main
from abstractruntime.core.models import RunStatus
from abstractruntime.core.ports import RunHeader, RunQuery
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import AbstractRuntimeError, NotFound
from abstractruntime.storage._care import run_snapshots
from abstractruntime.storage._care.purge import altered_tombstones
from abstractruntime.storage._store.index import RunIndex
from abstractruntime.storage.directory import open_store

APPROVAL = str(Path(__file__).resolve().parents[2] / "bundles" / "release-approval")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store in which r1 and r3 wait, r2 is finished, and r1 has a snapshot."""
    root = tmp_path_factory.mktemp("original") / "store"
    with open_store(root) as engine:
        host = Host(engine)
        for run_id in ("r1", "r2", "r3"):
            host.runtime.start(workflow=workflow(), run_id=run_id)
            host.tick(run_id)
        host.answer("r2")
        engine.snapshots.create("r1", name="a name", tags=["t"])
        engine.find(RunQuery())
    return root


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "store")
    return tmp_path / "store"


# -- rows of the index --------------------------------------------------------------


def row_changes(path: Path) -> Iterator[tuple[str, Callable[[sqlite3.Connection], Any]]]:
    """Give every change of every row: each column set, emptied, or swapped with another row's."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(runs)")]
    for run_id, other in (("r1", "r2"), ("r2", "r3")):
        for column in columns:
            for value in ("'../x'", "NULL", "'beginning'", "'completed'"):
                if (value, column) != ("NULL", "run_id"):
                    yield (
                        f"{run_id}.{column} = {value}",
                        _run(
                            f"UPDATE OR IGNORE runs SET {column} = {value} WHERE run_id = '{run_id}'"
                        ),
                    )
            swap = f"(SELECT {column} FROM runs WHERE run_id = '{other}')"
            yield (
                f"{run_id}.{column} of {other}",
                _run(f"UPDATE OR IGNORE runs SET {column} = {swap} WHERE run_id = '{run_id}'"),
            )
        yield f"{run_id} deleted", _run(f"DELETE FROM runs WHERE run_id = '{run_id}'")
    names = ", ".join(c for c in columns if c != "run_id")
    yield (
        "a row added",
        _run(
            f"INSERT INTO runs (run_id, {names}) SELECT 'r9', {names} FROM runs WHERE run_id = 'r2'"
        ),
    )
    yield "never scanned", _run("DELETE FROM scan")


def _run(statement: str) -> Callable[[sqlite3.Connection], Any]:
    def change(db: sqlite3.Connection) -> Any:
        with contextlib.suppress(sqlite3.IntegrityError):
            return db.execute(statement)

    return change


def page(root: Path) -> list[RunHeader]:
    """Give what a person is shown of the first page."""
    with open_store(root) as engine:
        return engine.find(RunQuery(limit=50))


def waiting(root: Path) -> set[str]:
    """Give what is acted on, after a look at every row."""
    with open_store(root) as engine:
        engine.check_index()
        return {run.run_id for run in engine.find(RunQuery(status=RunStatus.WAITING, limit=0))}


def judge_rows(root: Path, columns: str = "") -> tuple[Counter[str], list[str]]:
    index = root / "index.sqlite"
    whole, shown = index.read_bytes(), page(root)
    counts: Counter[str] = Counter()
    wrong = []
    for name, change in row_changes(index):
        if columns not in name:
            continue
        for use, expected in ((page, shown), (waiting, {"r1", "r3"})):
            index.write_bytes(whole)
            with contextlib.closing(sqlite3.connect(index)) as db:
                change(db)
                db.commit()
            came_to: Any = use(root)
            counts["never believed" if came_to == expected else "believed"] += 1
            if came_to != expected:
                wrong.append(f"{name}: {use.__name__}: {came_to}")
    index.write_bytes(whole)
    return counts, wrong


def test_no_row_of_the_index_is_believed(store: Path) -> None:
    counts, wrong = judge_rows(store)

    print(f"\nindex rows: {dict(counts)}")
    assert wrong == []
    assert counts.total() > 250


def test_doctor_names_each_row_that_is_wrong(store: Path) -> None:
    for column, value in (("status", "completed"), ("parent_run_id", "r2"), ("wait_key", "k")):
        with contextlib.closing(sqlite3.connect(store / "index.sqlite")) as db:
            db.execute(f"UPDATE runs SET {column} = ? WHERE run_id = 'r1'", (value,))
            db.commit()
        with open_store(store) as engine:
            told = [(fault.code, fault.run_id) for fault in engine.health.faults()]
            assert told == [("index_stale", "r1")]
            assert engine.check_index() == ["r1"]
            assert engine.check_index() == []


def test_a_run_that_a_row_puts_into_a_tree_is_left_alone(store: Path) -> None:
    with contextlib.closing(sqlite3.connect(store / "index.sqlite")) as db:
        db.execute("UPDATE runs SET parent_run_id = 'r1' WHERE run_id = 'r3'")
        db.commit()
    with open_store(store) as engine:
        tree = RunTree(engine, "r1")
        assert [run.run_id for run in tree.members()] == ["r1", "r3"]
        assert [run.run_id for run in tree.states()] == ["r1"]
        assert [wait.run_id for wait in tree.open_waits()] == ["r1"]


def test_belief_in_rows_is_caught(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunIndex, "_is_true", lambda *_: True)
    monkeypatch.setattr(
        "abstractruntime.storage._store.index_check.check_index", lambda _engine: []
    )

    assert judge_rows(store, ".status")[0]["believed"]


def stripped_too(content: Any, *digest: str) -> Iterator[tuple[str, Any]]:
    """Give a document with each value changed, and again without the digest that shows it."""
    yield from changed_values(content)
    without = copy.deepcopy(content)
    parent = without
    for key in digest[:-1]:
        parent = parent[key]
    del parent[digest[-1]]
    for name, changed in changed_values(without):
        yield f"{name}, no digest", changed


# -- snapshots ----------------------------------------------------------------------


def judge_snapshots(root: Path) -> tuple[Counter[str], list[str]]:
    (path,) = (root / "snapshots").iterdir()
    data, snapshot_id = path.read_bytes(), path.stem.removeprefix("snapshot_")
    with open_store(root) as engine:
        before = engine.peek("r1")
        shown = [(s.name, s.tags, s.run_id, s.created_at) for s in engine.snapshots.list()]
    counts: Counter[str] = Counter()
    wrong = []
    for name, changed in stripped_too(json.loads(data), "run_state", "_meta", "sha256"):
        path.write_bytes(dump_line(changed))
        with open_store(root) as engine:
            listed = [(s.name, s.tags, s.run_id, s.created_at) for s in engine.snapshots.list()]
            told = [*engine.health.snapshots(), *engine.health.contradictions()]
            try:
                after = engine.snapshots.restore(snapshot_id)
                is_same = (after.vars.get("r"), after.waiting) == (
                    before.vars.get("r"),
                    before.waiting,
                )
                came_to = "harmless" if is_same and listed == shown else "believed"
            except AbstractRuntimeError:
                came_to = "refused and told" if told else "untold"
        counts[came_to] += 1
        if came_to in ("believed", "untold"):
            wrong.append(f"{name}: {came_to}")
    return counts, wrong


def test_no_snapshot_is_believed(store: Path) -> None:
    counts, wrong = judge_snapshots(store)

    print(f"\nsnapshots: {dict(counts)}")
    assert wrong == []
    assert counts["refused and told"] > 50


def test_a_snapshot_with_a_fitting_digest_is_compared_with_the_ledger(store: Path) -> None:
    with open_store(store) as engine:
        (found,) = engine.snapshots.list()
        found.run_state["vars"]["r"] = "forged"
        found.run_state["_meta"]["sha256"] = run_snapshots._digest(found)
        engine.snapshots.stored.save(found)
        assert [run_id for run_id, _ in engine.health.contradictions()] == ["r1"]
        with pytest.raises(AbstractRuntimeError, match="does not match the ledger"):
            engine.snapshots.restore(found.snapshot_id)


def test_belief_in_snapshots_is_caught(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_snapshots, "_require_recorded", lambda *_: -1)
    monkeypatch.setattr(run_snapshots, "_is_whole", lambda _: True)

    assert judge_snapshots(store)[0]["believed"]


# -- tombstones and bundles ------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store with a run `w` of a bundle, and the tombstone of another."""
    root = tmp_path_factory.mktemp("installed")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(None):
        patch.setenv("ART_HOME", str(root / "store"))
        patch.setenv("ART_CONFIG_DIR", str(root / "config"))
        patch.chdir(root)
        for code, *words in (
            (0, "compile", APPROVAL, "--unsigned", "-o", "r.flowbundle"),
            (4, "run", "r.flowbundle", "--run-id", "w"),
            (4, "run", "r.flowbundle", "--run-id", "old"),
            (0, "cancel", "old"),
            (0, "gc", "--purge", "old", "--apply", "--yes"),
        ):
            assert main(words) == code, words
    return root / "store"


def test_a_tombstone_is_a_claim_that_shows_a_change(installed: Path) -> None:
    path = installed / "tombstones" / "old.json"
    data, found = path.read_bytes(), Counter[bool]()
    with open_store(installed) as engine:
        assert altered_tombstones(engine.services) == []
        for name, changed in stripped_too(json.loads(data), "sha256"):
            path.write_bytes(dump_line(changed))
            is_found = altered_tombstones(engine.services) == ["old"]
            assert is_found, name
            found[is_found] += 1
            told = [f.code for f in engine.health.faults() if f.run_id is None]
            assert ("tombstone_altered" in told) == is_found
    path.write_bytes(data)
    assert found[True] > 20


def test_no_byte_of_an_installed_bundle_is_believed(installed: Path) -> None:
    (path,) = (installed / "bundles").iterdir()
    data = path.read_bytes()
    counts: Counter[str] = Counter()
    with open_store(installed) as engine:
        whole = installed_bundle(engine, RunTree(engine, "w")).digest
        for _, changed in changes_of(data, {"nothing": b""}, 150):
            path.unlink() if changed is None else path.write_bytes(changed)
            try:
                installed_bundle(engine, RunTree(engine, "w"))
                came_to = "believed"
            except NotFound:
                came_to = "missing"
            except AbstractRuntimeError as error:
                came_to = "refused" if "run 'w'" in str(error) else "refused, unnamed"
            counts[came_to] += 1
            path.write_bytes(data)
        assert installed_bundle(engine, RunTree(engine, "w")).digest == whole
    print(f"\nbundles: {dict(counts)}")
    assert counts["believed"] == 0
    assert counts["refused"] > 250


def test_verify_names_an_altered_bundle(
    installed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (installed / "bundles").iterdir()
    data = path.read_bytes()
    monkeypatch.setenv("ART_HOME", str(installed))
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    try:
        assert main(("ledger", "verify", "w", "--json")) == 1
    finally:
        path.write_bytes(data)
    assert json.loads(capsys.readouterr().out)["defects"][0]["code"] == "bundle_mismatch"
