"""The line that says how a long run goes."""

from __future__ import annotations

from typing import Any

import pytest

from abstractruntime.cli._progress import Progress, columns_of
from abstractruntime.core.models import RunState, RunStatus
from abstractruntime.testing.clocks import FakeClock


class Log:
    def __init__(self, size: int | None) -> None:
        self.ledger_bytes = size


def a_run(run_id: str = "r", node: str = "n1", **limits: int) -> Any:
    variables = {"_runtime": {"limits": limits}}
    return RunState(run_id, "w", RunStatus.RUNNING, node, variables, used={"steps": 8})


def told(width: int | None, *, seconds: float, steps: int = 1) -> list[str]:
    said: list[str] = []
    clock = FakeClock()
    progress = Progress(clock, said.append, width)
    for number in range(steps):
        progress.note(a_run("child" if number % 2 else "r"), Log(2_000_000), {"n1": "Fetch"})
        clock.sleep(seconds / steps)
        progress.poll()
    progress.end()
    return said


@pytest.mark.parametrize(
    ("width", "seconds", "steps", "expected"),
    [
        (None, 29, 5, []),
        (None, 70, 7, ["running: 3 steps, at Fetch, 30.00 s, ledger 4.0 MB\n", "running: 6 steps, at Fetch, 1 min, ledger 4.0 MB\n"]),
        (80, 0.9, 5, []),
        (80, 2, 2, ["\rrunning: 1 step, at Fetch, 1.00 s, ledger 2.0 MB\x1b[K", "\rrunning: 2 steps, at Fetch, 2.00 s, ledger 4.0 MB\x1b[K", "\r\x1b[K"]),
    ],
)  # fmt: skip
def test_a_line_now_and_then_or_one_that_is_rewritten(width, seconds, steps, expected):
    assert told(width, seconds=seconds, steps=steps) == expected


def test_a_line_fits_the_terminal_and_cannot_steer_it():
    said: list[str] = []
    clock = FakeClock()
    progress = Progress(clock, said.append, 30)
    progress.note(a_run(node="a\x1b[2J\nb"), Log(None))
    clock.sleep(5)
    progress.poll()
    (line,) = said
    assert len(line.removeprefix("\r").removesuffix("\x1b[K")) <= 29
    assert "\x1b[2J" not in line
    assert "\n" not in line


def test_a_terminal_that_does_not_tell_its_width_has_one():
    import os

    master, terminal = os.openpty()  # 0 columns
    assert columns_of(terminal) == 80
    os.close(terminal)
    assert columns_of(terminal) == 80
    os.close(master)


@pytest.mark.parametrize("width", [0, 1, 2])
def test_a_line_on_a_narrow_terminal_is_no_longer_than_that(width):
    (line, _) = told(width, seconds=2)
    assert len(line.removeprefix("\r").removesuffix("\x1b[K")) <= 1


def test_who_drives_one_tree_after_the_other_begins_to_count_anew():
    said: list[str] = []
    clock = FakeClock()
    progress = Progress(clock, said.append, 80)
    for _ in range(2):
        progress.note(a_run(), Log(5))
        clock.sleep(2)
        progress.poll()
        progress.rest()
        clock.sleep(60)
        progress.poll()
    line = "\rrunning: 1 step, at n1, 2.00 s, ledger 5 B\x1b[K"
    assert said == [line, "\r\x1b[K"] * 2


def test_who_comes_near_to_a_limit_is_named_once():
    said: list[str] = []
    progress = Progress(FakeClock(), said.append)
    for _ in range(64):
        progress.note(a_run(steps=10, ledger_bytes=101), Log(80))
    assert said == ["warning: run r is near to its limit: steps, 8 of 10\n"]
