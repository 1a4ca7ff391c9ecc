"""Colour for the word that a line begins with: verdicts, outcomes, errors and hints."""

from __future__ import annotations

import re
from typing import Final

from abstractruntime.rendering.terminal import Palette
from abstractruntime.rendering.words import paint_word

_LEAD: Final = re.compile(r"([A-Za-z_]+)(?:\[\w+\])?(?=:|\s)")
_ASIDE: Final = re.compile(r"\s+= (?:hint|note)(?=:)")


def paint_lead(line: str, palette: Palette) -> str:
    """Give a harmless line with its first word painted, where that is one of ours."""
    if aside := _ASIDE.match(line):
        return palette.paint(aside[0], "dim") + line[aside.end() :]
    lead = _LEAD.match(line)
    if lead is None:
        return line
    return paint_word(lead[0], palette, lead[1]) + line[lead.end() :]
