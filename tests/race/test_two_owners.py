"""Two processes, or two threads, want one run: exactly one gets it, and the file itself is the fence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from abstractruntime.core.models import RunState, RunStatus, StepRecord, StepStatus
from abstractruntime.errors import Busy, LedgerForked, StoreError
from abstractruntime.storage.directory import open_store

CHILD = """
import sys
from abstractruntime.errors import Busy
from abstractruntime.storage.directory import open_store
store = open_store(sys.argv[1])
sys.stdin.readline()
try:
    log = store.open("r")
except Busy as busy:
    print("busy", busy.details["pid"], flush=True)
else:
    print("owner", flush=True)
sys.stdin.readline()
"""


def a_record(step: str) -> StepRecord:
    return StepRecord(
        "r", step, "n", StepStatus.COMPLETED, result={"internal": "x"}, started_at="t"
    )


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store") as engine:
        engine.create(RunState("r", "w", RunStatus.RUNNING, "n", {"a": 1}), a_record("s0")).close()
        yield engine


def children(store, count):
    return [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, store.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]


def finish(processes):
    for process in processes:
        process.communicate("\n", timeout=20)


def test_one_of_several_processes_proceeds(store):
    processes = children(store, 3)
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.stdout.readline().split() for process in processes]
    finish(processes)

    owners = [p.pid for p, answer in zip(processes, answers, strict=True) if answer == ["owner"]]
    assert len(owners) == 1
    assert [a for a in answers if a != ["owner"]] == [["busy", str(owners[0])]] * 2


def test_a_killed_owner_frees_the_run(store):
    (process,) = children(store, 1)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "owner\n"
    with pytest.raises(Busy) as caught:
        store.open("r")
    process.kill()
    process.communicate()

    assert caught.value.details["pid"] == process.pid
    store.open("r", wait_s=5).close()


def test_a_second_thread_waits_for_the_first(store):
    first = store.open("r")
    got = []
    thread = threading.Thread(target=lambda: got.append(store.open("r", wait_s=10)))
    thread.start()
    with pytest.raises(Busy):
        store.open("r")
    first.commit(a_record("s1"))
    first.close()
    thread.join()

    assert got[0].commit(a_record("s2")).seq == 2
    got[0].close()


def test_an_append_behind_our_back_is_a_fork(store):
    log = store.open("r")
    with open(store._layout.ledger("r"), "ab") as file:
        file.write(b'{"seq":1}\n')

    with pytest.raises(LedgerForked) as caught:
        log.commit(a_record("s1"))
    assert caught.value.details["found"] > caught.value.details["expected"]
    with pytest.raises(StoreError):
        log.commit(a_record("s1"))
    log.close()


def test_a_forked_child_owns_nothing_and_frees_nothing(store):
    log = store.open("r")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        answers = []
        for attempt in (lambda: log.commit(a_record("c")), lambda: store.open("r")):
            try:
                attempt()
                answers.append("done")
            except Exception as error:
                answers.append(type(error).__name__)
        os.write(writer, json.dumps(answers).encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert json.loads(os.read(reader, 1000)) == ["WriterPoisoned", "Busy"]
    assert log.commit(a_record("s1")).seq == 1
    log.close()
    os.close(reader)
    os.close(writer)
