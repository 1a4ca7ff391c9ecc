"""The loop that serves a store, without time passing: what it drives, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from awkward_hosts import asks, done, spec

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime._runtime.serve import ServeEvent, ServeLoop, ServeOptions
from abstractruntime.core.commands import Answer, Cancel, Command
from abstractruntime.core.models import EffectType, RunStatus, format_time
from abstractruntime.core.outcome import Outcome
from abstractruntime.errors import (
    Busy,
    IntegrityError,
    NotFound,
    StoreIOError,
    UnsupportedFormat,
    Untrusted,
)
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import FakeClock

LISTENS = spec("listens", a=asks(EffectType.WAIT_EVENT, {"name": "go"}, then="z"), z=done)
QUICK = spec("quick", z=done)
ASKS = spec("asks", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=done)
PARENT = spec(
    "parent",
    a=asks(
        EffectType.START_SUBWORKFLOW,
        {"workflow_id": "asks", "async": True, "wait": True},
        then="z",
    ),
    z=done,
)


def timer(seconds: float) -> Any:
    return asks(EffectType.WAIT_UNTIL, {"until": f"2026-01-01T00:00:{seconds:09.6f}Z"}, then="z")


NAPS = spec("naps", a=timer(9), z=done)


class World:
    """One store, its runtime, and a loop that serves it."""

    def __init__(self) -> None:
        self.clock, self.events = FakeClock(), []
        self.fs = SimFileSystem()
        self.engine = open_store("/s", origin="t/0", fs=self.fs, clock=self.clock)
        self.registry = WorkflowRegistry()
        for one in (LISTENS, QUICK, ASKS, PARENT, NAPS):
            self.registry.register(one)
        self.runtime = Runtime.on_engine(
            self.engine, workflow_registry=self.registry, clock=self.clock
        )
        self.driver = Driver(self.runtime)
        self.broken: dict[str, Exception] = {}
        self.stopped = lambda: False

    def find(self, root: str) -> Driver:
        if root in self.broken:
            raise self.broken[root]
        return self.driver

    def loop(self, **options: Any) -> ServeLoop:
        return ServeLoop(
            self.engine,
            find_driver=self.find,
            clock=self.clock,
            report=self.events.append,
            stop=lambda: self.stopped(),
            options=ServeOptions(**options),
        )

    def start(self, workflow: Any, run_id: str, *, drive: bool = True) -> str:
        self.runtime.start(workflow=workflow, run_id=run_id)
        if drive:
            self.driver.drive(run_id)
        return run_id

    def status(self, run_id: str) -> str:
        return self.engine.peek(run_id).status.value

    def told(self) -> list[tuple[str, str]]:
        found = [(event.kind, event.run_id) for event in self.events]
        self.events.clear()
        return found


@pytest.fixture
def world() -> World:
    return World()


def emit(world: World, run_id: str) -> None:
    outside = Runtime.on_engine(world.engine, clock=world.clock)
    assert outside.emit_event(name="go", session_id=run_id)["delivered"] == 1


# -- what it drives ----------------------------------------------------------------


def test_a_timer_is_driven_when_it_is_due(world):
    world.start(NAPS, "n")
    loop = world.loop()
    assert loop.run_pass() == 0
    world.clock.advance(9)

    assert loop.run_pass() == 1
    event = world.events[0]
    assert (event.kind, event.run_id, event.reason) == ("advanced", "n", "timer")
    assert event.status is RunStatus.COMPLETED


def test_a_listener_is_taken_up_at_once(world):
    world.start(LISTENS, "l")
    emit(world, "l")
    assert world.status("l") == "running"

    assert world.loop(grace_s=3600).run_pass() == 1
    assert (world.status("l"), world.events[0].reason) == ("completed", "woken")


def test_a_run_that_goes_on_after_a_pause_is_taken_up_at_once(world):
    world.start(QUICK, "q", drive=False)
    world.runtime.pause_run("q")
    world.runtime.resume_run("q")

    assert world.loop(grace_s=3600).run_pass() == 1


def test_a_posted_command_is_applied(world):
    world.start(ASKS, "a")
    world.engine.post("a", Command("c1", Cancel("late")))

    assert world.loop().run_pass() == 1
    assert (world.status("a"), world.events[0].reason) == ("cancelled", "command")


def test_the_end_of_a_child_reaches_its_parent(world):
    state = world.driver.drive(world.start(PARENT, "p"))
    child = state.waiting.details["sub_run_id"]
    world.runtime.resume(workflow=ASKS, run_id=child, wait_key=None, payload={"response": "x"})
    assert (world.status(child), world.status("p")) == ("completed", "waiting")

    assert world.loop().run_pass() == 1
    assert (world.status("p"), world.events[0].reason) == ("completed", "child")


@pytest.mark.parametrize("age, driven", [(29, 0), (30, 1), (-30, 1), (-29, 0)])
def test_a_running_run_is_left_to_its_starter_for_a_while(world, age, driven):
    world.start(QUICK, "q", drive=False)
    world.clock.set(world.clock.now() + timedelta(seconds=age))

    assert world.loop().run_pass() == driven


def test_work_in_a_child_is_told_of_its_root(world):
    child = world.driver.drive(world.start(PARENT, "p")).waiting.details["sub_run_id"]
    world.engine.post(child, Command("c1", Answer(payload={"response": "x"})))

    assert world.loop().run_pass() == 1
    assert (world.told(), world.status("p")) == ([("advanced", "p")], "completed")


# -- what it leaves alone ------------------------------------------------------------


def test_a_run_that_somebody_drives_is_skipped(world):
    world.start(NAPS, "n")
    world.clock.advance(9)
    log = world.engine.open("n")
    loop = world.loop()

    assert (loop.run_pass(), world.told()) == (0, [])
    log.close()
    assert loop.run_pass() == 1


def test_a_bundle_that_somebody_holds_is_no_failure(world):
    world.start(NAPS, "n")
    world.clock.advance(9)
    world.broken["n"] = Busy("held")

    assert (world.loop().run_pass(), world.told()) == (0, [])


def test_paused_runs_starve_nobody_and_are_not_spoken_of(world):
    for number in range(100):
        world.runtime.pause_run(world.start(NAPS, f"p{number}"))
    world.start(NAPS, "zz")
    world.clock.advance(9)

    assert world.loop(max_runs=1).run_pass() == 1
    assert world.told() == [("advanced", "zz")]


def test_an_event_for_a_paused_run_waits_without_noise(world):
    world.start(LISTENS, "l")
    world.runtime.pause_run("l")
    emit(world, "l")
    loop = world.loop()
    assert [loop.run_pass() for _ in range(3)] == [0, 0, 0]
    assert world.told() == []

    world.runtime.resume_run("l")
    assert (loop.run_pass(), world.status("l")) == (1, "completed")


# -- failures ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [StoreIOError("disk"), RuntimeError("defect")], ids=["known", "defect"]
)
def test_a_failing_run_is_left_alone_longer_each_time(world, error):
    world.start(NAPS, "n")
    world.clock.advance(9)
    world.broken["n"] = error
    loop, tries = world.loop(), []
    for second in range(2000):
        loop.run_pass()
        tries += [second for _ in world.told()]
        world.clock.advance(1)

    assert tries[:6] == [0, 1, 3, 7, 15, 31]
    assert [later - one for one, later in pairwise(tries[8:])] == [256, 300, 300, 300, 300]


def test_a_failure_holds_up_no_other_and_is_forgotten_after_success(world):
    for name in ("a", "b"):
        world.start(NAPS, name)
    world.clock.advance(9)
    world.broken["a"] = StoreIOError("disk")
    loop = world.loop()
    assert loop.run_pass() == 1
    assert (world.events[0].retry_s, world.events[0].error) == (1.0, world.broken["a"])
    assert world.told() == [("failed", "a"), ("advanced", "b")]

    world.broken.clear()
    assert loop.run_pass() == 0
    world.clock.advance(1)
    assert (loop.run_pass(), world.told()) == (1, [("advanced", "a")])


@pytest.mark.parametrize("field", ["updated_at", "wait_until"])
def test_times_that_are_none_hold_up_nobody(world, monkeypatch, field):
    world.start(NAPS, "n")
    world.start(QUICK, "q", drive=False)
    find = world.engine.find
    monkeypatch.setattr(
        world.engine, "find", lambda query: [replace(h, **{field: "soon"}) for h in find(query)]
    )
    world.stopped = lambda: bool(world.clock.slept)
    world.loop(poll_s=0.5, grace_s=0).run()

    assert (world.told(), world.clock.slept) == ([("advanced", "q")], [0.5])


def test_a_run_of_a_newer_version_holds_up_nobody(world, monkeypatch):
    for name in ("new", "n"):
        world.start(NAPS, name)
    world.clock.advance(9)
    peek = world.engine.peek

    def read(run_id: str) -> Any:
        if run_id == "new":
            raise UnsupportedFormat("newer")
        return peek(run_id)

    monkeypatch.setattr(world.engine, "peek", read)
    world.loop().run_pass()
    assert sorted(world.told()) == [("advanced", "n"), ("failed", "new")]


def test_a_damaged_run_is_named_and_the_others_go_on(world, monkeypatch):
    for name in ("bad", "good"):
        world.start(NAPS, name)
    world.clock.advance(9)
    opened = world.engine.open

    def opens(run_id: str, **options: Any) -> Any:
        if run_id == "bad":
            raise IntegrityError("damaged")
        return opened(run_id, **options)

    monkeypatch.setattr(world.engine, "open", opens)

    world.loop().run_pass()
    assert sorted(world.told()) == [("advanced", "good"), ("failed", "bad")]


@pytest.mark.parametrize("error", [NotFound("no bundle"), Untrusted("denied")])
def test_a_run_that_nobody_can_drive_is_named_once(world, error):
    world.start(NAPS, "n")
    world.clock.advance(9)
    world.broken["n"] = error
    loop = world.loop()
    for _ in range(50):
        loop.run_pass()
        world.clock.advance(10)
    assert world.told() == [("parked", "n")]

    world.broken.clear()
    world.clock.advance(300)
    assert (loop.run_pass(), world.told()) == (1, [("advanced", "n")])


def test_a_run_that_was_cancelled_after_it_was_parked_is_forgotten(world):
    world.start(NAPS, "n")
    world.clock.advance(9)
    world.broken["n"] = NotFound("no bundle")
    loop = world.loop()
    loop.run_pass()
    world.runtime.cancel_run("n")
    world.clock.advance(300)
    loop.run_pass()

    assert "n" not in loop._backoff


# -- the loop ------------------------------------------------------------------------


def stop_after(world: World, seconds: float) -> None:
    world.stopped = lambda: world.clock.monotonic() >= seconds


@pytest.mark.parametrize("poll_s, slept", [(60, 9.0), (5, 5.0), (0.25, 0.25)])
def test_it_sleeps_to_the_next_deadline_or_the_next_look(world, poll_s, slept):
    world.start(NAPS, "n")
    looks = []
    world.stopped = lambda: len(looks) > 1
    loop = world.loop(poll_s=poll_s)
    loop.run_pass = lambda: looks.append(world.clock.monotonic())

    loop.run()
    assert looks == [0.0, pytest.approx(slept)]


def test_what_cannot_go_on_does_not_keep_it_spinning(world):
    world.runtime.pause_run(world.start(NAPS, "paused"))
    world.broken[world.start(NAPS, "broken")] = NotFound("no bundle")
    world.clock.advance(20)
    stop_after(world, 120)

    world.loop(poll_s=1).run()
    assert len(world.clock.slept) <= 220  # two short sleeps a second at most


def test_it_goes_on_at_once_while_things_move(world):
    for number in range(5):
        world.start(NAPS, f"n{number}")
    world.clock.advance(9)
    world.stopped = lambda: len(world.events) == 5

    world.loop(max_runs=2).run()
    assert world.clock.slept == []


def test_it_stops_between_two_runs(world):
    for number in range(5):
        world.start(NAPS, f"n{number}")
    world.clock.advance(9)
    world.stopped = lambda: len(world.events) >= 2

    world.loop().run()
    assert len(world.events) == 2


def test_it_stops_in_the_middle_of_a_sleep(world):
    stop_after(world, 3)
    world.loop(poll_s=3600).run()

    assert world.clock.monotonic() == 3


def test_commands_of_other_trees_are_left_to_them(world):
    world.start(ASKS, "a")
    world.start(ASKS, "b")
    world.engine.post("b", Command("c1", Cancel()))

    world.driver.drive("a")
    assert (world.status("a"), world.status("b")) == ("waiting", "waiting")


def test_an_event_says_when_and_in_which_state(world):
    world.start(NAPS, "n")
    world.clock.advance(9)
    world.broken["n"] = StoreIOError("disk")
    world.loop().run_pass()

    expected = ServeEvent(
        "failed", format_time(world.clock.now()), "n", "timer", RunStatus.WAITING,
        world.broken["n"], 1.0, Outcome.WAITING,
    )  # fmt: skip
    assert world.events == [expected]
