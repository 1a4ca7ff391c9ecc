"""The documents tell the truth: links, examples, names and reference agree with the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from abstractruntime.cli._table import COMMANDS, Group
from abstractruntime.errors import ExitCode
from abstractruntime.nodes.registry import node_types
from abstractruntime.visualflow_compiler.check import RULES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    {
        *ROOT.glob("*.md"),
        *ROOT.glob("llms*.txt"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("bundles/**/*.md"),
    }
)
REFERENCE = ROOT / "docs" / "reference"
EXAMPLE_FILES = ("bundles",)
# Elsewhere, fences show what takes longer than a test may.
TEACHING = ("README.md", "docs/tutorials", "docs/how-to", "bundles")

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOTTED = re.compile(r"`([a-z_]+(?:\.[A-Za-z_]\w*)+)(?:\(\))?`")


def fences(document: Path, language: str) -> list[tuple[str, str]]:
    """Give words after the language, and the text, of every such block."""
    found = FENCE.findall(document.read_text(encoding="utf-8"))
    return [(info.strip(), text) for name, info, text in found if name == language]


def with_fences(language: str) -> list[Any]:
    found = {str(document.relative_to(ROOT)): document for document in DOCUMENTS}
    teaching = {name: path for name, path in found.items() if name.startswith(TEACHING)}
    return [pytest.param(p, id=name) for name, p in teaching.items() if fences(p, language)]


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """Give the environment of a new user who stands in a fresh copy of the repository."""
    for name in EXAMPLE_FILES:
        shutil.copytree(ROOT / name, tmp_path / name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = [
        link.partition("#")[0] for link in LINK.findall(document.read_text(encoding="utf-8"))
    ]
    local = [target for target in targets if target and "://" not in target]

    assert [target for target in local if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", with_fences("sh"))
def test_shell_examples_exit_as_written(document: Path, user: dict[str, str]) -> None:
    # Blocks are typed into one shell: exported variables stay.
    frame = "touch .exports; . ./.exports; trap 'export -p >.exports' EXIT\n"
    for info, text in fences(document, "sh"):
        wanted = int(info.removeprefix("exit=") or 0)
        command = ["sh", "-eu", "-c", frame + text]
        done = subprocess.run(
            command, env=user, cwd=user["HOME"], capture_output=True, text=True, check=False
        )
        assert done.returncode == wanted, f"{text}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    "old, new",
    [
        ('"type": "ask_user"', '"type": "ask_usr"'),
        ('"sourceHandle": "response"', '"sourceHandle": "respons"'),
        ('"interfaces": ', '"interfaces":   '),
        ('"approve"', '"agree"'),
    ],
    ids=["unknown-type", "unknown-pin", "other-form", "other-behaviour"],
)
def test_the_recipe_for_ci_fails_on_a_broken_flow(user: dict[str, str], old: str, new: str) -> None:
    (recipe,) = (
        text for _, text in fences(ROOT / "docs/how-to/ci.md", "sh") if "art check" in text
    )
    flow = Path(user["HOME"]) / "bundles" / "release-approval" / "flow.json"
    assert old in flow.read_text()
    flow.write_text(flow.read_text().replace(old, new))

    done = subprocess.run(
        ["sh", "-c", recipe],
        env=user,
        cwd=user["HOME"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr


@pytest.mark.parametrize("document", with_fences("python"))
def test_python_examples_run(document: Path, user: dict[str, str]) -> None:
    for _, text in fences(document, "python"):
        command = [sys.executable, "-W", "error", "-c", text]
        subprocess.run(command, env=user, cwd=user["HOME"], capture_output=True, check=True)


def test_readme_names_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    for target in ("demo", "test"):
        assert f"make {target}" in readme
        assert f"\n{target}:" in makefile


# -- names ---------------------------------------------------------------------


def resolve(name: str) -> None:
    """Import `abstractruntime.<name>` as far as it is a module, and look up the rest."""
    value: Any = import_module("abstractruntime")
    for part in name.split("."):
        path = f"{getattr(value, '__name__', '')}.{part}"
        value = getattr(value, part, None) or import_module(path)


@pytest.mark.parametrize(
    "document",
    [
        ROOT / "docs" / "architecture.md",
        *sorted((ROOT / "docs" / "explanation").glob("*.md")),
        ROOT / "llms-full.txt",
    ],
    ids=lambda path: path.name,
)
def test_names_of_the_code_exist(document: Path) -> None:
    packages = {path.name for path in (ROOT / "src" / "abstractruntime").iterdir()}
    packages |= {name.removesuffix(".py") for name in packages}
    names = [
        name
        for name in DOTTED.findall(document.read_text(encoding="utf-8"))
        if name.partition(".")[0] in packages
    ]

    for name in names:
        resolve(name)


def test_tests_that_the_pages_name_are_there() -> None:
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())}
    known |= {file.stem for file in files}
    pages = [page.read_text() for page in (ROOT / "docs" / "explanation").glob("*.md")]

    named = {name for page in pages for name in re.findall(r"\btest_\w+", page)}
    assert sorted(named - known) == []


def test_groups_of_attacks_are_those_of_the_page() -> None:
    groups = yaml.safe_load((ROOT / "tests" / "escape" / "attacks.yaml").read_text())
    page = (ROOT / "docs" / "explanation" / "sandbox.md").read_text().partition("## Threats")[2]
    rows = [line for line in page.splitlines() if line.startswith("| ")]

    named = {name for row in rows for name in re.findall(r'"([^"]+)"', row)}
    assert named == {group["group"] for group in groups}


def test_architecture_names_every_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = [
        path.parent.name for path in (ROOT / "src" / "abstractruntime").glob("*/__init__.py")
    ]

    assert [name for name in packages if f"`{name}" not in text] == []


def test_every_listed_difference_is_explained() -> None:
    listed = yaml.safe_load((ROOT / "tests" / "conformance" / "deviations.yaml").read_text("utf-8"))
    explained = set(
        re.findall(
            r"\b[LEKD]\d+(?:\.\d+)?\b", (ROOT / "docs" / "compatibility.md").read_text("utf-8")
        )
    )

    assert {entry["quirk"] for entry in listed} <= explained


def section(document: Path, start: str, end: str) -> str:
    return document.read_text(encoding="utf-8").split(start)[1].split(end)[0]


COMPATIBILITY = ROOT / "docs" / "compatibility.md"


def test_kept_imports_are_there() -> None:
    names = re.findall(r"`([\w.]+)`", section(COMPATIBILITY, "* Imports", "* Signatures"))

    assert len(names) > 20
    for name in names:
        resolve(name)


def test_missing_modules_are_missing() -> None:
    names = re.findall(r"`([\w.]+)`", section(COMPATIBILITY, "import error:", "Instead of"))

    assert names
    for name in names:
        with pytest.raises(ModuleNotFoundError):
            resolve(name)


# -- reference -------------------------------------------------------------------


def commands(group: Group, prefix: str = "art") -> Iterator[str]:
    for name, entry in group.entries.items():
        if isinstance(entry, Group):
            yield from commands(entry, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


REGISTERED = {
    "commands": list(commands(COMMANDS)),
    "exit codes": [f"| {int(code)} |" for code in ExitCode],
    "diagnostics": list(RULES),
    "node types": list(node_types()),
}


@pytest.mark.parametrize("names", REGISTERED.values(), ids=REGISTERED)
def test_reference_covers_the_registry(names: list[str]) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in REFERENCE.rglob("*.md"))

    assert [name for name in names if not re.search(rf"{re.escape(name)}(?![\w-])", text)] == []


def test_reference_is_the_generated_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "abstractruntime.cli._reference", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)

    def files(root: Path) -> dict[str, str]:
        return {
            str(path.relative_to(root)): path.read_text("utf-8")
            for path in root.rglob("*")
            if path.is_file()
        }

    assert files(REFERENCE) == files(tmp_path), "run: make docs"
