"""The files that a command is given."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from abstractruntime._files import open_file, read_bounded, read_start
from abstractruntime.errors import NotFound

_HISTORY_MARKS = frozenset({"root_run_id", "ledgers"})
_FIRST_LINE_BYTES = 1 << 20

# The most that is read of a file of each kind; documents and archives have limits of their own.
MAX_INPUT_BYTES = 16 * 1024 * 1024
# As `has_more_values` counts them. A run holds each value of its input in several places.
MAX_VALUES = 101_000
MAX_HISTORY_BYTES = 256 * 1024 * 1024
MAX_SIGNATURE_BYTES = 1024 * 1024
MAX_PASSPHRASE_BYTES = 64 * 1024


def is_path(name: str) -> bool:
    """Tell whether what may be a run or a file is meant as a file, whatever kind of file it is."""
    path = Path(name)
    return path.is_file() or (os.sep in name and path.exists())


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


def read_document(path: Path) -> bytes:
    """Read a flow document; of one that is too long so much that its checks say so."""
    from abstractruntime.visualflow_compiler.document import MAX_DOCUMENT_BYTES

    return read_start(path, MAX_DOCUMENT_BYTES + 1)


def is_history(path: Path) -> bool:
    """Say whether a file is an exported history rather than the lines of a ledger."""
    with open_file(path) as file:
        start = file.read(_FIRST_LINE_BYTES)
    first, line_end, _ = start.partition(b"\n")
    # A line of a ledger is a whole object, so a lone brace opens an indented document.
    if first.strip() == b"{":
        return True
    if not line_end and len(start) == _FIRST_LINE_BYTES:
        return all(b'"%s"' % mark.encode() in start for mark in _HISTORY_MARKS)
    return _is_history_text(first)


def _documents(paths: Iterable[Path]) -> list[Path]:
    return sorted(p for p in paths if p.is_file() and not p.name.endswith(".case.json"))


def is_history_document(path: Path) -> bool:
    """Say whether a JSON file is an exported history; a flow document is none."""
    data = read_bounded(path, MAX_HISTORY_BYTES)
    return b'"root_run_id"' in data and _is_history_text(data)


def _is_history_text(data: bytes) -> bool:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and set(document) >= _HISTORY_MARKS
