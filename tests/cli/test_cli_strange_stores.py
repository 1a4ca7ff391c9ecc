"""Stores that may have come from anywhere: nothing in them leads out, hides a run, or keeps one waiting."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_flows import family, listener

from abstractruntime.core.run_tree import RunTree
from abstractruntime.storage._files import beneath
from abstractruntime.storage._store import index_check, store_file
from abstractruntime.storage.directory import DirectoryStore, open_store

_OLD = (1e9, 1e9)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*.*"))}


# -- links ------------------------------------------------------------------------------


PLACES = (
    "inbox", "inbox/demo", "quarantine", "locks", "artifacts", "artifacts/blobs",
    "artifacts/refs", "bundles", "snapshots", "tombstones",
)  # fmt: skip
DEEDS = (
    ("gc", "--apply", "--grace", "1", "--quarantine"),
    ("emit", "go", "--session", "demo"),
    ("snapshot", "create", "demo"),
    ("resume", "demo", "--input", "approve"),
    ("gc", "--purge", "demo", "--apply", "--yes"),
    ("run", "again.json", "--run-id", "again"),
)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Give a directory with old files of the names that a store uses."""
    outside = tmp_path / "outside"
    for name in (
        "x.json",
        "x.meta",
        "x.bin",
        "x.flowbundle",
        "x.tmp",
        "snapshot_x.json",
        "demo.tmp",
    ):
        path = outside / "demo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for each in (path, outside / name):
            each.write_bytes(b"mine")
            os.utime(each, _OLD)
    return outside


def deeds_leave(art: Any, tmp_path: Path, outside: Path, place: str) -> bool:
    """Put a link in the place of a directory, do everything, and tell whether nothing changed there."""
    listener(art, "demo")
    shutil.copy("listens.json", "again.json")
    part = tmp_path / "store" / place
    if part.is_dir():
        shutil.rmtree(part)
    part.parent.mkdir(exist_ok=True)
    part.symlink_to(outside)
    before = contents(outside)
    codes = [art(*deed).code for deed in DEEDS]
    assert 70 not in codes
    return contents(outside) == before


@pytest.mark.parametrize("place", PLACES)
def test_no_directory_of_a_store_leads_elsewhere(
    art: Any, tmp_path: Path, elsewhere: Path, place: str
) -> None:
    assert deeds_leave(art, tmp_path, elsewhere, place)


def test_a_link_that_is_followed_is_caught(
    art: Any, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter = beneath._enter

    def follow(name: str, at: int | None, path: str, flags: int) -> int:
        return enter(name, at, path, flags & ~os.O_NOFOLLOW)

    monkeypatch.setattr(beneath, "_enter", follow)
    assert not deeds_leave(art, tmp_path, elsewhere, "inbox/demo")


def test_a_link_is_named_with_the_next_step(parked: Any, tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "store" / "inbox").mkdir()
    (tmp_path / "store" / "inbox" / "demo").symlink_to(elsewhere)

    refused = parked("gc", "--apply", "--grace", "1")

    assert refused.code == 74
    assert "store/inbox/demo' is a link, expected a directory" in refused.err


# -- pipes ------------------------------------------------------------------------------


class Hangs(BaseException):
    """Nothing may take this for an error of a file."""


@contextlib.contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def pipe_for(tmp_path: Path, name: str) -> None:
    path = tmp_path / "store" / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize(
    "name",
    [
        "ledger_demo.jsonl", "run_demo.json", "heads_demo.jsonl", "store.json", "index.sqlite",
        "locks/run_demo.lock", "locks/store.lock",
    ],
)  # fmt: skip
def test_a_pipe_in_a_store_keeps_nobody_waiting(parked: Any, tmp_path: Path, name: str) -> None:
    pipe_for(tmp_path, name)
    with no_longer_than(60):
        for words in (
            ("runs",), ("inspect", "demo"), ("ledger", "verify", "demo"), ("tick", "--due"),
            ("resume", "demo", "--input", "approve"), ("gc", "--apply"), ("doctor",),
        ):  # fmt: skip
            told = parked(*words)
            assert told.code in (0, 1, 2, 4, 65, 74), (words, told)
            if told.code == 74:
                assert f"{name}' is a pipe, expected a file" in told.err


def test_waiting_for_a_pipe_is_caught(
    parked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beneath, "_SAFE", beneath._SAFE & ~os.O_NONBLOCK)
    pipe_for(tmp_path, "run_demo.json")
    with pytest.raises(Hangs), no_longer_than(0.5):
        open_store(tmp_path / "store").peek("demo")


# -- runs of somebody else --------------------------------------------------------------


@pytest.fixture
def cloned(art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project whose store holds a listener that a stranger started, and what its gc would remove."""
    monkeypatch.delenv("ART_HOME")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    (tmp_path / "project" / "art.yaml").write_text("{}\n")
    with monkeypatch.context() as patch:
        patch.setenv("ART_CONFIG_DIR", str(tmp_path / "stranger"))
        patch.setenv("ART_HOME", ".art")
        listener(art, "demo")
    garbage = tmp_path / "project" / ".art" / "run_demo.json.1-1.tmp"
    garbage.write_bytes(b"x")
    os.utime(garbage, _OLD)
    return art


STRANGE_DEEDS = (
    ("gc", "--apply", "--grace", "1"),
    ("gc", "--purge", "demo", "--apply", "--yes"),
    ("snapshot", "create", "demo"),
    ("emit", "go", "--session", "demo"),
    ("repair", "demo", "--apply"),
    ("cancel", "demo"),
)


def files_of(store: Path) -> dict[str, bytes]:
    found = contents(store)
    return {n: d for n, d in found.items() if not n.startswith(("index", "locks/"))}


@pytest.mark.parametrize("deed", STRANGE_DEEDS, ids=lambda deed: " ".join(deed[:2]))
def test_runs_of_somebody_else_are_asked_for_before_anything_changes(
    cloned: Any, deed: tuple[str, ...]
) -> None:
    if deed[:2] == ("gc", "--purge"):
        assert cloned("cancel", "demo", "--store", ".art").code == 0
    store = Path(".art")
    before = files_of(store)

    assert cloned(*deed).code in (1, 3)
    assert files_of(store) == before
    assert cloned(*deed, "--store", ".art").code == 0


def test_a_deed_without_asking_is_caught(cloned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DirectoryStore, "require_own", lambda *_: None)
    for deed in STRANGE_DEEDS[:1] + STRANGE_DEEDS[2:4]:
        before = files_of(Path(".art"))
        cloned(*deed)
        assert files_of(Path(".art")) != before, deed


# -- rows that hide ---------------------------------------------------------------------


def spoil(tmp_path: Path, change: str) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "store" / "index.sqlite")) as db:
        db.execute(change)
        db.commit()


HIDING = (
    "UPDATE runs SET status = 'completed'",
    "UPDATE runs SET parent_run_id = 'zz', session_id = 'zz' WHERE parent_run_id IS NOT NULL",
    "UPDATE runs SET status = 'completed', wait_reason = NULL, wait_key = NULL, listening = NULL",
    "DELETE FROM runs WHERE parent_run_id IS NOT NULL",
)


@pytest.mark.parametrize("change", HIDING)
def test_no_row_hides_a_run_from_who_acts(art: Any, tmp_path: Path, change: str) -> None:
    child = family(art)
    listener(art, "g1", key="evt:global:global:approved")
    for words, code in (
        (("resume", "top", "--input", "x"), None),
        (("tick", "top"), None),
        (("pause", "top"), 0),
        (("cancel", "top"), 0),
    ):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(tmp_path / "copy")
        shutil.copytree(tmp_path / "store", tmp_path / "copy")
        art("runs", "--children")
        spoil(tmp_path, change)
        told = art(*words)
        assert told.code == code or (code is None and told.code in (0, 4)), (words, told)
        if words[0] == "cancel":
            assert f"{child}\tcancelled" in told.out
        shutil.rmtree(tmp_path / "store")
        (tmp_path / "copy").rename(tmp_path / "store")
    art("runs")
    spoil(tmp_path, change)
    assert art("emit", "approved", "--global", "--json").document["delivered"] == 1
    spoil(tmp_path, change)
    assert child in art("export-history", "top").document["ledgers"]


def test_belief_in_rows_that_hide_is_caught(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_check, "check_index", lambda _: [])
    listener(art, "g1", key="evt:global:global:approved")
    art("runs")
    spoil(tmp_path, HIDING[0])
    assert art("emit", "approved", "--global", "--json").document["delivered"] == 0


def test_belief_in_rows_of_children_is_caught(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family(art)
    art("runs")
    spoil(tmp_path, HIDING[1])
    monkeypatch.setattr(RunTree, "awaited_by", lambda *_: None)
    assert art("resume", "top", "--input", "x").code == 2


def test_a_child_that_is_gone_is_named(art: Any, tmp_path: Path) -> None:
    child = family(art)
    for path in (tmp_path / "store").glob(f"*_{child}.*"):
        path.unlink()

    verified = art("ledger", "verify", "top", "--json")
    assert (verified.code, verified.document["defects"][0]["code"]) == (1, "child_missing")
    art("export-history", "top", "-o", "top.json")
    told = art("ledger", "verify", "top.json", "--json")
    assert f"/ledgers/{child}" in json.dumps(told.document), told


# -- the file that names the store ------------------------------------------------------


@pytest.fixture
def unnamed(art: Any, tmp_path: Path) -> Any:
    """The same, with a signed run `demo` of a store that lost its store.json."""
    assert art("key", "new", "host", "--usage", "host").code == 0
    (tmp_path / "config" / "config.yaml").write_text("host_key: host\n")
    listener(art, "demo")
    (tmp_path / "store.json").write_bytes((tmp_path / "store" / "store.json").read_bytes())
    (tmp_path / "store" / "store.json").unlink()
    return art


def test_a_lost_store_file_is_not_replaced_silently(unnamed: Any, tmp_path: Path) -> None:
    named = json.loads((tmp_path / "store.json").read_bytes())["origin"]
    for words in (("run", "listens.json"), ("cancel", "demo"), ("gc", "--apply")):
        told = unnamed(*words)
        assert (told.code, named in told.err, "art repair" in told.err) == (74, True, True), words
    unnamed("tick", "--due")
    assert not (tmp_path / "store" / "store.json").exists()
    assert unnamed("ledger", "verify", "demo").code == 0
    doctor = unnamed("doctor")
    assert (doctor.code, "store.json' is missing" in doctor.out) == (1, True)

    assert unnamed("repair", "demo", "--apply").code == 0
    assert json.loads((tmp_path / "store" / "store.json").read_bytes())["origin"] == named
    assert unnamed("cancel", "demo").code == 0
    assert unnamed("ledger", "verify", "demo", "--require-signed").code == 0


def test_a_store_that_is_named_anew_is_caught(
    unnamed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_file, "_named_origins", lambda *_: set())
    unnamed("run", "listens.json", "--run-id", "r2")
    assert (tmp_path / "store" / "store.json").exists()
    assert unnamed("cancel", "demo").code == 1


def test_who_is_named_twice_is_not_written_again(unnamed: Any, tmp_path: Path) -> None:
    ledger = tmp_path / "store" / "ledger_demo.jsonl"
    other = ledger.with_name("ledger_other.jsonl")
    named = json.loads((tmp_path / "store.json").read_bytes())["origin"]
    other.write_bytes(ledger.read_bytes().replace(named.encode(), b"somebody/else"))

    told = unnamed("repair", "demo", "--apply")

    assert (told.code, "somebody/else" in told.out) == (1, True)
    assert not (tmp_path / "store" / "store.json").exists()
