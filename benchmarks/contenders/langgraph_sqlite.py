"""LangGraph with its SQLite checkpointer: one checkpoint a step, committed before the next one."""

from __future__ import annotations

import sqlite3
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypedDict

from workloads import (
    POWER_CUT,
    PROCESS_DEATH,
    TEXT,
    Contender,
    Result,
    StepClock,
    messages,
    untimed,
)


class State(TypedDict, total=False):
    i: int
    last: Any
    blob: Any
    answer: Any


class LangGraph:
    def __init__(self, directory: str, *, synchronous: str | None) -> None:
        from langgraph.checkpoint.sqlite import SqliteSaver  # type: ignore[import-not-found,unused-ignore] # in its own environment

        self._database = database = sqlite3.connect(
            Path(directory) / "graph.sqlite", check_same_thread=False
        )
        self._saver: Any = SqliteSaver(database)
        self._saver.setup()
        if synchronous:
            database.execute(f"PRAGMA synchronous={synchronous}")

    def chain(self, clock: StepClock, state: Result) -> None:
        graph = self._steps(clock, clock.total)
        clock.start()
        self._run(graph, "run", clock.total, state)

    def runs(self, clock: StepClock, count: int) -> None:
        steps = clock.total // count
        graph = self._steps(clock, steps)
        clock.start()
        for i in range(count):
            self._run(graph, f"run{i}", steps, {})

    @staticmethod
    def _run(graph: Any, run_id: str, steps: int, state: Result, durability: str = "sync") -> None:
        config = {"configurable": {"thread_id": run_id}, "recursion_limit": steps + 10}
        output = graph.invoke({"i": 0, **state}, config, durability=durability)
        if output["i"] != steps:
            raise AssertionError(output["i"])

    def _steps(self, clock: StepClock, total: int) -> Any:
        from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found,unused-ignore] # as above

        def act(held: Any) -> Result:
            result = clock.step(held["i"])
            return {"i": result["i"], "last": {**result, "text": TEXT}}

        graph = StateGraph(State)
        graph.add_node("act", act)
        graph.add_edge(START, "act")
        graph.add_conditional_edges("act", lambda held: "act" if held["i"] < total else END)
        return graph.compile(checkpointer=self._saver)

    def park(self, count: int) -> list[str]:
        return self._park(count, {}, "sync")

    def _park(self, count: int, state: Result, durability: str) -> list[str]:
        graph, ids = self._question, [f"parked{i}" for i in range(count)]
        for run_id in ids:
            config = {"configurable": {"thread_id": run_id}}
            graph.invoke({"i": 0, **state}, config, durability=durability)
        return ids

    def answer(self, run_id: str) -> None:
        from langgraph.types import Command  # type: ignore[import-not-found,unused-ignore] # as above

        config = {"configurable": {"thread_id": run_id}}
        output = self._question.invoke(Command(resume="yes"), config, durability="sync")
        if output["answer"] != "yes":
            raise AssertionError(output)

    @cached_property
    def _question(self) -> Any:
        from langgraph.graph import END, START, StateGraph
        from langgraph.types import interrupt

        graph = StateGraph(State)
        graph.add_node("ask", lambda _held: {"answer": interrupt("go on?")})
        graph.add_node("end", lambda _held: {"i": 1})
        graph.add_edge(START, "ask")
        graph.add_edge("ask", "end")
        graph.add_edge("end", END)
        return graph.compile(checkpointer=self._saver)

    def fill(self, total: int, waiting: int, **_timers: int) -> None:
        self._database.execute("PRAGMA synchronous=OFF")
        state = {"blob": messages(1024)}
        self._park(waiting, state, "exit")
        graph = self._steps(untimed(total), 1)
        for i in range(waiting, total):
            self._run(graph, f"filled{i}", 1, state, "exit")

    def waiting(self) -> int:
        """Go through all checkpoints: there is no index of what waits."""
        return len(
            {
                found.config["configurable"]["thread_id"]
                for found in self._saver.list(None)
                if any(channel == "__interrupt__" for _, channel, _ in found.pending_writes or ())
            }
        )


_PACKAGES = ("langgraph", "langgraph-checkpoint-sqlite")
_MODULES = ("langgraph.graph", "langgraph.types", "langgraph.checkpoint.sqlite")

CONTENDERS = [
    Contender(
        name="langgraph-full",
        make=partial(LangGraph, synchronous=None),
        survives=POWER_CUT,
        promise="SqliteSaver as it comes: WAL, synchronous=FULL",
        packages=_PACKAGES,
        modules=_MODULES,
        commands={"import langgraph": ("{bin}/python", "-c", "import langgraph.graph")},
    ),
    Contender(
        name="langgraph-normal",
        make=partial(LangGraph, synchronous="NORMAL"),
        survives=PROCESS_DEATH,
        promise="SqliteSaver with synchronous=NORMAL",
        packages=_PACKAGES,
        modules=_MODULES,
    ),
]
