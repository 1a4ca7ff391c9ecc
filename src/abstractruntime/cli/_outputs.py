"""Where a command writes its result, and what it never writes over; every command writes by it.

Rules:
1. A regular file appears whole or not at all; a link stays, and what it names is written.
2. Into a pipe or a character device is written; any other special file is refused.
3. What the command was given, files of a store, and keys and configuration are refused,
   with `--force` too.
4. A file of another kind than the one that is written is only replaced with `--force`.
5. What a command changes in place keeps its mode, and rule 3 holds for it but for its being given.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abstractruntime._files import STORE_FILE, marks_store, read_start, write_atomic
from abstractruntime._text import shell_word
from abstractruntime.errors import NotFound, StoreIOError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from abstractruntime.cli._session import Session

_HEAD_BYTES = 4096
# Names that stand for an open file: replacing what they lead to would leave the writer behind.
_OPEN_FILE = re.compile(
    r"/dev/(std(in|out|err)|fd/\d+)|/proc/(self|thread-self|\d+)(/task/\d+)?/fd/\d+"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of result file, known by how it begins."""

    name: str
    beginning: re.Pattern[bytes]

    def fits(self, head: bytes) -> bool:
        """Whether a file that begins so is of this kind; an empty one is of any."""
        return not head or self.beginning.match(head) is not None


BUNDLE = Kind("a bundle", re.compile(rb"PK\x03\x04.{26}manifest\.json", re.DOTALL))
HISTORY = Kind("an exported history", re.compile(rb'\s*\{\s*"format": "art-history/'))
JUNIT = Kind("a JUnit report", re.compile(rb"<\?xml.*?<testsuite ", re.DOTALL))
CASE = Kind("a test case", re.compile(rb"(?!)"))
PICTURES = {
    "ascii": Kind("a drawing", re.compile(rb"\s*\+-")),
    "mermaid": Kind("a Mermaid drawing", re.compile(rb"---\ntitle: .*?\n---\nflowchart")),
    "dot": Kind("a DOT drawing", re.compile(rb"digraph ")),
    "svg": Kind("an SVG drawing", re.compile(rb"<svg ")),
}


def write_result(
    session: Session,
    path: Path,
    data: bytes,
    *,
    kind: Kind,
    mode: int,
    inputs: Sequence[Path] = (),
    force: bool = False,
) -> None:
    """Write what a command made; see the rules above.

    Args:
        kind: What is written; the only kind of file that it may take the place of.
        mode: Permissions of the file.
        inputs: What the command was given: files, or directories of documents.
        force: Whether a file of another kind may be replaced.

    Raises:
        NotFound: there is no such directory; a misspelt path must not become a new place.
        UsageError: the path is `-`, or one that is never written over, or of another kind.
        StoreIOError: the operating system refused.
    """
    if str(path) == "-":
        raise UsageError(
            f"'-' names no file for {kind.name}",
            hint="name a file, or /dev/stdout; with -q nothing else is printed",
            argument="--output",
        )
    if _OPEN_FILE.fullmatch(str(path)) or _is_stream(path):
        _write_into(path, data)
        return
    real = Path(os.path.realpath(path))
    if not real.parent.is_dir():
        raise NotFound(
            f"no directory '{path.parent}' to write '{path.name}' into",
            hint=f"make it: mkdir -p {shell_word(path.parent)}",
            path=str(path.parent),
        )
    for reason in _objections(session, real, kind, inputs, force=force):
        raise UsageError(
            f"'{path}' {reason}, so {kind.name} is not written over it",
            hint="name another file with -o",
            path=str(path),
        )
    write_atomic(real, data, mode=mode)


def rewrite(session: Session, path: Path, data: bytes) -> None:
    """Write anew what a command was given to change in place; see the rules above.

    Raises:
        UsageError: it lies where no results are written, or is a special file.
        StoreIOError: the operating system refused.
    """
    real = rewritable(session, path)
    write_atomic(real, data, mode=stat.S_IMODE(real.stat().st_mode))


def rewritable(session: Session, path: Path) -> Path:
    """Give the file that changing `path` in place would write, so that many can be asked about first.

    Raises:
        UsageError: it lies where no results are written, or is a special file.
    """
    real = Path(os.path.realpath(path))
    place = _reserved(session, real)
    if place is None and real.is_file():
        return real
    reason = f"is in {place}" if place else "is no regular file"
    raise UsageError(
        f"'{path}' {reason}, so it is not changed in place",
        hint="copy it to a directory of its own, and name the copy",
        path=str(path),
    )


def require_free_place(session: Session, directory: Path) -> None:
    """Refuse a directory to write results into that a store, keys or configuration lie in.

    Raises:
        UsageError: it is one.
    """
    if place := _reserved(session, Path(os.path.realpath(directory))):
        raise UsageError(
            f"'{directory}' is {place}, where no results are written",
            hint="name another directory with -o",
            path=str(directory),
        )


def _objections(
    session: Session, real: Path, kind: Kind, inputs: Sequence[Path], *, force: bool
) -> Iterator[str]:
    if place := _reserved(session, real):
        yield f"is in {place}"
    if any(_is_of(real, given) for given in inputs):
        yield "is what this command reads"
    if real.is_dir():
        yield "is a directory"
    elif real.exists():
        if not real.is_file():
            yield "is a special file"
        elif not force and not kind.fits(_head(real)):
            yield "exists and is something else (--force replaces it)"


def _is_of(real: Path, given: Path) -> bool:
    """Whether a path is what was given, or one of the documents of a directory that was."""
    if given.is_dir():
        return real.suffix == ".json" and real.parent == Path(os.path.realpath(given))
    return real.exists() and given.exists() and real.samefile(given)


def _reserved(session: Session, real: Path) -> str | None:
    """Say in what a path lies that commands write only as their own; None for other places."""
    own = {
        "the configuration directory": session.config_dir,
        "the store": session.config.store,
    }
    around = (real, *real.parents)
    for name, directory in own.items():
        if Path(os.path.realpath(directory)) in around:
            return f"{name} '{directory}'"
    if real == Path(os.path.realpath(session.config.get("trust_store"))):
        return "use as the trust store"
    found = next((place for place in around if _is_store(place)), None)
    return f"the store '{found}'" if found else None


def _is_store(directory: Path) -> bool:
    return marks_store(_head(directory / STORE_FILE))


def _head(path: Path) -> bytes:
    return read_start(path, _HEAD_BYTES) if path.is_file() else b""


def _is_stream(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _write_into(path: Path, data: bytes) -> None:
    try:
        if os.path.samestat(path.stat(), os.fstat(1)):
            # Opened anew, a file would be written from its start, over what stdout holds.
            sys.stdout.flush()
            with os.fdopen(os.dup(1), "wb") as file:
                file.write(data)
            return
        if stat.S_ISBLK(path.stat().st_mode):
            raise UsageError(
                f"'{path}' is a block device", hint="name a file with -o", path=str(path)
            )
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC), "wb") as file:
            file.write(data)
    except OSError as cause:
        raise StoreIOError(f"cannot write '{path}': {cause.strerror}", path=str(path)) from cause
