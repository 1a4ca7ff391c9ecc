"""What can go on: the table of reasons over runs in every posture."""

from __future__ import annotations

from typing import Any

import pytest

from abstractruntime._runtime.readiness import (
    CHILD,
    COMMAND,
    INTERRUPTED,
    TIMER,
    WOKEN,
    Readiness,
)
from abstractruntime.core.models import RunState, RunStatus, WaitReason, WaitState
from abstractruntime.core.ports import RunHeader, StoredRecord
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import IntegrityError
from abstractruntime.testing.clocks import FakeClock

EVERY = (TIMER, COMMAND, CHILD, WOKEN, INTERRUPTED)
PAST, FUTURE = "2025-12-31T23:00:00Z", "2026-01-01T01:00:00Z"
WOKEN_BY = {"commit": {"cmd": ["c1"]}}
PAUSED = {"_runtime": {"control": {"paused": True}}}


class Store:
    """One run and its last record."""

    def __init__(self, run: RunState, last: dict[str, Any]) -> None:
        self._run, self._last = run, last

    def peek(self, run_id: str) -> RunState:
        return self._run

    def recent(self, run_id: str, limit: int) -> list[StoredRecord]:
        return [StoredRecord(0, 0, b"", self._last)]


def a_run(status: RunStatus, wait: WaitState | None = None, **variables: Any) -> RunState:
    return RunState(
        run_id="r",
        workflow_id="w",
        status=status,
        current_node="n",
        vars=variables,
        waiting=wait,
        updated_at="2026-01-01T00:00:00Z",
    )


def waits(reason: WaitReason = WaitReason.USER, until: str | None = None) -> RunState:
    return a_run(RunStatus.WAITING, WaitState(reason=reason, wait_key="k", until=until))


def reasons(store: Any, run: RunState) -> list[str]:
    clock = FakeClock()
    clock.advance(60)
    ready, tree = Readiness(store, clock, grace_s=30), RunTree(store, "r")
    return [c.reason for c in EVERY if ready.is_ready(c, RunHeader.of(run), tree)]


@pytest.mark.parametrize(
    "run, last, expected",
    [
        (waits(), {}, ["command"]),
        (waits(until=PAST), {}, ["timer", "command"]),
        (waits(WaitReason.UNTIL, FUTURE), {}, ["command"]),
        (waits(WaitReason.UNTIL, "soon"), {}, ["timer", "command"]),
        (waits(WaitReason.SUBWORKFLOW), {}, ["command", "child"]),
        (a_run(RunStatus.RUNNING), {}, ["command", "interrupted"]),
        (a_run(RunStatus.RUNNING), WOKEN_BY, ["command", "woken", "interrupted"]),
        (a_run(RunStatus.RUNNING, **PAUSED), WOKEN_BY, ["command"]),
        (a_run(RunStatus.COMPLETED), {}, ["command"]),
    ],
)
def test_reasons(run, last, expected):
    assert reasons(Store(run, last), run) == expected


def test_a_running_run_is_left_to_its_starter_for_a_while():
    run = a_run(RunStatus.RUNNING)
    run.updated_at = "2026-01-01T00:00:31Z"
    assert reasons(Store(run, {}), run) == ["command"]


def test_a_run_that_cannot_be_read_counts_as_ready(monkeypatch):
    run = a_run(RunStatus.RUNNING)
    store = Store(run, {})

    def damaged(_run_id: str) -> RunState:
        raise IntegrityError("bad line")

    monkeypatch.setattr(store, "peek", damaged)
    assert reasons(store, run) == ["command", "interrupted"]
