"""Two processes append to one command file: every seq is given once, every id accepted once."""

from __future__ import annotations

import json
import subprocess
import sys

from abstractruntime.storage.commands import JsonlCommandStore

COUNT = 60
CHILD = """
import sys
from abstractruntime.storage.commands import CommandRecord, JsonlCommandStore
store, name = JsonlCommandStore(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for n in range(int(sys.argv[3])):
    for command_id in (f"shared-{n}", f"{name}-{n}"):
        result = store.append(CommandRecord(command_id, "r", "t", {"by": name}, "now"))
        print(command_id, result.accepted, result.seq, flush=True)
"""


def append_from_two_processes(directory):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(directory), name, str(COUNT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for child in children:
        child.stdout.readline()
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    outputs = [child.communicate(timeout=60)[0] for child in children]
    return [line.split() for output in outputs for line in output.splitlines()]


def test_two_processes_share_one_order(tmp_path):
    answers = append_from_two_processes(tmp_path)

    accepted = [command_id for command_id, is_accepted, _ in answers if is_accepted == "True"]
    rows = [json.loads(line) for line in (tmp_path / "commands.jsonl").read_bytes().splitlines()]
    assert sorted(accepted) == sorted(row["command_id"] for row in rows)
    assert len(set(accepted)) == len(accepted) == 3 * COUNT
    assert [row["seq"] for row in rows] == list(range(1, 3 * COUNT + 1))
    stored = {row["command_id"]: row["seq"] for row in rows}
    assert all(stored[command_id] == int(seq) for command_id, _, seq in answers)
    assert JsonlCommandStore(tmp_path).get_last_seq() == 3 * COUNT
