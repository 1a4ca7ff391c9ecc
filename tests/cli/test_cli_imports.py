"""What each command loads: the rooms of ours and the libraries that it needs, and no others.

A row names all that may be loaded; of what is watched here, everything else is absent. The rooms
`cli` and the modules beside the rooms are free, and so is what the parser itself loads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.cli.app import main

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "abstractruntime"
ROOMS = {path.parent.name for path in SRC.glob("*/__init__.py")} - {"cli"}
LIBRARIES = {
    "asyncio", "cronsim", "cryptography", "http", "jinja2", "jsonschema", "logging", "platformdirs",
    "pydantic", "rich", "secrets", "socket", "sqlite3", "ssl", "tempfile", "yaml",
}  # fmt: skip

PROBE = """
import sys
from abstractruntime.cli.app import main
code = main(sys.argv[2:])
open(sys.argv[1], "w").write("\\n".join(sys.modules))
raise SystemExit(code)
"""

STORE = "core storage secrets socket"
LOOKUP = f"{STORE} sqlite3"
BUNDLES = "agents core nodes signing visualflow_compiler workflow_bundle logging"
CHECKS = f"{BUNDLES} memory rendering sandbox"
ENGINE = f"{BUNDLES} _runtime effects kg memory scheduler socket storage tools"
DRIVES = f"{ENGINE} {LOOKUP} rendering"

COMMANDS = [
    # Reading: what is stored, as it is.
    ("config show", ""),
    ("key list", "signing"),
    ("runs", LOOKUP),
    ("ledger verify plain.jsonl", f"{DRIVES} _history schemas"),
    ("ledger verify demo", f"{DRIVES} _history schemas"),
    ("ledger show demo", f"{DRIVES} _history schemas"),
    ("ledger tail demo", f"{DRIVES} _history schemas"),
    ("inspect demo", DRIVES),
    ("show demo", f"{DRIVES} _history schemas"),
    ("export-history demo -o h.json", f"{DRIVES} _history schemas"),
    ("bundle show b.flowbundle", BUNDLES),
    ("bundle verify b.flowbundle", f"{BUNDLES} cryptography"),
    ("schema run", "schemas"),
    ("explain VF301", "agents core nodes schemas visualflow_compiler logging"),
    ("doctor", f"{DRIVES} _history sandbox schemas"),
    # Flows.
    ("check flow.json", CHECKS),
    ("fmt flow.json --check", BUNDLES),
    ("compile flow.json -o c.flowbundle --unsigned", CHECKS),
    ("graph flow.json", f"{ENGINE} rendering sandbox http ssl tempfile"),
    # Driving.
    ("run flow.json --input service=a --input version=1", f"{DRIVES} sandbox"),
    ("resume demo --input approve", f"{DRIVES} sandbox"),
    ("emit approved --run demo", DRIVES),
    ("tick --due", DRIVES),
    ("serve --once", f"{ENGINE} {LOOKUP}"),
    ("cancel demo", DRIVES),
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a flow, a signed bundle, and a store where the run `demo` waits."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(ROOT / "bundles" / "release-approval" / "flow.json", home)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for name, value in places(home).items():
            patch.setenv(name, value)
        for args in (
            "key new dev -q",
            "fmt flow.json -q",
            "compile flow.json -o b.flowbundle --key dev -q",
            "run flow.json --run-id demo --input service=api --input version=1 -q --waiting-ok",
        ):
            assert main(args.split()) == 0
    shutil.copy(home / "store" / "ledger_demo.jsonl", home / "plain.jsonl")
    return home


def places(home: Path) -> dict[str, str]:
    return {"ART_HOME": str(home / "store"), "ART_CONFIG_DIR": str(home / "config")}


def loaded_by(args: str, home: Path, tmp_path: Path) -> set[str]:
    """Run a command on a copy of `home` and give the modules that its process loaded."""
    here = shutil.copytree(home, tmp_path / "home")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ART_")} | places(here)
    modules = tmp_path / "modules"
    command = [sys.executable, "-c", PROBE, str(modules), *args.split()]
    done = subprocess.run(
        command, cwd=here, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 4), done.stderr
    return set(modules.read_text().split())


@pytest.mark.parametrize(("args", "needed"), COMMANDS, ids=[args for args, _ in COMMANDS])
def test_command_loads_what_it_needs(args: str, needed: str, home: Path, tmp_path: Path) -> None:
    loaded = loaded_by(args, home, tmp_path)

    rooms = {room for room in ROOMS if f"abstractruntime.{room}" in loaded}
    assert (rooms | LIBRARIES & loaded) - set(needed.split()) == set()


@pytest.mark.parametrize("path", ["ledger verify", "run", "serve", "explain"])
def test_help_of_a_command_needs_no_schema_library(path: str, home: Path, tmp_path: Path) -> None:
    assert "pydantic" not in loaded_by(f"{path} --help", home, tmp_path)


def test_rows_name_what_there_is() -> None:
    named: set[Any] = {word for _, needed in COMMANDS for word in needed.split()}

    assert named <= ROOMS | LIBRARIES
