"""How large a value of a flow may be, and the ways to make one that count before they build.

Every value that a node gives is at most `MAX_TEXT` characters and `MAX_VALUES` values, objects
and lists counted as often as they are reached. So what an operation makes of bounded inputs by
going over them once is bounded as well; those that multiply use the functions here.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

from abstractruntime._json import JsonValue
from abstractruntime.nodes.base import NodeError

MAX_TEXT: Final = 16 * 1024 * 1024
MAX_VALUES: Final = 1_000_000
_CHARS_PER_BIT: Final = 0.302


class ValueTooLarge(NodeError):  # noqa: N818 - names the broken rule
    """A node would give more than a value may be."""


def require_text(size: int) -> None:
    """Refuse a text of `size` characters.

    Raises:
        ValueTooLarge: it would be longer than a value may be.
    """
    if size > MAX_TEXT:
        raise ValueTooLarge(f"result is longer than {MAX_TEXT} characters")


def _require_values(count: int) -> None:
    if count > MAX_VALUES:
        raise ValueTooLarge(f"result holds more than {MAX_VALUES} values")


def joined(glue: str, parts: Iterable[str]) -> str:
    """Join texts, as far as they make a value.

    Raises:
        ValueTooLarge: they make more; nothing is built.
    """
    taken: list[str] = []
    size = -len(glue)
    for part in parts:
        size += len(part) + len(glue)
        require_text(size)
        taken.append(part)
    return glue.join(taken)


def replaced(text: str, wanted: str, replacement: str, count: int) -> str:
    """Replace in a text as `str.replace` does.

    Raises:
        ValueTooLarge: the result would be too long; nothing is built.
    """
    growth = len(replacement) - len(wanted)
    if growth > 0:
        found = text.count(wanted)
        require_text(len(text) + growth * (found if count < 0 else min(found, count)))
    return text.replace(wanted, replacement, count)


def gathered(lists: Iterable[list[JsonValue]]) -> list[JsonValue]:
    """Give one list of the items of many.

    Raises:
        ValueTooLarge: it would be too long; nothing is built.
    """
    taken = list(lists)
    _require_values(sum(map(len, taken)))
    return list(chain.from_iterable(taken))


def bounded(value: JsonValue) -> JsonValue:
    """Give a value back that is no larger than a value may be; nothing of it is copied.

    Raises:
        ValueTooLarge: it is.
    """
    if type(value) is str:
        require_text(len(value))
        return value
    count, size, open_ones = 1, 0, [iter((value,))]
    while open_ones:
        for item in open_ones[-1]:
            kind = type(item)
            if kind is str:
                size += len(item)
            elif kind is int:
                size += int(item.bit_length() * _CHARS_PER_BIT)
            elif kind is dict or kind is list:
                count += len(item)
                if kind is dict:
                    size += sum(map(len, item))
                open_ones.append(iter(item.values() if kind is dict else item))
                break
        else:
            open_ones.pop()
        _require_values(count)
        require_text(size)
    return value
