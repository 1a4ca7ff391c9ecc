"""Real system calls of the real tool fail, or are its last: `strace` makes them, below all our layers.

The calls of a clean command are counted first; then single ones that touch the store get
an error or a kill. What hides behind the port is met here: SQLite, buffers, exit handlers.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest
from faults_cli import DEEDS, Tool

CALLS = (
    "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat2", "openat", "unlink",
    "unlinkat", "ftruncate", "fcntl",
)  # fmt: skip
FAULTS = ("error=EIO", "error=ENOSPC", "signal=SIGKILL")
POINTS = 20
LINE = re.compile(r"^\d+ +(\w+)\((.*)$")
# These harm nothing: the index is a cache, the note in a lock is for people, and a lock ends with its file.
CACHES = re.compile(r"index\.sqlite|fcntl\(.*F_UNLCK|(pwrite64|ftruncate)\(.*\.lock")


def strace_works() -> bool:
    strace = shutil.which("strace")
    command = [strace or "strace", "-e", "inject=getppid:error=EIO", "true"]
    return (
        bool(strace) and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


pytestmark = pytest.mark.skipif(
    not strace_works(), reason="needs strace and the right to trace: apt-get install strace"
)


@dataclass(frozen=True)
class Point:
    """One call of a command that touches the store: the `number`-th of its name."""

    call: str
    number: int
    fault: str
    line: str


def traced(tool: Tool, *options: str) -> tuple[int, list[str]]:
    """Run the deed under strace; give its exit code and the lines of the trace."""
    log = tool.directory / "trace.txt"
    # Hazard: with --seccomp-bpf, which would be faster, strace does not send signals.
    command = [
        "strace", "-f", "-y", "-o", str(log), "-e", f"trace={','.join(CALLS)}", *options,
        sys.executable, "-m", "abstractruntime", *tool.arguments(tool.deed.verb),
    ]  # fmt: skip
    environment = {
        **os.environ,
        **tool.environment,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    return done.returncode, log.read_text(errors="replace").splitlines()


def points_of(tool: Tool) -> list[Point]:
    """Give every call of the clean command that touches the store, with each fault."""
    code, lines = traced(tool)
    assert code in (0, 4)
    numbers: dict[str, int] = {}
    points = []
    for line in lines:
        match = LINE.match(line)
        if match is None:
            continue
        call = match.group(1)
        numbers[call] = numbers.get(call, 0) + 1
        if str(tool.store) in line and " = -1 " not in line:
            points += [Point(call, numbers[call], fault, line) for fault in FAULTS]
    return points


def meet(tool: Tool, point: Point) -> str | None:
    """Run the deed with one point going wrong; None when the fault fell elsewhere than planned."""
    tool.prepare()
    told = tool.ledger()
    inject = f"inject={point.call}:{point.fault}:when={point.number}"
    code, lines = traced(tool, "-e", inject)
    # The call that is a process's last one stands before the line that says so.
    hit = [line for line in lines if "INJECTED" in line] or lines[-2:]
    if not any(point.call in line and str(tool.store) in line for line in hit):
        return None
    allowed = {74} if "error" in point.fault else {137, -9}
    if any(CACHES.search(line) for line in (*hit, point.line)):
        allowed |= {0, 4}
    assert code in allowed, f"{point}: exit {code}"
    tool.check_and_finish(told)
    return point.call


def sweep(tmp_path, name: str, count: int | None) -> list[str | None]:
    clean = Tool(tmp_path / "clean", DEEDS[name])
    clean.prepare()
    points = points_of(clean)
    assert len(points) > 60
    if count is not None:
        points = one_of_each_call(points, random.Random(name), count)
    return [meet(Tool(tmp_path / str(i), DEEDS[name]), point) for i, point in enumerate(points)]


def one_of_each_call(points: list[Point], rng: random.Random, count: int) -> list[Point]:
    """Sample points so that rare calls are not crowded out by writes."""
    rng.shuffle(points)
    seen: dict[str, int] = {}
    ranked = []
    for point in points:
        seen[point.call] = seen.get(point.call, 0) + 1
        ranked.append((seen[point.call], point))
    return [point for _, point in sorted(ranked, key=lambda pair: pair[0])[:count]]


@pytest.mark.parametrize("name", ["run", "answer"])
def test_sampled_calls_may_fail_or_be_the_last(name, tmp_path):
    met = sweep(tmp_path, name, POINTS)

    assert len([call for call in met if call]) >= POINTS - 3
    assert len(set(met) - {None}) >= 6


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", DEEDS)
def test_every_call_may_fail_or_be_the_last(name, tmp_path):
    met = sweep(tmp_path, name, None)

    assert len([call for call in met if call]) >= len(met) * 3 // 4


def test_a_tool_that_hides_failed_syncs_is_caught(tmp_path):
    tool = Tool(tmp_path / "tool", DEEDS["run"])
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HIDE_SYNC_ERRORS)
    point = Point("fdatasync" if hasattr(os, "fdatasync") else "fsync", 1, "error=EIO", "")
    tool.extra = {"PYTHONPATH": f"{site}:{os.environ.get('PYTHONPATH', '')}"}

    with pytest.raises(AssertionError, match="exit 0"):
        meet(tool, point)


HIDE_SYNC_ERRORS = """
import contextlib, os
def hiding(sync):
    def hidden(descriptor):
        with contextlib.suppress(OSError):
            sync(descriptor)
    return hidden
os.fdatasync, os.fsync = hiding(os.fdatasync), hiding(os.fsync)
"""
