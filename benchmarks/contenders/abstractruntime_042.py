"""AbstractRuntime 0.4.2 with its JSON-file and JSONL stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workloads import ECHO, PROCESS_DEATH, TEXT, Contender, Result, StepClock


class Reference:
    def __init__(self, directory: str) -> None:
        import abstractruntime as ar  # type: ignore[import-untyped,unused-ignore] # release 0.4.2, in its own environment
        from abstractruntime.core.runtime import EffectOutcome

        self._ar: Any = ar
        self._outcome: Any = EffectOutcome
        self._directory = directory
        self._clock: StepClock | None = None
        # An effect type without a built-in handler: the host supplies one, as it does for models.
        self._kind = ar.EffectType.MEMORY_KG_RESOLVE
        self._runtime = ar.Runtime(
            run_store=ar.JsonFileRunStore(directory),
            ledger_store=ar.JsonlLedgerStore(directory),
            effect_handlers={self._kind: self._act},
        )

    def _act(self, _run: Any, effect: Any, _next_node: Any) -> Any:
        assert self._clock is not None
        return self._outcome.completed(self._clock.step(effect.payload["i"]))

    def chain(self, clock: StepClock, state: Result) -> None:
        ar, self._clock = self._ar, clock

        def act(run: Any, _context: Any) -> Any:
            count = run.vars["last"]["i"]
            if count >= clock.total:
                return ar.StepPlan(node_id="act", complete_output={"i": count})
            payload = {"i": count, "text": TEXT}
            effect = ar.Effect(self._kind, payload, result_key="last")
            return ar.StepPlan(node_id="act", effect=effect, next_node="act")

        workflow = ar.WorkflowSpec(workflow_id="bench", entry_node="act", nodes={"act": act})
        clock.start()
        run_id = self._runtime.start(workflow=workflow, vars={"last": {"i": 0}, **state})
        run = self._runtime.tick(workflow=workflow, run_id=run_id, max_steps=clock.total + 10)
        if (run.output or {}).get("i") != clock.total:
            raise AssertionError(f"{run.status}: {run.error}")

    def write_ledger(self, records: int, text: str) -> None:
        from abstractruntime.storage.ledger_chain import compute_record_hash

        previous = None
        with (Path(self._directory) / "ledger_bench.jsonl").open("w", encoding="utf-8") as file:
            for i in range(records):
                record = _record(i, text, previous)
                previous = compute_record_hash(record=record, prev_hash=previous)
                record["record_hash"] = previous
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def verify_ledger(self) -> int:
        report = self._ar.verify_ledger_chain(
            self._ar.JsonlLedgerStore(self._directory).list("bench")
        )
        if not report["ok"]:
            raise AssertionError(report["errors"][:1])
        return int(report["count"])

    def compile(self, document: Result) -> None:
        from abstractruntime.visualflow_compiler import compile_visualflow

        compile_visualflow(document)


def _record(i: int, text: str, previous: str | None) -> Result:
    stamp = f"2026-01-01T00:00:00.{i % 1000000:06d}+00:00"
    effect = {"type": "noop", "payload": {"i": i, "text": text}, "result_key": "last"}
    return {
        "run_id": "bench",
        "step_id": f"00000000-0000-4000-8000-{i:012d}",
        "node_id": "act",
        "status": "completed",
        "effect": effect,
        "result": {"i": i + 1, "echo": ECHO},
        "error": None,
        "started_at": stamp,
        "ended_at": stamp,
        "actor_id": None,
        "session_id": None,
        "attempt": 1,
        "idempotency_key": f"{i:032x}",
        "prev_hash": previous,
        "record_hash": None,
        "signature": None,
    }


CONTENDERS = [
    Contender(
        name="0.4.2-json",
        make=Reference,
        survives=PROCESS_DEATH,
        promise="two appended records and a rewritten checkpoint a step, never synced",
        packages=("abstractruntime==0.4.2",),
        commands={"import 0.4.2": ("{bin}/python", "-c", "import abstractruntime")},
    )
]
