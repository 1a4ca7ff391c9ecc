"""Hostile inputs cost memory in proportion: at most five times what is read, and 60 MB.

The peak is that of a process that a small one started, since a fork counts what its parent held.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from abstractruntime.cli._files import MAX_VALUES

MB = 1 << 20
FACTOR, ALLOWANCE = 5, 60 * MB
FLOW: dict[str, Any] = {
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


def _require_bounded(
    home: Path, path: Path, command: str, idle: int, *, size: int | None = None
) -> Cost:
    args = [part.replace("{}", str(path)) for part in COMMANDS[command]]
    cost = cost_of(*args, home=home)
    size = path.stat().st_size if size is None else size
    shown = f"{cost.peak / MB:.0f} MB for {size / MB:.1f} MB, {idle / MB:.0f} MB without"
    assert cost.code in (0, 1, 2, 3, 66), shown
    assert cost.peak - idle < FACTOR * size + ALLOWANCE, shown
    return cost


# What is likeliest to be large; starting a process for all of them takes longer than the rest.
EACH_TIME = {
    "run": set(OBJECTS),
    "verify": {"line feeds", "one long line", "huge text"},
    "check": {"deep", "too deep", "wide"},
    "show": {"many keys"},
    "stub": {"too deep"},
}


def _cases() -> Iterator[Any]:
    for command, kind in itertools.product(COMMANDS, OBJECTS):
        marks = () if kind in EACH_TIME[command] else (pytest.mark.soak,)
        yield pytest.param(kind, command, MB, marks=marks)
        yield pytest.param(kind, command, 8 * MB, marks=pytest.mark.soak)


@pytest.mark.parametrize("kind,command,size", list(_cases()))
def test_every_shape_for_every_reader(
    home: Path, idle: int, large_file: Path, kind: str, command: str, size: int
) -> None:
    large_file.write_bytes(OBJECTS[kind](size))
    _require_bounded(home, large_file, command, idle)


def test_a_text_that_doubles_ends_its_run_and_not_the_process(home: Path, idle: int) -> None:
    """In pure nodes alone: 40 of them would make a terabyte."""
    names = [f"c{i}" for i in range(40)]
    pins = [{"id": pin, "type": "string"} for pin in "ab"]
    node = {"type": "concat", "data": {"inputs": pins, "outputs": [{"id": "result"}]}}
    links = [(a, "result", b, pin) for a, b in itertools.pairwise(names) for pin in "ab"]
    links += [("s", "x", "c0", pin) for pin in "ab"] + [(names[-1], "result", "e", "text")]
    edges = [
        {"id": f"d{i}", "source": a, "sourceHandle": out, "target": b, "targetHandle": pin}
        for i, (a, out, b, pin) in enumerate(links)
    ]
    document = {
        **FLOW,
        "nodes": [*FLOW["nodes"], *({"id": name, **node} for name in names)],
        "edges": [*FLOW["edges"], *edges],
    }
    (home / "doubling.json").write_text(json.dumps(document))
    cost = cost_of("run", "doubling.json", "--input", "x=0123456789", home=home)
    assert cost.code == 1
    assert cost.peak - idle < 160 * MB


@pytest.mark.parametrize("command", ["verify", "show", "check", "run"])
def test_an_endless_file_is_not_read(tmp_path: Path, idle: int, command: str) -> None:
    # A store of its own: what is no file is looked for among the runs there are.
    (tmp_path / "flow.json").write_text(json.dumps(FLOW))
    endless = tmp_path / "endless"
    endless.symlink_to("/dev/zero")
    _require_bounded(tmp_path, endless, command, idle, size=0)


def _list_of(item: bytes, count: int) -> bytes:
    return b'{"x":[' + b",".join([item] * count) + b"]}"


# As many values as an input may hold, and as much text.
LARGEST = {
    "members": json.dumps({f"k{i}": i for i in range(MAX_VALUES // 2 - 2)}).encode(),
    "numbers": _list_of(b"0.25", MAX_VALUES - 8),
    "empty objects": _list_of(b"{}", MAX_VALUES // 5 - 2),
    "objects": _list_of(b'{"a":1234}', MAX_VALUES // 6 - 2),
    "nested lists": _list_of(b"[[[[]]]]", MAX_VALUES // 17 - 2),
    "a text": OBJECTS["huge text"](15 * MB),
    "texts": _list_of(b'"' + b"y" * 60_000 + b'"', 250),
    "a deep text": _deep(8 * MB),
}
READERS = (("inspect",), ("show",), ("export-history",), ("ledger", "verify"))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in {"objects", "a text"} else pytest.mark.soak)
        for name in LARGEST
    ],
)
def test_the_largest_inputs_are_run_and_read_back_within_bounds(
    tmp_path: Path, idle: int, name: str
) -> None:
    (tmp_path / "flow.json").write_text(json.dumps(FLOW))
    (tmp_path / "in.json").write_bytes(LARGEST[name])
    run = ("run", "flow.json", "--input", "@in.json", "--run-id", "large", "--json")
    for command in (run, *((*reader, "large") for reader in READERS)):
        cost = cost_of(*command, home=tmp_path)
        assert (command, cost.code) == (command, 0)
        shown = f"{command[0]}: {(cost.peak - idle) / MB:.0f} MB"
        assert cost.peak - idle < FACTOR * len(LARGEST[name]) + ALLOWANCE, shown
