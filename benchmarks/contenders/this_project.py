"""This checkout: hand-written workflows and compiled flows, in every durability."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from workloads import (
    POWER_CUT,
    PROCESS_DEATH,
    TEXT,
    Contender,
    Result,
    StepClock,
    loop_document,
    messages,
    untimed,
)

_NOW = "2100-01-01T00:00:00+00:00"


class ThisProject:
    """A store and a runtime; the effect's handler is opaque to the runtime, as a host's is."""

    def __init__(self, directory: str, *, durability: Any) -> None:
        from abstractruntime._runtime.runtime import Runtime
        from abstractruntime.core.models import EffectType
        from abstractruntime.core.ports import EffectOutcome
        from abstractruntime.storage.directory import open_store

        self._outcome: Any = EffectOutcome
        self._directory = Path(directory)
        self._clock: StepClock | None = None
        self._engine = open_store(self._directory / "store", durability=durability)
        handlers = {EffectType.LLM_CALL: self._ask}
        self._runtime = Runtime.on_engine(self._engine, effect_handlers=handlers, trace_records=0)

    def _ask(self, _run: Any, effect: Any) -> Any:
        raise NotImplementedError

    def _workflow(self, steps: int) -> Any:
        raise NotImplementedError

    def chain(self, clock: StepClock, state: Result) -> None:
        self._clock, workflow = clock, self._workflow(clock.total)
        clock.start()
        self._run(workflow, clock.total, state)

    def _run(self, workflow: Any, steps: int, state: Result) -> None:
        run_id = self._runtime.start(workflow=workflow, vars={"last": {"i": 0}, **state})
        run = self._runtime.tick(workflow=workflow, run_id=run_id, max_steps=None)
        output = run.output or {}
        if (output.get("i") or output.get("total")) != steps:
            raise AssertionError(f"{run.status}: {run.error or output}")


class CompiledFlow(ThisProject):
    """A compiled loop around a model call."""

    def _ask(self, _run: Any, effect: Any) -> Any:
        assert self._clock is not None
        step = self._clock.step(int(effect.payload["system_prompt"] or 0))
        return self._outcome.completed({"content": step["echo"], "i": step["i"]})

    def _workflow(self, steps: int) -> Any:
        from abstractruntime.visualflow_compiler import compile_visualflow

        return compile_visualflow(loop_document(steps))


class HandWritten(ThisProject):
    """A node that gives one effect per visit."""

    def _ask(self, _run: Any, effect: Any) -> Any:
        assert self._clock is not None
        return self._outcome.completed(self._clock.step(effect.payload["i"]))

    def _workflow(self, steps: int) -> Any:
        return _steps(steps)

    def runs(self, clock: StepClock, count: int) -> None:
        steps = clock.total // count
        self._clock, workflow = clock, _steps(steps)
        clock.start()
        for _ in range(count):
            self._run(workflow, steps, {})

    def park(self, count: int) -> list[str]:
        return [self._park({"prompt": "go on?"}, {}) for _ in range(count)]

    def _park(self, payload: Result, state: Result) -> str:
        workflow = _pause("wait_until" if "until" in payload else "ask_user", payload)
        run_id = self._runtime.start(workflow=workflow, vars=state)
        self._runtime.tick(workflow=workflow, run_id=run_id)
        return run_id

    def answer(self, run_id: str) -> None:
        payload = {"text": "yes"}
        run = self._runtime.resume(
            workflow=_pause("ask_user", {}), run_id=run_id, wait_key=None, payload=payload
        )
        if (run.output or {}).get("answer") != payload:
            raise AssertionError(f"{run.status}: {run.error}")

    def fill(self, total: int, waiting: int, timers: int, due: int) -> None:
        filler = HandWritten(str(self._directory), durability="off")
        state = {"text": TEXT, "blob": messages(1024)}
        for i in range(waiting + timers):
            filler._park(_request(i, waiting, due), state)
        done = total - waiting - timers
        filler._clock, workflow = untimed(done), _steps(1)
        for _ in range(done):
            filler._run(workflow, 1, state)
        filler._engine.close()

    def waiting(self) -> int:
        from abstractruntime.core.models import RunStatus, WaitReason
        from abstractruntime.core.ports import RunQuery

        query = RunQuery(status=RunStatus.WAITING, wait_reason=WaitReason.USER, limit=1_000_000)
        return len(self._engine.find(query))

    def due(self) -> int:
        from abstractruntime.core.ports import RunQuery

        return len(self._engine.find(RunQuery(due_at=_NOW, limit=1_000_000)))

    def write_ledger(self, records: int, text: str) -> None:
        del text
        unsynced = HandWritten(str(self._directory), durability="off")
        unsynced.chain(untimed(records // 2), {})

    def verify_ledger(self) -> int:
        from abstractruntime.signing.verdict import verify_ledger

        ledger = next((self._directory / "store").glob("ledger_*.jsonl"))
        with ledger.open("rb") as file:
            verdict = verify_ledger(file)
        if not verdict.ok:
            raise AssertionError(verdict.defects)
        return verdict.records

    def compile(self, document: Result) -> None:
        from abstractruntime.visualflow_compiler import compile_visualflow

        compile_visualflow(document)

    def check(self, text: bytes) -> None:
        from abstractruntime.visualflow_compiler.check import check_document

        check_document(text)


def _steps(total: int) -> Any:
    from abstractruntime.core.models import Effect, EffectType, StepPlan
    from abstractruntime.core.spec import WorkflowSpec

    def act(run: Any, _context: Any) -> StepPlan:
        count = run.vars["last"]["i"]
        if count >= total:
            return StepPlan("act", complete_output={"i": count})
        payload = {"i": count, "text": TEXT}
        return StepPlan("act", Effect(EffectType.LLM_CALL, payload, "last"), "act")

    return WorkflowSpec("bench", "act", {"act": act})


def _pause(kind: str, payload: Result) -> Any:
    from abstractruntime.core.models import Effect, EffectType, StepPlan
    from abstractruntime.core.spec import WorkflowSpec

    def ask(_run: Any, _context: Any) -> StepPlan:
        return StepPlan("ask", Effect(EffectType(kind), payload, "answer"), "end")

    def end(run: Any, _context: Any) -> StepPlan:
        return StepPlan("end", complete_output={"answer": run.vars["answer"]})

    return WorkflowSpec("pause", "ask", {"ask": ask, "end": end})


def _request(number: int, waiting: int, due: int) -> Result:
    """Give what a run waits for: a person, or a time before or after `_NOW`; both are yet to come."""
    if number < waiting:
        return {"prompt": "go on?"}
    return {"until": f"{2099 if number < waiting + due else 2999}{_NOW[4:]}"}


_PROMISES = {
    "strict": (POWER_CUT, "synced before and after each external effect"),
    "relaxed": (
        PROCESS_DEATH,
        "in the page cache after each record, synced when the run waits or ends",
    ),
    "off": (PROCESS_DEATH, "in the page cache after each record, never synced"),
}


def _contender(durability: str, *, compiled: bool) -> Contender:
    survives, promise = _PROMISES[durability]
    kind = "compiled flow" if compiled else "hand-written"
    return Contender(
        name=f"art-{durability}{'-flow' if compiled else ''}",
        make=partial(CompiledFlow if compiled else HandWritten, durability=durability),
        survives=survives,
        promise=f"{kind}; hash-chained, {promise}",
        commands={} if compiled or durability != "strict" else _COMMANDS,
        modules=_MODULES,
    )


_MODULES = ("abstractruntime._runtime.runtime", "abstractruntime.storage._store.engine")
_COMMANDS = {
    "python -c pass": ("{bin}/python", "-c", "pass"),
    "art --version": ("{bin}/art", "--version"),
    "art --help": ("{bin}/art", "--help"),
    "import abstractruntime": ("{bin}/python", "-c", "import abstractruntime"),
}

CONTENDERS = [
    _contender(durability, compiled=compiled)
    for compiled in (False, True)
    for durability in _PROMISES
]
