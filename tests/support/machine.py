"""Anything people and disks do to a store, in any order, and a model of what was told."""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections import Counter
from typing import Any

from faults import (
    KEY,
    ORIGIN,
    ROOT,
    WORKFLOWS,
    applied_commands,
    completed_calls,
    ledgers_of,
    whole_lines,
)
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.commands import Command
from abstractruntime.core.models import Effect, EffectType, RunState, RunStatus
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.errors import (
    Busy,
    IntegrityError,
    NotFound,
    StoreError,
    UsageError,
    WaitMismatch,
)
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.signing import verify_ledger
from abstractruntime.signing.heads import read_heads
from abstractruntime.storage._files.jsonl import JsonlFile
from abstractruntime.storage._files.simfs import Image, SimFileSystem, _Disk
from abstractruntime.storage._store import lease
from abstractruntime.storage._store.heads import KeySigner
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import FakeClock

RUNS = ("r0", "r1")
DISKS_PER_CUT = 5
FLOWS = ("two_calls", "question", "timer", "two_waits")
TORN = (b'{"run_id":"to', bytes(30) + (b"x" * 2000 + b"\n") * 2)
runs = st.sampled_from(RUNS)


def cut_without_sync(file: JsonlFile, size: int) -> None:
    """Cut a file and go on at once: the mistake that a power cut shows."""
    file._file.truncate(size)
    file.size = size


class LimitedDisk(SimFileSystem):
    """A simulated disk that may be full, and that knows what it held when it was found."""

    is_full = False

    def __init__(self, image: Image | None = None) -> None:
        super().__init__(image)
        self._found = {path: (i.number, i.content) for path, i in self._files.items()}

    def power_cut(self, rng: random.Random) -> Image:
        disk = _Disk()
        disk.safe_names = {path: number for path, (number, _) in self._found.items()}
        disk.safe_data = dict(self._found.values())
        for entry in self.journal:
            disk.apply(entry)
        return disk.crash(rng)

    def _call(self, verb: str) -> None:
        super()._call(verb)
        if self.is_full and verb in ("append", "write_new"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class StoreMachine(RuleBasedStateMachine):
    """Rules are deeds and accidents; the model is what was acknowledged per run."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = LimitedDisk()
        self.clock = FakeClock()
        self.told: dict[str, bytes] = {}
        self.calls: Counter[str] = Counter()
        self.damaged: set[str] = set()
        self.repeated: list[str] = []
        self.accidents = 0
        self.posted: dict[str, str] = {}
        self._new_process()

    # -- helpers --------------------------------------------------------------

    def _new_process(self) -> None:
        lease._claims.clear()
        self.runtime = self._runtime()

    def _runtime(self) -> Runtime:
        registry = WorkflowRegistry()
        for workflow in WORKFLOWS.values():
            registry.register(workflow)
        while True:
            try:
                store = open_store(
                    ROOT, origin=ORIGIN, fs=self.disk, clock=self.clock, signer=KeySigner(KEY)
                )
                break
            except StoreError:
                self.disk.is_full = False
        return Runtime.on_engine(
            store,
            effect_handlers={EffectType.LLM_CALL: self._call},
            workflow_registry=registry,
            artifact_store=InMemoryArtifactStore(),
            clock=self.clock,
        )

    def _call(self, run: RunState, effect: Effect) -> EffectOutcome:
        done = completed_calls(
            {p: d for p, d in self.disk.image().items() if f"_{run.run_id}." in p}
        )
        name = f"{run.workflow_id}:{effect.payload['p']}"
        if done[name]:
            self.repeated.append(f"{name} of {run.run_id}")
        self.calls[f"{run.run_id}:{name}"] += 1
        return EffectOutcome.completed({"said": "x" * 80})

    @contextlib.contextmanager
    def _deed(self, run_id: str, *expected: type[Exception]) -> Any:
        """Do something to a run: it is acknowledged, or refused in one of the expected ways."""
        before = self._lines(run_id)
        try:
            yield
        except expected:
            return
        except IntegrityError:
            assert run_id in self.damaged, f"P6: false alarm about {run_id}"
            return
        except StoreError:
            if not self.disk.is_full:
                raise
            self.accidents += 1
            return
        after = self._lines(run_id)
        if after != before:
            self.told[run_id] = after

    def _lines(self, run_id: str) -> bytes:
        return whole_lines(self.disk.image().get(f"{ROOT}/ledger_{run_id}.jsonl", b""))

    def _state(self, run_id: str) -> RunState | None:
        with contextlib.suppress(NotFound, IntegrityError):
            return self.runtime.get_state(run_id)
        return None

    def _workflow(self, run_id: str) -> Any:
        state = self._state(run_id)
        return WORKFLOWS[state.workflow_id if state else FLOWS[0]]

    # -- deeds ----------------------------------------------------------------

    @initialize(flow=st.sampled_from(FLOWS), other=st.sampled_from(FLOWS))
    def begin(self, flow: str, other: str) -> None:
        self.start("r0", flow)
        self.start("r1", other)
        self.tick("r0", 1)

    @rule(run_id=runs, flow=st.sampled_from(FLOWS))
    def start(self, run_id: str, flow: str) -> None:
        with self._deed(run_id, UsageError):
            self.runtime.start(workflow=WORKFLOWS[flow], run_id=run_id)

    @rule(run_id=runs, max_steps=st.sampled_from([1, 100]))
    def tick(self, run_id: str, max_steps: int) -> None:
        with self._deed(run_id, NotFound):
            workflow = self._workflow(run_id)
            self.runtime.tick(workflow=workflow, run_id=run_id, max_steps=max_steps)

    @rule(run_id=runs)
    def go_on(self, run_id: str) -> None:
        self.clock.advance(2)
        self.tick(run_id, 100)

    @rule(run_id=runs, twice=st.booleans())
    def answer(self, run_id: str, twice: bool) -> None:
        state = self._state(run_id)
        key = state.waiting.wait_key if state and state.waiting else "none"
        for time in range(2 if twice else 1):
            with self._deed(run_id, NotFound, WaitMismatch):
                done = self._resume(run_id, key)
                asks_again = done.waiting is not None and done.waiting.wait_key == key
                assert time == 0 or asks_again or key is None, "an answer was taken twice"

    def _resume(self, run_id: str, key: str | None) -> RunState:
        before = self._state(run_id)
        state = self.runtime.resume(
            workflow=self._workflow(run_id), run_id=run_id, wait_key=key, payload=1, max_steps=0
        )
        assert before is not None
        assert before.status is RunStatus.WAITING, "a run that does not wait took an answer"
        return before if state.status is not RunStatus.WAITING else state

    @rule(run_id=runs)
    def answer_with_another_key(self, run_id: str) -> None:
        state = self._state(run_id)
        if state is None or state.waiting is None or state.waiting.wait_key is None:
            return
        before = self._lines(run_id)
        try:
            self._resume(run_id, "another")
        except WaitMismatch:
            pass
        except (IntegrityError, StoreError):
            return
        else:
            raise AssertionError("an answer to another question was taken")
        assert self._lines(run_id).startswith(before)

    @rule(run_id=runs, verb=st.sampled_from(["cancel_run", "pause_run", "resume_run"]))
    def control(self, run_id: str, verb: str) -> None:
        with self._deed(run_id, NotFound):
            getattr(self.runtime, verb)(run_id)

    @rule(run_id=runs, kind=st.sampled_from(["cancel", "pause", "unpause"]), n=st.integers(0, 3))
    def post(self, run_id: str, kind: str, n: int) -> None:
        name = f"{run_id}-{kind}-{n}"
        with self._deed(run_id, NotFound):
            self.runtime.engine.post(run_id, Command.from_dict({"id": name, "kind": kind}))
            self.posted[name] = run_id

    # -- others -----------------------------------------------------------------

    @rule(run_id=runs)
    def second_owner_attaches(self, run_id: str) -> None:
        try:
            log = self.runtime.engine.open(run_id)
        except (NotFound, IntegrityError, StoreError):
            return
        size = len(self.disk.image()[f"{ROOT}/ledger_{run_id}.jsonl"])
        other = open_store(ROOT, origin=ORIGIN, fs=self.disk, clock=self.clock)
        try:
            other.open(run_id).close()
            raise AssertionError("P4: two owners")
        except Busy:
            pass
        assert len(self.disk.image()[f"{ROOT}/ledger_{run_id}.jsonl"]) == size
        log.close()
        other.close()

    @rule()
    def verify(self) -> None:
        for run_id, data in ledgers_of(self.disk.image()):
            heads = self.disk.image().get(f"{ROOT}/heads_{run_id}.jsonl", b"")
            verdict = verify_ledger(
                data.splitlines(keepends=True),
                heads=read_heads(heads.splitlines(keepends=True)) if heads else (),
                keys=(KEY.verifier,),
                run_id=run_id,
            )
            if run_id in self.damaged:
                assert not verdict.ok, "P6: damage was not noticed"
            else:
                assert verdict.ok or not whole_lines(data), f"P6: false alarm: {verdict.to_dict()}"

    @rule()
    def copy_store(self) -> None:
        """A copy of the directory says the same of every run."""
        with open_store(ROOT, origin=ORIGIN, fs=SimFileSystem(self.disk.image())) as copy:
            for run_id in RUNS:
                state = self._state(run_id)
                if state is not None:
                    assert copy.peek(run_id).to_dict() == state.to_dict()

    # -- accidents ----------------------------------------------------------------

    @rule()
    def crash(self) -> None:
        self.disk.is_full = False
        self.accidents += 1
        self._new_process()

    @rule(rng=st.randoms(use_true_random=False))
    def power_cut(self, rng: Any) -> None:
        cut = self.disk
        for _ in range(DISKS_PER_CUT):
            self.disk = LimitedDisk(cut.power_cut(rng))
            self.damaged &= dict(ledgers_of(self.disk.image())).keys()
            self.acknowledged_records_are_there()
            self.verify()
        self.accidents += 1
        self._new_process()

    @rule(run_id=runs, tail=st.sampled_from(TORN))
    def crash_with_torn_tail(self, run_id: str, tail: bytes) -> None:
        """Die in the middle of an append; zeros and whole lines are of an earlier power cut."""
        handle = self.disk.open_append(f"{ROOT}/ledger_{run_id}.jsonl")
        if handle is not None and run_id not in self.damaged:
            was_full, self.disk.is_full = self.disk.is_full, False
            handle.append(tail)
            self.disk.is_full = was_full
        self.crash()

    @rule(run_id=runs, tail=st.sampled_from(TORN), rng=st.randoms(use_true_random=False))
    def power_cut_in_recovery(self, run_id: str, tail: bytes, rng: Any) -> None:
        self.crash_with_torn_tail(run_id, tail)
        with contextlib.suppress(NotFound, IntegrityError):
            self.runtime.engine.open(run_id).close()
        self.power_cut(rng)

    @rule(seconds=st.sampled_from([-86_400, -1, 1, 2, 86_400]))
    def clock_jumps(self, seconds: int) -> None:
        if seconds > 0:
            self.clock.advance(seconds)
        else:
            self.clock.set(self.clock.now().fromtimestamp(self.clock.now().timestamp() + seconds, self.clock.now().tzinfo))  # fmt: skip

    @rule(is_full=st.booleans())
    def disk_fills(self, is_full: bool) -> None:
        self.disk.is_full = is_full

    @precondition(lambda self: not self.damaged and sum(self.calls.values()) >= 1)
    @rule(data=st.data())
    def corrupt_a_byte(self, data: Any) -> None:
        """Flip a bit of an acknowledged record; a new process notices, for that run only."""
        run_id = data.draw(st.sampled_from(sorted(self.told)))
        content = bytearray(self.disk.image()[f"{ROOT}/ledger_{run_id}.jsonl"])
        at = data.draw(st.integers(0, len(self.told[run_id]) - 2))
        content[at] ^= 1
        self.disk = LimitedDisk(
            {**self.disk.image(), f"{ROOT}/ledger_{run_id}.jsonl": bytes(content)}
        )
        self.damaged.add(run_id)
        self._new_process()
        self.verify()

    # -- invariants -----------------------------------------------------------------

    @invariant()
    def acknowledged_records_are_there(self) -> None:
        image = self.disk.image()
        for run_id, told in self.told.items():
            if run_id not in self.damaged:
                found = image.get(f"{ROOT}/ledger_{run_id}.jsonl", b"")
                assert found.startswith(told), f"P2: {run_id}"

    @invariant()
    def commands_count_once(self) -> None:
        for run_id, data in ledgers_of(self.disk.image()):
            if run_id not in self.damaged:
                counted = Counter(applied_commands(data))
                assert not counted or max(counted.values()) == 1, f"{run_id}: {counted}"

    @invariant()
    def calls_are_repeated_by_accidents_only(self) -> None:
        assert not self.repeated, f"P5: calls with a recorded outcome: {self.repeated}"
        repeated = sum(count - 1 for count in self.calls.values())
        assert repeated <= self.accidents, f"P5: {dict(self.calls)}"

    def teardown(self) -> None:
        lease._claims.clear()
