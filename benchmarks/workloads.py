"""What every contender is asked to do, and how it is timed.

A contender is a class over an empty directory. It has one method per kind of work it
takes part in; a method that is missing leaves the contender out of that workload:

- `chain(clock, state)`: one run of `clock.total` durable steps, `state` in its variables;
- `runs(clock, count)`: that many runs one after the other, `clock.total // count` steps each;
- `park(count)`: the ids of that many runs that wait for a person; then in a new process
  `answer(run_id)`: bring one of them to its end;
- `fill(total, waiting, timers, due)`: a store with that many runs, of which so many wait for a
  person and so many for a time, which has come for `due` of them; then in a new process
  `waiting()` and `due()`: how many the store lists;
- `write_ledger(records, text)`, then in a new process `verify_ledger()`: the count it checked;
- `compile(document)`: one flow document to something that could run;
- `check(text)`: every problem of one document, from its bytes.

Only the standard library is imported here: the file is loaded in every environment.
"""

from __future__ import annotations

import json
import os
import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEXT = ("The quick brown fox jumps over the lazy dog while the ledger keeps count. " * 2)[:120]
ECHO = TEXT[:64]

PROCESS_DEATH = "process death"
POWER_CUT = "power cut"

Result = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """One column of the comparison; `packages` empty means the interpreter that runs the harness.

    `commands` are command lines whose start-up is timed, by label; `{bin}` is the directory of
    the environment's programs. `modules` are imported before anything is timed.
    """

    name: str
    make: Callable[[str], Any]
    survives: str
    promise: str
    packages: tuple[str, ...] = ()
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workload:
    """One table of the report: a method of the contenders, its arguments, and how often.

    `prepare` runs before in a process of its own; what it gives is added to the arguments.
    A method that only reads is measured once for each product, whatever its durability. Samples
    that are `shared` use one prepared store, in which another process does a run before each.
    """

    name: str
    title: str
    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    reps: int = 3
    prepare: str = ""
    only_reads: bool = False
    shared: bool = False


_STORE = {"total": 10_000, "waiting": 1_500, "timers": 500, "due": 250}

WORKLOADS = (
    Workload("w1-100", "100 steps", "chain", {"steps": 100}, 5),
    Workload("w1-1000", "1,000 steps", "chain", {"steps": 1000}),
    Workload("w1-5000", "5,000 steps", "chain", {"steps": 5000}),
    Workload("w2-10k", "1,000 steps, 10 KB of state", "chain", {"steps": 1000, "state": 10_240}),
    Workload("w2-1m", "1,000 steps, 1 MB of state", "chain", {"steps": 1000, "state": 1_048_576}),
    Workload("w3", "1,000 runs of 5 steps", "runs", {"count": 1000, "steps": 5}),
    Workload("w4", "500 runs, answered in a new process", "answer", {"count": 500}, prepare="park"),
    Workload(
        "w5",
        "verify a ledger of 100,000 records",
        "verify_ledger",
        {"records": 100_000},
        prepare="write_ledger",
        only_reads=True,
    ),
    Workload("w6-waiting", "1,500 wait for a person", "waiting", _STORE, 5, "fill", True, True),
    Workload("w6-due", "250 of 500 timers are due", "due", _STORE, 5, "fill", True, True),
    Workload("w7", "start-up of the command line", "startup", {}, 11),
    Workload("w8-5", "compile a flow of 5 nodes", "compile", {"nodes": 5}, only_reads=True),
    Workload("w8-60", "compile a flow of 60 nodes", "compile", {"nodes": 60}, only_reads=True),
    Workload("w8-real", "compile published flows", "compile", {"nodes": 0}, only_reads=True),
    Workload("w8-check-5", "check a flow of 5 nodes", "check", {"nodes": 5}, only_reads=True),
    Workload("w8-check-real", "check published flows", "check", {"nodes": 0}, only_reads=True),
)


class StepClock:
    """Does the work of one step and notes when; `report` is called if the budget runs out."""

    def __init__(self, total: int, budget_s: float, report: Callable[[Result], None]) -> None:
        self.total = total
        self._budget_s = budget_s
        self._report = report
        self._marks = array("d")
        self._began = self._cpu = 0.0
        self._written = [0, 0]

    def start(self) -> None:
        """Begin timing; call it when everything but the run itself is set up."""
        self._cpu = time.process_time()
        self._began = time.perf_counter()

    def step(self, count: int) -> Result:
        """Give the result that the step must store: the next counter and a text."""
        now = time.perf_counter()
        self._marks.append(now)
        if len(self._marks) in (1, self.total):
            self._written[len(self._marks) > 1] = bytes_written()
        if now - self._began > self._budget_s:
            self._report(self.result(complete=False))
            # A slow contender is stopped here, inside its own step, whatever it would do about it.
            os._exit(0)
        return {"i": count + 1, "echo": ECHO}

    def result(self, *, complete: bool = True) -> Result:
        seconds = time.perf_counter() - self._began
        steps = len(self._marks)
        if complete and steps != self.total:
            raise AssertionError(f"{steps} steps were done, {self.total} were asked for")
        tenth = max(1, min(steps - 1, steps // 10))
        first = self._marks[tenth] - self._marks[0]
        last = self._marks[-1] - self._marks[-1 - tenth]
        return {
            "per_s": steps / seconds,
            "steps": steps,
            "complete": complete,
            "cpu_us": (time.process_time() - self._cpu) / steps * 1e6,
            "first_us": first / tenth * 1e6,
            "last_us": last / tenth * 1e6,
            "bytes": self._bytes_between_steps() if complete else 0,
        }

    def _bytes_between_steps(self) -> float:
        """Give what one step writes: starting and ending the run are left out."""
        first, last = self._written
        return (last - first) / max(1, len(self._marks) - 1)


def untimed(total: int) -> StepClock:
    """Give a clock for steps that are not measured."""
    clock = StepClock(total, float("inf"), emit)
    clock.start()
    return clock


def bytes_written() -> int:
    """Give the bytes this process has handed to write calls; 0 where the system does not say."""
    return _proc_number("/proc/self/io", "wchar:")


def peak_memory_kb() -> int:
    return _proc_number("/proc/self/status", "VmHWM:")


def _proc_number(path: str, label: str) -> int:
    try:
        with Path(path).open(encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(label))
    except (OSError, StopIteration):
        return 0


def messages(size: int) -> list[Result]:
    """Give a conversation whose JSON takes about `size` bytes, 512 bytes a message."""
    body = (TEXT * 4)[:430]
    return [
        {"id": f"m{i:06d}", "role": ("user", "assistant")[i % 2], "ts": 10**9 + i, "content": body}
        for i in range(size // 512)
    ]


def loop_document(steps: int) -> Result:
    """Give a flow that asks a model `steps` times, with the counter in the request."""
    nodes: dict[str, Result] = {
        "start": {"type": "on_flow_start", "pinDefaults": {"prompt": TEXT}},
        "count": {"type": "for", "pinDefaults": {"start": 0, "end": steps}},
        "ask": {"type": "llm_call"},
        "end": {"type": "on_flow_end"},
    }
    wires = [
        "start.exec-out > count.exec-in",
        "count.loop > ask.exec-in",
        "count.done > end.exec-in",
        "start.prompt > ask.prompt",
        "count.i > ask.system",
        "count.total > end.total",
    ]
    return _document("loop", nodes, wires)


def chain_document(size: int) -> Result:
    """Give a flow of `size` nodes for the compiler: half of them ask, half build the prompts."""
    nodes: dict[str, Result] = {"start": {"type": "on_flow_start"}}
    wires = ["start.exec-out > ask0.exec-in"]
    for i in range((size - 1) // 2):
        nodes[f"text{i}"] = {"type": "concat", "pinDefaults": {"a": TEXT, "b": str(i)}}
        nodes[f"ask{i}"] = {"type": "llm_call"}
        wires += [f"text{i}.result > ask{i}.prompt", f"ask{i}.exec-out > ask{i + 1}.exec-in"]
    return _document("chain", nodes, wires[:-1])


def published_documents() -> list[bytes]:
    """Give the texts of published flows; where there are none, of the bundles of this checkout."""
    root = Path(__file__).resolve().parents[1]
    paths = sorted(root.parent.glob("shared/flows/*.json")) or sorted(root.glob("bundles/*/*.json"))
    texts = [path.read_bytes() for path in paths]
    return [text for text in texts if b'"nodes"' in text]


def _document(flow_id: str, nodes: Mapping[str, Result], wires: list[str]) -> Result:
    outputs: dict[str, list[Result]] = {node_id: [] for node_id in nodes}
    inputs: dict[str, list[Result]] = {node_id: [] for node_id in nodes}
    edges: list[Result] = []
    for wire in wires:
        (source, out), (target, into) = (end.split(".") for end in wire.split(" > "))
        kind = "execution" if into == "exec-in" else "any"
        outputs[source].append({"id": out, "label": out, "type": kind})
        inputs[target].append({"id": into, "label": into, "type": kind})
        edge = {"source": source, "sourceHandle": out, "target": target, "targetHandle": into}
        edges.append({"id": f"e{len(edges)}", **edge})
    return {
        "id": flow_id,
        "name": flow_id,
        "nodes": [_node(i, nodes[i], inputs[i], outputs[i]) for i in nodes],
        "edges": edges,
        "entryNode": "start",
    }


def _node(node_id: str, node: Result, inputs: list[Result], outputs: list[Result]) -> Result:
    defaults = node.get("pinDefaults", {})
    wired = {pin["id"] for pin in (*inputs, *outputs)}
    pins = [*inputs, *({"id": p, "label": p, "type": "any"} for p in defaults if p not in wired)]
    data = {"label": node_id, "inputs": pins, "outputs": outputs, "pinDefaults": defaults}
    position = {"x": 0, "y": 0}
    return {"id": node_id, "type": node["type"], "position": position, "data": data}


def emit(result: Result) -> None:
    """Hand a result to the orchestrator."""
    print(f"\nRESULT {json.dumps(result)}", flush=True)
