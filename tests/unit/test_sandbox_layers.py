"""What each layer is made of."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
from itertools import pairwise

import pytest

from abstractruntime.sandbox import _bwrap, _seccomp

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050001
PID = 4242


def verdict(table, call, arguments=(), audit=None):
    """Run the filter as the kernel does."""
    data = struct.pack("=iIQ", call, audit or table.audit, 0)
    data += struct.pack("=6Q", *arguments, *([0] * (6 - len(arguments))))
    code, at, word = _seccomp.program(table, PID), 0, 0
    while True:
        kind, true, false, value = code[at]
        at += 1
        if kind == 0x20:
            (word,) = struct.unpack_from("=I", data, value)
        elif kind == 0x06:
            return value
        else:
            holds = word == value if kind == 0x15 else bool(word & value)
            at += true if holds else false


@pytest.fixture(params=_seccomp.TABLES.values(), ids=list(_seccomp.TABLES))
def table(request):
    return request.param


CALLS = {
    "read_input": ("read", (0,), ALLOW),
    "read_other": ("read", (3,), REFUSE),
    "write_output": ("write", (1,), ALLOW),
    "write_other": ("write", (2,), REFUSE),
    "map_memory": ("mmap", (0, 4096, 3, 0x22), ALLOW),
    "map_code": ("mmap", (0, 4096, 7, 0x22), REFUSE),
    "map_file": ("mmap", (0, 4096, 3, 0x02, 3), REFUSE),
    "protect": ("mprotect", (0, 4096, 3), ALLOW),
    "make_code": ("mprotect", (0, 4096, 5), REFUSE),
    "own_processor_limit": ("prlimit64", (0, 0), ALLOW),
    "own_other_limit": ("prlimit64", (0, 7), REFUSE),
    "foreign_limit": ("prlimit64", (1, 0), REFUSE),
    "signal_itself": ("kill", (PID, 9), ALLOW),
    "signal_other": ("kill", (1, 9), REFUSE),
    "signal_group": ("kill", (0, 9), REFUSE),
    "signal_all": ("kill", (2**64 - 1, 9), REFUSE),
    "thread_itself": ("tgkill", (PID, PID, 6), ALLOW),
    "thread_other": ("tgkill", (1, 1, 6), REFUSE),
    "exit": ("exit_group", (0,), ALLOW),
}


@pytest.mark.parametrize(("name", "arguments", "expected"), CALLS.values(), ids=CALLS)
def test_call(table, name, arguments, expected):
    assert verdict(table, table.numbers[name], arguments) == expected


def test_every_other_call_is_refused(table):
    others = set(range(600)) - set(table.numbers.values())

    assert {verdict(table, call) for call in others} == {REFUSE}
    assert {verdict(table, 0x40000000 | call) for call in range(600)} == {REFUSE}


def test_another_architecture_ends_the_process(table):
    assert verdict(table, table.numbers["exit"], audit=0x40000003) == KILL


def test_each_table_names_what_the_rules_name(table):
    assert table.numbers.keys() == _seccomp.rules(PID).keys()


# -- bubblewrap ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uid", "has_user_space"), [(0, False), (1000, True)], ids=["root", "user"]
)
def test_command_of_bubblewrap(uid, has_user_space, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    program = tmp_path / "worker.py"

    command = _bwrap.wrapped("/bin/bwrap", program, ["-S"])

    spaces = {word for word in command if word.startswith("--unshare")}
    assert {"--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"} <= spaces
    assert ("--unshare-user" in spaces) is has_user_space
    assert {"--die-with-parent", "--new-session"} <= set(command)
    assert not [word for word in command if word.startswith(("--bind", "--dev-bind", "--share"))]
    assert command[-3:] == [os.path.realpath(sys.executable), "-S", str(program)]
    assert "/" not in {place for word, place in pairwise(command) if word.startswith("--ro-bind")}


# -- looking into processes ------------------------------------------------------------------


HIDES = """
import os, sys
from abstractruntime.sandbox import _prctl
os.geteuid() or os.setuid(65534)
_prctl._prctl(4, 1, 0, 0, 0)
print(sys.argv[1] == "hide" and _prctl.hide_process(), os.stat("/proc/self/mem").st_uid)
print(len(os.listdir("/proc/self/fd")) > 2, open("/dev/fd/0").read())
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at processes in /proc")
@pytest.mark.parametrize("word", ["hide", "show"])
def test_hidden_process_cannot_be_looked_into_and_reads_its_own_descriptors(word):
    """Its files in /proc belong to root then, so no process of the same user opens them."""
    with tempfile.TemporaryFile("w+") as given:
        given.write("given")
        given.seek(0)
        os.fchmod(given.fileno(), 0o666)
        done = subprocess.run(
            [sys.executable, "-c", HIDES, word],
            stdin=given,
            capture_output=True,
            text=True,
            check=False,
        )

    user = 0 if word == "hide" else (os.geteuid() or 65534)
    assert done.stdout.splitlines() == [f"{word == 'hide'} {user}", "True given"], done.stderr


REPORTS = """
import ctypes, json, sys
from abstractruntime.sandbox import pool
found = getattr(pool, sys.argv[1])()
look = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
calls = [look()]
found.runner("t", "b").call("def f(x): return x", "f", 1)
calls.append(look())
report = pool.sandbox_report(found)
print(json.dumps([calls, [n for n in ("layers", "missing") if "hidden-parent" in report[n]]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a layer of Linux")
@pytest.mark.parametrize(
    ("pool", "calls", "where"),
    [("default_pool", [1, 1], "missing"), ("program_pool", [1, 0], "layers")],
)
def test_only_a_program_hides_itself_and_only_for_code(pool, calls, where):
    command = [sys.executable, "-c", REPORTS, pool]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == [calls, [where]]
