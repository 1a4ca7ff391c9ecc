"""Releases of AbstractRuntime with their JSON-file and JSONL stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workloads import ECHO, PROCESS_DEATH, TEXT, Contender, Result, StepClock, messages

_NOW = "2026-01-01T00:00:00+00:00"


class Release:
    def __init__(self, directory: str) -> None:
        import abstractruntime as ar  # type: ignore[import-untyped,unused-ignore] # a release, in its own environment
        from abstractruntime.core.runtime import EffectOutcome

        self._ar: Any = ar
        self._outcome: Any = EffectOutcome
        self._directory = directory
        self._clock: StepClock | None = None
        # An effect type without a built-in handler: the host supplies one, as it does for models.
        self._kind = ar.EffectType.MEMORY_KG_RESOLVE
        self._runs = ar.JsonFileRunStore(directory)
        self._runtime = ar.Runtime(
            run_store=self._runs,
            ledger_store=ar.JsonlLedgerStore(directory),
            effect_handlers={self._kind: self._act},
        )

    def _act(self, _run: Any, effect: Any, _next_node: Any) -> Any:
        assert self._clock is not None
        return self._outcome.completed(self._clock.step(effect.payload["i"]))

    def chain(self, clock: StepClock, state: Result) -> None:
        self._clock, workflow = clock, self._steps(clock.total)
        clock.start()
        self._run(workflow, clock.total, state)

    def runs(self, clock: StepClock, count: int) -> None:
        steps = clock.total // count
        self._clock, workflow = clock, self._steps(steps)
        clock.start()
        for _ in range(count):
            self._run(workflow, steps, {})

    def _run(self, workflow: Any, steps: int, state: Result) -> None:
        run_id = self._runtime.start(workflow=workflow, vars={"last": {"i": 0}, **state})
        run = self._runtime.tick(workflow=workflow, run_id=run_id, max_steps=steps + 10)
        if (run.output or {}).get("i") != steps:
            raise AssertionError(f"{run.status}: {run.error}")

    def _steps(self, total: int) -> Any:
        ar = self._ar

        def act(run: Any, _context: Any) -> Any:
            count = run.vars["last"]["i"]
            if count >= total:
                return ar.StepPlan(node_id="act", complete_output={"i": count})
            payload = {"i": count, "text": TEXT}
            effect = ar.Effect(self._kind, payload, result_key="last")
            return ar.StepPlan(node_id="act", effect=effect, next_node="act")

        return ar.WorkflowSpec(workflow_id="bench", entry_node="act", nodes={"act": act})

    def park(self, count: int) -> list[str]:
        workflow = self._question()
        ids = [self._runtime.start(workflow=workflow, vars={}) for _ in range(count)]
        for run_id in ids:
            self._runtime.tick(workflow=workflow, run_id=run_id)
        return ids

    def answer(self, run_id: str) -> None:
        payload = {"text": "yes"}
        run = self._runtime.resume(
            workflow=self._question(), run_id=run_id, wait_key=None, payload=payload
        )
        if (run.output or {}).get("answer") != payload:
            raise AssertionError(f"{run.status}: {run.error}")

    def _question(self) -> Any:
        ar = self._ar

        def ask(_run: Any, _context: Any) -> Any:
            effect = ar.Effect(ar.EffectType.ASK_USER, {"prompt": "go on?"}, result_key="answer")
            return ar.StepPlan(node_id="ask", effect=effect, next_node="end")

        def end(run: Any, _context: Any) -> Any:
            return ar.StepPlan(node_id="end", complete_output={"answer": run.vars["answer"]})

        nodes = {"ask": ask, "end": end}
        return ar.WorkflowSpec(workflow_id="ask", entry_node="ask", nodes=nodes)

    def fill(self, total: int, waiting: int, timers: int, due: int) -> None:
        from abstractruntime.core.models import RunState, WaitState

        ar, states = self._ar, {"text": TEXT, "blob": messages(1024)}
        for i in range(total):
            run = RunState.new(workflow_id="bench", entry_node="act", vars=states)
            run.status = ar.RunStatus.WAITING if i < waiting + timers else ar.RunStatus.COMPLETED
            if i < waiting:
                run.waiting = WaitState(ar.WaitReason.USER, f"key{i}", prompt="go on?")
            elif i < waiting + timers:
                year = 2020 if i < waiting + due else 2999
                run.waiting = WaitState(ar.WaitReason.UNTIL, until=f"{year}{_NOW[4:]}")
            self._runs.save(run)

    def waiting(self) -> int:
        status, reason = self._ar.RunStatus.WAITING, self._ar.WaitReason.USER
        return len(self._runs.list_runs(status=status, wait_reason=reason, limit=1_000_000))

    def due(self) -> int:
        return len(self._runs.list_due_wait_until(now_iso=_NOW, limit=1_000_000))

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


def _contender(version: str) -> Contender:
    return Contender(
        name=f"{version}-json",
        make=Release,
        survives=PROCESS_DEATH,
        promise="two appended records and a rewritten checkpoint a step, never synced",
        packages=(f"abstractruntime=={version}",),
        commands={f"import {version}": ("{bin}/python", "-c", "import abstractruntime")},
        modules=("abstractruntime.core.runtime",),
    )


CONTENDERS = [_contender("0.4.2"), _contender("0.13.0")]
