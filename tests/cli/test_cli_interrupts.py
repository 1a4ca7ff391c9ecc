"""Ctrl-C while modules load ends the process; once a command runs, it is interrupted."""

from __future__ import annotations

import importlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.cli import _lazy, config
from abstractruntime.cli._interrupts import stop_on_signals
from abstractruntime.cli._progress import Progress
from abstractruntime.core.models import RunState
from abstractruntime.core.ports import RunLog
from abstractruntime.storage import directory


@pytest.fixture
def _not_in_the_background() -> Iterator[None]:
    """A shell starts programs in the background with interrupts ignored, and they stay so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_not_in_the_background")
def test_interrupts_are_raised_in_commands_only(art: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    load = importlib.import_module

    def loading(name: str) -> Any:
        seen.append(signal.getsignal(signal.SIGINT))
        return load(name)

    def interrupted(session: Any, *, origin: bool = False) -> int:
        seen.append(signal.getsignal(signal.SIGINT))
        raise KeyboardInterrupt

    monkeypatch.setattr(_lazy, "import_module", loading)
    monkeypatch.setattr(config, "show", interrupted)
    result = art("config", "show")

    assert (result.code, result.err) == (130, "interrupted\n")
    assert seen == [signal.SIG_DFL, signal.default_int_handler]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("given", "number", "left"),
    [
        (None, signal.SIGTERM, [10.0]),
        (None, signal.SIGINT, []),
        (3.0, signal.SIGTERM, [3.0]),
        (3.0, signal.SIGINT, [3.0]),
    ],
)
def test_how_long_an_effect_in_flight_may_take(monkeypatch, given, number, left):
    set_to: list[float] = []
    monkeypatch.setattr(directory, "expect_end", lambda: None)
    monkeypatch.setattr(signal, "setitimer", lambda _which, seconds: set_to.append(seconds))
    usual = signal.getsignal(number)

    with stop_on_signals(patience_s=given) as stop:
        signal.raise_signal(number)
        assert stop()
    assert set_to == [*left, *([0.0] if left else [])]
    assert signal.getsignal(number) is usual


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
@pytest.mark.parametrize("levels", [1, 2])
def test_a_signal_while_a_child_runs_leaves_an_interrupted_run(
    art, monkeypatch, number, code, levels
):
    nodes = [
        {"id": "start", "type": "on_flow_start"},
        {"id": "s", "type": "subflow", "data": {"subflowId": "again"}},
        {"id": "end", "type": "on_flow_end"},
    ]
    ways = [("start", "s"), ("s", "end")]
    edges = [
        {"source": a, "sourceHandle": "exec-out", "target": b, "targetHandle": "exec-in"}
        for a, b in ways
    ]
    flow = {"id": "again", "name": "again", "nodes": nodes, "edges": edges}
    Path("again.json").write_text(json.dumps(flow))
    steps: dict[str, int] = {}

    def note(progress: Progress, run: RunState, log: RunLog, **_: Any) -> None:
        steps[run.run_id] = steps.get(run.run_id, 0) + 1
        if len(steps) > levels:
            signal.raise_signal(number)

    monkeypatch.setattr(Progress, "note", note)
    monkeypatch.setattr(directory, "expect_end", lambda: None)
    stopped = art("run", "again.json", "--run-id", "r")

    assert stopped.code == code
    assert "interrupted: run r" in stopped.err
    assert "art tick r" in stopped.err
    assert "art resume" not in stopped.err
    shown = json.loads(art("inspect", "r", "--json").out)
    assert (shown["status"], shown["waits"]) == ("interrupted", [])

    monkeypatch.setattr(Progress, "note", lambda *_, **_more: None)
    assert "limited" in art("tick", "r").err
