"""Strict reading of JSON from texts, with or without a Markdown fence around it."""

from __future__ import annotations

from typing import Final

from abstractruntime._json import TOLERANT_DECODER, JsonValue, normalise

_FENCE: Final = "```"


def strip_fence(text: str) -> str:
    """Give the trimmed text without the Markdown code fence that encloses it."""
    text = text.strip()
    if not text.startswith(_FENCE):
        return text
    _, newline, body = text.partition("\n")
    if not newline:
        return text.strip("`").strip()
    inner, fence, _ = body.rpartition(_FENCE)
    return (inner if fence else body).strip()


def decode(text: str) -> JsonValue:
    """Give the value of a text that is JSON as a whole; the last of equal keys wins.

    Raises:
        ValueError: it is not, or it holds NaN, an infinity or a lone surrogate.
    """
    try:
        return normalise(TOLERANT_DECODER.decode(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def decode_at(text: str, start: int) -> JsonValue:
    """Give the value that begins at `start`, whatever follows it.

    Raises:
        ValueError: no value that JSON can hold begins there.
    """
    try:
        value, _ = TOLERANT_DECODER.raw_decode(text, start)
        return normalise(value)
    except RecursionError:
        raise ValueError("nested too deeply") from None
