"""Code that breaks out of Python inside the worker still has nothing to break.

The worker of these tests has no list of system calls, as on a host that lacks seccomp: what the
other layers stop, they stop alone. The attacks on the whole are in `tests/escape`.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import pytest

from abstractruntime.nodes.base import NodeError
from abstractruntime.sandbox import Limits, WorkerRunner, _seccomp
from abstractruntime.sandbox._process import Launch, WorkerProcess

pytestmark = pytest.mark.skipif(os.name != "posix", reason="code workers need a POSIX system")

# Gives the worker's modules to the snippet, the way known escapes do.
PRELUDE = """
def escape():
    g = (g.gi_frame.f_back for _ in [0])
    frame = next(g)
    while 'sys' not in frame.f_globals:
        frame = frame.f_back
    return frame.f_globals['sys'].modules

def refuse_unless(ok):
    if not ok:
        raise OSError('refused')

def transform(_input):
    modules = escape()
    os = modules['os']
"""

HARMLESS = "def transform(_input):\n    return _input\n"
LIMITS = Limits(
    wall_s=0.5,
    memory_bytes=256 << 20,
    result_bytes=1 << 20,
    result_values=10_000,
    stdout_chars=1000,
)
REFUSED = r"Runtime error: .*(refused|denied|not permitted|not allowed|Too many open|unavailable|can't start)"
DIED = r"Runtime error: .*(code worker|more than \d+ bytes)"


@pytest.fixture(scope="module")
def runner():
    with WorkerRunner(start=partial(WorkerProcess, Launch(LIMITS, without=("seccomp",)))) as runner:
        yield runner


def has(runner, layer):
    return layer in runner.layers()["layers"]


AUTHORITY = {
    "read_file": ("no-descriptors", "os.open('/etc/passwd', 0)"),
    "read_proc": ("no-descriptors", "os.open('/proc/self/environ', 0)"),
    "list_directory": ("no-descriptors", "os.listdir('/')"),
    "pipe": ("no-descriptors", "os.pipe()"),
    "raise_limit": (
        "unprivileged",
        "r = modules['resource']; r.setrlimit(r.RLIMIT_NOFILE, (99, 99))",
    ),
    "become_root": ("unprivileged", "os.setuid(0)"),
    "make_directory": ("landlock-fs", "os.mkdir(_input['dir'] + '/new')"),
    "delete_file": ("landlock-fs", "os.unlink(_input['dir'] + '/canary')"),
    "rename_file": (
        "landlock-fs",
        "os.rename(_input['dir'] + '/canary', _input['dir'] + '/moved')",
    ),
    "plant_symlink": ("landlock-fs", "os.symlink('/etc', _input['dir'] + '/link')"),
    "truncate_file": ("landlock-fs", "os.truncate(_input['dir'] + '/canary', 0)"),
    "exec_program": ("landlock-fs", "os.execv('/bin/sh', ['sh', '-c', 'true'])"),
    "fork_bomb": ("unprivileged", "[os.fork() for _ in range(9)]"),
    "shell": ("unprivileged", "refuse_unless(os.system('true') == 0)"),
    "thread_bomb": ("unprivileged", "modules['_thread'].start_new_thread(print, ())"),
    "tcp_socket": (
        "no-descriptors",
        "refuse_unless(modules['ctypes'].CDLL(None).socket(2, 1, 0) >= 0)",
    ),
    "udp_socket": (
        "no-descriptors",
        "refuse_unless(modules['ctypes'].CDLL(None).socket(2, 2, 0) >= 0)",
    ),
    "unix_socket": (
        "no-descriptors",
        "refuse_unless(modules['ctypes'].CDLL(None).socket(1, 1, 0) >= 0)",
    ),
    "probe_parent": ("landlock-scope", "os.kill(os.getppid(), 0)"),
    "kill_parent": ("landlock-scope", "os.kill(os.getppid(), 15)"),
    "trace_parent": (
        "landlock-fs",
        "refuse_unless(modules['ctypes'].CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0)",
    ),
}


@pytest.mark.parametrize(("layer", "snippet"), AUTHORITY.values(), ids=AUTHORITY)
def test_authority_is_refused(runner, tmp_path, layer, snippet):
    if not has(runner, layer):
        pytest.skip(f"this system gives no {layer}")
    (tmp_path / "canary").write_text("alive")
    tmp_path.chmod(0o777)

    with pytest.raises(NodeError, match=REFUSED):
        runner.call(f"{PRELUDE}    {snippet}\n", "transform", {"dir": str(tmp_path)})

    assert [p.name for p in tmp_path.iterdir()] == ["canary"]
    assert (tmp_path / "canary").read_text() == "alive"
    assert runner.call(HARMLESS, "transform", [1]) == [1]


EXHAUSTION = {
    "busy_loop": ("while True: pass", r"Runtime error: time limit of 0.5 s exceeded"),
    "sleep": ("modules['time'].sleep(99)", r"Runtime error: time limit"),
    "swallows_everything": (
        "\n    while True:\n        try:\n            1 / 0\n        except Exception:\n            pass",
        r"Runtime error: time limit",
    ),
    "memory_bomb": ("return len('x' * 10**10)", r"Runtime error: out of memory"),
    # Filling memory takes long on a busy machine; either limit may come first.
    "growing_list": (
        "\n    a = [0]\n    while True: a += a",
        r"Runtime error: (out of memory|time limit)",
    ),
    "recursion": (
        "\n    def f(n): return f(n + 1)\n    return f(0)",
        r"Runtime error: maximum recursion",
    ),
    "nested_result": (
        "\n    a = []\n    for _ in range(5000): a = [a]\n    return a",
        r"nested deeper than 200",
    ),
    "huge_result": (
        "return 'x' * 2_000_000",
        r"Result of 'transform' cannot be stored: 2000002 bytes",
    ),
    "many_values": (
        "return [{}] * 20_000",
        r"Result of 'transform' cannot be stored: more than 10000 values",
    ),
    "many_values_past_the_worker": (
        "d = b'[' + b'{},' * 20_000 + b'1]'; os.write(1, len(d).to_bytes(4, 'big') + d)",
        r"code worker sent more than 10000 values",
    ),
    "close_output": ("os.close(1)", DIED),
    "exit": ("os._exit(3)", r"code worker ended with status 3"),
    "suicide": ("os.kill(os.getpid(), 9)", r"code worker was killed by SIGKILL"),
    "garbage_to_runner": ("os.write(1, b'garbage!' * 99)", DIED),
    "huge_frame": ("os.write(1, b'\\xff\\xff\\xff\\xff')", DIED),
    "not_json": ("os.write(1, b'\\x00\\x00\\x00\\x01?')", DIED),
    "json_but_no_reply": ("os.write(1, b'\\x00\\x00\\x00\\x02[]')", DIED),
    "foreign_reply": ("os.write(1, b'\\x00\\x00\\x00\\x08{\"id\":0}')", DIED),
}


@pytest.mark.parametrize(("snippet", "message"), EXHAUSTION.values(), ids=EXHAUSTION)
def test_broken_limit_costs_one_call(runner, snippet, message):
    with pytest.raises(NodeError, match=message):
        runner.call(f"{PRELUDE}    {snippet}\n", "transform", {})

    assert runner.call(HARMLESS, "transform", [1]) == [1]


def test_closed_input_costs_the_worker_not_the_next_call(runner):
    runner.call(f"{PRELUDE}    os.close(0)\n", "transform", {})

    assert runner.call(HARMLESS, "transform", [1]) == [1]


@pytest.mark.parametrize("ahead", [0, 1], ids=["late", "ahead"])
def test_forged_reply_does_not_reach_the_next_call(runner, ahead):
    """A reply to the next call, too, lies in the pipe before that is asked."""
    forge = (
        "    f = escape.__globals__\n"
        "    replies = b''\n"
        "    for number in _input:\n"
        '        reply = b\'{"id":%d,"value":"forged"}\' % number\n'
        "        replies += len(reply).to_bytes(4, 'big') + reply\n"
        "    os.write(1, replies)\n"
        "    return 'real'\n"
    )
    now = runner._last_id + 1
    first = runner.call(PRELUDE + forge, "transform", [now, now + 1][: 1 + ahead])

    assert first == "forged"
    assert runner.call(HARMLESS, "transform", "mine") == "mine"


def test_processor_time_is_limited_even_without_a_watching_parent():
    with (
        WorkerRunner(Limits(cpu_s=1, wall_s=60)) as runner,
        pytest.raises(NodeError, match="processor time limit of 1 s"),
    ):
        runner.call("def transform(x):\n    while True: pass\n", "transform", None)


def test_environment_of_the_host_is_invisible(runner, monkeypatch):
    monkeypatch.setenv("CANARY_TOKEN", "secret-value")
    runner.close()

    seen = runner.call(f"{PRELUDE}    return dict(os.environ)\n", "transform", {})

    assert "CANARY_TOKEN" not in seen
    assert not any("secret" in value for value in seen.values())


def test_printed_text_is_cut_off(runner):
    heard = []
    with WorkerRunner(LIMITS, on_output=heard.append) as loud:
        loud.call(
            "def transform(x):\n    for _ in range(9999): print('spam')\n",
            "transform",
            None,
        )

    assert len("".join(heard)) == LIMITS.stdout_chars


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Landlock is a Linux feature")
def test_missing_layers_are_reported(runner):
    report = runner.layers()

    assert report["backend"] == "process"
    assert {"clean-env", "rlimits", "no-descriptors"} <= set(report["layers"])
    assert "seccomp" in report["missing"]
    assert report["filter"] is None
    assert not set(report["layers"]) & set(report["missing"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seccomp is a Linux feature")
def test_list_of_system_calls_is_named():
    with WorkerRunner() as whole:
        report = whole.layers()

    assert "seccomp" in report["layers"]
    assert report["filter"] == f"{_seccomp.VERSION}/{os.uname().machine}"
