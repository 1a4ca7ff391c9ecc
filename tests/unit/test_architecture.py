"""The claims of `docs/architecture.md` that no single test of behaviour shows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from source_tree import (
    PACKAGE,
    Import,
    circles,
    imports,
    is_in,
    modules,
    reached_from,
    room_of,
)

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[list[str]]]:
    """Give the names in each cell of the table below a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[re.findall(r"`([\w.]+)`", cell) for cell in line.split("|")] for line in lines]


# -- layers -----------------------------------------------------------------------------


def test_the_table_of_layers_says_what_the_contract_says():
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contract = contract.partition('type = "layers"')[2].partition("layers = [")[2].partition("]")[0]
    layers = [line.split(" : ") for line in re.findall(r'"([^"]+)"', contract)]

    table = [[name for cell in cells for name in cell] for cells in rows("Layers")]

    assert [sorted(row) for row in table] == [sorted(layer) for layer in layers]


def test_the_contract_of_the_store_names_every_private_module_of_storage():
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contract = contract.partition('"the store answers; nobody looks inside"')[2].partition("\n[[")[
        0
    ]
    private = {name for name in modules() if re.fullmatch(r"storage\._\w+", name)}

    assert set(re.findall(r"storage\._\w+", contract)) == private


# Who runs something, as opposed to reading what was written.
EXECUTES = (
    "_runtime", "scheduler", "core._kernel", "core.runtime", "effects", "nodes", "sandbox",
    "visualflow_compiler", "agents", "llm", "tools",
)  # fmt: skip


@pytest.mark.parametrize("reader", ["signing", "rendering", "_history"])
def test_readers_never_execute_a_flow(reader):
    assert sorted(name for name in reached_from(reader) if is_in(name, *EXECUTES)) == []


def test_signing_stands_alone():
    rooms = {room_of(name) for name in reached_from("signing")}

    assert rooms <= {"signing", "errors", "_json", "_files", "_text", "_exports"}


# -- the pure core ----------------------------------------------------------------------

WORLD = {
    "os", "io", "pathlib", "shutil", "tempfile", "sqlite3", "fcntl", "socket", "subprocess",
    "threading", "asyncio", "concurrent.futures", "time", "random", "secrets",
}  # fmt: skip
LOOKS = re.compile(r"(open|print|input|.*\.(now|utcnow|today|read_text|write_text|read_bytes))")
# A clock of the world is asked where an old signature gives none.
CLOCKS = {"core.models": {"datetime.now"}}


def pure() -> list[str]:
    return sorted(reached_from("core", leaving_out=("core", "core.runtime")))


def test_the_pure_core_reaches_nothing_of_ours_but_errors_and_json():
    # `_near` compares texts, nothing else.
    assert {room_of(name) for name in pure()} == {"core", "errors", "_json", "_near"}


def test_the_pure_core_looks_at_no_file_clock_or_thread():
    found = {
        f"{module}: {name}"
        for module in pure()
        for name in {*looks(module), *modules()[module].libraries & WORLD}
        - CLOCKS.get(module, set())
    }

    assert found == set()


def looks(module: str) -> Iterator[str]:
    for name, _ in modules()[module].calls:
        if LOOKS.fullmatch(name) and not name.endswith(("clock.now", "ctx.now")):
            yield name


DRAWS = re.compile(r"(uuid\.)?uuid\d|(os\.)?urandom|secrets\.\w+|(uuid\.)?UUID")
DRAWS_IDS = {
    "_ports_system": "the Ids port",
    "core.models": "the data classes of 0.4.x, where nobody gave an id",
    "core.derived_ids": "draws nothing: names of what follows from a run",
    "_beneath": "names of temporary files",
    "_files": "names of temporary files",
    "cli._authority": "draws no id: the secret that seals runs",
    "storage._store.store_file": "the origin of a new store",
}


def test_ids_are_drawn_by_the_port_alone():
    drawing = {
        module
        for module, read in modules().items()
        for name, _ in read.calls
        if DRAWS.fullmatch(name) or name.startswith("os.urandom")
    }

    assert drawing == DRAWS_IDS.keys()


# -- files of a store -------------------------------------------------------------------

OPENS = re.compile(
    r"open|io\.open|fcntl\.\w+|Path\(.*\)\.open"
    r"|os\.(open|write|fsync|fdatasync|rename|replace|unlink|remove|link|ftruncate|mkdir|rmdir)"
    r"|.*\.(read_bytes|read_text|write_bytes|write_text|touch)"
)
NOT_OF_A_STORE = {
    "storage._files.fs": "the one that may",
    "storage._files.beneath": "opens for it what lies below a store",
    "storage._files.locks": "asks the system who holds a lock, and notes it in the file",
    "storage._sqlite_database": "a database of the 0.4.x stores: SQLite itself opens it",
    "storage.ledger_chain": "verifies the ledger that a caller names, as 0.4.x did",
    "storage.commands": "its one file has the name that a caller gives, as in 0.4.x",
}


def test_only_one_module_opens_syncs_renames_or_locks_files_of_a_store():
    found = {
        f"{module}:{line} {name}"
        for module in modules()
        if is_in(module, "storage") and module not in NOT_OF_A_STORE
        for name, line in modules()[module].calls
        if OPENS.fullmatch(name)
    }

    assert found == set()


FILE_NAME = re.compile(r"(^|/)(ledger|heads|run)_$|/(locks|inbox|quarantine|bundles|imported)/")


def test_only_the_layout_builds_file_names():
    found = {
        f"{module}:{line} {text!r}"
        for module in modules()
        if is_in(module, "storage", "cli", "_runtime", "scheduler", "_history")
        for text, line in modules()[module].texts
        if FILE_NAME.search(text) and module not in {"storage._files.layout", *NOT_OF_A_STORE}
    }

    assert found == set()


def test_the_layout_is_seen_to_build_names():
    texts = [text for text, _ in modules()["storage._files.layout"].texts]

    assert len([text for text in texts if FILE_NAME.search(text)]) > 5


# -- ports ------------------------------------------------------------------------------


def test_implementations_have_what_a_port_of_theirs_asks():
    checked = set()
    for _, ports, _, others, _ in rows("Ports"):
        asked = [asked_of(named(port)) for port in ports]
        for other, found in ((name, named(name)) for name in others):
            if inspect.isclass(found):
                missing = [{n for n in names if not gives(found, n)} for names in asked]
                assert set() in missing, f"{other} lacks {missing}"
                checked.add(other)

    engines = {"storage._store.engine.DirectoryEngine", "storage.classic.ClassicEngine"}
    assert engines < checked
    assert len(checked) >= 7


def named(path: str) -> Any:
    module, _, name = f"{PACKAGE}.{path}".rpartition(".")
    return getattr(import_module(module), name, None)  # a module, where it is none


def asked_of(port: type) -> set[str]:
    bases = [base for base in port.__mro__ if base.__module__.startswith(PACKAGE)]
    return {name for base in bases for name in vars(base) if not name.startswith("_")}


def gives(implementation: type, name: str) -> bool:
    """Tell whether a class, or what its `__init__` sets, has a name."""
    is_set = re.compile(rf"\bself\.{name}\b.*[:=]")
    sources = (inspect.getsource(base) for base in implementation.__mro__[:-1])
    return hasattr(implementation, name) or any(map(is_set.search, sources))


# -- modules ----------------------------------------------------------------------------

# (importing module, private module of another room): why
PRIVATE = {
    ("_runtime.runtime", "core._kernel"): "composition puts the kernel together",
}
MOST_PRIVATE = 20


def test_no_two_modules_import_each_other_not_even_over_others():
    readable = [" <-> ".join(circle) for circle in circles(imports())]

    assert readable == [], "also in functions and for type checkers"


def test_private_modules_stay_in_their_room_but_for_these():
    found = {
        (edge.source, edge.target): str(edge)
        for edge in imports()
        if room_of(edge.source) != room_of(edge.target) and is_private(edge.target)
    }

    assert sorted(found[pair] for pair in found.keys() - PRIVATE.keys()) == []
    assert sorted(PRIVATE.keys() - found.keys()) == [], "listed, and nobody imports it"
    assert len(PRIVATE) < MOST_PRIVATE


def is_private(module: str) -> bool:
    return any(part.startswith("_") for part in module.split(".")[1:])


# -- the measures themselves ------------------------------------------------------------


def test_circles_are_found():
    edges = [Import(*pair) for pair in ("ab", "bc", "ca", "cd", "de", "fd")]

    assert circles(edges) == [["a", "b", "c"]]
    assert circles(edges[3:]) == []
