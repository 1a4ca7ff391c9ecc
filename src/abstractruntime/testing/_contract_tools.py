"""What the contract suites are written with: plain comparisons, small flows, sample runs."""

# ruff: noqa: S101 - a contract is made of asserts

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from abstractruntime.core.models import (
    Effect,
    EffectType,
    JsonObject,
    RunState,
    RunStatus,
    StepPlan,
    StepRecord,
    WaitReason,
    WaitState,
)
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.spec import NodeHandler, RunContext, WorkflowSpec

LLM = EffectType.LLM_CALL


def expect(found: object, expected: object, what: str = "value") -> None:
    """Compare, and show both sides even where pytest does not rewrite asserts."""
    assert found == expected, f"{what}: found {found!r}, expected {expected!r}"


@contextlib.contextmanager
def refuses(*kinds: type[BaseException]) -> Iterator[None]:
    """Expect the block to raise one of these."""
    try:
        yield
    except kinds:
        return
    names = " or ".join(kind.__name__ for kind in kinds)
    raise AssertionError(f"nothing was raised, expected {names}")


# -- flows ----------------------------------------------------------------------


def flow(name: str, **nodes: NodeHandler) -> WorkflowSpec:
    """Make a workflow whose entry is the first node."""
    return WorkflowSpec(name, next(iter(nodes)), dict(nodes))


def asks(
    kind: EffectType, payload: JsonObject, *, key: str | None = "out", then: str | None = None
) -> NodeHandler:
    """Make a node that requests one effect."""

    def node(run: RunState, ctx: RunContext) -> StepPlan:  # noqa: ARG001 - the handler's signature
        return StepPlan(run.current_node, Effect(kind, dict(payload), key), then)

    return node


def ends(run: RunState, ctx: RunContext) -> StepPlan:  # noqa: ARG001 - the handler's signature
    """Complete with all public variables."""
    public = {name: value for name, value in run.vars.items() if not name.startswith("_")}
    return StepPlan(run.current_node, complete_output=public)


class CountingHandler:
    """An effect handler that counts its calls, and fails the first `failures` of them."""

    def __init__(self, failures: int = 0) -> None:
        self.calls = 0
        self.failures = failures

    def __call__(self, run: RunState, effect: Effect) -> EffectOutcome:  # noqa: ARG002 - the handler's signature
        self.calls += 1
        if self.calls <= self.failures:
            raise RuntimeError(f"failure {self.calls}")
        return EffectOutcome.completed({"n": self.calls})


# -- samples ----------------------------------------------------------------------


def moment(second: int) -> str:
    """Give a moment on 2026-01-01, `second` seconds after midnight."""
    return f"2026-01-01T00:00:{second:02d}.000000+00:00"


def sample_run(run_id: str = "r", *, at: int = 0, **fields: Any) -> RunState:
    """Make a run that was created and updated at `moment(at)`."""
    values: JsonObject = {
        "workflow_id": "w",
        "status": RunStatus.RUNNING,
        "current_node": "a",
        "created_at": moment(at),
        "updated_at": moment(at),
        **fields,
    }
    return RunState(run_id, **values)


def parked(run_id: str, reason: WaitReason = WaitReason.UNTIL, **fields: Any) -> RunState:
    """Make a waiting run; `until` and `wait_key` go into its wait."""
    wait = WaitState(reason, fields.pop("wait_key", None), fields.pop("until", None))
    return sample_run(run_id, **{"status": RunStatus.WAITING, "waiting": wait, **fields})


def sample_record(run_id: str = "r", number: int = 0) -> StepRecord:
    """Make a STARTED record with all texts filled."""
    return StepRecord.start(
        run=sample_run(run_id, actor_id="me", session_id="s"),
        node_id=f"n{number}",
        effect=Effect(LLM, {"number": number, "text": "ü\u2028"}, "out"),
        idempotency_key=f"{number:032d}",
    )


def ids_of(runs: list[Any]) -> list[str]:
    return [run.run_id for run in runs]


def effects_of(ledger: list[JsonObject]) -> list[tuple[str, str, str]]:
    """Give node, effect type and status of the records that have an effect."""
    return [(r["node_id"], r["effect"]["type"], r["status"]) for r in ledger if r["effect"]]
