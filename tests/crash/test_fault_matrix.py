"""Every call to the file system goes wrong in every way, in every scenario; then life goes on.

A scenario says what people do, as calls that may be repeated: a second telling of it is
what they do after the fault. P1-P5 are checked on the disk that a new process, a power
cut, or the same process finds; P9 is the end of the second telling.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from functools import lru_cache

import pytest
from faults import (
    KEY,
    Process,
    World,
    comparable,
    completed_calls,
    disk_problems,
    ledger_problems,
)
from faults_files import READS, Exited, Fault, Worst, faults_of

from abstractruntime.errors import AbstractRuntimeError, StoreError
from abstractruntime.storage import large_values
from abstractruntime.storage._files.jsonl import JsonlFile
from abstractruntime.storage._files.simfs import Image, SimAppendFile, SimFileSystem
from abstractruntime.storage._store import lease, run_log
from abstractruntime.storage._store.heads import KeySigner
from abstractruntime.storage._store.image import RunImage
from abstractruntime.storage._store.inbox import Inboxes
from abstractruntime.storage._store.lease import Lease
from abstractruntime.storage._store.recovery import Recovery
from abstractruntime.storage._store.run_log import DirectoryRunLog


def start(p: Process) -> None:
    p.start("two_calls")


def step(p: Process) -> None:
    p.start("two_calls")
    p.drive()


def wait(p: Process) -> None:
    p.start("question")
    p.drive()


def resume(p: Process) -> None:
    wait(p)
    p.answer()
    p.drive()


def cancel(p: Process) -> None:
    wait(p)
    p.control("cancel_run")


def pause_unpause(p: Process) -> None:
    p.start("two_calls")
    p.control("pause_run")
    p.drive()
    p.control("resume_run")
    p.drive()


def timer(p: Process) -> None:
    p.start("timer")
    p.drive()


def child_sync(p: Process) -> None:
    p.start("sync_child")
    p.drive()


def child_async(p: Process) -> None:
    p.start("async_child")
    p.drive()
    p.answer()
    p.drive()


def event_emit(p: Process) -> None:
    p.start("listener", "other")
    p.drive("other")
    p.start("emitter")
    p.drive()
    p.drive("other")


def event_from_outside(p: Process) -> None:
    p.start("listener")
    p.drive()
    p.emit("news")
    p.drive()


def memory_note(p: Process) -> None:
    p.start("note")
    p.drive()


def sign_head(p: Process) -> None:
    p.world.signer = KeySigner(KEY)
    resume(p)


def blob_offload(p: Process) -> None:
    p.start("big")
    p.drive()


def torn_tail(p: Process) -> None:
    wait(p)
    p.leave()
    p.world.tear()
    p.answer()
    p.drive()


def index_rebuild(p: Process) -> None:
    wait(p)
    p.start("two_calls", "other")
    p.leave()
    p.find()
    p.drive("other")


def inbox_post(p: Process) -> None:
    wait(p)
    p.post("c1", "cancel")
    p.drive()


def inbox_answer(p: Process) -> None:
    """Two waits have one key, so an answer that counts twice would end both."""
    p.start("two_waits")
    p.drive()
    p.post("c1", "resume", wait_key="go", payload={"n": 1})
    p.drive()


SCENARIOS = [
    start, step, wait, resume, cancel, pause_unpause, timer, child_sync, child_async,
    event_emit, event_from_outside, memory_note, sign_head, blob_offload, torn_tail,
    index_rebuild, inbox_post, inbox_answer,
]  # fmt: skip


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch):
    monkeypatch.setattr(run_log, "CHECKPOINT_GROWTH_BYTES", 1200)
    monkeypatch.setattr(large_values, "LIMIT_BYTES", 290)
    monkeypatch.setattr("abstractruntime.storage._store.record_lines.LIMIT_BYTES", 290)
    yield
    lease._claims.clear()


@lru_cache
def told(scenario):
    """Tell a scenario without faults: its calls, its end, its effects."""
    world = World()
    process = world.process()
    scenario(process)
    calls = list(process.files.calls)
    return calls, comparable(process), world.calls


def attempt(scenario, process: Process) -> Exception | None:
    """Tell a scenario; give the error that stopped it, None when it ended or the process died."""
    try:
        scenario(process)
    except Exited:
        return None
    except AbstractRuntimeError as error:
        return error
    return None


def problems(scenario, *faults: Fault) -> Iterator[str]:
    """Tell a scenario with faults and say what is wrong with every way to go on."""
    world = World()
    process = world.process(*faults)
    error = attempt(scenario, process)
    for _ in faults[1:]:
        if error is not None:
            error = attempt(scenario, process)
    if error is not None and not isinstance(error, StoreError):
        yield f"{type(error).__name__} is no store error: {error}"
    if error is not None and lease._claims:
        yield f"the run is still owned after {error}"
    spare = len(faults)
    for name, image in disks_found(world, process, faults[-1], error):
        other = world.after_exit(image)
        yield from (f"{name}: {p}" for p in disk_problems(image, world))
        yield from (f"{name}: {p}" for p in goes_on(scenario, other, image, spare=spare))
    if not process.files.is_dead:
        process.files.heal()
        found = goes_on(scenario, world, {}, process, spare=spare)
        yield from (f"same process: {p}" for p in found)


def disks_found(
    world: World, process: Process, fault: Fault, error: Exception | None
) -> Iterator[tuple[str, Image]]:
    """Give the disks to look at; a failed read has changed nothing that another fault has not."""
    if process.files.is_dead:
        yield "power cut", world.power_cut(random.Random(fault.index))
    elif error is None:
        yield "power cut after a fault that nobody reported", world.power_cut(Worst())
    if not READS.issuperset(process.files.calls[fault.index : fault.index + 1]):
        yield "new process", world.disk.image()


def goes_on(
    scenario, world: World, image: Image, process: Process | None = None, *, spare: int
) -> Iterator[str]:
    """Repeat the scenario without faults: it ends as if nothing had happened.

    Invariant: a call is repeated only when its outcome was not recorded, so every fault costs
    one call at most: `spare` is their number.
    """
    _, expected, calls = told(scenario)
    over, before = completed_calls(image), world.calls.copy()
    process = process or world.process()
    try:
        scenario(process)
        end = comparable(process)
    except (AbstractRuntimeError, AssertionError) as error:
        yield f"P9: {type(error).__name__}: {error}"
        return
    if end != expected:
        yield f"P9: another end: {end}"
    if any(world.calls[name] > before[name] for name in over):
        yield "P5: a call with a recorded outcome was repeated"
    if calls - world.calls or sum((world.calls - calls).values()) > spare:
        yield f"P5: calls {dict(world.calls)}, expected {dict(calls)}"
    yield from ledger_problems(image, world.disk.image())


def sweep(scenario, *, keep=lambda verb: True) -> list[str]:
    calls = told(scenario)[0]
    return [
        f"{scenario.__name__}, call {fault.index} ({calls[fault.index]}), {fault.kind}: {problem}"
        for fault in faults_of(calls)
        if keep(calls[fault.index])
        for problem in problems(scenario, fault)
    ]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_every_call_may_go_wrong(scenario):
    assert sweep(scenario) == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_two_calls_may_go_wrong(scenario):
    """The second fault meets whoever tries again, in the same process, after an error."""
    calls = told(scenario)[0]
    rng = random.Random(scenario.__name__)
    first = [f for f in faults_of(calls) if f.kind in ("error before", "error after")]
    second = list(faults_of(calls))
    found = []
    for _ in range(2_500):
        one, other = rng.choice(first), rng.choice(second)
        if one.index < other.index:
            found += [f"{one}, {other}: {p}" for p in problems(scenario, one, other)]
    assert found == []


# -- mutants: each promise is seen to be watched ------------------------------------


def skip_syncs(monkeypatch):
    monkeypatch.setattr(SimAppendFile, "sync", lambda self: None)


def skip_dir_syncs(monkeypatch):
    monkeypatch.setattr(SimFileSystem, "sync_dir", lambda self, path: None)


def swallow_failed_syncs(monkeypatch):
    def sync(file):
        if file._dirty:
            with contextlib.suppress(OSError):
                file._file.sync()
        file._dirty = False

    monkeypatch.setattr(JsonlFile, "sync", sync)


def keep_torn_tails(monkeypatch):
    monkeypatch.setattr(JsonlFile, "cut", lambda self, size: None)


def lose_posts(monkeypatch):
    monkeypatch.setattr(Inboxes, "post", lambda *args: None)


def forget_command_ids(monkeypatch):
    take = DirectoryRunLog.take_commands

    def forgetful(log):
        log._memory.image.commands.clear()
        return take(log)

    monkeypatch.setattr(DirectoryRunLog, "take_commands", forgetful)


def forget_pending_effects(monkeypatch):
    monkeypatch.setattr(Recovery, "attempt", lambda *args: None)


def forget_outcomes(monkeypatch):
    def forgetful(image, *arguments):
        before = image.pending
        apply(image, *arguments)
        image.pending = image.pending or before

    apply = RunImage._apply
    monkeypatch.setattr(RunImage, "_apply", forgetful)


def keep_leases(monkeypatch):
    monkeypatch.setattr(Lease, "release", lambda self: None)


def checkpoint_too_much(monkeypatch):
    def written(image, variables):
        return real(image, variables.replace(b'"out_a":{', b'"out_a":{"more":1,'))

    real = run_log.render_body
    monkeypatch.setattr(run_log, "render_body", written)


MUTANTS = {
    skip_syncs: (step, "P2: acknowledged records"),
    skip_dir_syncs: (inbox_post, "P2: acknowledged"),
    swallow_failed_syncs: (step, "P2: acknowledged records"),
    keep_torn_tails: (torn_tail, "P9: "),
    lose_posts: (inbox_post, "P2: acknowledged commands"),
    forget_command_ids: (inbox_answer, "P9: another end"),
    forget_pending_effects: (step, "P5: an attempt changed its identity"),
    forget_outcomes: (resume, "P5: a call with a recorded outcome"),
    keep_leases: (step, "Busy"),
    checkpoint_too_much: (resume, "P3: "),
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_mutant_is_caught(mutant, monkeypatch):
    scenario, symptom = MUTANTS[mutant]
    told(scenario)
    mutant(monkeypatch)

    found = sweep(scenario, keep=lambda verb: verb in ("append", "sync"))

    assert any(symptom in problem for problem in found), found[:3]
