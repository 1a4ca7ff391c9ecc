"""Long text goes through a pager, on a terminal only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.cli._pager import page, pager_of

LESS = ("less", "-FRX")


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, LESS),
        ({"PAGER": "most -s"}, ("most", "-s")),
        ({"ART_PAGER": "bat", "PAGER": "most"}, ("bat",)),
        ({"PAGER": "less"}, LESS),
        ({"PAGER": "less", "LESS": "-S"}, ("less",)),
        ({"PAGER": "less -N"}, ("less", "-N")),
        ({"PAGER": ""}, None),
        ({"PAGER": "cat"}, None),
        ({"ART_PAGER": "", "PAGER": "most"}, None),
        ({"TERM": "dumb"}, None),
        ({"PAGER": "less 'half"}, None),
    ],
)
def test_which_pager(environ: dict[str, str], found: Any) -> None:
    assert pager_of(environ) == found


def test_text_goes_to_the_pager(tmp_path: Path) -> None:
    copy = tmp_path / "paged"

    assert page(["cp", "/dev/stdin", str(copy)], "a é\n") is True
    assert copy.read_text() == "a é\n"


@pytest.mark.parametrize("command", [["no-such-pager"], [""], ["/"]])
def test_what_cannot_be_started_is_no_pager(command: list[str]) -> None:
    assert page(command, "a\n") is False


def test_who_leaves_the_pager_early_stops_nothing() -> None:
    assert page(["true"], "a\n" * 1_000_000) is True


@pytest.mark.parametrize(
    ("args", "is_paged"),
    [((), True), (("--no-pager",), False), (("--json",), False)],
    ids=["text", "no pager", "json"],
)
def test_a_command_on_a_terminal(tmp_path: Path, args: tuple[str, ...], is_paged: bool) -> None:
    master, terminal = os.openpty()
    copy = tmp_path / "paged"
    command = [sys.executable, "-m", "abstractruntime", "explain", "node", "agent", *args]
    environ = {**os.environ, "ART_PAGER": f"cp /dev/stdin {copy}", "TERM": "xterm"}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, env=environ)
    os.close(terminal)
    shown = b""
    while chunk := _read(master):
        shown += chunk

    assert process.wait() == 0
    assert copy.exists() is is_paged
    assert "agent" in copy.read_text() if is_paged else b"agent" in shown
    os.close(master)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # nobody writes to it any more
        return b""
