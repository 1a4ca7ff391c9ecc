"""`art fmt` and `art diff`: flow documents as files under version control."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from abstractruntime._files import read_bounded, read_start, read_stream
from abstractruntime._json import JsonObject
from abstractruntime._text import log_line, shell_word
from abstractruntime.cli._files import find_flows, flows_below
from abstractruntime.cli._outputs import rewritable, rewrite
from abstractruntime.cli._session import Session
from abstractruntime.errors import AbstractRuntimeError, ExitCode, FlowError, UsageError
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic
from abstractruntime.visualflow_compiler.diff import BundleDiff, diff_sides
from abstractruntime.visualflow_compiler.diff_text import diff_lines
from abstractruntime.visualflow_compiler.document import MAX_DOCUMENT_BYTES
from abstractruntime.visualflow_compiler.fmt import format_document

_STDIN = "-"
_GIT_ARGUMENTS = 7


@dataclass(frozen=True, slots=True)
class Formatted:
    """One document before and after."""

    path: str
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)

    @property
    def is_changed(self) -> bool:
        return self.before != self.after

    def diff(self) -> list[str]:
        before, after = (_lines(text) for text in (self.before, self.after))
        return list(difflib.unified_diff(before, after, self.path, self.path, lineterm=""))


@dataclass(frozen=True, slots=True)
class Unread:
    """One document that cannot be formatted, and why."""

    path: str
    findings: tuple[Diagnostic, ...]


def _lines(data: bytes) -> list[str]:
    """Give the lines, with carriage returns and byte order marks made visible."""
    text = data.decode("utf-8", "replace").replace("\ufeff", "\\ufeff").replace("\r", "\\r")
    return text.removesuffix("\n").split("\n")


def fmt(
    session: Session,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FLOW|DIR|-...", help="Documents, directories of them, or stdin."),
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when something would change.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; show what would change.")
    ] = False,
) -> int:
    """Write flow documents in their normal form.

    Nothing is written unless all of them can be formatted. `-` formats stdin to stdout.
    """
    if _STDIN in files:
        if len(files) > 1:
            raise UsageError("'-' stands alone", hint="format files and stdin one after the other")
        return _format_stdin(session, check=check, diff=diff)
    places = [Path(file) for file in files]
    for directory in filter(Path.is_dir, places):
        _require_inside(directory)
    read = [_formatted(path) for path in find_flows(places).flows]
    done = [item for item in read if isinstance(item, Formatted)]
    unread = [item for item in read if isinstance(item, Unread)]
    changed = [item for item in done if item.is_changed]
    is_dry = check or diff
    if not is_dry:
        _require_read(unread)
        _rewrite(session, changed)
    _report(session, read, is_dry=is_dry, diff=diff)
    return int(ExitCode.FAILED if unread or (check and changed) else ExitCode.OK)


def _require_inside(directory: Path) -> None:
    """Refuse a directory whose documents are links to elsewhere: nobody named what they lead to."""
    inside = os.path.realpath(directory)
    for path in flows_below(directory).flows:
        real = os.path.realpath(path)
        if os.path.commonpath([inside, real]) != inside:
            raise UsageError(
                f"'{path}' is a link to '{real}', outside of the directory",
                hint="name the document itself to format it",
                path=str(path),
            )


def _formatted(path: Path) -> Formatted | Unread:
    data = read_bounded(path, MAX_DOCUMENT_BYTES)
    try:
        return Formatted(str(path), data, format_document(data, file=str(path)))
    except FlowError as cause:
        return Unread(str(path), cause.findings)
    except AbstractRuntimeError as cause:
        cause.details.setdefault("file", str(path))
        raise


def _require_read(unread: list[Unread]) -> None:
    """Do nothing when every document can be read.

    Raises:
        FlowError: some cannot; it has the findings of all of them.
    """
    if unread:
        # Formatting needs no checks.
        from abstractruntime.visualflow_compiler.check import require_ok

        require_ok(finding for item in unread for finding in item.findings)


def _rewrite(session: Session, changed: list[Formatted]) -> None:
    for item in changed:
        rewritable(session, Path(item.path))
    for item in changed:
        rewrite(session, Path(item.path), item.after)


def _format_stdin(session: Session, *, check: bool, diff: bool) -> int:
    data = read_stream(sys.stdin.buffer, MAX_DOCUMENT_BYTES, name="stdin")
    item = Formatted("<stdin>", data, format_document(data, file="<stdin>"))
    if check or diff:
        _report(session, [item], is_dry=True, diff=diff)
        return int(ExitCode.FAILED if check and item.is_changed else ExitCode.OK)
    session.out.raw(item.after.decode().removesuffix("\n"))
    return 0


def _report(
    session: Session, read: Sequence[Formatted | Unread], *, is_dry: bool, diff: bool
) -> None:
    changed = [item for item in read if isinstance(item, Formatted) and item.is_changed]
    unread = [item for item in read if isinstance(item, Unread)]

    def text() -> Iterator[str]:
        for item in changed:
            yield from item.diff() if diff else [item.path]

    def entry(item: Formatted | Unread) -> JsonObject:
        if isinstance(item, Unread):
            found = [finding.to_dict() for finding in item.findings]
            return {"file": item.path, "changed": False, "written": False, "diagnostics": found}
        shown = {"diff": item.diff()} if diff else {}
        written = item.is_changed and not is_dry
        return {"file": item.path, "changed": item.is_changed, "written": written, **shown}

    document = {
        "format": "art-fmt/1",
        "changed": len(changed),
        "files": [entry(item) for item in read],
    }
    session.out.emit(document, text=text, items="files")
    verb = "would change" if is_dry else "changed"
    if unread:
        from abstractruntime.cli._findings import say_findings

        say_findings(session, [finding for item in unread for finding in item.findings])
    total = f"{len(read)} document{'s' if len(read) != 1 else ''}: {len(changed)} {verb}"
    session.out.note(total + (f", {len(unread)} cannot be read" if unread else ""))


# -- diff ----------------------------------------------------------------------------------


def diff(
    session: Session,
    places: Annotated[
        list[Path], typer.Argument(metavar="A B", help="Documents, bundles or directories.")
    ],
    driver: Annotated[
        bool,
        typer.Option(
            "--driver", help="Be a diff driver of git, which names the files, and never fail."
        ),
    ] = False,
) -> int:
    """Say what changed between two flows, apart from how they are drawn.

    Exit code 0 when they mean the same, 1 when not, and 2 when one of them cannot be read. As a
    driver always 0; what cannot be compared as flows is compared as lines.
    """
    if driver:
        return _drive_git(session, [str(place) for place in places])
    if len(places) != 2:
        raise UsageError(
            f"two things are compared, not {len(places)}", hint="art diff OLD NEW", argument="A B"
        )
    before, after = places
    found = _compared(before, after)
    session.out.emit(
        {**found.to_dict(), "before": str(before), "after": str(after)},
        text=lambda: diff_lines(found),
        items="flows",
    )
    return int(ExitCode.FAILED if found.is_different else ExitCode.OK)


def _compared(before: Path, after: Path) -> BundleDiff:
    from abstractruntime.cli._sides import load_side, paired

    try:
        return diff_sides(*paired(load_side(before), load_side(after)))
    except FlowError as cause:
        raise _not_compared(cause) from cause


def _not_compared(cause: FlowError) -> UsageError:
    """Name the place; exit code 1 says "different", so what cannot be compared needs another one."""
    first = next(iter(cause.findings), None)
    file = first.file if first is not None else None
    where = f"{file}:{first.line}:{first.column}" if first and first.line is not None else file
    return UsageError(
        f"cannot compare: {cause.message}",
        hint=cause.hint or f"see what is wrong with it: art check {shell_word(file or 'FLOW')}",
        **{"file": where, **cause.details},
    )


def _drive_git(session: Session, given: list[str]) -> int:
    """Answer git: `PATH OLD HEX MODE NEW HEX MODE`, and more when the file was renamed.

    Invariant: the exit code is 0 whatever the files hold, because git stops at any other.
    """
    name = given[0] if given else ""
    if len(given) < _GIT_ARGUMENTS:
        # A path with a conflict comes alone.
        session.out.raw(log_line(f"* {name}: unmerged"))
        return 0
    before, after = Path(given[1]), Path(given[4])
    try:
        lines = list(diff_lines(_compared(before, after)))
    except AbstractRuntimeError as cause:
        why = cause.message.removeprefix("cannot compare: ")
        lines = [f"cannot be compared as flows: {why}", *_as_lines(before, after, name)]
    for line in (f"flow {name}", *lines):
        session.out.raw(log_line(line))
    return 0


def _lines_of_side(path: Path) -> list[str]:
    """Give the lines of a side; git names the null device where there is no file."""
    if str(path) == os.devnull:
        return []
    return _lines(read_start(path, MAX_DOCUMENT_BYTES))


def _as_lines(before: Path, after: Path, name: str) -> list[str]:
    try:
        old, new = map(_lines_of_side, (before, after))
    except AbstractRuntimeError as cause:
        return [f"nor as lines: {cause.message}"]
    return list(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm=""))
