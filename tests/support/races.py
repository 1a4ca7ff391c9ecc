"""Two processes that meet on one store, many times.

A race names what each process does to the run of a round. The processes are forked once
and wait for each other before every round; what they came to is compared by the test.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import Effect, EffectType, RunState, StepPlan
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.errors import AbstractRuntimeError, StoreError
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.directory import open_store

LLM = EffectType.LLM_CALL
_PATIENCE_S = 60


def asks(kind: EffectType, payload: dict[str, Any], then: str | None = None) -> Any:
    return lambda run, ctx: StepPlan(
        run.current_node, Effect(kind, payload, f"out_{run.current_node}"), then
    )


def ends(run: RunState, ctx: Any) -> StepPlan:
    return StepPlan(run.current_node, complete_output={"ok": True})


def spec(name: str, **nodes: Any) -> WorkflowSpec:
    return WorkflowSpec(name, next(iter(nodes)), dict(nodes))


CALL = asks(LLM, {"p": 1}, "z")
WORKFLOWS = {
    w.workflow_id: w
    for w in (
        spec("call", a=CALL, z=ends),
        spec("calls", a=asks(LLM, {"p": 1}, "b"), b=asks(LLM, {"p": 2}, "c"), c=asks(LLM, {"p": 3}, "z"), z=ends),
        spec("asks", q=asks(EffectType.ASK_USER, {"prompt": "?"}, "a"), a=CALL, z=ends),
        spec("listens", q=asks(EffectType.WAIT_EVENT, {"name": "go", "scope": "run"}, "q2"), q2=asks(EffectType.WAIT_EVENT, {"name": "go", "scope": "run"}, "z"), z=ends),
        spec("notes", a=asks(EffectType.MEMORY_NOTE, {"note": "hi", "scope": "session"}, "z"), z=ends),
        spec("parent", a=asks(EffectType.START_SUBWORKFLOW, {"workflow_id": "call"}, "z"), z=ends),
    )
}  # fmt: skip

Act = Callable[["Place", str], str]


class Place:
    """One process's view: its runtime over the shared store, and a file that counts effects."""

    def __init__(self, directory: Path, who: int = 0) -> None:
        self.directory, self.who = directory, who
        self.executed = directory / "executed.txt"
        self.random = random.Random(who)
        registry = WorkflowRegistry()
        for workflow in WORKFLOWS.values():
            registry.register(workflow)
        self.store = open_store(directory / "store", durability="off")
        self.runtime = Runtime.on_engine(
            self.store,
            effect_handlers={LLM: self._call},
            workflow_registry=registry,
            artifact_store=InMemoryArtifactStore(),
        )

    def _call(self, run: RunState, effect: Effect) -> EffectOutcome:
        descriptor = os.open(self.executed, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{run.parent_run_id or run.run_id}:{effect.payload['p']}\n".encode())
        os.close(descriptor)
        return EffectOutcome.completed({"ok": True})

    def workflow(self, run_id: str) -> WorkflowSpec:
        return WORKFLOWS[self.store.peek(run_id).workflow_id]

    def counts(self) -> Counter[str]:
        return (
            Counter(self.executed.read_text().splitlines()) if self.executed.exists() else Counter()
        )


@dataclass(frozen=True)
class Race:
    """`prepare` makes the run of a round; each of `acts` is one process; `judge` says what is wrong."""

    prepare: Callable[[Place, str], Any]
    acts: tuple[Act, ...]
    judge: Callable[[Place, str, list[str]], str | None]


def run_name(number: int) -> str:
    return f"round-{number:05}"


def attempt(act: Act, place: Place, run_id: str) -> str:
    """Give what an act came to: its own word, or the name of the error."""
    try:
        return act(place, run_id)
    except StoreError as error:
        return f"{type(error).__name__}: {error}"
    except AbstractRuntimeError as error:
        return type(error).__name__
    except Exception as error:
        # A process that just died would leave the others waiting for it.
        return f"{type(error).__name__}: {error}"


def _live(who: int, act: Act, directory: Path, rounds: int, barrier: Any, sender: Any) -> None:
    place = Place(directory, who)
    outcomes = []
    for number in range(rounds):
        barrier.wait(_PATIENCE_S)
        # Without a little disorder one process would always be the first.
        for _ in range(place.random.randrange(400)):
            pass
        outcomes.append(attempt(act, place, run_name(number)))
    sender.send(outcomes)
    place.store.close()


def hold(race: Race, directory: Path, rounds: int) -> list[str]:
    """Hold a race for so many rounds; give what was wrong."""
    place = Place(directory)
    for number in range(rounds):
        race.prepare(place, run_name(number))
    place.store.close()
    per_round = zip(*_outcomes(race, directory, rounds), strict=True)
    place = Place(directory)
    found = []
    for number, outcomes in enumerate(per_round):
        problem = race.judge(place, run_name(number), list(outcomes))
        if problem:
            found.append(f"{run_name(number)}: {list(outcomes)}: {problem}")
    place.store.close()
    return found


def _outcomes(race: Race, directory: Path, rounds: int) -> list[list[str]]:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(race.acts))
    pipes = [context.Pipe(duplex=False) for _ in race.acts]
    processes = [
        context.Process(
            target=_live, args=(who, act, directory, rounds, barrier, sender), daemon=True
        )
        for who, (act, (_, sender)) in enumerate(zip(race.acts, pipes, strict=True))
    ]
    for process in processes:
        process.start()
    outcomes = []
    for receiver, sender in pipes:
        sender.close()
        outcomes.append(receiver.recv())
    for process in processes:
        process.join(_PATIENCE_S)
    return outcomes
