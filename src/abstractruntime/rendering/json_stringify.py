"""Any value as JSON text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

from abstractruntime._json import JsonValue
from abstractruntime.rendering.json_text import decode, strip_fence

_MAX_INDENT: Final = 64


class JsonStringifyMode(str, Enum):
    """How JSON text is laid out: one line, several lines, or without spaces."""

    NONE = "none"
    BEAUTIFY = "beautify"
    MINIFIED = "minified"


def stringify_json(
    value: Any,
    *,
    mode: JsonStringifyMode | str = JsonStringifyMode.BEAUTIFY,
    beautify_indent: int = 2,
    sort_keys: bool = False,
    parse_strings: bool = True,
) -> str:
    """Give `value` as JSON text; characters beyond ASCII stay readable.

    An unknown mode means `beautify`, and a negative indent 2. With `parse_strings` a text
    that is JSON as a whole, also inside a Markdown fence, is written as the value it
    holds, except null. Keys and objects that JSON lacks are written as
    their text.
    """
    return "".join(
        json_pieces(
            value,
            mode=mode,
            beautify_indent=beautify_indent,
            sort_keys=sort_keys,
            parse_strings=parse_strings,
        )
    )


def json_pieces(
    value: Any,
    *,
    mode: JsonStringifyMode | str = JsonStringifyMode.BEAUTIFY,
    beautify_indent: int = 2,
    sort_keys: bool = False,
    parse_strings: bool = True,
) -> Iterable[str]:
    """Give the text of `stringify_json` in pieces, for those who bound how long it gets."""
    if parse_strings and isinstance(value, str):
        value = _parsed(value)
    encoder = json.JSONEncoder(
        ensure_ascii=False,
        sort_keys=sort_keys,
        indent=_indent(beautify_indent) if _name(mode) not in {"none", "minified"} else None,
        separators=(",", ":") if _name(mode) == "minified" else None,
    )
    plain = _plain(value)
    return encoder.iterencode(plain) if encoder.indent else (encoder.encode(plain),)


def _name(mode: JsonStringifyMode | str) -> str:
    text = mode.value if isinstance(mode, JsonStringifyMode) else str(mode)
    return text.strip().lower()


def _indent(indent: int) -> int:
    return 2 if indent < 0 else min(indent, _MAX_INDENT)


def _parsed(text: str) -> JsonValue:
    try:
        value = decode(strip_fence(text))
    except ValueError:
        return text
    return text if value is None else value


def _plain(value: Any) -> JsonValue:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
