"""Hints are commands to paste: where a store was named, they name it as well."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from abstractruntime._text import shell_word

# What works on no store; `test_cli_pasted_hints` holds it against the commands.
STORELESS: Final = frozenset({"compile", "bundle", "key", "check", "fmt", "diff", "schema", "explain", "stub-llm"})  # fmt: skip
_BUT: Final = frozenset({"bundle verify"})
_COMMAND: Final = re.compile(
    r"\bart ((?:ledger|snapshot|config|bundle|key) [a-z]+|[a-z]+(?:-[a-z]+)*)(?=[ ,;)]|$)"
)
_MARK: Final = re.compile(r"hint:|^note:")


def for_store(hint: str, store: str | None) -> str:
    """Give a hint whose commands are for the store that was named, if one was."""
    return hint if store is None else _COMMAND.sub(lambda found: _named(found, store), hint)


def line_for_store(line: str, store: str | None) -> str:
    """Give a line of talk whose commands to paste, in a hint or a note, are for the store that was named."""
    found = _MARK.search(line)
    return line[: found.end()] + for_store(line[found.end() :], store) if found else line


def _named(found: re.Match[str], store: str) -> str:
    is_storeless = found[1] not in _BUT and found[1].partition(" ")[0] in STORELESS
    return found[0] if is_storeless else f"{found[0]} --store {shell_word(store)}"


def named_store(args: Sequence[str]) -> str | None:
    """Give the store that a command line names, before anything is made of it."""
    for number, word in enumerate(args):
        if word == "--":
            return None
        if word == "--store":
            return next(iter(args[number + 1 :]), None)
        if word.startswith("--store="):
            return word.removeprefix("--store=")
    return None
