"""Colour for the word that a line begins with: verdicts, outcomes, errors and hints."""

from __future__ import annotations

import re
from typing import Final

from abstractruntime.rendering.run_table import OUTCOME_COLOURS
from abstractruntime.rendering.terminal import Palette

_COLOURS: Final = {
    **OUTCOME_COLOURS,
    "error": "red",
    "refused": "red",
    "invalid": "red",
    "warning": "yellow",
    "valid_unsigned": "yellow",
    "valid": "green",
    "ok": "green",
    "FAIL": "red",
}
_LEAD: Final = re.compile(r"([A-Za-z_]+)(?:\[\w+\])?(?=:|\s)")
_ASIDE: Final = re.compile(r"\s+= (?:hint|note)(?=:)")


def paint_lead(line: str, palette: Palette) -> str:
    """Give a harmless line with its first word painted, where that is one of ours."""
    if aside := _ASIDE.match(line):
        return palette.paint(aside[0], "dim") + line[aside.end() :]
    lead = _LEAD.match(line)
    colour = _COLOURS.get(lead[1]) if lead else None
    if lead is None or colour is None:
        return line
    return palette.paint(lead[0], colour, "bold" if colour == "red" else "") + line[lead.end() :]
