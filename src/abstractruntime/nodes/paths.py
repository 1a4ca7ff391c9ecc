"""Paths into JSON values: `order.lines[0].sku`, or the same with `.0.`.

Rules:
1. A path is names separated by dots; `[digits]` is an index. Empty parts name nothing.
2. Objects take names, also those made of digits; lists take digits and brackets.
3. Negative indexes do not exist; a name that contains a dot is out of reach.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes.base import MISSING, NodeError

# Hazard: unbounded digits would make int() fail; no list is that long.
_PART = re.compile(r"([^\[\]]*)((?:\[[0-9]{1,18}\])*)")
_INDEX = re.compile(r"\[([0-9]+)\]")
_DIGITS = re.compile(r"[0-9]{1,18}")

Token = str | int
"""A name, or an index that was written in brackets."""


def parse_path(path: str) -> tuple[Token, ...]:
    """Give the tokens of a path, skipping empty parts; a part with loose brackets is a name.

    The empty path is the empty name.
    """
    if not path:
        return ("",)
    tokens: list[Token] = []
    for part in path.split("."):
        match = _PART.fullmatch(part)
        if match is None:
            tokens.append(part)
            continue
        if match[1]:
            tokens.append(match[1])
        tokens.extend(int(index) for index in _INDEX.findall(match[2]))
    return tuple(tokens)


def is_reserved(path: str) -> bool:
    """Tell whether a path leads to a variable of the runtime, however it is written."""
    first = next(iter(parse_path(path)), "")
    return isinstance(first, str) and first.startswith("_")


def why_closed(setting: str, path: str | None) -> str:
    """Say why a node's `inputKey` or `outputKey` may not be this path; an empty text when it may."""
    # Compat: published flows set their limits this way; other reserved names stay closed.
    is_limit = setting == "outputKey" and (path or "").startswith("_limits.")
    if not path or is_limit or not is_reserved(path):
        return ""
    more = "; only _limits.* is open" if setting == "outputKey" else ""
    return f"{setting} {path!r} names a reserved variable{more}"


def read_path(value: JsonValue, path: str) -> JsonValue:
    """Give what `path` names below `value`, not copied; MISSING when there is nothing."""
    if not all(path.split(".")):
        return MISSING
    for token in parse_path(path):
        value = _child(value, token)
        if value is MISSING:
            return MISSING
    return value


def _child(value: JsonValue, token: Token) -> JsonValue:
    if isinstance(value, dict):
        return value.get(token, MISSING) if isinstance(token, str) else MISSING
    index = _index(token)
    if isinstance(value, list) and index is not None and index < len(value):
        return value[index]
    return MISSING


def _index(token: Token) -> int | None:
    if isinstance(token, int):
        return token
    return int(token) if _DIGITS.fullmatch(token) else None


def write_path(target: JsonValue, tokens: Sequence[Token], value: JsonValue) -> JsonValue:
    """Give a copy of `target` with `value` at the path; what is not on the path is shared.

    Missing objects on the way are created, and scalars are replaced by objects.

    Raises:
        NodeError: an index is outside its list, or a list is addressed by a name.
    """
    if not tokens:
        return target
    root = holder = _copy(target)
    for token in tokens[:-1]:
        child = _copy(_child(holder, token))
        _store(holder, token, child)
        holder = child
    _store(holder, tokens[-1], value)
    return root


def _copy(value: JsonValue) -> Any:
    return value.copy() if isinstance(value, dict | list) else {}


def assign(variables: JsonObject, path: str, value: JsonValue) -> None:
    """Store `value` at `path` in place, by the rules of `write_path`.

    Raises:
        NodeError: as `write_path`; or the path has no parts.
    """
    tokens = parse_path(path)
    if not tokens:
        raise NodeError(f"Failed to set variable '{path}': expected names separated by dots")
    holder: Any = variables
    for token in tokens[:-1]:
        child = _child(holder, token)
        if not isinstance(child, dict | list):
            child = {}
            _store(holder, token, child)
        holder = child
    _store(holder, tokens[-1], value)


def _store(holder: Any, token: Token, value: JsonValue) -> None:
    if isinstance(holder, dict):
        holder[str(token)] = value
        return
    index = _index(token)
    if index is None or index >= len(holder):
        raise NodeError(f"{token!r} is no index into a list of {len(holder)}")
    holder[index] = value
