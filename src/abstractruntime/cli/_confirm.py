"""Asking before what cannot be undone.

Rules:
1. Where a person is, the question names what is ended or lost; nothing is done before the answer.
2. Where nobody is, what loses data needs `--yes`. What only ends something needs nothing: a
   script that has to revoke a key, or to cancel a run, must not fail for want of a word.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from abstractruntime._text import log_line
from abstractruntime.cli._output import talk
from abstractruntime.errors import UsageError

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def require_consent(question: str, *, yes: bool, loses: bool = False) -> None:
    """Do nothing when a person agrees or said so before, or when nobody is there and nothing is lost.

    Raises:
        UsageError: somebody is there, and did not agree; or nobody is, and data would be lost.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        if loses:
            raise UsageError(
                f"nobody is here to be asked: {question}",
                hint="this cannot be undone; if you mean it, add --yes",
                argument="--yes",
            )
        return
    talk(f"{log_line(question)} This cannot be undone. [y/N] ")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("not confirmed, so nothing was done", hint="answer y, or add --yes")
