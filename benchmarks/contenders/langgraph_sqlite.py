"""LangGraph with its SQLite checkpointer: one checkpoint a step, committed before the next one."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from workloads import POWER_CUT, PROCESS_DEATH, TEXT, Contender, Result, StepClock


class State(TypedDict, total=False):
    i: int
    last: Any
    blob: Any


class LangGraph:
    def __init__(self, directory: str, *, synchronous: str | None) -> None:
        from langgraph.checkpoint.sqlite import SqliteSaver  # type: ignore[import-not-found,unused-ignore] # in its own environment

        database = sqlite3.connect(Path(directory) / "graph.sqlite", check_same_thread=False)
        self._saver: Any = SqliteSaver(database)
        self._saver.setup()
        if synchronous:
            database.execute(f"PRAGMA synchronous={synchronous}")

    def chain(self, clock: StepClock, state: Result) -> None:
        from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found,unused-ignore] # as above

        def act(held: Any) -> Result:
            result = clock.step(held["i"])
            return {"i": result["i"], "last": {**result, "text": TEXT}}

        graph = StateGraph(State)
        graph.add_node("act", act)
        graph.add_edge(START, "act")
        graph.add_conditional_edges("act", lambda held: "act" if held["i"] < clock.total else END)
        compiled = graph.compile(checkpointer=self._saver)
        config = {"configurable": {"thread_id": "run"}, "recursion_limit": clock.total + 10}
        clock.start()
        output = compiled.invoke({"i": 0, **state}, config, durability="sync")
        if output["i"] != clock.total:
            raise AssertionError(output["i"])


_PACKAGES = ("langgraph", "langgraph-checkpoint-sqlite")

CONTENDERS = [
    Contender(
        name="langgraph-full",
        make=partial(LangGraph, synchronous=None),
        survives=POWER_CUT,
        promise="SqliteSaver as it comes: WAL, synchronous=FULL",
        packages=_PACKAGES,
        commands={"import langgraph": ("{bin}/python", "-c", "import langgraph.graph")},
    ),
    Contender(
        name="langgraph-normal",
        make=partial(LangGraph, synchronous="NORMAL"),
        survives=PROCESS_DEATH,
        promise="SqliteSaver with synchronous=NORMAL",
        packages=_PACKAGES,
    ),
]
