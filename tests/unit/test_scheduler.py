"""The scheduler of 0.4.x and the object that holds it, cycle by cycle and as a thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from awkward_hosts import LLM, START, asks, done, spec

from abstractruntime import Runtime, Scheduler, WorkflowRegistry
from abstractruntime._runtime.driver import Driver
from abstractruntime.core.commands import Cancel, Command, Deliver, Pause, Unpause
from abstractruntime.core.models import EffectType, RunState, RunStatus, WaitReason
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.effects.memory.compact_workflow import COMPACT_WORKFLOW_ID
from abstractruntime.errors import AbstractRuntimeError, NotFound, WaitMismatch
from abstractruntime.scheduler import ScheduledRuntime, SchedulerStats, create_scheduled_runtime
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage.directory import open_store
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.testing.clocks import FakeClock

NAPS = spec(
    "naps", a=asks(EffectType.WAIT_UNTIL, {"until": "2026-01-01T00:00:09Z"}, then="z"), z=done
)
NAPS_LONGER = spec(
    "longer", a=asks(EffectType.WAIT_UNTIL, {"until": "2026-01-01T00:00:18Z"}, then="z"), z=done
)
ASKS = spec("asks", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=done)
LISTENS = spec("listens", a=asks(EffectType.WAIT_EVENT, {"name": "go"}, then="z"), z=done)
HEARS_ALL = spec(
    "hears-all", a=asks(EffectType.WAIT_EVENT, {"name": "*", "session_id": "s"}, then="z"), z=done
)
QUICK = spec("quick", z=done)
LONG = spec("long", **{f"n{i}": asks(LLM, {}, then=f"n{i + 1}") for i in range(250)}, n250=done)
PARENT = spec(
    "parent", a=asks(START, {"workflow_id": "asks", "async": True, "wait": True}, then="z"), z=done
)
LAUNCHES = spec("launches", a=asks(START, {"workflow_id": "asks", "async": True}, then="z"), z=done)
GRANDPARENT = spec(
    "grandparent",
    a=asks(START, {"workflow_id": "launches"}, then="b"),
    b=asks(EffectType.ASK_USER, {"prompt": "?"}),
)
FLOWS = (NAPS, NAPS_LONGER, ASKS, LISTENS, HEARS_ALL, QUICK, LONG, PARENT, LAUNCHES, GRANDPARENT)


def ok(run: RunState, effect: Any) -> EffectOutcome:
    return EffectOutcome.completed({})


class World:
    def __init__(self, kind: str) -> None:
        self.clock, self.registry = FakeClock(), WorkflowRegistry()
        options: Any = {
            "workflow_registry": self.registry,
            "clock": self.clock,
            "effect_handlers": {LLM: ok},
        }
        if kind == "directory":
            engine = open_store("/s", origin="t/0", fs=SimFileSystem(), clock=self.clock)
            options |= {"run_store": engine.runs, "ledger_store": engine.ledgers}
        else:
            options |= {"run_store": InMemoryRunStore(), "ledger_store": InMemoryLedgerStore()}
        self.runtime = Runtime(**options)
        for one in FLOWS:
            self.registry.register(one)

    def scheduler(self, **options: Any) -> Scheduler:
        return Scheduler(runtime=self.runtime, registry=self.registry, **options)

    def scheduled(self, **options: Any) -> ScheduledRuntime:
        return ScheduledRuntime(self.runtime, self.scheduler(**options), self.registry)

    def start(self, workflow: Any, run_id: str, **options: Any) -> RunState:
        self.runtime.start(workflow=workflow, run_id=run_id, **options)
        return self.runtime.tick(workflow=workflow, run_id=run_id, max_steps=None)

    def status(self, run_id: str) -> str:
        return self.runtime.get_state(run_id).status.value


@pytest.fixture(params=["directory", "classic"])
def world(request):
    return World(request.param)


@pytest.fixture
def classic():
    return World("classic")


# -- the registry --------------------------------------------------------------------


def test_registry():
    registry = WorkflowRegistry()
    registry.register(QUICK)

    assert (len(registry), "quick" in registry, registry.list_ids()) == (1, True, ["quick"])
    assert registry.get("quick") is registry.get_or_raise("quick") is QUICK
    assert registry.get("none") is None
    with pytest.raises(ValueError, match="already registered"):
        registry.register(QUICK)
    for call in (registry.get_or_raise, registry.unregister):
        with pytest.raises(KeyError, match="not registered"):
            call("none")
    registry.unregister("quick")
    assert "quick" not in registry


# -- one cycle -----------------------------------------------------------------------


def test_a_fresh_scheduler_did_nothing(classic):
    scheduler = classic.scheduler()

    assert scheduler.stats == SchedulerStats(0, 0, 0, None, [])
    assert not scheduler.is_running


def test_a_run_store_that_cannot_be_queried_is_refused(classic):
    class Plain:
        def save(self, run): ...
        def load(self, run_id): ...

    runtime = Runtime(run_store=Plain(), ledger_store=InMemoryLedgerStore())
    with pytest.raises(TypeError, match="QueryableRunStore"):
        Scheduler(runtime=runtime, registry=classic.registry)


def test_a_due_run_is_advanced_and_told_of(world):
    world.start(NAPS, "n")
    told, ended = [], []
    scheduler = world.scheduler(on_run_resumed=told.append, on_run_terminal=ended.append)
    assert scheduler.poll_once() == 0
    world.clock.advance(9)

    assert (scheduler.poll_once(), scheduler.poll_once()) == (1, 0)
    assert [s.status for s in told] == [s.status for s in ended] == [RunStatus.COMPLETED]
    stats = scheduler.stats
    assert (stats.runs_resumed, stats.runs_failed, stats.poll_cycles) == (1, 0, 3)
    assert stats.last_poll_at == world.clock.now_iso()


def test_a_run_is_advanced_as_far_as_it_goes(world):
    world.runtime.start(workflow=LONG, run_id="l")
    scheduler = world.scheduler(take_up_after_s=0)

    assert (scheduler.poll_once(), world.status("l")) == (1, "completed")


def test_the_runtimes_own_workflows_are_known(world):
    own = world.runtime.find_workflow(COMPACT_WORKFLOW_ID)
    world.runtime.start(workflow=own, run_id="c")
    scheduler = world.scheduler(take_up_after_s=0)

    assert (scheduler.poll_once(), scheduler.stats.errors) == (1, [])
    world.runtime.start(workflow=own, run_id="d")
    assert Driver(world.runtime).drive("d").status is not RunStatus.RUNNING


@pytest.mark.parametrize("after_s, advanced", [(None, 0), (60, 0), (30, 1)])
def test_running_runs_are_taken_up_only_when_asked(world, after_s, advanced):
    world.runtime.start(workflow=QUICK, run_id="q")
    world.clock.advance(30)

    assert world.scheduler(take_up_after_s=after_s).poll_once() == advanced


def test_posted_commands_are_applied(world):
    if not world.runtime.engine.keeps_commands:
        pytest.skip("commands of this store do not outlive the call")
    world.start(LISTENS, "l")
    world.start(ASKS, "a")
    key = world.runtime.get_state("l").waiting.wait_key
    world.runtime.engine.post("l", Command("c1", Deliver(key, {})))
    world.runtime.engine.post("a", Command("c2", Cancel()))

    assert world.scheduler().poll_once() == 1  # the cancelled one has nothing left to do
    assert (world.status("l"), world.status("a")) == ("completed", "cancelled")


def test_the_end_of_a_child_reaches_its_parent(world):
    child = world.start(PARENT, "p").waiting.details["sub_run_id"]
    world.runtime.tick(workflow=ASKS, run_id=child)
    world.runtime.resume(workflow=ASKS, run_id=child, wait_key=None, payload={"response": "x"})

    assert (world.scheduler().poll_once(), world.status("p")) == (1, "completed")


def test_paused_runs_starve_nobody(world):
    for number in range(100):
        world.start(NAPS, f"p{number:03}")
        world.runtime.pause_run(f"p{number:03}")
    for number in range(30):
        world.start(NAPS, f"z{number}")
    world.clock.advance(9)

    assert world.scheduler().poll_once() == 30
    assert world.status("p000") == "waiting"


def test_an_unregistered_workflow_is_named_once_and_parked(world):
    world.start(NAPS, "n")
    world.registry.unregister("naps")
    world.clock.advance(9)
    failed = []
    scheduler = world.scheduler(on_run_failed=lambda run_id, error: failed.append((run_id, error)))
    for _ in range(5):
        assert scheduler.poll_once() == 0
        world.clock.advance(400)

    assert [(run_id, type(error)) for run_id, error in failed] == [("n", NotFound)]
    assert scheduler.stats.runs_failed == len(scheduler.stats.errors) == 1
    world.registry.register(NAPS)
    assert scheduler.poll_once() == 1


def test_a_workflow_that_is_registered_late_is_taken_up_at_once(world):
    world.start(NAPS, "n")
    world.registry.unregister("naps")
    world.clock.advance(9)
    scheduler = world.scheduler()
    scheduler.poll_once()
    world.registry.register(NAPS)

    assert scheduler.poll_once() == 1


def failing(world: World, monkeypatch: pytest.MonkeyPatch, bad: str) -> list[float]:
    """Let the ticks of one run fail; gives the times at which they were tried."""
    tick, tried = world.runtime.tick, []

    def breaks(*, run_id: str, **options: Any) -> RunState:
        if run_id == bad:
            tried.append(world.clock.monotonic())
            raise OSError("disk")
        return tick(run_id=run_id, **options)

    monkeypatch.setattr(world.runtime, "tick", breaks)
    return tried


def test_a_failing_run_is_left_alone_longer_each_time(classic, monkeypatch):
    classic.start(NAPS, "n")
    classic.clock.advance(9)
    tried = failing(classic, monkeypatch, "n")
    scheduler = classic.scheduler(max_errors_kept=3)
    for _ in range(2000):
        scheduler.poll_once()
        classic.clock.advance(1)

    assert [at - 9 for at in tried[:5]] == [0, 1, 3, 7, 15]
    assert tried[-1] - tried[-2] == 300
    assert (scheduler.stats.runs_resumed, scheduler.stats.runs_failed) == (0, len(tried))
    assert len(scheduler.stats.errors) == 3
    assert scheduler.stats.errors[-1].endswith("run n: OSError: disk")


def test_a_failing_run_holds_up_no_other(world, monkeypatch):
    for name in ("a", "b"):
        world.start(NAPS, name)
    world.clock.advance(9)
    failing(world, monkeypatch, "a")

    assert world.scheduler().poll_once() == 1
    assert (world.status("a"), world.status("b")) == ("waiting", "completed")


@pytest.mark.parametrize("name", ["on_run_resumed", "on_run_failed", "on_run_terminal"])
def test_a_callback_that_raises_stops_nothing(world, monkeypatch, name):
    for run_id in ("a", "b"):
        world.start(NAPS, run_id)
    world.clock.advance(9)
    failing(world, monkeypatch, "a")

    def breaks(*_: object) -> None:
        raise RuntimeError("host")

    scheduler = world.scheduler(**{name: breaks})
    assert scheduler.poll_once() == 1
    assert any("callback failed: RuntimeError: host" in text for text in scheduler.stats.errors)


def test_a_run_that_somebody_drives_is_skipped_without_noise(world):
    if world.runtime.engine.keeps_commands is False:
        pytest.skip("only leased runs can be held")
    world.start(NAPS, "n")
    world.clock.advance(9)
    log = world.runtime.engine.open("n")
    scheduler = world.scheduler()

    assert (scheduler.poll_once(), scheduler.stats.runs_failed) == (0, 0)
    log.close()
    assert scheduler.poll_once() == 1


# -- the thread ----------------------------------------------------------------------


def test_start_stop_start(classic):
    woken = threading.Event()
    scheduler = classic.scheduler(poll_interval_s=0.001, on_run_terminal=lambda state: woken.set())
    scheduler.stop()
    for workflow in (NAPS, NAPS_LONGER):
        classic.start(workflow, workflow.workflow_id)
    for _ in range(2):
        woken.clear()
        scheduler.start()
        assert scheduler.is_running
        with pytest.raises(RuntimeError, match="already running"):
            scheduler.start()
        classic.clock.advance(9)
        assert woken.wait(20)
        scheduler.stop()
        scheduler.stop()
        assert not scheduler.is_running


def test_a_hung_thread_is_left_behind_and_does_not_come_back(classic, caplog):
    hangs, go_on = threading.Event(), threading.Event()

    def hang(state: RunState) -> None:
        hangs.set()
        go_on.wait(20)

    classic.start(NAPS, "n")
    classic.clock.advance(9)
    scheduler = classic.scheduler(poll_interval_s=0.001, on_run_resumed=hang)
    scheduler.start()
    assert hangs.wait(20)
    old = scheduler._thread
    scheduler.stop(timeout=0.0)
    assert "did not stop" in caplog.text

    scheduler.start()
    go_on.set()
    old.join(20)
    assert not old.is_alive()
    assert scheduler.is_running
    scheduler.stop()


def test_a_cycle_that_fails_is_noted_and_survived(classic, monkeypatch):
    calls, again = [], threading.Event()

    def find(query: Any) -> list[Any]:
        calls.append(query)
        if len(calls) == 1:
            raise OSError("disk")
        again.set()
        return []

    scheduler = classic.scheduler(poll_interval_s=0.001)
    monkeypatch.setattr(scheduler._engine, "find", find)
    scheduler.start()
    assert again.wait(20)
    scheduler.stop()

    assert any("poll cycle failed: OSError: disk" in text for text in scheduler.stats.errors)


def test_a_thread_can_stop_its_own_scheduler(classic):
    classic.start(NAPS, "n")
    classic.clock.advance(9)
    stopped, threads = threading.Event(), []

    def stop(state: RunState) -> None:
        threads.append(threading.current_thread())
        scheduler.stop()
        stopped.set()

    scheduler = classic.scheduler(poll_interval_s=0.001, on_run_resumed=stop)
    scheduler.start()
    assert stopped.wait(20)
    threads[0].join(20)
    assert not threads[0].is_alive()


# -- events --------------------------------------------------------------------------


def test_an_event_reaches_its_listeners_and_the_wildcard(world):
    world.start(LISTENS, "l", session_id="s")
    world.start(HEARS_ALL, "h", session_id="s")
    world.start(LISTENS, "other", session_id="t")

    states = world.scheduler().emit_event(name="go", payload={"n": 1}, session_id="s")

    assert {state.run_id: state.status for state in states} == {
        "l": RunStatus.COMPLETED,
        "h": RunStatus.COMPLETED,
    }
    assert world.status("other") == "waiting"
    envelope = world.runtime.get_state("l").output["out"]
    assert (envelope["payload"], envelope["emitter"]["source"]) == ({"n": 1}, "external")


@pytest.mark.parametrize(
    "wrong", [{"name": " ", "session_id": "s"}, {"name": "go"}, {"name": "go", "scope": "moon"}]
)
def test_an_event_without_name_or_address_is_refused(world, wrong):
    with pytest.raises(ValueError, match="event"):
        world.scheduler().emit_event(payload={}, **wrong)


def test_an_unregistered_listener_is_named_after_the_others_got_it(classic):
    classic.start(LISTENS, "l", session_id="s")
    classic.start(HEARS_ALL, "h", session_id="s")
    classic.registry.unregister("hears-all")

    with pytest.raises(KeyError, match="h"):
        classic.scheduler().emit_event(name="go", payload={}, session_id="s")
    assert (classic.status("l"), classic.status("h")) == ("completed", "waiting")


def test_a_listener_that_cannot_be_reached_is_named(classic, monkeypatch):
    classic.start(LISTENS, "l", session_id="s")
    resumed = [{"run_id": "l", "status": "error", "error": "disk"}]
    told = {"resumed": resumed, "delivered_to": []}
    monkeypatch.setattr(classic.runtime, "emit_event", lambda **_: told)

    with pytest.raises(AbstractRuntimeError, match="'l' did not get the event: disk"):
        classic.scheduler().emit_event(name="go", payload={}, session_id="s")


# -- answers, parents, children --------------------------------------------------------


def test_resume_event(world):
    world.start(ASKS, "a")
    scheduler = world.scheduler()
    with pytest.raises(KeyError):
        scheduler.resume_event(run_id="none", wait_key=None, payload={})
    with pytest.raises(ValueError, match="wait_key mismatch"):
        scheduler.resume_event(run_id="a", wait_key="other", payload={})

    key = world.runtime.get_state("a").waiting.wait_key
    state = scheduler.resume_event(run_id="a", wait_key=key, payload={"response": "x"})
    assert state.status is RunStatus.COMPLETED
    with pytest.raises(ValueError, match="not waiting"):
        scheduler.resume_event(run_id="a", wait_key=key, payload={})
    world.start(ASKS, "b")
    world.registry.unregister("asks")
    with pytest.raises(KeyError, match="not registered"):
        scheduler.resume_event(run_id="b", wait_key=None, payload={})


def test_find_waiting_runs(world):
    world.start(ASKS, "a")
    world.start(NAPS, "n")
    scheduler = world.scheduler()

    def ids(**wanted: Any) -> list[str]:
        return sorted(state.run_id for state in scheduler.find_waiting_runs(**wanted))

    assert ids() == ["a", "n"]
    assert ids(wait_reason=WaitReason.USER) == ids(workflow_id="asks") == ["a"]
    assert len(ids(limit=1)) == 1


def test_a_parent_is_answered_for_its_child(world):
    child = world.start(PARENT, "p").waiting.details["sub_run_id"]
    scheduler = world.scheduler()

    state = scheduler.resume_subworkflow_parent(child_run_id=child, child_output={"x": 1})
    assert state.status is RunStatus.COMPLETED
    assert state.output["out"]["output"] == {"x": 1}
    assert scheduler.resume_subworkflow_parent(child_run_id="none", child_output={}) is None


def test_a_parent_is_found_however_many_wait(world, monkeypatch):
    child = world.start(PARENT, "p").waiting.details["sub_run_id"]
    monkeypatch.setattr(Scheduler, "find_waiting_runs", lambda self, **wanted: [])

    state = world.scheduler().resume_subworkflow_parent(child_run_id=child, child_output={})
    assert (state.run_id, state.status) == ("p", RunStatus.COMPLETED)


def test_a_paused_parent_is_not_answered(world):
    child = world.start(PARENT, "p").waiting.details["sub_run_id"]
    world.runtime.pause_run("p")

    scheduler = world.scheduler()
    assert scheduler.resume_subworkflow_parent(child_run_id=child, child_output={}) is None


def test_a_parent_that_a_cycle_answered_is_given_as_it_is(world):
    child = world.start(PARENT, "p").waiting.details["sub_run_id"]
    world.runtime.tick(workflow=ASKS, run_id=child)
    world.runtime.resume(workflow=ASKS, run_id=child, wait_key=None, payload={"response": "x"})
    scheduler = world.scheduler()
    scheduler.poll_once()

    state = scheduler.resume_subworkflow_parent(child_run_id=child, child_output={})
    assert (state.run_id, state.status) == ("p", RunStatus.COMPLETED)


def test_cancel_reaches_grandchildren_below_a_finished_child(world):
    state = world.start(GRANDPARENT, "g")
    tree = [run.run_id for run in world.runtime.run_store.list_runs(limit=10)]
    middle = next(
        world.runtime.get_state(run_id)
        for run_id in tree
        if world.runtime.get_state(run_id).workflow_id == "launches"
    )
    assert (state.status, middle.status) == (RunStatus.WAITING, RunStatus.COMPLETED)

    cancelled = world.scheduler().cancel_with_children("g", reason="enough")

    assert cancelled[0].run_id == "g"
    assert [run.workflow_id for run in cancelled] == ["grandparent", "asks"]
    assert cancelled[0].error == "enough"
    assert world.scheduler().cancel_with_children("none") == []


def test_a_finished_root_still_cancels_its_live_children(world):
    assert world.start(LAUNCHES, "l").status is RunStatus.COMPLETED

    assert [r.workflow_id for r in world.scheduler().cancel_with_children("l")] == ["asks"]


# -- everything in one object ----------------------------------------------------------


def test_run_registers_an_unknown_workflow_and_remembers_the_session():
    scheduled = create_scheduled_runtime(auto_start=False)
    run_id, state = scheduled.run(ASKS, vars={"n": 1}, actor_id="me", session_id="s")

    assert "asks" in scheduled.registry
    assert (state.session_id, state.actor_id, state.vars["n"]) == ("s", "me", 1)
    assert scheduled.respond(run_id, {"response": "x"}).status is RunStatus.COMPLETED
    assert scheduled.get_state(run_id).output == {"out": {"response": "x"}}
    assert scheduled.get_ledger(run_id)[-1]["status"] == "completed"
    assert (scheduled.is_running, scheduled.stats.poll_cycles) == (False, 0)


def test_create_starts_the_thread_unless_told_otherwise():
    scheduled = create_scheduled_runtime(workflows=[QUICK], poll_interval_s=0.001)
    thread = scheduled.scheduler._thread
    scheduled.start_scheduler()
    assert scheduled.is_running
    assert scheduled.scheduler._thread is thread
    scheduled.stop()
    assert not scheduled.is_running


@pytest.mark.parametrize(
    "case, message",
    [
        ("finished", "not waiting"),
        ("timer", "no wait_key"),
        ("living child", "has not ended"),
    ],
)
def test_respond_refuses(world, case, message):
    workflow = {"finished": QUICK, "timer": NAPS, "living child": PARENT}[case]
    run_id = world.start(workflow, "r").run_id

    with pytest.raises(ValueError, match=message):
        world.scheduled().respond(run_id, {})
    with pytest.raises(KeyError):
        world.scheduled().respond("none", {})


def test_respond_in_the_place_of_a_living_child_needs_force(world):
    world.start(PARENT, "p")

    state = world.scheduled().respond("p", {"output": {"x": 1}}, force=True)
    assert state.status is RunStatus.COMPLETED


def test_the_rest_delegates(world):
    scheduled = world.scheduled()
    child = world.start(PARENT, "p").waiting.details["sub_run_id"]
    world.start(ASKS, "a")
    key = scheduled.get_state("a").waiting.wait_key

    assert {run.run_id for run in scheduled.find_waiting_runs(workflow_id="asks")} >= {"a"}
    assert scheduled.resume_event(run_id="a", wait_key=key, payload={}).status.is_terminal
    parent = scheduled.resume_subworkflow_parent(child_run_id=child, child_output={})
    assert parent.status is RunStatus.COMPLETED
    assert scheduled.cancel_run(child, reason="late").status is RunStatus.CANCELLED
    assert scheduled.cancel_with_children("p") == [scheduled.get_state(child)]
    with pytest.raises(WaitMismatch):
        scheduled.respond("a", {})
    scheduled.start(workflow=QUICK)
    with pytest.raises(KeyError):
        scheduled.tick("none")


def test_a_run_that_fails_for_days_is_still_only_left_alone(world):
    world.runtime.start(workflow=ASKS, run_id="r")
    world.runtime.post("r", Command("c", Pause()))
    scheduler = world.scheduler()
    scheduler._runtime = Raises(world.runtime)
    scheduler._engine.post("r", Command("d", Unpause()))

    for _ in range(1100):
        world.clock.advance(301.0)
        scheduler.poll_once()

    assert (scheduler.stats.runs_failed, scheduler.stats.runs_resumed) == (1100, 0)


class Raises:
    """A runtime of which nothing can be had but its workflows."""

    def __init__(self, runtime: Runtime) -> None:
        self.find_workflow = runtime.find_workflow

    def apply_commands(self, run_id: str) -> RunState:
        raise RuntimeError("no")
