"""Long text on a terminal: the pager of the user."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

# What fits on the screen is left there; colours are kept.
_LESS: Final = ("less", "-FRX")
_NONE: Final = ("cat",)


def is_terminal() -> bool:
    """Tell whether somebody sits at the terminal that reads and shows."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def fits(text: str) -> bool:
    """Tell whether a text leaves room for a prompt on the screen."""
    return text.count("\n") < shutil.get_terminal_size((80, 24)).lines - 1


def pager_of(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """Give the command of the pager; None when none is wanted."""
    wanted = environ.get("ART_PAGER", environ.get("PAGER", _LESS[0]))
    try:
        words = tuple(shlex.split(wanted))
    except ValueError:
        return None
    if not words or words == _NONE or environ.get("TERM") == "dumb":
        return None
    return _LESS if words == _LESS[:1] and "LESS" not in environ else words


def page(command: Sequence[str], text: str) -> bool:
    """Show a text with a pager; False when there is no such program."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - what the user names
    except (OSError, ValueError):
        return False
    # Ctrl-C is for the pager, which goes on.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with contextlib.suppress(BrokenPipeError):
            process.communicate(text.encode("utf-8", "backslashreplace"))
        process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return True
