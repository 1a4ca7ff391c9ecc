"""Stories of runs: they drive the real engine over a simulated disk and note what must hold."""

from __future__ import annotations

import json
from typing import Any

from abstractruntime.core.commands import Answer, Command
from abstractruntime.core.models import (
    RunState,
    RunStatus,
    StepRecord,
    StepStatus,
    WaitReason,
    WaitState,
)
from abstractruntime.core.ports import Barrier
from abstractruntime.core.records import STATUS_KEY_PREFIX
from abstractruntime.storage._files.simfs import Mutations, SimFileSystem
from abstractruntime.storage._store.services import Durability
from abstractruntime.storage.directory import open_store

ROOT = "/s"
RUN = "r1"
LEDGER = f"{ROOT}/ledger_{RUN}.jsonl"


class Story:
    """Drives a real engine over a simulated disk and remembers what must hold."""

    def __init__(
        self,
        durability: Durability = "strict",
        mutations: Mutations | None = None,
        fs: SimFileSystem | None = None,
    ) -> None:
        self.fs = fs or SimFileSystem(mutations=mutations)
        self.durability = durability
        self.states: dict[int, str] = {}
        self.engine = open_store(ROOT, durability=durability, origin="test/0", fs=self.fs)
        self.log: Any = None
        self.step = 0

    def record(self, status: StepStatus = StepStatus.COMPLETED, **fields: Any) -> StepRecord:
        self.step += 1
        run = self.log.run if self.log else None
        return StepRecord(
            run_id=RUN,
            step_id=f"step{self.step}",
            node_id=run.current_node if run else "start",
            status=status,
            started_at=f"t{self.step}",
            **fields,
        )

    def create(self) -> None:
        run = RunState(
            RUN, "flow", RunStatus.RUNNING, "start", {"items": [], "deep": {"a": "x" * 300}}
        )
        self.log = self.engine.create(run, self.record(result={"internal": "run_started"}))
        self.note(acknowledged=self.durability == "strict")

    def commit(self, *records: StepRecord, barrier: Barrier = Barrier.NONE, **options: Any) -> None:
        before = self.log.next_seq
        self.log.commit(*records, barrier=barrier, **options)
        for extra in range(before + 1, self.log.next_seq):
            self.states[extra] = self.text()
        self.note(acknowledged=barrier is not Barrier.NONE and self.durability == "strict")

    def effect(self, barrier: Barrier) -> None:
        run, occ = self.log.run, self.log.next_occurrence()
        effect = {"type": "llm_call", "payload": {"n": occ}, "result_key": f"r{occ}"}
        record = self.record(StepStatus.STARTED, effect=effect)
        run.vars["items"].append(occ)
        self.commit(record, barrier=barrier, plan={"next_node": "n", "occ": occ})
        result = {"text": "y" * 50}
        run.vars[f"r{occ}"] = result
        run.vars["deep"]["b"] = occ
        run.current_node = f"node{occ}"
        self.commit(record.finish_success(result, at="t"), barrier=barrier, wrote=f"/r{occ}")

    def hop(self) -> None:
        self.log.run.vars["hops"] = self.log.run.vars.get("hops", 0) + 1
        self.commit(self.record(result={"internal": "transition"}))

    def park(self) -> None:
        self.log.run.status, self.log.run.waiting = (
            RunStatus.WAITING,
            WaitState(WaitReason.USER, "k"),
        )
        self.commit(self.record(StepStatus.WAITING, result={"wait": {"wait_key": "k"}}))
        self.settle()

    def wake(self, *commands: str) -> None:
        run = self.log.run
        run.status, run.waiting, run.vars["answer"] = RunStatus.RUNNING, None, {"ok": True}
        effect = {"type": "resume", "payload": {"payload": run.vars["answer"]}, "result_key": None}
        self.commit(self.record(effect=effect), wrote="/answer", commands=commands)

    def finish(self) -> None:
        run = self.log.run
        run.status, run.output = RunStatus.COMPLETED, {"n": self.step}
        status = self.record(idempotency_key=f"{STATUS_KEY_PREFIX}completed")
        self.commit(self.record(result={"completed": True}), status)
        self.settle()

    def settle(self) -> None:
        self.log.settle()
        rests = self.log.run.status is not RunStatus.RUNNING
        self.note(acknowledged=self.durability == "strict" or (rests and self.durability != "off"))

    def reopen(self) -> None:
        self.log.close()
        self.engine.close()
        self.log = self.engine.open(RUN)

    def post(self, command_id: str) -> None:
        self.engine.post(RUN, Command(command_id, Answer(payload=1), "t"))
        self.fs.mark({"command": command_id})

    def text(self) -> str:
        run = self.log.run
        return json.dumps([run.vars, run.status.value, run.current_node, run.output])

    def note(self, *, acknowledged: bool) -> None:
        self.states[self.log.next_seq] = self.text()
        if acknowledged:
            self.fs.mark({"lines": self.log.next_seq})


def steps_and_effects(story: Story) -> None:
    story.create()
    for barrier in (Barrier.EXTERNAL, Barrier.NONE, Barrier.EXTERNAL):
        story.hop()
        story.effect(barrier)
    story.settle()


def to_completion(story: Story) -> None:
    story.create()
    story.effect(Barrier.NONE)
    story.hop()
    story.finish()


def wait_and_resume(story: Story) -> None:
    story.create()
    story.hop()
    story.park()
    story.post("c1")
    story.reopen()
    assert [c.id for c in story.log.take_commands()] == ["c1"]
    story.wake("c1")
    story.effect(Barrier.EXTERNAL)
    story.finish()


def many_checkpoints(story: Story) -> None:
    story.create()
    for _ in range(4):
        story.effect(Barrier.NONE)
        story.hop()
    story.park()
    story.reopen()
    story.wake()
    story.park()
