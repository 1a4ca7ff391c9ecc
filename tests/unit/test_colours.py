"""Colour repeats words of ours at the beginning of lines, on terminals that want it."""

from __future__ import annotations

import pytest

from abstractruntime.cli._output import Mode, Output
from abstractruntime.rendering.leads import paint_lead
from abstractruntime.rendering.terminal import Palette


@pytest.mark.parametrize(
    ("line", "painted"),
    [
        ("error[usage]: no", "\x1b[31;1merror[usage]\x1b[0m: no"),
        ("failed: run r", "\x1b[31;1mfailed\x1b[0m: run r"),
        ("valid: run r", "\x1b[32mvalid\x1b[0m: run r"),
        ("  = hint: art", "\x1b[2m  = hint\x1b[0m: art"),
        ("message: failed", "message: failed"),
        ("failedly: x", "failedly: x"),
        ("", ""),
    ],
)
def test_the_word_that_a_line_begins_with(line: str, painted: str) -> None:
    assert paint_lead(line, Palette(True)) == painted
    assert paint_lead(line, Palette(False)) == line


@pytest.mark.parametrize(
    ("environ", "has_colour"),
    [
        ({}, False),
        ({"ART_FORCE_TTY": "80"}, True),
        ({"ART_FORCE_TTY": "80", "NO_COLOR": "1"}, False),
        ({"ART_FORCE_TTY": "80", "TERM": "dumb"}, False),
        ({"CLICOLOR_FORCE": "1", "TERM": "dumb"}, True),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_who_gets_colour(
    environ: dict[str, str], has_colour: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Output(Mode.TEXT, environ)

    out.note("failed: \x1b[2mrun")

    err = capsys.readouterr().err
    assert out.colour is has_colour
    assert ("\x1b[31" in err) is has_colour
    assert "\x1b[2m" not in err
