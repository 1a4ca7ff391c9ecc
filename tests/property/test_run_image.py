"""What a live log remembers of its run is what its bytes say, after any commits in any order."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from abstractruntime.core.models import (
    RunState,
    RunStatus,
    StepRecord,
    StepStatus,
    WaitReason,
    WaitState,
)
from abstractruntime.core.records import RecordFactory
from abstractruntime.storage import large_values
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage._store import lease
from abstractruntime.storage._store.image import RunImage
from abstractruntime.storage._store.memory import LogMemory
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import FakeClock

ROOT, RUN = "/s", "r"
STORIES = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
QUICK = settings(STORIES, report_multiple_bugs=False, phases=[Phase.generate])
values = st.sampled_from([None, 1, "text", "x" * 400, {"a": [1, {"b": "y" * 300}]}])


class ImageMachine(RuleBasedStateMachine):
    """One run, committed to by every kind of record; it is read back after each."""

    def __init__(self) -> None:
        super().__init__()
        lease._claims.clear()
        self.fs, self.clock, self.count = SimFileSystem(), FakeClock(), 0
        self.engine = open_store(ROOT, origin="t/0", fs=self.fs, clock=self.clock)
        self.records = RecordFactory(self.clock, self)

    def step_id(self) -> str:
        self.count += 1
        return f"step{self.count}"

    def record(self, effect: dict[str, Any] | None = None) -> StepRecord:
        record = self.records.internal(self.log.run, "control")
        record.effect = effect
        return record

    @initialize()
    def create(self) -> None:
        run = RunState(RUN, "flow", RunStatus.RUNNING, "a", {"items": []})
        self.log = self.engine.create(run, self.records.internal(run, "run_started"))

    # -- commits ----------------------------------------------------------------

    @rule(value=values, name=st.sampled_from(["a", "b"]))
    def hop(self, value: Any, name: str) -> None:
        self.log.run.vars[name] = copy.deepcopy(value)
        self.log.run.current_node = name
        self.log.commit(self.record())

    @rule(value=values, ends=st.sampled_from(["no outcome", "success", "failure", "another try"]))
    def effect(self, value: Any, ends: str) -> None:
        plan = {"next_node": "b", "occ": self.log.next_occurrence()}
        record = self.record({"type": "llm_call", "payload": {"p": value}, "result_key": "r"})
        self.log.commit(
            started := dataclasses.replace(record, status=StepStatus.STARTED), plan=plan
        )
        if ends == "success":
            self.log.run.vars["r"] = {"said": value}
            done = started.finish_success(self.log.run.vars["r"], at="t")
            self.log.commit(done, wrote="/r")
        elif ends != "no outcome":
            failed = dataclasses.replace(started, status=StepStatus.FAILED, error="no")
            self.log.commit(failed, plan=plan if ends == "another try" else None)

    @rule(names=st.lists(st.sampled_from([f"c{n}" for n in range(9)]), max_size=40))
    def apply_commands(self, names: list[str]) -> None:
        self.log.commit(self.record(), commands=tuple(names))

    @rule(key=st.sampled_from(["k", None]), listens=st.booleans())
    def wait(self, key: str | None, listens: bool) -> None:
        run = self.log.run
        run.status, run.waiting = RunStatus.WAITING, WaitState(WaitReason.EVENT, key)
        run.listening = ["news"] if listens else None
        self.log.commit(self.record())
        self.log.settle()

    @rule()
    def go_on(self) -> None:
        run = self.log.run
        run.status, run.waiting, run.output = RunStatus.RUNNING, None, None
        self.log.commit(self.record(), self.record())

    @rule(output=values, is_closed=st.booleans())
    def end(self, output: Any, is_closed: bool) -> None:
        run = self.log.run
        run.status, run.output = RunStatus.COMPLETED, {"value": output}
        self.log.commit(self.record())
        if is_closed:
            self.log.append_bare(self.records.terminal_status(run))

    @rule()
    def append_foreign(self) -> None:
        self.log.append_bare(self.record({"type": "llm_call", "payload": {}}))

    @rule()
    def fail_to_commit(self) -> None:
        """A commit that cannot be written leaves the log as it was."""
        self.log.run.vars["bad"] = {1, 2}
        with pytest.raises(Exception, match="JSON"):
            self.log.commit(self.record())
        self.log.rollback()

    @rule(is_warm=st.booleans(), is_torn=st.booleans())
    def reopen(self, is_warm: bool, is_torn: bool) -> None:
        self.log.close()
        if not is_warm:
            self.engine.close()
        if is_torn:
            self.fs.open_append(f"{ROOT}/ledger_{RUN}.jsonl").append(b'{"run')
        self.log = self.engine.open(RUN)

    # -- what must hold -----------------------------------------------------------

    def differences(self, *, from_start: bool) -> list[str]:
        live, recovery = self.log._memory, self.engine.services.recovery
        replay = recovery.load(RUN, from_start=from_start)
        names = [field.name for field in dataclasses.fields(RunImage)]
        pairs = {name: (getattr(live.image, name), getattr(replay.image, name)) for name in names}
        pairs["vars"] = (live.shadow.state(), replay.vars)
        attempts = (live.attempt, recovery.attempt(RUN, replay.image))
        pairs["attempt"] = tuple(found and found.to_dict() for found in attempts)
        return [f"{name}: {a!r} != {b!r}" for name, (a, b) in pairs.items() if a != b]

    @invariant()
    def live_and_rebuilt_are_the_same(self) -> None:
        if hasattr(self, "log"):
            assert self.differences(from_start=True) == []

    @rule()
    def checkpoint(self) -> None:
        self.log.commit(self.record(), fix=True)
        self.log.settle()
        is_covered = self.log._memory.covered == self.log._memory.image.size
        assert is_covered == (self.log.pending is None)
        assert self.differences(from_start=False) == []

    def teardown(self) -> None:
        lease._claims.clear()


@pytest.fixture(autouse=True)
def _small_limit(monkeypatch):
    monkeypatch.setattr(large_values, "LIMIT_BYTES", 600)
    monkeypatch.setattr("abstractruntime.storage._store.record_lines.LIMIT_BYTES", 600)


def test_a_live_log_remembers_what_its_bytes_say():
    run_state_machine_as_test(ImageMachine, settings=STORIES)


# -- mutants ------------------------------------------------------------------------


def live_without(name: str) -> Any:
    """Give a `note` that keeps something of a commit from the live image only."""

    def note(memory: LogMemory, record: StepRecord, commit: Any, encoded: Any) -> None:
        rest = commit and {key: value for key, value in commit.items() if key != name}
        real(memory, record, rest, encoded)

    real = LogMemory.note
    return note


@pytest.mark.parametrize("name", ["cmd", "plan", "status", "waiting", "listening", "epoch"])
def test_a_live_log_that_forgets_is_caught(name, monkeypatch):
    monkeypatch.setattr(LogMemory, "note", live_without(name))

    with pytest.raises(AssertionError):
        run_state_machine_as_test(ImageMachine, settings=QUICK)
