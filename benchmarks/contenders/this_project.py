"""This checkout: hand-written workflows and compiled flows, in every durability."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from workloads import POWER_CUT, PROCESS_DEATH, TEXT, Contender, Result, StepClock, loop_document


class ThisProject:
    """The node gives one effect per visit; its handler is opaque to the runtime, as a host's is."""

    def __init__(self, directory: str, *, durability: Any, compiled: bool) -> None:
        from abstractruntime._runtime import Runtime
        from abstractruntime.core.models import EffectType
        from abstractruntime.core.ports import EffectOutcome
        from abstractruntime.storage.directory import open_store

        self._outcome: Any = EffectOutcome
        self._directory = Path(directory)
        self._compiled = compiled
        self._clock: StepClock | None = None
        engine = open_store(self._directory / "store", durability=durability)
        handlers = {EffectType.LLM_CALL: self._ask_compiled if compiled else self._ask}
        self._runtime = Runtime.on_engine(engine, effect_handlers=handlers)

    def _ask(self, _run: Any, effect: Any) -> Any:
        assert self._clock is not None
        return self._outcome.completed(self._clock.step(effect.payload["i"]))

    def _ask_compiled(self, _run: Any, effect: Any) -> Any:
        assert self._clock is not None
        step = self._clock.step(int(effect.payload["system_prompt"] or 0))
        return self._outcome.completed({"content": step["echo"], "i": step["i"]})

    def chain(self, clock: StepClock, state: Result) -> None:
        self._clock = clock
        workflow = self._loop(clock.total) if self._compiled else _steps(clock.total)
        clock.start()
        run_id = self._runtime.start(workflow=workflow, vars={"last": {"i": 0}, **state})
        run = self._runtime.tick(workflow=workflow, run_id=run_id, max_steps=None)
        output = run.output or {}
        if (output.get("i") or output.get("total")) != clock.total:
            raise AssertionError(f"{run.status}: {run.error or output}")

    @staticmethod
    def _loop(steps: int) -> Any:
        from abstractruntime.visualflow_compiler import compile_visualflow

        return compile_visualflow(loop_document(steps))

    def write_ledger(self, records: int, text: str) -> None:
        del text
        unsynced = ThisProject(str(self._directory), durability="off", compiled=False)
        unsynced.chain(StepClock(records // 2, 600, print), {})

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


_PROMISES = {
    "strict": (POWER_CUT, "synced before and after each external effect"),
    "relaxed": (PROCESS_DEATH, "in the page cache after each record, synced when acknowledged"),
    "off": (PROCESS_DEATH, "in the page cache after each record, never synced"),
}


def _contender(durability: str, *, compiled: bool) -> Contender:
    survives, promise = _PROMISES[durability]
    kind = "compiled flow" if compiled else "hand-written"
    return Contender(
        name=f"art-{durability}{'-flow' if compiled else ''}",
        make=partial(ThisProject, durability=durability, compiled=compiled),
        survives=survives,
        promise=f"{kind}; hash-chained, {promise}",
        commands={} if compiled or durability != "strict" else _COMMANDS,
    )


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
