"""`kill -9` at random moments of a run, continued each time from the command line.

Each life of the run is a forked process that calls the tool's entry point and may be
killed at any moment. The model's script appends every call to a file outside the store,
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

from abstractruntime.cli.app import main
from abstractruntime.testing.stub_llm import StubLLM

STEPS = 50
RUN = "killed-run"


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
            return answer(stub, request)

        StubLLM.complete = complete  # type: ignore[method-assign]
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(main([*argv]))

    def live(self, rng: random.Random, *argv: str, longest_s: float | None) -> int | None:
        """Run the tool, killed within `longest_s`; gives its exit code, None when killed."""
        process = self.start(*argv)
        if longest_s is not None:
            time.sleep(rng.uniform(0, longest_s))
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None

    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.ledger.read_bytes().splitlines()]


def arguments(machine: Machine) -> list[str]:
    """Give what a person would type next."""
    script = ("--llm-stub", str(machine.directory / "script.json"))
    if not machine.ledger.exists():
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
@pytest.mark.parametrize("kills", [200, pytest.param(5000, marks=pytest.mark.soak)])
def test_killed_run_ends_as_if_never_killed(kills, tmp_path, monkeypatch):
    rng = random.Random(7)
    done = 0
    repeats = 0
    while done < kills:
        repeats += 1
        (tmp_path / str(repeats)).mkdir()
        done += kill_until_finished(
            Machine(tmp_path / str(repeats), monkeypatch), rng, kills - done
        )


def kill_until_finished(machine: Machine, rng: random.Random, kills: int) -> int:
    killed = 0
    code = None
    while code is None or code == 4:
        # The last life is spared, so that the run can end.
        spare = killed >= kills or (code == 4 and rng.random() < 0.5)
        code = machine.live(rng, *arguments(machine), longest_s=None if spare else 0.12)
        killed += code is None
    assert code == 0
    check(machine)
    return killed


def check(machine: Machine) -> None:
    records = machine.records()
    executed = Counter(machine.journal.read_text().splitlines())
    started, completed = counts(records, "started"), counts(records, "completed")

    assert completed == Counter({f"item {i}": 1 for i in range(STEPS)})
    # An attempt without an outcome is repeated; one with an outcome never is.
    assert all(executed[prompt] <= started[prompt] for prompt in completed)
    last = {r["effect"]["payload"]["prompt"]: r["status"] for r in records if is_call(r)}
    assert set(last.values()) == {"completed"}
    output = next(r["result"]["output"] for r in records if (r["result"] or {}).get("completed"))
    assert output == {"replies": ["ok"] * STEPS, "answer": "yes", "success": True}
    assert machine.live(random.Random(0), "ledger", "verify", RUN, longest_s=None) == 0


def is_call(record: dict) -> bool:
    return (record["effect"] or {}).get("type") == "llm_call"
