"""From samples to a report in markdown: medians, and ratios to the peer with the same promise."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from workloads import POWER_CUT, PROCESS_DEATH, Contender, Result, Workload

Samples = dict[str, list[Result]]
Measurement = Callable[[], Result]
Cell = Callable[[str, Result], str]

_PEER = {POWER_CUT: "langgraph-full", PROCESS_DEATH: "langgraph-normal"}
_FAMILIES = {
    "w1": "W1: one run of sequential durable steps",
    "w2": "W2: the same with a conversation in the state",
    "w3": "W3: short runs, one after the other",
    "w4": "W4: runs that wait for a person, after a restart",
    "w5": "W5: verify a hash-chained ledger",
    "w6": "W6: queries over a store of 10,000 runs",
    "w7": "W7: start-up, with cached bytecode",
    "w8": "W8: compile and check",
}


def render_report(
    tables: Sequence[tuple[Workload, Samples]],
    chosen: Sequence[Contender],
    versions: Sequence[str],
    moment: str,
) -> str:
    """Give the report of one run."""
    lines = [f"# Benchmark, {moment}", "", machine(), ""]
    family = ""
    for workload, samples in tables:
        kind = workload.name.split("-")[0]
        if kind != family:
            lines += [f"## {_FAMILIES[kind]}", ""]
            family = kind
        lines += [f"### {workload.title}", ""]
        lines += [*render_table(workload, samples, chosen), ""]
    lines += ["## Contenders", ""]
    rows = [[c.name, v, c.survives, c.promise] for c, v in zip(chosen, versions, strict=True)]
    lines += _table(["contender", "version", "a step survives", "how"], rows)
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Say on what and how loaded this was measured."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    cores = os.cpu_count()
    return f"{python}, {platform.system()} {platform.machine()}, {cores} cores; load at the end {load}."


def render_table(
    workload: Workload, samples: Samples, chosen: Iterable[Contender]
) -> Iterable[str]:
    """Give one table: the median of each row's samples."""
    medians = {name: median_of(taken) for name, taken in samples.items() if taken}
    columns = {**_COLUMNS[workload.method]}
    if workload.method in _WITH_RATIO:
        promise = {c.name: c.survives for c in chosen}
        columns["ratio to the peer"] = lambda name, row: _peer_ratio(name, row, medians, promise)
    rows = [
        [name, *(["-"] * (len(columns) - 1)), row["error"]]
        if "error" in row
        else [name, *(cell(name, row) for cell in columns.values())]
        for name, row in medians.items()
    ]
    first = "command" if workload.method == "startup" else "contender"
    return _table([first, *columns], rows)


def median_of(taken: Sequence[Result]) -> Result:
    """Give the median of every figure; an error wins, and one stopped sample marks the row."""
    failed = next((s for s in taken if "error" in s), None)
    if failed is not None:
        return failed
    figures = {key: statistics.median(s[key] for s in taken) for key in taken[0]}
    if "complete" in figures:
        figures["complete"] = all(s["complete"] for s in taken)
        # A stopped run does not know what its steps wrote.
        figures["bytes"] *= figures["complete"]
    return figures


def _peer_ratio(
    name: str, row: Result, medians: Mapping[str, Result], promise: Mapping[str, str]
) -> str:
    peer_name = _PEER.get(promise.get(name, ""), "")
    peer = medians.get(peer_name, {})
    if not peer.get("per_s"):
        return "-"
    ratio = row["per_s"] / peer["per_s"]
    return f"{ratio:.{1 if ratio >= 1 else 2}f} x {peer_name}"


def _rate(_name: str, row: Result) -> str:
    stopped = "" if row.get("complete", True) else f" (stopped after {row['steps']:,.0f})"
    return f"{row['per_s']:,.0f}{stopped}"


def _figure(key: str, digits: int = 0) -> Cell:
    return lambda _name, row: f"{row[key]:,.{digits}f}"


def _growth(_name: str, row: Result) -> str:
    return f"{row['last_us'] / row['first_us']:.2f}"


def _bytes(_name: str, row: Result) -> str:
    return f"{row['bytes']:,.0f}" if row["bytes"] else "-"


_WITH_RATIO = {"chain", "runs", "answer"}
_TIMES = {"first in the process, ms": _figure("cold_ms", 1), "next, ms": _figure("warm_ms", 1)}

_COLUMNS: Mapping[str, Mapping[str, Cell]] = {
    "chain": {
        "steps/s": _rate,
        "CPU us/step": _figure("cpu_us"),
        "us/step, first tenth": _figure("first_us"),
        "last tenth": _figure("last_us"),
        "last / first": _growth,
        "bytes written/step": _bytes,
    },
    "runs": {
        "runs/s": _rate,
        "CPU us/run": _figure("cpu_us"),
        "last tenth / first": _growth,
        "bytes written/run": _bytes,
    },
    "answer": {"resumes/s": _rate, "first, with opening the store, ms": _figure("first_ms", 1)},
    "waiting": _TIMES,
    "due": _TIMES,
    "verify_ledger": {"records/s": _rate, "peak MB": _figure("peak_mb")},
    "compile": {"flows/s": _rate},
    "check": {"flows/s": _rate},
    "startup": {
        "CPU ms": _figure("cpu_ms"),
        "wall ms": _figure("wall_ms"),
    },
}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
