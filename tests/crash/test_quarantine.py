"""A run that kills whoever drives it is set aside; nothing else is."""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from flow_builder import END, START, flow, node

from abstractruntime import open_store
from abstractruntime.cli.app import main
from abstractruntime.errors import Quarantined
from abstractruntime.storage._files.fs import RealFileSystem
from abstractruntime.storage._store import lease as leases
from abstractruntime.storage._store.lease import MOST_DEATHS
from abstractruntime.testing.stub_llm import StubLLM

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
        faulthandler.disable()
        with contextlib.closing(open_store(store).open("r")):
            os.kill(os.getpid(), how)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == how


def _open(store: Path, **options: Any) -> None:
    with contextlib.closing(open_store(store)) as engine:
        engine.open("r", **options).close()


def _asks(times: int) -> dict[str, Any]:
    """Give a flow that asks a model so many times."""
    names = [f"m{i}" for i in range(times)]
    given: Any = {"pinDefaults": {"prompt": "?"}}
    models = [node(name, "llm_call", "exec-in prompt", "exec-out", **given) for name in names]
    way = ["s", *names, "e"]
    edges = "; ".join(f"{a} > {b}" for a, b in itertools.pairwise(way))
    return flow(START, *models, END, edges=edges)


class Lives:
    """Lives of one run, each a process whose model is a function of the test."""

    def __init__(self, directory: Path, flow: dict[str, Any]) -> None:
        (directory / "ask.json").write_text(json.dumps(flow))
        script = directory / "script.json"
        script.write_text('{"format": "art-stub-llm/1", "answers": [], "default": "ok"}')
        self.script = ["--llm-stub", str(script)]
        self.calls = directory / "calls"

    def live(self, *argv: str, kill: int, after: int = 0) -> int:
        """Drive a run that kills its process in the first call of a model after so many."""
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        faulthandler.disable()
        answer, calls = StubLLM.complete, []

        def complete(stub: StubLLM, request: Any) -> Any:
            calls.append(request)
            if len(calls) > after:
                self.calls.write_text(f"{self.count() + 1}")
                for _ in range(2):  # of signals that ask, the second one kills
                    os.kill(os.getpid(), kill)
            return answer(stub, request)

        StubLLM.complete = complete
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(main([*argv, *self.script]))

    def count(self) -> int:
        return int(self.calls.read_text()) if self.calls.exists() else 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_handler_that_kills_its_process_does_so_three_times(
    store: Path, tmp_path: Path, how: signal.Signals
) -> None:
    lives = Lives(tmp_path, _asks(1))

    ends = [lives.live("run", str(tmp_path / "ask.json"), "--run-id", "d", kill=how)]
    ends += [lives.live("tick", "d", kill=how) for _ in range(4)]

    assert (ends, lives.count()) == ([-how, -how, -how, 3, 3], MOST_DEATHS)
    assert main(["resume", "d", "--input", "x"]) == 3
    assert main(["repair", "d", "--apply"]) == 0
    assert lives.live("tick", "d", kill=how) == -how


@pytest.mark.parametrize("how, after", [(signal.SIGTERM, 0), (signal.SIGINT, 0), (9, 1)])
def test_neither_orders_nor_kills_of_a_run_that_goes_on_count(
    store: Path, tmp_path: Path, how: int, after: int
) -> None:
    lives = Lives(tmp_path, _asks(MOST_DEATHS + 3))

    lives.live("run", str(tmp_path / "ask.json"), "--run-id", "d", kill=how, after=after)
    ends = [lives.live("tick", "d", kill=how, after=after) for _ in range(MOST_DEATHS + 1)]

    assert ends == [-how] * (MOST_DEATHS + 1)


def test_three_deaths_set_a_run_aside(store: Path, capsys: Any) -> None:
    for how in (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV):
        _die(store, how)
    with pytest.raises(Quarantined, match="3 processes died"):
        _open(store)
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["outcome"] == "quarantined"
    for status, listed in (("quarantined", ["r"]), ("damaged", []), ("waiting", ["r"])):
        assert main(["runs", "--status", status, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["runs"]
        assert [row["run_id"] for row in found] == listed
    assert main(["resume", "r", "--input", "approve"]) == 3
    assert "art repair r --apply" in capsys.readouterr().err
    main(["doctor"])
    assert "quarantined" in capsys.readouterr().out
    # Asking changed nothing.
    with pytest.raises(Quarantined):
        _open(store)
    assert main(["repair", "r", "--apply"]) == 0
    assert main(["resume", "r", "--input", "approve", "-q"]) == 0


def test_looking_at_a_run_forgets_no_deaths(store: Path) -> None:
    for _ in range(MOST_DEATHS):
        _open(store)
        _die(store)
    with pytest.raises(Quarantined):
        _open(store)


def test_torn_tails_are_no_progress(store: Path) -> None:
    for i in range(MOST_DEATHS):
        _die(store)
        with (store / "ledger_r.jsonl").open("ab") as ledger:
            ledger.write(b"torn %d" % i)
    with pytest.raises(Quarantined):
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
