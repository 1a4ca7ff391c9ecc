"""Hostile inputs cost memory in proportion: at most five times what is read, and 60 MB.

The peak is that of a process that a small one started, since a fork counts what its parent held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

MB = 1 << 20
FACTOR, ALLOWANCE = 5, 60 * MB
FLOW = {
    "id": "f",
    "nodes": [
        {"id": "s", "type": "on_flow_start", "data": {"outputs": [{"id": "exec-out", "type": "execution"}]}},
        {"id": "e", "type": "on_flow_end", "data": {"inputs": [{"id": "exec-in", "type": "execution"}]}},
    ],
    "edges": [{"id": "1", "source": "s", "sourceHandle": "exec-out", "target": "e", "targetHandle": "exec-in"}],
}  # fmt: skip

_LAUNCHER = """
import os, sys
child = os.fork()
if not child:
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.execv(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


class Cost(NamedTuple):
    """How a command ended, and the most memory it had at once."""

    code: int
    peak: int


def cost_of(*args: str | Path, home: Path) -> Cost:
    """Run `art` and tell what it cost."""
    code = "import sys; from abstractruntime.cli.app import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-I", "-S", "-c", _LAUNCHER]
    art = [sys.executable, "-c", code, *map(str, args)]
    places = {"ART_HOME": str(home / "store"), "ART_CONFIG_DIR": str(home / "config")}
    environ = {**os.environ, **places, "PYTHONMALLOC": "default"}
    done = subprocess.run(
        [*command, *art], env=environ, cwd=home, capture_output=True, check=True, timeout=300
    )
    status, peak = map(int, done.stdout.split())
    return Cost(status, peak * (1 if sys.platform == "darwin" else 1024))


def _deep(size: int) -> bytes:
    levels = 190
    return b'{"a":' * levels + b'"' + b"x" * size + b'"' + b"}" * levels


# Each gives a JSON object of about so many bytes.
OBJECTS: dict[str, Callable[[int], bytes]] = {
    "many keys": lambda n: json.dumps({f"k{i}": i for i in range(n // 16)}).encode(),
    "wide": lambda n: b'{"x":[' + b",".join([b"{}"] * (n // 3)) + b"]}",
    "deep": _deep,
    "too deep": lambda n: b'{"a":' * (n // 6) + b"1" + b"}" * (n // 6),
    "huge text": lambda n: b'{"x":"' + b"x" * n + b'"}',
    "huge integer": lambda n: b'{"x":' + b"7" * n + b"}",
    "line feeds": lambda n: b"\n" * n,
    "one long line": lambda n: b'{"run_id":"' + b"x" * n,
}
COMMANDS = {
    "run": ("run", "flow.json", "--input", "@{}", "--json"),
    "stub": ("run", "flow.json", "--llm-stub", "{}"),
    "verify": ("ledger", "verify", "{}"),
    "check": ("check", "{}"),
    "show": ("show", "{}"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("bounds")
    (home / "flow.json").write_text(json.dumps(FLOW))
    return home


@pytest.fixture(scope="module")
def idle(home: Path) -> int:
    """What a command takes that has next to nothing to do."""
    cost = cost_of("run", "flow.json", "--json", home=home)
    assert cost.code == 0
    return cost.peak


@pytest.fixture
def large_file(home: Path) -> Iterator[Path]:
    path = home / "large.json"
    yield path
    path.unlink()


def _require_bounded(home: Path, path: Path, command: str, idle: int) -> Cost:
    args = [part.replace("{}", str(path)) for part in COMMANDS[command]]
    cost = cost_of(*args, home=home)
    size = path.stat().st_size
    shown = f"{cost.peak / MB:.0f} MB for {size / MB:.1f} MB, {idle / MB:.0f} MB without"
    assert cost.code in (0, 1, 2, 66), shown
    assert cost.peak - idle < FACTOR * size + ALLOWANCE, shown
    return cost


@pytest.mark.parametrize("size", [MB, pytest.param(8 * MB, marks=pytest.mark.soak)])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", OBJECTS)
def test_every_shape_for_every_reader(
    home: Path, idle: int, large_file: Path, kind: str, command: str, size: int
) -> None:
    large_file.write_bytes(OBJECTS[kind](size))
    _require_bounded(home, large_file, command, idle)
