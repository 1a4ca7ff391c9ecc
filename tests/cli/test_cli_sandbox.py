"""Where code runs, what is asked of it, and what the first record says about it."""

from __future__ import annotations

import ctypes
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_flows import code_flow

from abstractruntime import open_store
from abstractruntime.core.commands import Answer, Command
from abstractruntime.sandbox import default_pool
from abstractruntime.sandbox._process import Launch, WorkerProcess
from abstractruntime.sandbox.pool import WorkerPool, program_pool

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"
GET_DUMPABLE, SET_DUMPABLE = 3, 4
CODE = "def transform(value):\n    return 1\n"
needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bwrap is not installed")


def first_record(art: Any, run: str) -> Any:
    return art("inspect", run, "--step", "0", "--json").document["records"][0]


@pytest.fixture
def flow(tmp_path: Path) -> str:
    return code_flow(tmp_path / "f.json", CODE)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let this machine lack layers."""

    def lack(*layers: str) -> None:
        pool = WorkerPool(launch=Launch(without=layers))
        monkeypatch.setattr("abstractruntime.sandbox.pool.program_pool", lambda _bwrap: pool)

    return lack


def test_first_record_names_the_list_of_system_calls(art: Any, flow: str) -> None:
    if "seccomp" not in default_pool().layers()["layers"]:
        pytest.skip("this system gives no seccomp")
    assert art("run", flow, "--run-id", "r1").code == 0

    report = first_record(art, "r1")["result"]["sandbox"]
    assert "seccomp" in report["layers"]
    assert report["filter"].startswith("1/")
    assert f"list {report['filter']}" in art("doctor").out


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A process that others may look into; tells at each code call whether they still may."""
    prctl = ctypes.CDLL(None).prctl
    calls: list[int] = []
    exchange = WorkerProcess.exchange

    def looking(worker: WorkerProcess, request: bytes) -> bytes:
        calls.append(prctl(GET_DUMPABLE, 0, 0, 0, 0))
        return exchange(worker, request)

    def anew() -> list[int]:
        program_pool(None).close()
        prctl(SET_DUMPABLE, 1, 0, 0, 0)
        calls.clear()
        return calls

    monkeypatch.setattr(WorkerProcess, "exchange", looking)
    yield anew
    anew()


@pytest.mark.skipif(sys.platform != "linux", reason="a layer of Linux")
def test_whatever_drives_code_is_hidden_before_the_first_call(
    art: Any, flow: str, tmp_path: Path, looks: Any
) -> None:
    waits = waiting_code(tmp_path / "w.json")
    for run in ("r1", "r2", "r3"):
        assert art("run", waits, "--run-id", run).code == 4
    with open_store(tmp_path / "store") as store:
        for run in ("r2", "r3"):
            store.post(run, Command(f"of {run}", Answer(payload="yes")))
    output = {"response": 1, "success": True}
    case = {"format": "art-case/1", "name": "n", "flow": "../f.json", "expect": {"output": output}}
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "c.json").write_text(json.dumps(case))
    for command in (
        ("run", flow),
        ("resume", "r1", "--input", "yes"),
        ("tick", "r2"),
        ("serve", "--once"),
        ("test", str(tmp_path / "cases" / "c.json")),
    ):
        seen = looks()
        assert art(*command).code == 0, command
        assert seen == [0], command


def test_missing_layer_is_a_reported_fact(art: Any, flow: str, without: Any) -> None:
    without("seccomp")

    assert art("run", flow, "--run-id", "r1").code == 0

    report = first_record(art, "r1")["result"]["sandbox"]
    assert (report["filter"], "seccomp" in report["missing"]) == (None, True)


@pytest.mark.parametrize("args", [("--trust-code",), ("--sandbox", "in-process")])
def test_code_outside_of_the_sandbox_is_never_silent(
    art: Any, flow: str, args: tuple[str, ...]
) -> None:
    assert "outside of the sandbox" in art("run", flow, *args).err
    assert "outside of the sandbox" not in art("run", flow).err


def test_opposite_wishes_are_refused(art: Any, flow: str) -> None:
    refused = art("run", flow, "--trust-code", "--sandbox", "worker")
    assert (refused.code, "say the opposite" in refused.err) == (2, True)


@pytest.mark.parametrize("args", [(), ("--trust-code",), ("--sandbox", "in-process")])
def test_less_than_the_minimum_is_refused_before_the_first_record(
    art: Any, flow: str, without: Any, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
) -> None:
    without("seccomp")
    monkeypatch.setenv("ART_SANDBOX_MINIMUM", "fs+net+syscalls")

    result = art("run", flow, *args)

    assert result.code == 3
    assert "sandbox_minimum is 'fs+net+syscalls'" in result.err
    assert "seccomp" in result.err
    assert art("runs").code == 66  # there is no store yet
    assert any(
        "code would run without" in item["message"]
        for item in art("doctor", "--json").document["findings"]
    )


def test_flow_without_code_needs_no_layer(
    art: Any, without: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("seccomp")
    monkeypatch.setenv("ART_SANDBOX_MINIMUM", "fs+net+syscalls")

    assert art("run", str(APPROVAL)).code == 4


def waiting_code(path: Path) -> str:
    """Give a flow that asks somebody before it runs code."""
    flow = json.loads(Path(code_flow(path, CODE)).read_text())
    pins = {
        "inputs": [{"id": "exec-in", "type": "execution"}],
        "outputs": [{"id": "exec-out", "type": "execution"}],
    }
    flow["nodes"].insert(1, {"id": "a", "type": "ask_user", "data": {**pins, "prompt": "go?"}})
    flow["edges"] = [
        {"source": left, "sourceHandle": "exec-out", "target": right, "targetHandle": "exec-in"}
        for left, right in ("sa", "ac")
    ]
    path.write_text(json.dumps(flow))
    return str(path)


def test_minimum_holds_for_a_run_that_goes_on(
    art: Any, tmp_path: Path, without: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert art("run", waiting_code(tmp_path / "w.json"), "--run-id", "r1").code == 4
    without("landlock-fs", "seccomp")
    monkeypatch.setenv("ART_SANDBOX_MINIMUM", "fs+net")

    assert art("resume", "r1", "--input", "yes").code == 3


def test_bwrap_that_is_not_there_is_refused_with_the_next_step(
    art: Any, flow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    result = art("run", flow, "--sandbox", "bwrap")

    assert result.code == 3
    assert "install bubblewrap" in result.err


@needs_bwrap
def test_run_that_began_in_bwrap_goes_on_there(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        art("run", waiting_code(tmp_path / "w.json"), "--run-id", "r1", "--sandbox", "bwrap").code
        == 4
    )
    report = first_record(art, "r1")["result"]["sandbox"]
    assert (report["backend"], "namespaces" in report["layers"]) == ("bwrap", True)

    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        assert art("resume", "r1", "--input", "yes").code == 3

    assert art("resume", "r1", "--input", "yes").code == 0
