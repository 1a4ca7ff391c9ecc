"""Serving a store from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_flows import family, listener
from jsonschema import Draft202012Validator

from abstractruntime.cli._host import Drivers
from abstractruntime.cli._interrupts import StopFlag
from abstractruntime.cli._session import Session
from abstractruntime.cli.serve import Diary
from abstractruntime.core.commands import Answer, Command
from abstractruntime.errors import Busy
from abstractruntime.schemas import load_schema
from abstractruntime.storage.directory import open_store


def serve(art: Any, *args: str) -> Any:
    return art("serve", "--once", *args)


def test_a_listener_goes_on(art: Any) -> None:
    listener(art, "l1")
    art("emit", "go", "--run", "l1")
    result = serve(art)

    assert result.code == 0
    assert result.out.endswith(" run l1: succeeded; it went on as an event or an unpause woke it\n")
    assert "\nwent on: 1\n" in result.err
    assert (serve(art).out, art("inspect", "l1", "--json").document["status"]) == ("", "completed")


def test_who_serves_says_how_far_a_run_is(art: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abstractruntime.cli._progress._ELSEWHERE_S", 0.0)
    listener(art, "l1")
    art("emit", "go", "--run", "l1")

    assert "running: 1 step, at " in serve(art).err
    assert "running: " not in serve(art, "--json").err


def test_the_answer_to_a_child_reaches_the_parent(art: Any, tmp_path: Path) -> None:
    child = family(art)
    with open_store(tmp_path / "store") as owner:
        owner.post(child, Command("c1", Answer(payload={"response": "yes"}, actor="bob")))

    assert " run top: succeeded" in serve(art).out


@pytest.mark.parametrize("grace, goes_on", [("0", True), ("3600", False)])
def test_interrupted_runs_wait_for_the_grace_period(
    parked: Any, monkeypatch: pytest.MonkeyPatch, grace: str, goes_on: bool
) -> None:
    def die(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("abstractruntime._runtime.driver.Driver._pass", die)
        root = Path(__file__).resolve().parents[2]
        flow = str(root / "bundles" / "release-approval" / "flow.json")
        assert parked("run", flow, "--run-id", "r1").code == 130

    assert bool(serve(parked, "--grace", grace).out) is goes_on


def test_a_run_without_its_bundle_is_parked_and_decides_the_exit_code(
    art: Any, tmp_path: Path
) -> None:
    listener(art, "l1")
    art("emit", "go", "--run", "l1")
    for bundle in tmp_path.glob("store/bundles/*"):
        bundle.unlink()
    result = serve(art, "--jsonl")

    event = json.loads(result.out)
    assert (result.code, event["event"], event["error"]["exit_code"]) == (66, "parked", 66)
    Draft202012Validator(load_schema("serve-event")).validate(event)
    assert "put the original bundle back" in result.err


def test_a_denied_bundle_is_parked(art: Any, tmp_path: Path) -> None:
    listener(art, "l1")
    art("emit", "go", "--run", "l1")
    digest = next(tmp_path.glob("store/bundles/*")).stem
    (tmp_path / "config").mkdir(exist_ok=True)
    denied = {"version": 1, "denied_digests": [digest]}
    (tmp_path / "config" / "trust.json").write_text(json.dumps(denied))
    result = serve(art, "--jsonl")

    assert (result.code, json.loads(result.out)["event"]) == (3, "parked")


def test_a_run_that_others_drive_is_left_to_them(art: Any, tmp_path: Path) -> None:
    listener(art, "l1")
    art("emit", "go", "--run", "l1")
    with open_store(tmp_path / "store") as owner:
        log = owner.open("l1")
        assert (serve(art).out, art("tick", "--due", "--json").document["runs"]) == ("", [])
        log.close()

    assert art("tick", "--due").out.startswith("l1\tsucceeded")


def test_a_bundle_is_compiled_once(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run_id in ("l1", "l2"):
        listener(art, run_id)
    art("run", "listens.json", "--run-id", "l3", "--trust-code")
    with open_store(tmp_path / "store") as engine:
        drivers = Drivers(Session(), engine, StopFlag())
        first = drivers.find("l1")
        assert drivers.find("l2") is first
        assert drivers.find("l3") is not first  # its code runs elsewhere
        monkeypatch.setattr("abstractruntime.cli._host._DRIVERS_KEPT", 1)
        drivers.find("l2")
        assert drivers.find("l2") is first
        assert len(drivers._known) == 1


@pytest.mark.parametrize("mode", ["--json", "--jsonl", "--quiet"])
def test_output_follows_the_contract(art: Any, mode: str) -> None:
    listener(art, "l1")
    art("emit", "go", "--run", "l1")
    out = serve(art, mode).out

    if mode == "--quiet":
        assert out == ""
        return
    document = json.loads(out)
    name = document["format"].removeprefix("art-").removesuffix("/1")
    assert name == {"--json": "serve", "--jsonl": "serve-event"}[mode]
    Draft202012Validator(load_schema(name)).validate(document)


def test_one_server_is_enough(parked: Any, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as engine, engine.serving():
        result = serve(parked, "--json")
        assert parked("tick", "--due").code == 0

    assert (result.code, result.document["error"]["code"]) == (75, "busy")
    assert result.document["error"]["details"]["pid"] == os.getpid()
    assert serve(parked).code == 0


@pytest.mark.parametrize("note", [b"", b"[]", b"\xff"])
def test_an_unreadable_note_of_the_other_server_is_no_defect(note: bytes, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as engine, engine.serving():
        (tmp_path / "store/locks/serve.lock").write_bytes(note)
        with pytest.raises(Busy, match="is served by process None"), engine.serving():
            pass


@pytest.mark.parametrize("args", [("--poll", "0"), ("--max-runs", "0"), ("--grace", "-1")])
def test_wrong_numbers_are_refused(parked: Any, args: tuple[str, ...]) -> None:
    assert serve(parked, *args).code == 2


def test_a_store_that_is_not_there_is_not_found(art: Any) -> None:
    assert serve(art).code == 66


@pytest.fixture
def server(art: Any) -> Any:
    """Start `art serve` as a process of its own."""
    listener(art, "l1")
    with subprocess.Popen(
        [sys.executable, "-m", "abstractruntime", "serve", "--jsonl", "--poll", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any("serves" in line for line in process.stderr)
        yield process
        process.kill()


@pytest.mark.parametrize(
    "number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "int"]
)
def test_it_goes_on_until_it_is_told_to_stop(
    art: Any, server: Any, number: signal.Signals, code: int
) -> None:
    art("emit", "go", "--run", "l1")
    assert json.loads(server.stdout.readline())["status"] == "completed"

    server.send_signal(number)
    assert server.wait(60) == code


STOPPING = """
import os, signal, sys, threading
from abstractruntime.cli import _interrupts
patience, usual = float(sys.argv[1]), sys.argv[1].startswith("0.02")
_interrupts._PATIENCE_S = {number: 0.02 for number in _interrupts._PATIENCE_S}
with _interrupts.stop_on_signals(patience_s=None if usual else patience) as stop:
    for number in sys.argv[2:]:
        os.kill(os.getpid(), int(number))
    assert stop()
    threading.Event().wait()
"""


@pytest.mark.parametrize(
    "patience, signals, code",
    [
        ("0.01", (signal.SIGTERM,), 143),
        ("0.01", (signal.SIGINT,), 130),
        ("0.02", (signal.SIGTERM,), 143),
        ("3600", (signal.SIGTERM, signal.SIGTERM), -signal.SIGTERM),
        ("3600", (signal.SIGINT, signal.SIGTERM), -signal.SIGTERM),
    ],
    ids=["term", "int", "usual", "twice", "both"],
)
def test_an_effect_in_flight_is_not_waited_for_for_ever(
    patience: str, signals: tuple[signal.Signals, ...], code: int
) -> None:
    command = [sys.executable, "-c", STOPPING, patience, *(str(int(n)) for n in signals)]

    assert subprocess.run(command, check=False, timeout=60).returncode == code


@pytest.mark.parametrize(
    "moved,ended_badly,failed,said",
    [
        (0, 0, 0, "nothing was due"),
        (1, 0, 0, "went on: 1"),
        (3, 2, 0, "went on: 3, failed: 2"),
        (0, 0, 1, "could not: 1"),
    ],
)
def test_the_last_line_counts_what_failed(moved, ended_badly, failed, said):
    diary = Diary(Session(mode_flag=None))
    diary.moved, diary.ended_badly, diary.failed = moved, ended_badly, failed
    assert diary.summary() == said
