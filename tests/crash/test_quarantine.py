"""A run that kills whoever drives it is set aside; nothing else is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from abstractruntime import open_store
from abstractruntime.cli.app import main
from abstractruntime.errors import Quarantined
from abstractruntime.storage._files.fs import RealFileSystem
from abstractruntime.storage._store import lease as leases
from abstractruntime.storage._store.lease import MOST_DEATHS

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ART_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("ART_CONFIG_DIR", str(tmp_path / "config"))
    inputs = '{"service": "api", "version": "2.1.0"}'
    assert main(["run", str(APPROVAL), "--run-id", "r", "--input", inputs, "-q"]) == 4
    return tmp_path / "store"


def _die(store: Path, how: int = signal.SIGKILL) -> None:
    """Let a process of its own end while it owns the run."""
    child = os.fork()
    if not child:
        with contextlib.closing(open_store(store).open("r")):
            os.kill(os.getpid(), how)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == how


def _open(store: Path, **options: Any) -> None:
    with contextlib.closing(open_store(store)) as engine:
        engine.open("r", **options).close()


def test_three_deaths_set_a_run_aside(store: Path, capsys: Any) -> None:
    for how in (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV):
        _die(store, how)
    with pytest.raises(Quarantined, match="3 processes in a row"):
        _open(store)
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["status"] == "quarantined"
    assert main(["resume", "r", "--input", "approve"]) == 3
    assert "art repair r --apply" in capsys.readouterr().err
    main(["doctor"])
    assert "quarantined" in capsys.readouterr().out
    # Asking changed nothing.
    with pytest.raises(Quarantined):
        _open(store)
    assert main(["repair", "r", "--apply"]) == 0
    assert main(["resume", "r", "--input", "approve", "-q"]) == 0


def test_deaths_count_in_a_row(store: Path) -> None:
    for _ in range(2):
        for _ in range(MOST_DEATHS - 1):
            _die(store)
        _open(store)


def test_a_run_that_goes_on_is_driven_however_often_it_is_killed(store: Path) -> None:
    for i in range(2 * MOST_DEATHS):
        _die(store)
        with (store / "ledger_r.jsonl").open("ab") as ledger:
            ledger.write(b"torn %d" % i)
    _open(store)


def test_a_machine_that_stopped_is_no_death(store: Path, monkeypatch: Any) -> None:
    for boot in range(MOST_DEATHS + 1):
        monkeypatch.setattr(leases, "boot_id", lambda boot=boot: f"boot {boot}")
        leases._process_facts.cache_clear()
        _die(store)
    monkeypatch.setattr(leases, "boot_id", lambda: "the next")
    _open(store)
    leases._process_facts.cache_clear()


def test_an_interpreter_that_ends_is_no_death(store: Path) -> None:
    for _ in range(MOST_DEATHS):
        child = os.fork()
        if not child:
            with contextlib.closing(open_store(store).open("r")):
                leases._note_ends()
                os._exit(0)
        os.waitpid(child, 0)
    _open(store)


def test_locks_without_questions_count_as_well(store: Path, monkeypatch: Any) -> None:
    from abstractruntime.storage._files import fs
    from abstractruntime.storage._files.locks import FlockLocks

    monkeypatch.setattr(fs, "best_locks", FlockLocks)
    assert isinstance(RealFileSystem()._locks, FlockLocks)
    for _ in range(MOST_DEATHS):
        _die(store)
    with pytest.raises(Quarantined):
        _open(store)
    with pytest.raises(Quarantined):
        _open(store)
    _open(store, take_back=True)
    _open(store)
