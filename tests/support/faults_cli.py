"""The tool in forked processes over a real directory, with something wrong in each."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flow_builder import END, START, flow, node

# Imported here, so that the forked processes need not do it each time.
from ledger_files import verify_file

from abstractruntime.cli import resume, run, tick  # noqa: F401
from abstractruntime.cli.app import main
from abstractruntime.core.models import RunState, RunStatus
from abstractruntime.errors import NotFound
from abstractruntime.storage.directory import open_store

RUN = "r"
LONG = "long " * 4000

CALL = node("m", "llm_call", "exec-in prompt", "exec-out response", pinDefaults={"prompt": "hi"})
AGAIN = {**CALL, "id": "n"}
LARGE = node("m", "llm_call", "exec-in prompt", "exec-out response", pinDefaults={"prompt": LONG})
ASK = node("q", "ask_user", "exec-in prompt", "exec-out response", pinDefaults={"prompt": "?"})
FLOWS = {
    "calls": flow(START, CALL, AGAIN, END, edges="s > m; m > n; n > e"),
    "asks": flow(START, CALL, ASK, AGAIN, END, edges="s > m; m > q; q > n; n > e"),
    "large": flow(START, LARGE, AGAIN, END, edges="s > m; m > n; n > e"),
}


@dataclass(frozen=True)
class Deed:
    """What a person does: commands that work, the one that meets the fault, and where it leads."""

    flow: str
    before: tuple[str, ...]
    verb: str
    end: RunStatus


DEEDS = {
    "run": Deed("calls", (), "run", RunStatus.COMPLETED),
    "park": Deed("asks", (), "run", RunStatus.WAITING),
    "answer": Deed("asks", ("run",), "resume", RunStatus.COMPLETED),
    "large values": Deed("large", (), "run", RunStatus.COMPLETED),
    "large answer": Deed("asks", ("run",), "resume with much", RunStatus.COMPLETED),
}


@functools.cache
def warm_up() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Tool(Path(directory) / "warm", DEEDS["run"]).run_here()


class Tool:
    """One store, and the tool for it; `do` is one process."""

    def __init__(self, directory: Path, deed: Deed) -> None:
        directory.mkdir(parents=True)
        self.directory, self.deed = directory, deed
        self.extra: dict[str, str] = {}
        self.store = directory / "store"
        self.flow = directory / "flow.json"
        self.script = directory / "script.json"
        self.flow.write_text(json.dumps(FLOWS[deed.flow]))
        script = {"format": "art-stub-llm/1", "answers": [], "default": "ok"}
        self.script.write_text(json.dumps(script))

    @property
    def environment(self) -> dict[str, str]:
        home, config = str(self.store), str(self.directory / "config")
        return {"ART_HOME": home, "ART_CONFIG_DIR": config, "ART_NO_INPUT": "1", **self.extra}

    def arguments(self, verb: str) -> list[str]:
        stub = ["--llm-stub", str(self.script)]
        return {
            "run": ["run", str(self.flow), "--run-id", RUN, *stub],
            "resume": ["resume", RUN, "--input", "yes", *stub],
            "tick": ["tick", RUN, *stub],
            "resume with much": ["resume", RUN, "--input", "much " * 4000, *stub],
        }[verb]

    def run_here(self) -> None:
        """Run the tool in this process, so that forked ones find everything loaded."""
        kept = dict(os.environ)
        os.environ.update(self.environment)
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                assert main(self.arguments("run")) == 0
        finally:
            os.environ.clear()
            os.environ.update(kept)

    def do(self, verb: str, fault: Callable[[], Any] | None = None) -> int:
        """Run one command in a process of its own; `fault` is called in it first."""
        process = os.fork()
        if not process:
            code = 99
            try:
                os.environ.update(self.environment)
                # Whatever captures the output of tests is a file, which a limit could meet.
                sys.stdout = sys.stderr = io.StringIO()
                if fault:
                    fault()
                code = main(self.arguments(verb))
            finally:
                os._exit(code)
        _, status = os.waitpid(process, 0)
        return os.waitstatus_to_exitcode(status)

    def prepare(self) -> None:
        warm_up()
        for verb in self.deed.before:
            assert self.do(verb) in (0, 4)

    def state(self) -> RunState | None:
        with open_store(self.store) as store:
            try:
                return store.peek(RUN)
            except NotFound:
                return None

    def ledger(self) -> bytes:
        path = self.store / f"ledger_{RUN}.jsonl"
        data = path.read_bytes() if path.exists() else b""
        return data[: data.rfind(b"\n") + 1]

    def check_and_finish(self, told: bytes) -> None:
        """Check what is on the disk, and get where the deed leads, without faults."""
        found = self.ledger()
        assert found.startswith(told), "P2: acknowledged records are gone"
        if found:
            path = self.store / f"ledger_{RUN}.jsonl"
            assert verify_file(path, run_id=RUN).ok
        self._finish()
        assert self.ledger().startswith(found), "P1: committed records were rewritten"
        assert verify_file(self.store / f"ledger_{RUN}.jsonl", run_id=RUN).ok

    def _finish(self) -> None:
        for _ in range(4):
            state = self.state()
            if state is not None and state.status is self.deed.end:
                return
            if state is None:
                verb = "run"
            else:
                verb = "resume" if state.status is RunStatus.WAITING else "tick"
            assert self.do(verb) in (0, 4), f"P9: {verb}"
        pytest.fail(f"P9: {self.deed} does not end: {state}")
