"""The words of ours that are painted: outcomes, verdicts, levels, and what becomes of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abstractruntime.rendering.terminal import Palette

WORD_COLOURS: Final[Mapping[str, str]] = {
    "succeeded": "green",
    "completed": "green",
    "done": "green",
    "failed": "red",
    "cancelled": "magenta",
    "stopped": "magenta",
    "waiting": "yellow",
    "started": "cyan",
    "running": "cyan",
    "paused": "yellow",
    "limited": "yellow",
    "interrupted": "magenta",
    "quarantined": "red",
    "damaged": "red",
    "unreadable": "red",
    "parked": "yellow",
    "not reached": "dim",
    "error": "red",
    "refused": "red",
    "warning": "yellow",
    "valid": "green",
    "valid_unsigned": "yellow",
    "intact": "yellow",
    "invalid": "red",
    "ok": "green",
    "FAIL": "red",
    "active": "green",
    "retired": "yellow",
    "revoked": "red",
    "untrusted": "yellow",
}


def paint_word(text: str, palette: Palette, word: str | None = None) -> str:
    """Give a harmless text in the colour of a word of ours: itself, or `word`; others stay as they are."""
    colour = WORD_COLOURS.get(word or text, "")
    return palette.paint(text, colour, "bold" if colour == "red" else "")
