"""Text for a terminal: harmless, measured in cells, coloured on request."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from abstractruntime._text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

_CODES: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}

_GOES_ON: Final = "| "
_BLANKS: Final = str.maketrans("\n\t", "  ")
_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


@dataclass(frozen=True, slots=True)
class Palette:
    """Adds colour, or nothing at all."""

    enabled: bool

    def paint(self, text: str, *styles: str) -> str:
        codes = ";".join(_CODES[style] for style in styles if style)
        return f"\x1b[{codes}m{text}\x1b[0m" if self.enabled and codes else text


def harmless(text: str) -> str:
    """Give `text` without characters that move the cursor, recolour or reorder the line.

    Line ends and tabs become spaces; everything else that is not printable is shown
    as an escape, so that recorded data cannot forge what the reader sees.
    """
    if text.isascii() and text.isprintable():
        return text
    return one_line(text.translate(_BLANKS))


def cell_width(text: str) -> int:
    """Give the number of terminal cells that `text` takes."""
    return len(text) if text.isascii() else sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, width: int) -> str:
    """Give `text` in at most `width` cells, with an ellipsis where it was cut."""
    if cell_width(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += _cells(char)
        if used >= width:
            break
        kept.append(char)
    return "".join(kept) + "…"


def pad(text: str, width: int) -> str:
    """Give `text` cut or filled to exactly `width` cells."""
    shown = fit(text, width)
    return shown + " " * (width - cell_width(shown))


def wrap(text: str, width: int) -> list[str]:
    """Break `text` into lines of at most `width` cells, at spaces; longer words are cut."""
    return [line for part in text.splitlines() for line in pack(harmless(part).split(), width)]


def pack(words: Sequence[str], width: int) -> list[str]:
    """Put words that are harmless into lines of at most `width` cells; longer ones are cut."""
    lines, line = [], ""
    for word in words:
        joined = f"{line} {word}" if line else word
        if line and cell_width(joined) > width:
            lines.append(line)
            joined = word
        line = fit(joined, width)
    return [*lines, line]


def quote(text: str, width: int) -> list[str]:
    """Break foreign text like `wrap`, with a mark before each line but the first.

    So none of them looks like a line of ours, wherever it was broken.
    """
    lines = wrap(text, width)
    if len(lines) > 1:
        first, *more = wrap(text, width - len(_GOES_ON))
        lines = [first, *(_GOES_ON + line for line in more)]
    return lines


def format_duration(ms: float | None) -> str:
    """Give the two largest units: `12 ms`, `1.24 s`, `3 min 12 s`, `21 d 4 h`."""
    if ms is None:
        return ""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.2f} s"
    for (size, unit), (below, small) in pairwise(_UNITS):
        if ms >= size:
            whole, rest = int(ms // size), int(ms % size // below)
            return f"{whole} {unit} {rest} {small}" if rest else f"{whole} {unit}"
    return f"{ms / 1000:.0f} s"


def format_bytes(size: int) -> str:
    """Give `512 B`, `8.1 kB`, `3.4 MB`."""
    if size < 1000:
        return f"{size} B"
    value = size / 1000
    for unit in ("kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.1f} {unit}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
