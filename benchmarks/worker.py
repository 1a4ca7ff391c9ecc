"""One measurement in this process: `worker.py CONTENDER WORK DIRECTORY ARGUMENTS`.

Prints one line `RESULT {...}`; everything else on the output is the contender's own.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from workloads import (
    TEXT,
    Contender,
    Result,
    StepClock,
    chain_document,
    emit,
    messages,
    peak_memory_kb,
    published_documents,
    untimed,
)

Open = Callable[[], Any]

_BUDGET_S = 40.0
_COMPILE_S = 2.0


def contenders() -> Iterator[Contender]:
    """Give the contenders of every file in `contenders/`, in the order of the files."""
    for file in sorted((Path(__file__).parent / "contenders").glob("*.py")):
        yield from importlib.import_module(f"contenders.{file.stem}").CONTENDERS


def chain(opened: Open, steps: int, state: int = 0) -> Result:
    clock = StepClock(steps, _BUDGET_S, emit)
    opened().chain(clock, {"blob": messages(state)} if state else {})
    return clock.result()


def runs(opened: Open, count: int, steps: int) -> Result:
    def per_run(result: Result) -> Result:
        scale = {"per_s": 1 / steps, "steps": 1 / steps, "cpu_us": steps, "bytes": steps}
        return {k: v * scale[k] if k in scale else v for k, v in result.items()}

    clock = StepClock(count * steps, _BUDGET_S, lambda result: emit(per_run(result)))
    opened().runs(clock, count)
    return per_run(clock.result())


def disturb(opened: Open) -> Result:
    opened().runs(untimed(1), 1)
    return {}


def park(opened: Open, count: int) -> Result:
    return {"ids": opened().park(count)}


def answer(opened: Open, count: int, ids: list[str]) -> Result:
    began = time.perf_counter()
    subject = opened()
    subject.answer(ids[0])
    first_s = time.perf_counter() - began
    for run_id in ids[1:]:
        subject.answer(run_id)
    return {"per_s": count / (time.perf_counter() - began), "first_ms": first_s * 1e3}


def fill(opened: Open, **numbers: int) -> Result:
    opened().fill(**numbers)
    return {}


def listing(kind: str, opened: Open, **numbers: int) -> Result:
    """Time the first listing of a process, opening the store included, and the one after it."""
    times, subject = [], None
    for _ in range(2):
        began = time.perf_counter()
        subject = subject or opened()
        count = getattr(subject, kind)()
        times.append((time.perf_counter() - began) * 1e3)
        if count != numbers[kind]:
            raise AssertionError(f"{count} runs were listed, {numbers[kind]} were left {kind}")
    return {"cold_ms": times[0], "warm_ms": times[1]}


def write(opened: Open, records: int) -> Result:
    opened().write_ledger(records, TEXT)
    return {}


def verify(opened: Open, records: int) -> Result:
    subject = opened()
    began = time.perf_counter()
    count = subject.verify_ledger()
    seconds = time.perf_counter() - began
    if count < records:
        raise AssertionError(f"{count} records were verified, {records} were written")
    return {"per_s": count / seconds, "peak_mb": peak_memory_kb() / 1024}


def flows(kind: str, opened: Open, nodes: int) -> Result:
    """Do one kind of work with flow documents; 0 nodes means the published ones, in turn."""
    subject = opened()
    texts = [json.dumps(chain_document(nodes)).encode()] if nodes else published_documents()
    action = getattr(subject, kind)

    def act(text: bytes) -> None:
        action(json.loads(text) if kind == "compile" else text)

    for text in texts:
        act(text)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < _COMPILE_S:
        for text in texts:
            act(text)
        count += len(texts)
    return {"per_s": count / (time.perf_counter() - began)}


WORK: dict[str, Callable[..., Result]] = {
    "chain": chain,
    "runs": runs,
    "park": park,
    "answer": answer,
    "fill": fill,
    "disturb": disturb,
    "waiting": partial(listing, "waiting"),
    "due": partial(listing, "due"),
    "write_ledger": write,
    "verify_ledger": verify,
    "compile": partial(flows, "compile"),
    "check": partial(flows, "check"),
}


def main(name: str, work: str, directory: str, arguments: str) -> None:
    contender = next(c for c in contenders() if c.name == name)
    with contextlib.chdir(directory) if hasattr(contextlib, "chdir") else contextlib.nullcontext():
        for module in contender.modules:
            importlib.import_module(module)
        emit(WORK[work](partial(contender.make, directory), **json.loads(arguments)))
    # Threads that a contender left behind must not keep the measurement alive.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
