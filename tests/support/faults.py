"""A disk whose n-th call goes wrong, and a process that drives runs over it.

`World` is what outlives a process: the disk, the clock, the effects that took place, and
what people were told. `Process` is a runtime over it whose every finished call tells
somebody something, so that a later look at the disk can say what must be there.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from faults_files import Fault, FaultyFiles

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.commands import Command
from abstractruntime.core.models import Effect, EffectType, RunState, StepPlan
from abstractruntime.core.ports import EffectOutcome, RunQuery
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.errors import AbstractRuntimeError, UsageError
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.signing import SigningKey
from abstractruntime.storage._files.jsonl import Line
from abstractruntime.storage._files.simfs import Image, SimFileSystem, _Disk
from abstractruntime.storage._store import lease
from abstractruntime.storage._store.heads import KeySigner
from abstractruntime.storage._store.record_lines import check_line
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.directory import open_store
from abstractruntime.testing.clocks import FakeClock

ROOT, RUN = "/s", "root"
ORIGIN = "test/0"
KEY = SigningKey.from_seed(ORIGIN, bytes(32))
LLM = EffectType.LLM_CALL


# -- workflows -----------------------------------------------------------------


def asks(kind: EffectType, payload: dict[str, Any], then: str | None = None) -> Any:
    return lambda run, ctx: StepPlan(
        run.current_node, Effect(kind, payload, f"out_{run.current_node}"), then
    )


def ends(run: RunState, ctx: Any) -> StepPlan:
    public = {k: v for k, v in run.vars.items() if k[0] != "_"}
    return StepPlan(run.current_node, complete_output=json.loads(json.dumps(public)))


def hops(run: RunState, ctx: Any) -> StepPlan:
    run.vars["hops"] = run.vars.get("hops", 0) + 1
    return StepPlan(run.current_node, next_node="b")


def call(p: str, then: str | None = None, **more: Any) -> Any:
    return asks(LLM, {"p": p, **more}, then)


def child(name: str, **options: Any) -> Any:
    return asks(EffectType.START_SUBWORKFLOW, {"workflow_id": name, **options}, "z")


def spec(name: str, **nodes: Any) -> WorkflowSpec:
    return WorkflowSpec(name, next(iter(nodes)), dict(nodes))


ASK = asks(EffectType.ASK_USER, {"prompt": "?"}, "b")
WORKFLOWS = {
    w.workflow_id: w
    for w in (
        spec("two_calls", a=call("one", "h"), h=hops, b=call("two", "z"), z=ends),
        spec("question", a=call("one", "q"), q=ASK, b=call("two", "z"), z=ends),
        spec("sync_child", a=child("two_calls"), z=ends),
        spec("async_child", a=child("question", **{"async": True, "wait": True}), z=ends),
        spec("big", a=call("one", "b", text="x" * 900), b=call("two", "z", text="y" * 900), z=ends),
        spec("timer", a=asks(EffectType.WAIT_UNTIL, {"until": "2026-01-01T00:00:01Z"}, "b"), b=call("one", "z"), z=ends),
        spec("two_waits", a=asks(EffectType.WAIT_EVENT, {"wait_key": "go"}, "b"), b=asks(EffectType.WAIT_EVENT, {"wait_key": "go"}, "z"), z=ends),
        spec("listener", a=asks(EffectType.WAIT_EVENT, {"name": "news", "scope": "global"}, "b"), b=call("heard", "z"), z=ends),
        spec("emitter", a=asks(EffectType.EMIT_EVENT, {"name": "news", "scope": "global", "payload": {"n": 1}}, "b"), b=call("said", "z"), z=ends),
        spec("note", a=asks(EffectType.MEMORY_NOTE, {"note": "hi", "scope": "session"}, "b"), b=call("one", "z"), z=ends),
    )
}  # fmt: skip


class TickingClock(FakeClock):
    """A clock on which no two moments are equal."""

    def now_iso(self) -> str:
        self.advance(0.001)
        return super().now_iso()


# -- the world and its processes -------------------------------------------------


@dataclass
class World:
    """Everything outside a process."""

    disk: SimFileSystem = field(default_factory=SimFileSystem)
    calls: Counter[str] = field(default_factory=Counter)
    ledgers: dict[str, bytes] = field(default_factory=dict)
    commands: set[str] = field(default_factory=set)
    flags: set[str] = field(default_factory=set)
    clock: FakeClock = field(default_factory=TickingClock)
    artifacts: InMemoryArtifactStore = field(default_factory=InMemoryArtifactStore)
    signer: KeySigner | None = None

    def process(self, *faults: Fault) -> Process:
        """Start a process; whatever an earlier one owned is free, as it is dead."""
        lease._claims.clear()
        return Process(self, FaultyFiles(self.disk, faults))

    def after_exit(self, image: Image) -> World:
        """Give the world in which a new process finds this disk."""
        return World(
            SimFileSystem(image, self.disk._mutations),
            self.calls.copy(),
            self.ledgers,
            set(self.commands),
            set(self.flags),
            self.clock,
            self.artifacts,
            self.signer,
        )

    def power_cut(self, rng: random.Random) -> Image:
        """Give one disk that a power cut may leave now."""
        disk = _Disk()
        for entry in self.disk.journal:
            disk.apply(entry)
        return disk.crash(rng)

    def llm(self, run: RunState, effect: Effect) -> EffectOutcome:
        self.calls[f"{run.workflow_id}:{effect.payload['p']}"] += 1
        return EffectOutcome.completed({"said": effect.payload["p"], "text": "t" * 60})

    def whole_ledgers(self) -> dict[str, bytes]:
        return {run_id: whole_lines(data) for run_id, data in ledgers_of(self.disk.image())}

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Take what the ledgers grew by as reported to somebody, unless the block raises.

        What was only read is not counted: a reader may see what is not synced yet.
        """
        before = self.whole_ledgers()
        yield
        after = self.whole_ledgers()
        grown = {run_id: data for run_id, data in after.items() if data != before.get(run_id)}
        self.ledgers = {**self.ledgers, **grown}

    def tear(self) -> None:
        """Leave half a line at the end of the root's ledger, once."""
        handle = self.disk.open_append(f"{ROOT}/ledger_{RUN}.jsonl")
        if handle is not None and "torn" not in self.flags:
            self.flags.add("torn")
            handle.append(b'{"run_id":"root","step')


class Process:
    """One process: what a person does through it, told as acknowledged when it returns."""

    def __init__(self, world: World, files: FaultyFiles) -> None:
        self.world = world
        self.files = files
        self._runtime: Runtime | None = None

    @property
    def runtime(self) -> Runtime:
        if self._runtime is None:
            registry = WorkflowRegistry()
            for workflow in WORKFLOWS.values():
                registry.register(workflow)
            world = self.world
            store = open_store(
                ROOT, origin=ORIGIN, fs=self.files, clock=world.clock, signer=world.signer
            )
            self._runtime = Runtime.on_engine(
                store,
                effect_handlers={LLM: world.llm},
                workflow_registry=registry,
                artifact_store=world.artifacts,
                clock=world.clock,
            )
        return self._runtime

    def leave(self) -> None:
        """End in peace; the next call is made by a new process."""
        if self._runtime is not None:
            engine: Any = self._runtime.engine
            engine.close()
            self._runtime = None

    def start(self, name: str, run_id: str = RUN) -> None:
        """Start a run, unless it is there."""
        session = "sess" if name == "note" else None
        with self.world.telling(), contextlib.suppress(UsageError):
            workflow = WORKFLOWS[name]
            self.runtime.start(workflow=workflow, run_id=run_id, session_id=session)

    def drive(self, run_id: str = RUN) -> None:
        with self.world.telling():
            Driver(self.runtime).drive(run_id, until="waiting")

    def answer(self, run_id: str = RUN) -> None:
        """Answer the open wait, if there is one."""
        with self.world.telling():
            if RunTree(self.runtime.engine, run_id).open_waits():
                Driver(self.runtime).answer(run_id, {"response": "yes"})

    def control(self, verb: str, run_id: str = RUN) -> None:
        with self.world.telling():
            getattr(self.runtime, verb)(run_id)

    def post(self, command_id: str, kind: str, **payload: Any) -> None:
        self.runtime.engine.post(
            RUN,
            Command.from_dict(
                {"id": command_id, "kind": kind, "payload": payload, "created_at": "t"}
            ),
        )
        self.world.commands.add(command_id)

    def emit(self, name: str) -> None:
        with self.world.telling():
            self.runtime.emit_event(name=name, scope="global", payload={"n": 1}, event_id="e1")

    def find(self) -> None:
        """List the runs, which rebuilds the index of a new process."""
        self.runtime.engine.find(RunQuery())


# -- looking at a disk ------------------------------------------------------------


def ledgers_of(image: Image) -> Iterator[tuple[str, bytes]]:
    prefix, suffix = f"{ROOT}/ledger_", ".jsonl"
    for path, data in image.items():
        if path.startswith(prefix) and path.endswith(suffix):
            yield path[len(prefix) : -len(suffix)], data


def whole_lines(data: bytes) -> bytes:
    """Give the committed part of a ledger."""
    data = data.partition(b"\x00")[0]
    return data[: data.rfind(b"\n") + 1]


def chained(run_id: str, ledger: bytes) -> Iterator[dict[str, Any]]:
    """Give the records of a ledger, each checked against the one before."""
    head: str | None = None
    for seq, data in enumerate(ledger.splitlines()):
        record = check_line(Line(0, data), run_id=run_id, seq=seq, prev_hash=head)
        head = record["record_hash"]
        yield record


def records_in(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in whole_lines(data).splitlines()]


def disk_problems(image: Image, world: World) -> Iterator[str]:
    """Say what a disk, just found, lacks of P1, P2 and P3."""
    present = dict(ledgers_of(image))
    for run_id, told in world.ledgers.items():
        if not present.get(run_id, b"").startswith(told):
            yield f"P2: acknowledged records of {run_id} are gone"
    kept = {c for data in present.values() for c in applied_commands(data)}
    kept |= {
        json.loads(d)["id"] for p, d in image.items() if "/inbox/" in p and p.endswith(".json")
    }
    if not world.commands <= kept:
        yield f"P2: acknowledged commands {world.commands - kept} are gone"
    for run_id in present:
        yield from _agreement_problems(image, run_id)


def applied_commands(data: bytes) -> Iterator[str]:
    for record in records_in(data):
        yield from (record.get("commit") or {}).get("cmd", ())


def _agreement_problems(image: Image, run_id: str) -> Iterator[str]:
    """Compare what a checkpoint leads to with what the ledger alone says."""
    checkpoint = f"{ROOT}/run_{run_id}.json"
    if checkpoint not in image:
        return
    bare = {path: data for path, data in image.items() if path != checkpoint}
    try:
        both = [
            open_store(ROOT, origin=ORIGIN, fs=SimFileSystem(one)).peek(run_id).to_dict()
            for one in (image, bare)
        ]
    except AbstractRuntimeError as error:
        yield f"P3: {run_id}: {type(error).__name__}: {error}"
        return
    if json.dumps(both[0]) != json.dumps(both[1]):
        yield f"P3: {run_id}: the checkpoint and the ledger differ"


def ledger_problems(before: Image, after: Image) -> Iterator[str]:
    """Say where ledgers were rewritten (P1), are no chain, or went back an owner (P4)."""
    final = dict(ledgers_of(after))
    for run_id, data in ledgers_of(before):
        if not final[run_id].startswith(whole_lines(data)):
            yield f"P1: {run_id}: committed records were rewritten"
    for run_id, data in final.items():
        epochs = [0]
        identities: dict[str, set[Any]] = {}
        # A finished run that nobody owns again keeps the torn tail of a power cut.
        for record in chained(run_id, whole_lines(data)):
            epochs.append((record.get("commit") or {}).get("epoch", epochs[-1]))
            if record["status"] == "started" and record["effect"]["type"] == "llm_call":
                identity = (record["idempotency_key"], record["commit"].get("occ"))
                identities.setdefault(record["effect"]["payload"]["p"], set()).add(identity)
        if any(len(found) > 1 for found in identities.values()):
            yield f"P5: an attempt changed its identity: {identities}"
        if epochs != sorted(epochs):
            yield f"P4: {run_id}: an earlier owner wrote after a later one: {epochs}"


def completed_calls(image: Image) -> Counter[str]:
    """Count the recorded completions of calls."""
    found: Counter[str] = Counter()
    for _, data in ledgers_of(image):
        records = records_in(data)
        if records:
            name = records[0]["result"]["workflow_id"]
            found.update(
                f"{name}:{r['effect']['payload']['p']}"
                for r in records
                if (r["effect"] or {}).get("type") == "llm_call" and r["status"] == "completed"
            )
    return found


VOLATILE = frozenset({
    "created_at", "from_timestamp", "to_timestamp", "timestamp", "artifact_id", "span_id",
    "source_artifact_id", "message_id", "occurrence_id", "paused_at", "resumed_at", "emitted_at",
    "event_id",
})  # fmt: skip


def comparable(process: Process) -> Any:
    """Give the final states, without ids and times that depend on the moment."""
    engine = process.runtime.engine
    tree = [run.run_id for run in RunTree(engine, RUN).members()]
    others = sorted(run.run_id for run in engine.find(RunQuery()) if run.run_id not in tree)
    states = [engine.peek(run_id) for run_id in tree + others]
    parts = [[s.workflow_id, s.status, s.current_node, s.vars, s.output, s.error] for s in states]
    text = json.dumps(parts)
    for i, state in enumerate(states):
        text = text.replace(state.run_id, f"<run {i}>")
    return scrubbed(json.loads(text))


def scrubbed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: scrubbed(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return [scrubbed(v) for v in value]
    return "Stored" if isinstance(value, str) and value.startswith("Stored memory_note") else value
