"""The files that a command is given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from abstractruntime.errors import NotFound

_HISTORY_MARKS = frozenset({"root_run_id", "ledgers"})
_FIRST_LINE_BYTES = 1 << 20


def flow_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Give the documents that paths name; a directory stands for those in it.

    Raises:
        NotFound: a path does not exist, or a directory holds no document.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        yield from require_documents(path)


def require_documents(directory: Path) -> list[Path]:
    """Give the flow documents of a directory: its `*.json` files, but not `*.case.json`.

    Raises:
        NotFound: it holds none; names the directories below that do.
    """
    found = _documents(directory.glob("*.json"))
    if found:
        return found
    below = sorted({str(path.parent) for path in _documents(directory.glob("*/*.json"))})
    raise NotFound(
        f"directory '{directory}' holds no flow document"
        + (f" itself, but {len(below)} directories in it do" if below else ""),
        hint=f"name one of them: {', '.join(below[:5])}" if below else "documents are *.json files",
        path=str(directory),
    )


def is_history(path: Path) -> bool:
    """Say whether a file is an exported history rather than the lines of a ledger."""
    with path.open("rb") as file:
        return _starts_document(file) or _names_of(file) >= _HISTORY_MARKS


def _starts_document(file: IO[bytes]) -> bool:
    # A line of a ledger is a whole object, so a lone brace opens an indented document.
    return file.readline(_FIRST_LINE_BYTES).strip() == b"{"


def _names_of(file: IO[bytes]) -> set[str]:
    file.seek(0)
    try:
        first = json.loads(file.readline())
    except (ValueError, RecursionError):
        return set()
    return set(first) if isinstance(first, dict) else set()


def _documents(paths: Iterable[Path]) -> list[Path]:
    return sorted(p for p in paths if p.is_file() and not p.name.endswith(".case.json"))


def is_history_document(path: Path) -> bool:
    """Say whether a JSON file is an exported history; a flow document is none."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and set(document) >= _HISTORY_MARKS
