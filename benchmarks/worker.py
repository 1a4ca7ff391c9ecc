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
)

_BUDGET_S = 40.0
_COMPILE_S = 2.0


def contenders() -> Iterator[Contender]:
    """Give the contenders of every file in `contenders/`, in the order of the files."""
    for file in sorted((Path(__file__).parent / "contenders").glob("*.py")):
        yield from importlib.import_module(f"contenders.{file.stem}").CONTENDERS


def chain(subject: Any, steps: int, state: int = 0) -> Result:
    clock = StepClock(steps, _BUDGET_S, emit)
    subject.chain(clock, {"blob": messages(state)} if state else {})
    return clock.result()


def write(subject: Any, records: int) -> Result:
    subject.write_ledger(records, TEXT)
    return {}


def verify(subject: Any, records: int) -> Result:
    began = time.perf_counter()
    count = subject.verify_ledger()
    seconds = time.perf_counter() - began
    if count < records:
        raise AssertionError(f"{count} records were verified, {records} were written")
    return {"per_s": count / seconds, "peak_mb": peak_memory_kb() / 1024}


def compile_flows(subject: Any, nodes: int) -> Result:
    document = json.dumps(chain_document(nodes))
    subject.compile(json.loads(document))
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < _COMPILE_S:
        subject.compile(json.loads(document))
        count += 1
    return {"per_s": count / (time.perf_counter() - began)}


WORK: dict[str, Callable[..., Result]] = {
    "chain": chain,
    "write": write,
    "verify": verify,
    "compile": compile_flows,
}


def main(name: str, work: str, directory: str, arguments: str) -> None:
    contender = next(c for c in contenders() if c.name == name)
    with contextlib.chdir(directory) if hasattr(contextlib, "chdir") else contextlib.nullcontext():
        emit(WORK[work](contender.make(directory), **json.loads(arguments)))
    # Threads that a contender left behind must not keep the measurement alive.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
