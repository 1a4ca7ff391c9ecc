"""How nodes read loosely typed inputs: numbers, texts, flags and lists.

Pin types are never enforced, so each node converts for itself with these functions.
Compat: conversions and their error texts are Python's own, as flows have seen them since
0.4.2; a value that is null counts as absent (quirk 13).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from abstractruntime._json import JsonObject, JsonValue, normalise
from abstractruntime.errors import InvalidValue
from abstractruntime.nodes._shown import shown_value
from abstractruntime.nodes.base import NodeError

_ESCAPES: Final = (("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r"))


@contextmanager
def python_errors() -> Iterator[None]:
    """Turn Python's conversion and arithmetic errors into the node's own."""
    try:
        yield
    except NodeError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise NodeError(str(error)) from error


def number(value: JsonValue) -> float:
    """Give the float for a number, bool or numeric text."""
    with python_errors():
        return float(value)


def whole(value: JsonValue) -> int:
    """Give the integer for a number (truncated), bool or integer text."""
    with python_errors():
        return int(value)


def finite(value: JsonValue) -> float:
    """Give `value` when JSON has a number for it.

    Raises:
        NodeError: it is complex, infinite or not a number (quirks 20 and 21).
    """
    if isinstance(value, complex):
        raise NodeError("result is a complex number; a negative base needs an integral exponent")
    if not math.isfinite(value):
        raise NodeError(f"result is {value!r}, which is not a JSON number")
    return float(value)


def number_or(value: JsonValue, default: float) -> float:
    """Give the finite float for `value`, or `default` when there is none."""
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return result if math.isfinite(result) else default


def whole_or(value: JsonValue, default: int | None) -> int | None:
    """Give the truncated integer for a number or numeric text; bools do not count."""
    if value is None or isinstance(value, bool):
        return default
    if isinstance(value, int):
        return value
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return default


def text_of(value: JsonValue) -> str:
    """Give the text of any value; null is empty, true is "True", objects are Python text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else str(value)


def filled(value: JsonValue) -> str:
    """Give a trimmed text, or "" for anything that is not a text."""
    return value.strip() if isinstance(value, str) else ""


def unescape(text: str) -> str:
    """Decode the escapes that editors write into one-line fields: newline, tab, return."""
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text


def as_list(value: JsonValue) -> list[JsonValue]:
    """Give a list as it is, nothing for null, and a list of one for anything else."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def items_of(value: JsonValue) -> list[JsonValue]:
    """Give what Python iterates over: the elements of a list, the characters of a text, the keys of an object.

    Raises:
        NodeError: it is nothing of this.
    """
    try:
        return list(value)
    except TypeError as error:
        raise NodeError(f"expected a list, got {shown_value(value)}") from error


def as_dict(value: JsonValue) -> JsonObject:
    """Give an object, `{}` for null, or what Python makes an object of (a list of pairs)."""
    if value is None:
        return {}
    with python_errors():
        pairs: JsonObject = storable(dict(value))
    return pairs


def storable(value: JsonValue) -> JsonValue:
    """Give `value` as plain JSON types.

    Raises:
        NodeError: it holds something JSON cannot express; the text says where.
    """
    try:
        return normalise(value)
    except InvalidValue as error:
        raise NodeError(error.message) from error


def compact_json(value: JsonValue) -> str:
    """Give one-line JSON with sorted keys and readable characters."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
