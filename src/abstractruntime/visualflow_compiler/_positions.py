"""Line and column of places in a JSON text.

The document is parsed without positions; the text is walked a second time, only when there
is something to report, and only along the way to what is reported.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from abstractruntime._json import escape_pointer, split_pointer

_SPACE = re.compile(r"[ \t\n\r\ufeff]*")
_TEXT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SCALAR = re.compile(r"[^\s,\]}:\[{\"]+")
_CLOSING: Final = {"{": "}", "[": "]"}
_Wanted: TypeAlias = "dict[str, _Wanted]"
_skip_value: Any = json.JSONDecoder(strict=False).scan_once  # type: ignore[attr-defined]  # not in typeshed
"""Parses the value at an offset: gives it, and where it ends."""


class Place(NamedTuple):
    """A position in a text, both counted from 1; columns are characters."""

    line: int
    column: int


@dataclass(slots=True)
class _Container:
    pointer: str
    is_object: bool
    index: int = 0
    key: str | None = None
    awaits_key: bool = True


class _Item(NamedTuple):
    """A value at `offset`; members of objects also have the offset of their key."""

    pointer: str
    offset: int
    key_offset: int | None


def locate(text: str, pointers: Iterable[str]) -> dict[str, Place]:
    """Give the place of each pointer; one that does not exist gets its nearest ancestor."""
    wanted: _Wanted = {}
    asked = tuple(pointers)
    for pointer in asked:
        branch = wanted
        for token in split_pointer(pointer):
            branch = branch.setdefault(token, {})
    offsets: dict[str, int] = {}
    # What follows a place that is no JSON, or too deep to be parsed, has no place of its own.
    with contextlib.suppress(StopIteration, ValueError, RecursionError):
        _find(text, _skip_space(text, 0), "", wanted, offsets)
    found: dict[str, Place] = {}
    for pointer in asked:
        nearest = next((p for p in _with_ancestors(pointer) if p in offsets), None)
        if nearest is not None:
            found[pointer] = place_at(text, offsets[nearest])
    return found


def _find(text: str, offset: int, pointer: str, wanted: _Wanted, offsets: dict[str, int]) -> int:
    """Note where the wanted values inside the value at `offset` are, and give its end.

    What nobody asks for is skipped by the parser. The walk is as deep as the pointers.
    """
    offsets[pointer] = offset
    opening = text[offset : offset + 1]
    if not wanted or opening not in _CLOSING:
        return int(_skip_value(text, offset)[1])
    index, offset = 0, _skip_space(text, offset + 1)
    while text[offset : offset + 1] != _CLOSING[opening]:
        token = str(index)
        if opening == "{":
            key, offset = _skip_value(text, offset)
            token, offset = str(key), _skip_space(text, _skip_space(text, offset) + 1)
        if token in wanted:
            inner = f"{pointer}/{escape_pointer(token)}"
            offset = _find(text, offset, inner, wanted[token], offsets)
        else:
            offset = _skip_value(text, offset)[1]
        offset = _skip_space(text, offset)
        if text[offset : offset + 1] == ",":
            offset = _skip_space(text, offset + 1)
        index += 1
    return offset + 1


def first_duplicate_key(text: str) -> tuple[str, Place] | None:
    """Give pointer and place of the first key that its object already has."""
    seen: set[str] = set()
    for item in _scan(text):
        if item.key_offset is None:
            continue
        if item.pointer in seen:
            return item.pointer, place_at(text, item.key_offset)
        seen.add(item.pointer)
    return None


def first_scalar(text: str, word: str) -> tuple[str, Place] | None:
    """Give pointer and place of the first value written as `word`."""
    for item in _scan(text):
        match = _SCALAR.match(text, item.offset)
        if match and match.group() == word:
            return item.pointer, place_at(text, item.offset)
    return None


def place_at(text: str, offset: int) -> Place:
    """Turn a character offset into line and column."""
    start = text.rfind("\n", 0, offset) + 1
    return Place(text.count("\n", 0, start) + 1, offset - start + 1)


def _with_ancestors(pointer: str) -> Iterator[str]:
    yield pointer
    while pointer:
        pointer = pointer.rpartition("/")[0]
        yield pointer


def _scan(text: str) -> Iterator[_Item]:
    """Give every value with its pointer, in text order; stops where the text is not JSON."""
    stack: list[_Container] = []
    offset = _skip_space(text, 0)
    key_offset: int | None = None
    while offset < len(text):
        char = text[offset]
        top = stack[-1] if stack else None
        if char in "}]":
            if not stack:
                return
            stack.pop()
            offset += 1
        elif char == ",":
            _next_member(top)
            offset += 1
        elif char == ":":
            offset += 1
        elif char == '"' and top is not None and top.is_object and top.awaits_key:
            key, end = _read_text(text, offset)
            if key is None:
                return
            top.key, top.awaits_key, key_offset, offset = key, False, offset, end
        else:
            pointer = _member_pointer(top)
            yield _Item(pointer, offset, key_offset if top and top.is_object else None)
            after = _enter_or_skip(text, offset, pointer, stack)
            if after is None:
                return
            offset = after
        offset = _skip_space(text, offset)


def _enter_or_skip(text: str, offset: int, pointer: str, stack: list[_Container]) -> int | None:
    char = text[offset]
    if char in "{[":
        stack.append(_Container(pointer, is_object=char == "{"))
        return offset + 1
    if char == '"':
        value, end = _read_text(text, offset)
        return None if value is None else end
    match = _SCALAR.match(text, offset)
    return match.end() if match else None


def _member_pointer(top: _Container | None) -> str:
    if top is None:
        return ""
    token = escape_pointer(top.key or "") if top.is_object else str(top.index)
    return f"{top.pointer}/{token}"


def _next_member(top: _Container | None) -> None:
    if top is not None:
        top.index += 1
        top.awaits_key = True


def _read_text(text: str, offset: int) -> tuple[str | None, int]:
    match = _TEXT.match(text, offset)
    if match is None:
        return None, offset
    try:
        return str(json.loads(match.group(), strict=False)), match.end()
    except json.JSONDecodeError:
        return None, offset


def _skip_space(text: str, offset: int) -> int:
    match = _SPACE.match(text, offset)
    return match.end() if match else offset
