"""The one way to write a flow document down, so that a change is a small difference.

Rules:
1. Texts and numbers stay exactly as they are written; nothing is added, nothing is lost.
2. Keys of the document, of nodes, of their `data`, of pins and of edges have a fixed order:
   known ones first, others by name. Keys of every other object stay where they are, because
   flows can see their order.
3. Nodes, edges and pins stay in the author's order, which has a meaning: the first step may be
   the entry, the last edge into a pin wins. What an editor appends is then one block of a diff.
4. A pin, an edge and a position take one line, however long. Other values take one line when
   they fit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from abstractruntime.errors import FlowError
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic
from abstractruntime.visualflow_compiler.document import FlowDocument

WIDTH: Final = 100
_INDENT: Final = "  "
_WORD: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')

_ORDERS: Final[dict[str, tuple[str, ...]]] = {
    "document": (
        "$schema", "format", "id", "flow_id", "workflow_id", "name", "description", "version",
        "interfaces", "entryNode", "created_at", "updated_at",
    ),
    "node": ("id", "type", "label", "position", "data"),
    "data": ("nodeType", "label", "inputs", "outputs", "pinDefaults"),
    "pin": ("id", "label", "type", "description"),
    "edge": ("id", "source", "sourceHandle", "target", "targetHandle"),
}  # fmt: skip
# The long lists come last, where the eye looks for them.
_LAST: Final[dict[str, tuple[str, ...]]] = {"document": ("nodes", "edges")}

_ROLES: Final[dict[tuple[str, str], str]] = {
    ("document", "nodes"): "nodes",
    ("document", "edges"): "edges",
    ("nodes", ""): "node",
    ("edges", ""): "edge",
    ("node", "data"): "data",
    ("node", "position"): "line",
    ("node", "inputs"): "pins",
    ("node", "outputs"): "pins",
    ("data", "inputs"): "pins",
    ("data", "outputs"): "pins",
    ("data", "pinDefaults"): "tall",
    ("pins", ""): "pin",
}
_TALL: Final = frozenset({"document", "nodes", "edges", "node", "data", "pins", "tall"})
_ONE_LINE: Final = frozenset({"pin", "edge", "line"})


@dataclass(frozen=True, slots=True)
class _Scalar:
    text: str


@dataclass(frozen=True, slots=True)
class _Object:
    members: tuple[tuple[str, _Value], ...]


@dataclass(frozen=True, slots=True)
class _Array:
    items: tuple[_Value, ...]


_Value = _Scalar | _Object | _Array


def format_document(data: bytes, *, file: str | None = None) -> bytes:
    """Give a flow document in its normal form: UTF-8, line feeds, no byte order mark.

    Formatting what is formatted changes nothing, and both documents compile to the same
    workflow. A document with errors is formatted too, as long as it is a JSON object.

    Raises:
        FlowError: it is none, or an object in it has the same key twice.
    """
    document = FlowDocument.read(data, file=file)
    for finding in document.repeated_keys:
        raise _ambiguous(finding)
    value = _read(iter(_WORD.findall(document.text)))
    return ("".join(_write(value, "document", 0)) + "\n").encode()


def _ambiguous(finding: Diagnostic) -> FlowError:
    key = finding.message.partition(" occurs")[0]
    return FlowError(
        f"{key} occurs twice in one object at line {finding.line}, so its meaning is in doubt",
        findings=(finding,),
        hint="remove one of the two, then format again",
    )


def _read(words: Iterator[str]) -> _Value:
    """Build the value that starts with the next word; the text was parsed before."""
    return _read_from(next(words), words)


def _read_from(word: str, words: Iterator[str]) -> _Value:
    if word == "{":
        return _Object(tuple(_members(words)))
    if word == "[":
        return _Array(tuple(_items(words)))
    return _Scalar(word)


def _members(words: Iterator[str]) -> Iterator[tuple[str, _Value]]:
    for word in words:
        if word == "}":
            return
        if word != ",":
            next(words)  # the colon
            yield word, _read(words)


def _items(words: Iterator[str]) -> Iterator[_Value]:
    for word in words:
        if word == "]":
            return
        if word != ",":
            yield _read_from(word, words)


def _write(value: _Value, role: str, depth: int, used: int = 0) -> Iterator[str]:
    """Give the text of a value; `used` columns of its first line are taken."""
    value = _sorted(value, role)
    if isinstance(value, _Scalar) or not _is_tall(value, role, used):
        yield _flat(value, role)
        return
    opening, closing = "{}" if isinstance(value, _Object) else "[]"
    yield opening
    separator = "\n"
    for lead, item, inner in _parts(value, role):
        yield separator + _INDENT * (depth + 1) + lead
        yield from _write(item, inner, depth + 1, len(_INDENT) * (depth + 1) + len(lead) + 1)
        separator = ",\n"
    yield "\n" + _INDENT * depth + closing


def _is_tall(value: _Object | _Array, role: str, used: int) -> bool:
    if role in _ONE_LINE or not (value.members if isinstance(value, _Object) else value.items):
        return False
    return role in _TALL or used + len(_flat(value, role)) > WIDTH


def _parts(value: _Object | _Array, role: str) -> Iterator[tuple[str, _Value, str]]:
    if isinstance(value, _Object):
        for key, item in value.members:
            yield f"{key}: ", item, _ROLES.get((role, _name(key)), "")
    else:
        for item in value.items:
            yield "", item, _ROLES.get((role, ""), "") if isinstance(item, _Object) else ""


def _flat(value: _Value, role: str) -> str:
    if isinstance(value, _Scalar):
        return value.text
    parts = [lead + _flat(_sorted(item, inner), inner) for lead, item, inner in _parts(value, role)]
    inside = ", ".join(parts)
    return f"{{{inside}}}" if isinstance(value, _Object) else f"[{inside}]"


def _sorted(value: _Value, role: str) -> _Value:
    return _Object(_ordered(value.members, role)) if isinstance(value, _Object) else value


def _ordered(members: Iterable[tuple[str, _Value]], role: str) -> tuple[tuple[str, _Value], ...]:
    first, last = _ORDERS.get(role), _LAST.get(role, ())
    if first is None:
        return tuple(members)

    def rank(member: tuple[str, _Value]) -> tuple[int, str]:
        name = _name(member[0])
        if name in first:
            return first.index(name), ""
        return (len(first) + 1 + last.index(name), "") if name in last else (len(first), name)

    return tuple(sorted(members, key=rank))


def _name(key: str) -> str:
    return str(json.loads(key))
