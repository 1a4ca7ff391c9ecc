"""What each command loads: the rooms of ours and the libraries that it needs, and no others.

A row names all that is loaded of what is watched here; everything else is absent. The room `cli`
and the modules beside the rooms are free, and so is what the parser itself loads.
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

# Parts of rooms that a command may leave out though it needs the room.
PARTS = {
    "nodes.registry", "storage._care", "storage._care.gc", "storage._store", "visualflow_compiler.check",
    "visualflow_compiler._load", "visualflow_compiler._lower", "visualflow_compiler.drawing._svg",
    "effects.memory.compact", "kg.handlers", "tools.mapping",
}  # fmt: skip

STORE = "core storage storage._store sqlite3"
DOCUMENTS = "visualflow_compiler workflow_bundle"
LABELS = f"core nodes {DOCUMENTS} visualflow_compiler._load"
PINS = f"{LABELS} nodes.registry memory rendering"
CHECKS = "core nodes nodes.registry memory rendering visualflow_compiler visualflow_compiler._load visualflow_compiler._lower visualflow_compiler.check"
KERNEL = f"_runtime effects kg {STORE}"
IDLE = f"{KERNEL} nodes nodes.registry signing tools {DOCUMENTS}"
DRIVES = f"{KERNEL} {PINS} agents scheduler signing tools visualflow_compiler.check visualflow_compiler._lower"

COMMANDS = [
    # Reading: what is stored, as it is.
    ("config show", ""),
    ("key list", "signing"),
    ("runs", f"rendering storage._care {STORE}"),
    ("ledger show demo", f"rendering {STORE}"),
    ("ledger tail demo", f"rendering {STORE}"),
    ("ledger verify plain.jsonl", "core rendering signing"),
    ("ledger verify signed.jsonl --heads heads.jsonl", "core rendering signing cryptography"),
    ("ledger verify h.json", "core rendering signing _history schemas storage storage._store jsonschema sqlite3 tempfile"),
    # A run is judged with the bundle that it needs to go on.
    ("ledger verify demo", f"rendering signing storage._care {STORE} {DOCUMENTS}"),
    ("ledger verify signed", f"rendering signing cryptography storage._care {STORE} {DOCUMENTS}"),
    ("inspect demo", f"rendering {STORE} {LABELS}"),
    ("show demo", f"rendering {STORE} {LABELS}"),
    ("export-history demo -o h2.json", f"_history schemas signing {STORE}"),
    ("snapshot list", f"storage._care {STORE}"),
    ("repair demo", f"storage._care storage._care.gc {STORE}"),
    ("gc", f"storage._care storage._care.gc rendering {STORE}"),
    ("bundle show b.flowbundle", f"signing {PINS}"),
    ("bundle verify b.flowbundle", f"signing cryptography {PINS}"),
    ("schema run", "schemas"),
    ("explain VF301", "core nodes nodes.registry schemas visualflow_compiler visualflow_compiler.check"),
    ("doctor", f"cryptography nodes rendering sandbox signing storage._care storage._care.gc {STORE} {DOCUMENTS}"),
    # Flows.
    ("check flow.json", CHECKS),
    ("fmt flow.json --check", "nodes visualflow_compiler visualflow_compiler._load"),
    ("diff flow.json flow.json", PINS),
    ("compile flow.json -o c.flowbundle --unsigned", f"signing {CHECKS} {PINS}"),
    ("graph flow.json", PINS),
    ("graph flow.json --format svg", f"{PINS} visualflow_compiler.drawing._svg"),
    # Driving.
    ("run flow.json --input service=a --input version=1", DRIVES),
    ("resume demo --input approve", DRIVES),
    ("tick demo", DRIVES),
    ("emit approved --run demo", IDLE),
    ("tick --due", f"{IDLE} rendering"),
    ("serve --once", IDLE),
    ("cancel demo", f"{KERNEL} rendering"),
    ("pause demo", f"{KERNEL} rendering"),
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a flow, a signed bundle, and a store where `demo` and `signed` wait."""
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
            "key new host --usage host -q",
            "run flow.json --run-id signed --host-key host -q --waiting-ok",
            "run flow.json --run-id demo -q --waiting-ok",
            "export-history demo -o h.json -q",
        ):
            assert main(args.split()) == 0
    shutil.copy(home / "store" / "ledger_demo.jsonl", home / "plain.jsonl")
    shutil.copy(home / "store" / "ledger_signed.jsonl", home / "signed.jsonl")
    shutil.copy(home / "store" / "heads_signed.jsonl", home / "heads.jsonl")
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

    ours = {name for name in ROOMS | PARTS if f"abstractruntime.{name}" in loaded}
    assert ours == set(needed.split()) - LIBRARIES
    assert LIBRARIES & loaded <= set(needed.split())


@pytest.mark.parametrize("path", ["ledger verify", "run", "serve", "explain"])
def test_help_of_a_command_needs_no_schema_library(path: str, home: Path, tmp_path: Path) -> None:
    assert "pydantic" not in loaded_by(f"{path} --help", home, tmp_path)


def test_rows_name_what_there_is() -> None:
    named: set[Any] = {word for _, needed in COMMANDS for word in needed.split()}

    assert named <= ROOMS | PARTS | LIBRARIES
