"""The workflow that the runs of `legacy_directory` belong to, and a runtime that counts its calls."""

from __future__ import annotations

from typing import Any

from abstractruntime import Runtime
from abstractruntime.core.models import Effect, EffectType, StepPlan
from abstractruntime.core.policy import compute_idempotency_key
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.spec import WorkflowSpec

CALL = Effect(EffectType.LLM_CALL, {"prompt": "x"}, "r")
ASK = Effect(EffectType.ASK_USER, {"prompt": "ok?"}, "answer")


def key_of(run_id: str = "r1", effect: Effect = CALL) -> str:
    return compute_idempotency_key(run_id=run_id, node_id="call", effect=effect)


def workflow() -> WorkflowSpec:
    """Call a model, ask a person, end with both."""
    return WorkflowSpec(
        "flow",
        "call",
        {
            "call": lambda _run, _ctx: StepPlan("call", effect=CALL, next_node="ask"),
            "ask": lambda _run, _ctx: StepPlan("ask", effect=ASK, next_node="end"),
            "end": lambda run, _ctx: StepPlan(
                "end",
                complete_output={"r": run.vars.get("r"), "answer": run.vars.get("answer")},
            ),
        },
    )


class Host:
    """A runtime over an engine; `calls` are the payloads its model got."""

    def __init__(self, engine: Any) -> None:
        self.calls: list[Any] = []
        self.runtime = Runtime.on_engine(engine, effect_handlers={EffectType.LLM_CALL: self._model})

    def _model(self, _run: Any, effect: Effect) -> EffectOutcome:
        self.calls.append(effect.payload)
        return EffectOutcome.completed({"text": "new"})

    def tick(self, run_id: str = "r1") -> Any:
        return self.runtime.tick(workflow=workflow(), run_id=run_id)

    def answer(self, run_id: str = "r1", key: str | None = None) -> Any:
        payload = {"response": "yes"}
        return self.runtime.resume(
            workflow=workflow(), run_id=run_id, wait_key=key, payload=payload
        )
