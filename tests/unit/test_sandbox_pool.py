"""One worker serves one tree of runs of one bundle, and ends with it and with its parent."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from abstractruntime import Runtime, open_store
from abstractruntime._runtime.driver import Driver
from abstractruntime.core import resting
from abstractruntime.sandbox import Limits, WorkerPool, default_pool
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.visualflow_compiler import compile_visualflow_tree

pytestmark = pytest.mark.skipif(os.name != "posix", reason="code workers need a POSIX system")

# Says which process it runs in, the way known escapes find out.
PID = (
    "def transform(x):\n    g = (g.gi_frame.f_back for _ in [0])\n    f = next(g)\n"
    "    while 'sys' not in f.f_globals: f = f.f_back\n"
    "    return f.f_globals['sys'].modules['os'].getpid()\n"
)


def pid_of(pool, tree, bundle="b"):
    return pool.runner(tree, bundle).call(PID, "transform", None)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def pool():
    pool = WorkerPool(kept=2)
    yield pool
    pool.close()


@pytest.mark.parametrize(
    ("first", "second", "is_shared"),
    [
        (("t", "b"), ("t", "b"), True),
        (("t", "b"), ("t", "c"), False),
        (("t", "b"), ("u", "b"), False),
    ],
    ids=["same_tree_and_bundle", "other_bundle", "other_tree"],
)
def test_worker_serves_one_key(pool, first, second, is_shared):
    assert (pid_of(pool, *first) == pid_of(pool, *second)) is is_shared


def test_worker_ends_with_its_tree_and_no_other_does(pool):
    first, second = pid_of(pool, "t"), pid_of(pool, "u")

    resting.release("t")

    assert (is_alive(first), is_alive(second)) == (False, True)
    assert pid_of(pool, "t") != first


def test_worker_longest_unused_gives_its_place(pool):
    pids = [pid_of(pool, tree) for tree in "tuv"]

    assert [is_alive(pid) for pid in pids] == [False, True, True]


def test_tree_that_rests_during_a_call_ends_its_worker_afterwards(pool):
    with pool.serving(("t", "b")) as runner:
        pid = runner.call(PID, "transform", None)
        pool.release("t")
        assert is_alive(pid)

    assert not is_alive(pid)


def test_spare_is_what_the_report_was_of_and_what_the_first_call_gets(pool):
    pool.layers()
    spare = pool._spare.pid

    assert pid_of(pool, "t") == spare
    assert pool._spare is None  # one tree needs one process


def test_next_spare_is_started_for_whoever_serves_several_trees(pool):
    pid_of(pool, "t")
    pid_of(pool, "u")
    spare = pool._spare.pid

    assert pid_of(pool, "v") == spare


def test_dead_spare_serves_nobody(pool):
    pool.layers()
    os.kill(pool._spare.pid, signal.SIGKILL)
    pool._spare._process.wait()

    assert is_alive(pid_of(pool, "t"))


def test_replaced_worker_stays_apart():
    pool = WorkerPool(Limits(calls=1))

    pids = [pid_of(pool, tree) for tree in "tutu"]

    assert len(set(pids)) == 4
    pool.close()


def test_threads_share_a_pool(pool):
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: pid_of(pool, "tuvw"[n % 4]), range(16)))

    assert len(found) == 16


# -- the trees of a runtime ------------------------------------------------------------------


def flow(flow_id, *nodes):
    exec_in, exec_out = ({"id": f"exec-{end}", "type": "execution"} for end in ("in", "out"))
    found = [{"id": "s", "type": "on_flow_start", "data": {"outputs": [exec_out]}}]
    for number, (kind, data) in enumerate(nodes):
        pins = {"inputs": [exec_in], "outputs": [exec_out, {"id": "output", "type": "any"}]}
        found.append({"id": f"n{number}", "type": kind, "data": {**pins, **data}})
    edges = [
        {
            "source": left["id"],
            "sourceHandle": "exec-out",
            "target": right["id"],
            "targetHandle": "exec-in",
        }
        for left, right in pairwise(found)
    ]
    return {"id": flow_id, "nodes": found, "edges": edges}


CODE = ("code", {"code": PID, "functionName": "transform"})
PARENT = flow("parent", CODE, ("subflow", {"subflowId": "child"}))
CHILD = flow("child", CODE)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A runtime whose code tells its process, and what it told, by run."""
    pids = []
    registry = WorkflowRegistry()
    for spec in compile_visualflow_tree(
        root_id="parent", flows_by_id={"parent": PARENT, "child": CHILD}
    ).values():
        registry.register(spec)
    with open_store(tmp_path) as store:
        runtime = Runtime.on_engine(store, workflow_registry=registry)
        runner = default_pool().runner

        def listening(tree, bundle):
            found = runner(tree, bundle)

            class Listening:
                def call(self, *args):
                    pids.append((tree, found.call(*args)))
                    return pids[-1][1]

            return Listening()

        monkeypatch.setattr(default_pool(), "runner", listening)
        yield runtime, registry, pids
    default_pool().close()


def test_child_shares_the_worker_of_its_tree_and_another_tree_does_not(host):
    runtime, registry, pids = host
    roots = [runtime.start(workflow=registry.get("parent"), vars={}) for _ in range(2)]

    for root in roots:
        assert Driver(runtime).drive(root).status.value == "completed"

    (tree_a, a), (tree_b, b), (tree_c, c), (tree_d, d) = pids
    assert (tree_a, a) == (tree_b, b)
    assert (tree_c, c) == (tree_d, d)
    assert tree_a != tree_c
    assert a != c
    assert not is_alive(a)
    assert not is_alive(c)


def test_ticked_root_that_ended_leaves_no_worker(host):
    runtime, registry, pids = host
    root = runtime.start(workflow=registry.get("child"), vars={})

    runtime.tick(workflow=registry.get("child"), run_id=root)

    assert not is_alive(pids[0][1])


# -- dies with its parent --------------------------------------------------------------------

PARENT_PROGRAM = """
import os, shutil, sys, threading
from abstractruntime.sandbox._process import Launch
from abstractruntime.sandbox.runner import WorkerProcess, WorkerRunner
bwrap = shutil.which("bwrap") if sys.argv[2] == "bwrap" else None
without = () if bwrap else tuple(sys.argv[2].split())
runner = WorkerRunner(start=lambda: WorkerProcess(Launch(without=without, bwrap=bwrap)))
def begin():
    runner.layers()
    print(runner._worker.pid, flush=True)
if sys.argv[1] == "thread":
    starter = threading.Thread(target=begin)
    starter.start()
    starter.join()
else:
    begin()
runner.call("def transform(x):\\n    while True: pass\\n", "transform", None)
"""


def loops(pid):
    """Wait until a worker that was idle has got its call: before, it would end with its input."""
    before = cpu_ticks(pid)
    return within_seconds(lambda: cpu_ticks(pid) > before + 3)


def ends_soon(pid):
    return within_seconds(lambda: not is_running(pid))


def within_seconds(condition):
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[11])


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes in /proc")
@pytest.mark.parametrize("starter", ["main", "thread"])
@pytest.mark.parametrize(
    ("without", "dies"),
    [
        ("", True),
        ("landlock-fs landlock-net landlock-scope seccomp lifeline-signal", True),
        pytest.param(
            "bwrap", True, marks=pytest.mark.skipif(not shutil.which("bwrap"), reason="no bwrap")
        ),
        ("lifeline", False),
    ],
    ids=["signal", "thread_watches", "bwrap", "taken_away"],
)
def test_worker_in_a_loop_dies_with_a_killed_parent(starter, without, dies):
    command = [sys.executable, "-c", textwrap.dedent(PARENT_PROGRAM), starter, without]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert loops(worker)
        os.kill(parent.pid, signal.SIGKILL)
    try:
        if dies:
            assert ends_soon(worker)
        else:
            assert is_running(worker)
    finally:
        if is_running(worker):
            os.kill(worker, signal.SIGKILL)


def test_worker_whose_parent_died_before_it_held_the_line_ends():
    from abstractruntime.sandbox import _lifeline

    reader, writer = os.pipe()
    os.close(writer)
    child = os.fork()
    if child == 0:
        _lifeline.hold(reader)
        os._exit(7)
    os.close(reader)

    assert os.waitpid(child, 0)[1] == 0
