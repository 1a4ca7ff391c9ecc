"""The reference pages say what the program says."""

from __future__ import annotations

from pathlib import Path

import pytest

from abstractruntime.cli._reference import pages, walk
from abstractruntime.cli._table import COMMANDS
from abstractruntime.errors import ExitCode

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_the_generated_one(name: str) -> None:
    assert (REFERENCE / name).read_text("utf-8") == PAGES[name], "run: make docs"


def test_every_command_and_exit_code_is_mentioned() -> None:
    assert [name for name, _ in walk(COMMANDS) if f"## art {name}\n" not in PAGES["cli.md"]] == []
    assert [
        c for c in ExitCode if f"| {int(c)} | {c.name.lower()} |" not in PAGES["exit-codes.md"]
    ] == []
