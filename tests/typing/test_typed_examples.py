"""The Python API as a strict type checker sees it; the same lines run as tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from abstractruntime import (
    AbstractRuntimeError,
    ActiveContextPolicy,
    ActorFingerprint,
    Artifact,
    ArtifactMetadata,
    CommandAppendResult,
    CommandRecord,
    DefaultEffectPolicy,
    Effect,
    EffectOutcome,
    EffectPolicy,
    EffectType,
    FileArtifactStore,
    HashChainedLedgerStore,
    InMemoryArtifactStore,
    InMemoryCommandStore,
    InMemoryLedgerStore,
    InMemoryRunStore,
    InMemorySnapshotStore,
    InstalledWorkflowBundle,
    JsonFileRunStore,
    JsonlLedgerStore,
    ObservableLedgerStore,
    QueryableRunStore,
    RetryPolicy,
    RunState,
    RunStatus,
    Runtime,
    ScheduledRuntime,
    Scheduler,
    Snapshot,
    SqliteDatabase,
    SqliteLedgerStore,
    SqliteRunStore,
    StepPlan,
    TimeRange,
    WaitReason,
    WorkflowBundleRegistry,
    WorkflowEntrypointRef,
    WorkflowRegistry,
    WorkflowSpec,
    artifact_ref,
    compute_idempotency_key,
    create_scheduled_runtime,
    export_run_history_bundle,
    open_store,
    resolve_artifact,
    verify_ledger_chain,
)
from abstractruntime.core import LimitWarning, RuntimeConfig, WaitState
from abstractruntime.core.models import StepRecord
from abstractruntime.core.spec import NodeHandler, RunContext
from abstractruntime.storage import LedgerStore, RunStore


def ask(run: RunState, ctx: RunContext) -> StepPlan:
    effect = Effect(EffectType.ASK_USER, {"prompt": "Which topic?"}, result_key="topic")
    return StepPlan("ask", effect=effect, next_node="write")


def write(run: RunState, ctx: RunContext) -> StepPlan:
    effect = Effect(EffectType.LLM_CALL, {"prompt": run.vars["topic"]}, result_key="reply")
    return StepPlan("write", effect=effect, next_node="done")


def done(run: RunState, ctx: RunContext) -> StepPlan:
    return StepPlan("done", complete_output={"text": run.vars["reply"]["content"]})


NODES: dict[str, NodeHandler] = {"ask": ask, "write": write, "done": done}
ESSAY = WorkflowSpec(workflow_id="essay", entry_node="ask", nodes=NODES)


def two_arguments(run: RunState, effect: Effect) -> EffectOutcome:
    return EffectOutcome.completed({"content": f"about {effect.payload['prompt']}"})


def three_arguments(run: RunState, effect: Effect, default_next_node: str | None) -> EffectOutcome:
    return EffectOutcome.completed({"content": f"{default_next_node} is next"})


class Scripted:
    """A handler may be an object, too."""

    def __init__(self, *replies: str) -> None:
        self._replies: Iterator[str] = iter(replies)

    def __call__(self, run: RunState, effect: Effect) -> EffectOutcome:
        reply = next(self._replies, None)
        if reply is None:
            return EffectOutcome.failed("no reply is left")
        return EffectOutcome.completed({"content": reply})


def in_memory(handler: Callable[..., EffectOutcome] = two_arguments, **options: Any) -> Runtime:
    return Runtime(
        run_store=InMemoryRunStore(),
        ledger_store=InMemoryLedgerStore(),
        effect_handlers={EffectType.LLM_CALL: handler},
        **options,
    )


def finish(runtime: Runtime) -> RunState:
    run_id: str = runtime.start(workflow=ESSAY, vars={"a": 1}, actor_id="me", session_id="s")
    run: RunState = runtime.tick(workflow=ESSAY, run_id=run_id, max_steps=100)
    waiting: WaitState | None = run.waiting
    assert waiting is not None
    assert waiting.reason is WaitReason.USER
    key: str | None = waiting.wait_key
    return runtime.resume(workflow=ESSAY, run_id=run_id, wait_key=key, payload="tides")


def test_starting_and_resuming() -> None:
    run = finish(in_memory())

    status: RunStatus = run.status
    output: dict[str, Any] | None = run.output
    assert (status, output) == (RunStatus.COMPLETED, {"text": "about tides"})


@pytest.mark.parametrize(
    ("handler", "text"),
    [(two_arguments, "about tides"), (three_arguments, "done is next"), (Scripted("x"), "x")],
    ids=["two", "three", "object"],
)
def test_effect_handlers(handler: Callable[..., EffectOutcome], text: str) -> None:
    assert finish(in_memory(handler)).output == {"text": text}


class HostRuns(RunStore):
    """A run store of a host: two methods are enough."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Any]] = {}

    def save(self, run: RunState) -> None:
        self.states[run.run_id] = run.to_dict()

    def load(self, run_id: str) -> RunState | None:
        state = self.states.get(run_id)
        return RunState.from_dict(state) if state is not None else None


class HostLedger(LedgerStore):
    """A ledger store of a host."""

    def __init__(self) -> None:
        self.records: dict[str, list[dict[str, Any]]] = {}

    def append(self, record: StepRecord) -> None:
        self.records.setdefault(record.run_id, []).append(record.to_dict())

    def list(self, run_id: str) -> list[dict[str, Any]]:
        return list(self.records.get(run_id, []))


def test_stores_of_a_host() -> None:
    runs, ledger = HostRuns(), HashChainedLedgerStore(HostLedger())
    handlers = {EffectType.LLM_CALL: two_arguments}
    run = finish(Runtime(run_store=runs, ledger_store=ledger, effect_handlers=handlers))

    verdict: dict[str, Any] = verify_ledger_chain(ledger.list(run.run_id))
    assert verdict["ok"]
    assert not isinstance(runs, QueryableRunStore)


class TwicePerTool:
    """A policy is anything with these three methods."""

    def max_attempts(self, effect: Effect) -> int:
        return 2 if effect.type is EffectType.LLM_CALL else 1

    def backoff_seconds(self, *, effect: Effect, attempt: int) -> float:
        return 0.0

    def idempotency_key(self, *, run: RunState, node_id: str, effect: Effect) -> str:
        return compute_idempotency_key(run_id=run.run_id, node_id=node_id, effect=effect)


POLICIES: list[EffectPolicy] = [
    TwicePerTool(),
    RetryPolicy(llm_max_attempts=2, backoff_base=0.0),
    DefaultEffectPolicy(effect_max_attempts={"llm_call": 2}, default_backoff_base=0.0),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_policies(policy: EffectPolicy) -> None:
    attempts: list[int] = []

    def flaky(run: RunState, effect: Effect) -> EffectOutcome:
        attempts.append(len(attempts))
        return EffectOutcome.failed("later") if len(attempts) == 1 else two_arguments(run, effect)

    assert finish(in_memory(flaky, effect_policy=policy)).status == "completed"
    assert len(attempts) == 2


def test_limits() -> None:
    runtime = in_memory(config=RuntimeConfig(max_iterations=4, model="m"))
    run = finish(runtime)
    runtime.update_limits(run.run_id, {"current_iteration": 4})

    status: dict[str, Any] = runtime.get_limit_status(run.run_id)
    warnings: list[LimitWarning] = runtime.check_limits(runtime.get_state(run.run_id))
    assert status["iterations"]["max"] == 4
    assert [warning.status for warning in warnings] == ["exceeded"]


def test_scheduler() -> None:
    ended: list[RunState] = []
    registry = WorkflowRegistry()
    registry.register(ESSAY)
    runtime = in_memory(workflow_registry=registry)
    scheduler = Scheduler(runtime=runtime, registry=registry, on_run_resumed=ended.append)
    run_id = runtime.start(workflow=ESSAY)
    waiting = runtime.tick(workflow=ESSAY, run_id=run_id)
    assert waiting.waiting is not None
    key = waiting.waiting.wait_key
    assert key is not None

    run: RunState = scheduler.resume_event(run_id=run_id, wait_key=key, payload="tides")
    resumed: int = scheduler.poll_once()
    assert (run.status, resumed, scheduler.stats.poll_cycles) == ("completed", 0, 1)


def test_scheduled_runtime() -> None:
    scheduled: ScheduledRuntime = create_scheduled_runtime(
        workflows=[ESSAY], effect_handlers={EffectType.LLM_CALL: two_arguments}, auto_start=False
    )
    run_id, _ = scheduled.run(ESSAY)
    run: RunState = scheduled.respond(run_id, "tides")
    assert run.output == {"text": "about tides"}


def test_directory_store(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        handlers = {EffectType.LLM_CALL: two_arguments}
        run = finish(Runtime.on_engine(store, effect_handlers=handlers))
        records: list[dict[str, Any]] = Runtime.on_engine(store).get_ledger(run.run_id)
    assert records[0]["result"]["internal"] == "run_started"


def test_files_and_sqlite(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "runs.sqlite")
    pairs: list[tuple[RunStore, LedgerStore]] = [
        (JsonFileRunStore(tmp_path / "runs"), JsonlLedgerStore(tmp_path / "runs")),
        (SqliteRunStore(database), SqliteLedgerStore(database)),
    ]
    for runs, ledger in pairs:
        handlers = {EffectType.LLM_CALL: two_arguments}
        run = finish(Runtime(run_store=runs, ledger_store=ledger, effect_handlers=handlers))
        stored: RunState | None = runs.load(run.run_id)
        assert stored is not None
        assert stored.output == run.output
        assert isinstance(runs, QueryableRunStore)
    database.close()


def test_subscribing() -> None:
    seen: list[str] = []

    def note(record: dict[str, Any]) -> None:
        seen.append(record["status"])

    ledger = ObservableLedgerStore(InMemoryLedgerStore())
    handlers = {EffectType.LLM_CALL: two_arguments}
    runtime = Runtime(run_store=InMemoryRunStore(), ledger_store=ledger, effect_handlers=handlers)
    unsubscribe: Callable[[], None] = runtime.subscribe_ledger(note)
    finish(runtime)
    unsubscribe()
    assert {"started", "waiting", "completed"} <= set(seen)


def test_artifacts(tmp_path: Path) -> None:
    for store in (InMemoryArtifactStore(), FileArtifactStore(tmp_path)):
        kept: ArtifactMetadata = store.store_json({"a": 1}, run_id="r", tags={"kind": "note"})
        found: Artifact | None = resolve_artifact(artifact_ref(kept.artifact_id), store)
        assert found is not None
        assert found.as_json() == {"a": 1}
        listed: list[ArtifactMetadata] = store.search(run_id="r", tags={"kind": "note"})
        assert [item.artifact_id for item in listed] == [kept.artifact_id]


def test_snapshots() -> None:
    run = finish(in_memory())
    store = InMemorySnapshotStore()
    store.save(Snapshot.from_run(run=run, name="before release", tags=["v1"]))

    (found,) = store.list(run_id=run.run_id, tag="V1")
    loaded: Snapshot | None = store.load(found.snapshot_id)
    assert loaded is not None
    assert RunState.from_dict(loaded.run_state).output == run.output


def test_commands() -> None:
    store = InMemoryCommandStore()
    result: CommandAppendResult = store.append(CommandRecord("c", "r", "pause", {}, ts=""))
    records, cursor = store.list_after(after=0)
    assert (result.seq, cursor, [record.type for record in records]) == (1, 1, ["pause"])


def test_memory_and_identity() -> None:
    policy = ActiveContextPolicy(
        run_store=InMemoryRunStore(), artifact_store=InMemoryArtifactStore()
    )
    messages: list[dict[str, Any]] = policy.select_messages_view(
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], max_history_messages=1
    )
    inside: bool = TimeRange(start="2026-01-01").contains(start="2026-02-01", end="2026-02-02")
    actor: ActorFingerprint = ActorFingerprint.from_metadata(
        kind="agent", display_name="test-agent"
    )
    assert ([m["content"] for m in messages], inside) == (["b"], True)
    assert actor.actor_id == "ar_b4a2bf0b7b6a03bcf15ed837"


def test_history() -> None:
    runtime = in_memory()
    run = finish(runtime)
    bundle: dict[str, Any] = export_run_history_bundle(
        run_id=run.run_id, run_store=runtime.run_store, ledger_store=runtime.ledger_store
    )
    assert bundle["run"]["status"] == "completed"


def test_installed_bundles(tmp_path: Path) -> None:
    registry = WorkflowBundleRegistry(tmp_path)
    bundles: list[InstalledWorkflowBundle] = registry.scan()
    entrypoints: list[WorkflowEntrypointRef] = registry.list_entrypoints()
    assert (bundles, entrypoints) == ([], [])


def test_errors_have_a_next_step() -> None:
    with pytest.raises(AbstractRuntimeError) as caught:
        in_memory().get_state("nope")
    hint: str | None = caught.value.hint
    assert hint


def test_a_checker_sees_what_is_wrong() -> None:
    # Each of these comments is an error of the checker itself once the names lose their types.
    Effect("llm_call")  # type: ignore[arg-type] # a text is no EffectType
    WaitState("user", until=1)  # type: ignore[arg-type] # neither of them is right
    TimeRange(start=1)  # type: ignore[arg-type] # a moment is a text
    ESSAY.get_node("ask")(None, None)  # type: ignore[arg-type] # ask needs neither
    with pytest.raises(TypeError):
        StepPlan("a", output={})  # type: ignore[call-arg] # there is no such field
