"""The files that a command is given."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from abstractruntime._files import open_file, read_bounded, read_start
from abstractruntime.errors import NotFound

_HISTORY_MARKS = frozenset({"root_run_id", "ledgers"})
_FIRST_LINE_BYTES = 1 << 20
_CASE_SUFFIX = ".case.json"
# What package managers put beside sources.
_FOREIGN = frozenset({"node_modules", "__pycache__"})

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


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a walk.

    Attributes:
        flows: Flow documents, in order.
        others: JSON files that are none.
        too_large: JSON files that are larger than any flow document can be.
        not_entered: Directories that were left out.
    """

    flows: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()
    too_large: tuple[Path, ...] = ()
    not_entered: tuple[Path, ...] = ()

    def __add__(self, more: Found) -> Found:
        return Found(
            self.flows + more.flows,
            self.others + more.others,
            self.too_large + more.too_large,
            self.not_entered + more.not_entered,
        )


def find_flows(paths: Iterable[Path]) -> Found:
    """Give the documents that paths name; a directory stands for the flows in it and below.

    Raises:
        NotFound: a directory holds no flow document.
    """
    found = Found()
    for path in paths:
        found += flows_below(path) if path.is_dir() else Found((path,))
    return found


def flows_below(directory: Path) -> Found:
    """Look for flow documents in a directory and below; see `require_documents`.

    Links to directories, and directories with a name that begins with a dot, are left out.

    Raises:
        NotFound: there is none.
    """
    files: list[Path] = []
    not_entered: list[Path] = []
    for entry in entries_below(directory):
        if entry.is_dir():
            if not _is_entered(entry):
                not_entered.append(Path(entry.path))
        elif _is_json(entry.name):
            files.append(Path(entry.path))
    found = replace(_sorted_out(files), not_entered=tuple(sorted(not_entered)))
    if found.flows:
        return found
    raise NotFound(
        f"directory '{directory}' holds no flow document",
        hint="documents are *.json files with nodes and edges",
        path=str(directory),
    )


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def require_documents(directory: Path) -> list[Path]:
    """Give the flow documents of a directory: those of its `*.json` files that are flows.

    Raises:
        NotFound: it holds none; names the directories below that do.
    """
    found = _sorted_out(path for path in directory.iterdir() if _is_json(path.name)).flows
    if found:
        return list(found)
    below = sorted({str(path.parent) for path in _sorted_out(directory.glob("*/*.json")).flows})
    raise NotFound(
        f"directory '{directory}' holds no flow document"
        + (f" itself, but {len(below)} directories in it do" if below else ""),
        hint=f"name one of them: {', '.join(below[:5])}" if below else "documents are *.json files",
        path=str(directory),
    )


def entries_below(directory: Path) -> Iterator[os.DirEntry[str]]:
    """Give what is in a directory and below it, however deep.

    Links to directories, hidden directories, what package managers put beside sources, and
    directories that cannot be read are not entered.
    """
    # Hazard: `os.walk` and `Path.rglob` of Python 3.10 and 3.11 call themselves for each level.
    places = [os.fspath(directory)]
    while places:
        try:
            with os.scandir(places.pop()) as found:
                entries = list(found)
        except OSError:
            continue
        yield from entries
        places += (entry.path for entry in entries if _is_entered(entry))


def _is_entered(entry: os.DirEntry[str]) -> bool:
    is_ours = not entry.name.startswith(".") and entry.name not in _FOREIGN
    return is_ours and entry.is_dir(follow_symlinks=False)


def _sorted_out(paths: Iterable[Path]) -> Found:
    from abstractruntime.visualflow_compiler.recognise import is_too_large, looks_like_flow

    flows: list[Path] = []
    others: list[Path] = []
    too_large: list[Path] = []
    for path in sorted(paths):
        if not path.is_file() or path.name.endswith(_CASE_SUFFIX):
            continue
        data = read_document(path)
        chosen = too_large if is_too_large(data) else flows if looks_like_flow(data) else others
        chosen.append(path)
    return Found(tuple(flows), tuple(others), tuple(too_large))


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
