"""`kill -9` at random moments of a run, continued each time from the command line.

Each life of the run is a forked process that calls the tool's entry point and is killed
once the ledger has grown to a random length. The model's script appends every call to a file outside the store,
so that repeated side effects can be counted.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

# Imported here, so that the forked processes need not do it each time.
from abstractruntime.cli import ledger, resume, run, tick  # noqa: F401
from abstractruntime.cli.app import main
from abstractruntime.nodes.registry import node_types
from abstractruntime.testing.stub_llm import StubLLM

STEPS = 50
RUN = "killed-run"
SET_ASIDE = 3


def kill_flow() -> dict:
    """Ask a model once per item, answer a question half way, and collect the replies."""
    execution = {"type": "execution"}

    def node(node_id, kind, ins=(), outs=(), entry=True, exits=("exec-out",), **data):
        inputs = [{"id": "exec-in", **execution}] if entry else []
        outputs = [{"id": handle, **execution} for handle in exits]
        pins = {
            "inputs": inputs + [{"id": pin, "type": "any"} for pin in ins],
            "outputs": outputs + [{"id": pin, "type": "any"} for pin in outs],
        }
        return {"id": node_id, "type": kind, "data": {**pins, **data}}

    def edge(source, handle, target, pin="exec-in"):
        return {"source": source, "sourceHandle": handle, "target": target, "targetHandle": pin}

    replies = {"name": "replies", "type": "array", "default": []}
    return {
        "id": "kill-flow",
        "entryNode": "start",
        "nodes": [
            node("start", "on_flow_start", outs=("items",), entry=False),
            node("each", "loop", ("items",), ("item",), exits=("loop", "done")),
            node("model", "llm_call", ("prompt",), ("response",)),
            node(
                "so_far", "var_decl", outs=("value",), entry=False, exits=(), literalValue=replies
            ),
            node("more", "array_append", ("array", "item"), ("result",), entry=False, exits=()),
            node("keep", "set_var", ("name", "value"), ("value",), pinDefaults={"name": "replies"}),
            node("ask", "ask_user", ("prompt",), ("response",), pinDefaults={"prompt": "go on?"}),
            node("end", "on_flow_end", ("replies", "answer"), exits=()),
        ],
        "edges": [
            edge("start", "exec-out", "ask"),
            edge("ask", "exec-out", "each"),
            edge("each", "loop", "model"),
            edge("model", "exec-out", "keep"),
            edge("each", "done", "end"),
            edge("start", "items", "each", "items"),
            edge("each", "item", "model", "prompt"),
            edge("so_far", "value", "more", "array"),
            edge("model", "response", "more", "item"),
            edge("more", "result", "keep", "value"),
            edge("so_far", "value", "end", "replies"),
            edge("ask", "response", "end", "answer"),
        ],
    }


class Machine:
    """Runs the tool in forked processes that die at a given moment."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory.mkdir()
        self.directory = directory
        self.journal = directory / "calls.txt"
        self.journal.touch()
        self.ledger = directory / "store" / f"ledger_{RUN}.jsonl"
        (directory / "flow.json").write_text(json.dumps(kill_flow()))
        (directory / "script.json").write_text(
            json.dumps({"format": "art-stub-llm/1", "answers": [], "default": "ok"})
        )
        for name, value in {
            "ART_HOME": directory / "store",
            "ART_CONFIG_DIR": directory / "config",
            "ART_NO_INPUT": 1,
        }.items():
            monkeypatch.setenv(name, str(value))

    def start(self, *argv: str) -> int:
        """Fork a process that runs the tool; give its id."""
        process = os.fork()
        if process:
            return process
        self._become_tool(argv)
        return 0

    def _become_tool(self, argv: tuple[str, ...]) -> None:
        journal = os.open(self.journal, os.O_WRONLY | os.O_APPEND)
        answer = StubLLM.complete

        def complete(stub, request):
            os.write(journal, f"{request.user_text}\n".encode())
            # A call that takes a while is one that can be killed in flight.
            time.sleep(0.001)
            return answer(stub, request)

        StubLLM.complete = complete
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(main([*argv]))

    def live(self, *argv: str, until_bytes: int | None = None, delay_s: float = 0.0) -> int | None:
        """Run the tool, killed `delay_s` after the ledger got so long; None when it was killed."""
        process = self.start(*argv)
        while until_bytes is not None:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.WEXITSTATUS(status)
            if self.ledger.exists() and self.ledger.stat().st_size >= until_bytes:
                time.sleep(delay_s)
                os.kill(process, signal.SIGKILL)
                break
        _, status = os.waitpid(process, 0)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None

    def records(self) -> list[dict]:
        """Give the committed records; a line without its end was never written."""
        if not self.ledger.exists():
            return []
        return [json.loads(line) for line in self.ledger.read_bytes().split(b"\n")[:-1]]


def arguments(machine: Machine) -> list[str]:
    """Give what a person would type next."""
    script = ("--llm-stub", str(machine.directory / "script.json"))
    if not machine.records():
        items = json.dumps({"items": [f"item {i}" for i in range(STEPS)]})
        flow = str(machine.directory / "flow.json")
        return ["run", flow, "--run-id", RUN, "--input", items, *script]
    answered = any((r["effect"] or {}).get("type") == "resume" for r in machine.records())
    if not answered:
        waits = any(r["status"] == "waiting" for r in machine.records())
        return ["resume", RUN, "--input", "yes", *script] if waits else ["tick", RUN, *script]
    return ["tick", RUN, *script]


def counts(records: list[dict], status: str) -> Counter:
    return Counter(
        r["effect"]["payload"]["prompt"]
        for r in records
        if (r["effect"] or {}).get("type") == "llm_call" and r["status"] == status
    )


@pytest.mark.timeout(300)
def test_killed_run_ends_as_if_never_killed(tmp_path, monkeypatch):
    kill(200, random.Random(7), tmp_path, monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(5))
def test_runs_killed_many_times_end_as_if_never_killed(seed, tmp_path, monkeypatch):
    kill(1_000, random.Random(seed), tmp_path, monkeypatch)


def kill(kills: int, rng: random.Random, tmp_path, monkeypatch) -> None:
    assert node_types()
    totals: Counter[str] = Counter()
    while totals["kills"] < kills:
        machine = Machine(tmp_path / str(totals["runs"]), monkeypatch)
        totals += kill_until_finished(machine, rng)

    # Kills that all fell before the first or after the last step would prove nothing.
    assert totals["owners"] > kills / 2
    assert totals["repeated"] > kills / 20


def kill_until_finished(machine: Machine, rng: random.Random) -> Counter[str]:
    killed = 0
    code = None
    while code in {None, 4, SET_ASIDE}:
        if code == SET_ASIDE:
            # By chance three kills in a row fell before the outcome of one attempt.
            assert machine.live("repair", RUN, "--apply") == 0
        length = machine.ledger.stat().st_size if machine.ledger.exists() else 0
        # A moment of the next five steps, wherever in a call or in the writing of a line it falls.
        code = machine.live(
            *arguments(machine),
            until_bytes=length + rng.randrange(1, 10_000),
            delay_s=rng.uniform(0, 0.003),
        )
        killed += code is None
    assert code == 0
    check(machine)
    executed = Counter(machine.journal.read_text().splitlines())
    owners = max(r["commit"]["epoch"] for r in machine.records() if r.get("commit"))
    repeated = sum(executed.values()) - STEPS
    return Counter(kills=killed, runs=1, owners=owners, repeated=repeated)


def check(machine: Machine) -> None:
    records = machine.records()
    executed = Counter(machine.journal.read_text().splitlines())
    started, completed = counts(records, "started"), counts(records, "completed")

    assert completed == Counter({f"item {i}": 1 for i in range(STEPS)})
    # An attempt without an outcome is repeated; one with an outcome never is.
    assert all(executed[prompt] <= started[prompt] for prompt in completed)
    # A repeated attempt is the same occurrence, so its outside identity does not change.
    occurrences = {r["commit"]["occ"] for r in records if is_call(r) and r["status"] == "started"}
    assert len(occurrences) == STEPS
    last = {r["effect"]["payload"]["prompt"]: r["status"] for r in records if is_call(r)}
    assert set(last.values()) == {"completed"}
    output = next(r["result"]["output"] for r in records if (r["result"] or {}).get("completed"))
    assert output == {"replies": ["ok"] * STEPS, "answer": "yes", "success": True}
    assert machine.live("ledger", "verify", RUN) == 0


def is_call(record: dict) -> bool:
    return (record["effect"] or {}).get("type") == "llm_call"
