"""Asking before what cannot be undone, where there is a person to ask."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from abstractruntime._text import log_line
from abstractruntime.cli._output import talk
from abstractruntime.errors import UsageError

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")]


def require_consent(question: str, *, yes: bool) -> None:
    """Do nothing when a person agrees, said so before, or is not there: scripts are not asked.

    Raises:
        UsageError: somebody is there, and did not agree.
    """
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    talk(f"{log_line(question)} This cannot be undone. [y/N] ")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("not confirmed, so nothing was done", hint="answer y, or add --yes")
