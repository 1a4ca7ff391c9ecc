"""The output contract: data on stdout, talk on stderr.

Rules:
1. `json` prints one JSON document on stdout, `jsonl` one object per line, `none` nothing,
   errors included: an `art-error/1` document takes the place of the data.
2. `text` prints for people. Tables are aligned on a terminal and tab-separated elsewhere.
3. A line is one line: text from flows and ledgers cannot end it, steer the terminal, or
   begin it like a command to a continuous integration system. Only `raw` prints as is.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import cached_property
from typing import Any, TextIO

from abstractruntime._json import JsonObject
from abstractruntime._text import log_line, one_line, painted_line
from abstractruntime.cli._hints import line_for_store


class Mode(str, Enum):
    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    NONE = "none"


# Columns that say what became of something.
_JUDGING = frozenset({"outcome", "status"})
_FLAGS = {"--json": Mode.JSON, "--jsonl": Mode.JSONL, "-q": Mode.NONE, "--quiet": Mode.NONE}


def mode_from_args(args: Sequence[str], environ: Mapping[str, str]) -> Mode:
    """Give the mode a command line asks for, before it is parsed: errors in it need one."""
    for arg in args:
        if arg in _FLAGS:
            return _FLAGS[arg]
    wanted = environ.get("ART_OUTPUT", "")
    return Mode(wanted) if wanted in {mode.value for mode in Mode} else Mode.TEXT


class OutputError(OSError):
    """Stdout took nothing more, for another reason than a reader that went away."""


def drop_stdout() -> None:
    """Send what is still printed nowhere; what is buffered would fail once more at exit."""
    _drop(sys.stdout)


def is_read() -> bool:
    """Tell whether somebody still reads stdout; if not, what is printed goes nowhere from here on."""
    look = select.poll()
    look.register(sys.stdout.fileno(), 0)
    if not look.poll(0):
        return True
    drop_stdout()
    return False


def talk(text: str) -> None:
    """Say something to stderr; whoever cannot hear it stops nothing."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)


def _drop(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Painted(str):
    """A line that holds our colours; what is foreign in it is harmless already."""

    __slots__ = ()


class Output:
    """Where a command's words go.

    `is_read` turns false when the reader of stdout went away. That is no failure: the command
    goes on with what it does besides printing, and its exit code stands.
    """

    def __init__(
        self, mode: Mode, environ: Mapping[str, str] | None = None, *, store: str | None = None
    ) -> None:
        """Write as asked; `store` is the one that the command line names, and hints name, too."""
        self.mode = mode
        self.is_read = True
        self.store = store
        self._environ = environ or {}

    # -- data ------------------------------------------------------------------

    def emit(
        self,
        document: JsonObject,
        *,
        text: Callable[[], Iterable[str]],
        items: str | None = None,
        line: Callable[[str], str] | None = None,
        brief: Callable[[], Iterable[str]] = list,
        paged: bool = False,
    ) -> None:
        """Give the result of a command.

        Args:
            document: The JSON form, with its `format`.
            text: Gives the lines for people; called in text mode only.
            items: Key of the list that `jsonl` prints line by line; else it prints the document.
            line: Makes a line harmless; by default with the word of ours painted that it begins with.
            brief: Gives the lines that are data even where nothing else is said.
            paged: Whether lines for people that do not fit on the terminal go through the pager.
        """
        line = line or self.lead_line
        if self.mode is Mode.TEXT:
            shown_lines = map(line, text())
            for shown in self._not_paged(shown_lines) if paged else shown_lines:
                self._write(shown)
        elif self.mode is Mode.NONE:
            for shown in map(line, brief()):
                self._write(shown)
        elif self.mode is Mode.JSON:
            self._write_document(document)
        elif self.mode is Mode.JSONL:
            for item in document[items] if items else (document,):
                self._write(json.dumps(item, ensure_ascii=False))

    def _not_paged(self, lines: Iterable[str]) -> Iterable[str]:
        """Show lines with the pager, and give those that are still to be shown."""
        from abstractruntime.cli._pager import fits, is_terminal, page, pager_of

        command = pager_of(self._environ)
        if command is None or not is_terminal():
            return lines
        whole = list(lines)
        text = "".join(f"{line}\n" for line in whole)
        return () if not fits(text) and page(command, text) else whole

    @property
    def is_stream(self) -> bool:
        """Whether things are printed one by one, not as one document in the end."""
        return self.mode in (Mode.TEXT, Mode.JSONL)

    def stream(self, document: JsonObject, *, text: str) -> None:
        """Give one of a series of things as soon as it happens; nothing unless `is_stream`."""
        if self.is_stream:
            self.emit(document, text=lambda: [text])
            with self._to_stdout():
                sys.stdout.flush()

    def raw_document(self, document: JsonObject) -> None:
        """Print a document that is a file format of its own, in every mode."""
        if self.mode is not Mode.NONE:
            self._write_document(document)

    def raw(self, text: str) -> None:
        """Print text as it is; for output that is a file format of its own."""
        if self.mode is not Mode.NONE:
            self._write(text)

    def raw_bytes(self, lines: Iterable[bytes]) -> None:
        """Print stored lines byte for byte, each with its line end."""
        if self.mode is Mode.NONE:
            return
        with self._to_stdout():
            sys.stdout.flush()
        for line in lines:
            with self._to_stdout():
                sys.stdout.buffer.write(line + b"\n")
            if not self.is_read:
                return
        with self._to_stdout():
            sys.stdout.buffer.flush()

    def _write_document(self, document: JsonObject) -> None:
        # A document may be as large as the run; its whole text would be held several times.
        chunks = json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(document)
        with self._to_stdout():
            for chunk in chunks:
                sys.stdout.write(_encodable(chunk))
            sys.stdout.write("\n")

    def _write(self, text: str) -> None:
        with self._to_stdout():
            sys.stdout.write(_encodable(text))
            sys.stdout.write("\n")

    @contextmanager
    def _to_stdout(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self.is_read = False
            drop_stdout()
        except OSError as cause:
            raise OutputError(cause.errno, cause.strerror) from cause

    # -- talk ------------------------------------------------------------------

    def note(self, *lines: str) -> None:
        """Say something beside the data; silent with `-q`."""
        if self.mode is not Mode.NONE:
            self.complain(lines)

    def complain(self, lines: Iterable[str]) -> None:
        shown = map(self._stderr_line, lines)
        talk("".join(f"{line}\n" for line in shown))

    def lead_line(self, text: str) -> str:
        """Make a line of stdout harmless, and paint the word of ours that it begins with."""
        if isinstance(text, Painted):
            return painted_line(text)
        return _painted(log_line(text)) if self.colour else log_line(text)

    def marked(self, before: str, word: str, after: str = "") -> str:
        """Give a line of stdout with a word of ours inside, painted where there is colour."""
        if not self.colour:
            return f"{before}{word}{after}"
        return Painted(f"{_columns(before)}{paint(word)}{_columns(after)}")

    def _stderr_line(self, text: str) -> str:
        is_coloured = self._has_colour(sys.stderr)
        if self.store is not None:
            text = line_for_store(text, self.store)
        return _painted(log_line(text)) if is_coloured else log_line(text)

    # -- terminal --------------------------------------------------------------

    @cached_property
    def is_terminal(self) -> bool:
        return bool(self._environ.get("ART_FORCE_TTY")) or sys.stdout.isatty()

    @cached_property
    def colour(self) -> bool:
        return self._has_colour(sys.stdout)

    def _has_colour(self, stream: TextIO) -> bool:
        if self._environ.get("NO_COLOR"):
            return False
        if self._environ.get("CLICOLOR_FORCE"):
            return True
        is_terminal = bool(self._environ.get("ART_FORCE_TTY")) or stream.isatty()
        return is_terminal and self._environ.get("TERM") != "dumb"

    @cached_property
    def width(self) -> int:
        forced = self._environ.get("ART_FORCE_TTY", "")
        return int(forced) if forced.isdecimal() else shutil.get_terminal_size((100, 24)).columns

    def table(self, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
        """Give a table as lines; what became of something is painted where there is colour."""
        return render_table(
            header, rows, aligned=self.is_terminal, paint=paint if self.colour else None
        )


def paint(word: str, known: str | None = None) -> str:
    """Paint a word of ours, or a harmless text as the word that it stands for."""
    from abstractruntime.rendering.terminal import Palette
    from abstractruntime.rendering.words import paint_word

    return paint_word(word, Palette(True), known)


def _painted(line: str) -> str:
    # Who prints no colours loads none.
    from abstractruntime.rendering.leads import paint_lead
    from abstractruntime.rendering.terminal import Palette

    return paint_lead(line, Palette(True))


def _columns(text: str) -> str:
    return one_line(text, keep="\t")


def _encodable(text: str) -> str:
    """Give text whose lone surrogates are escaped, which keeps the rest readable."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def render_table(
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    aligned: bool,
    paint: Callable[[str], str] | None = None,
) -> list[str]:
    """Give a table as lines: columns with a header, or tab-separated without one.

    `paint` paints the cells that say what became of something; the lines are `Painted` then.
    """
    cells = [["" if value is None else one_line(str(value)) for value in row] for row in rows]
    if not cells:
        return []
    table = [[name.upper() for name in header], *cells] if aligned else cells
    widths = [max(len(row[i]) if aligned else 0 for row in table) for i in range(len(header))]
    tints = [paint if paint and name in _JUDGING else str for name in header]
    lines = (
        ("  " if aligned else "\t").join(
            tint(cell) + " " * (width - len(cell))
            for tint, cell, width in zip(tints, row, widths, strict=True)
        )
        for row in table
    )
    shown = (line.rstrip() if aligned else line for line in lines)
    return list(map(Painted, shown) if paint else shown)


def render_value(value: Any) -> str:
    """Give a JSON value as readable text."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
