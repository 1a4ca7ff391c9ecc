"""The `{{path | filter}}` templates of `string_template`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._coerce import compact_json, text_of
from abstractruntime.nodes.base import MISSING
from abstractruntime.nodes.budget import joined
from abstractruntime.nodes.paths import read_path

_JOIN = re.compile(r"join(?:\((.*)\))?", re.DOTALL)
_DEFAULT_SEPARATOR: Final = ", "

_FILTERS: Final[Mapping[str, Callable[[JsonValue], str]]] = MappingProxyType(
    {
        "json": compact_json,
        "trim": lambda value: text_of(value).strip(),
        "lower": lambda value: text_of(value).lower(),
        "upper": lambda value: text_of(value).upper(),
    }
)


def render_template(template: str, values: JsonObject) -> str:
    """Give `template` with its placeholders filled from `values`; none spans two lines."""
    return joined("\n", (_render_line(line, values) for line in template.split("\n")))


def placeholders(template: str) -> Iterator[str]:
    """Give the paths that the placeholders of a template name."""
    for line in template.split("\n"):
        for _text, expression in _split(line):
            path = (expression or "").split("|")[0].strip()
            if path:
                yield path


def _render_line(line: str, values: JsonObject) -> str:
    return joined("", _parts_of(line, values))


def _parts_of(line: str, values: JsonObject) -> Iterator[str]:
    for text, expression in _split(line):
        yield text
        if expression is not None:
            yield _fill(expression, values)


def _split(line: str) -> Iterator[tuple[str, str | None]]:
    """Give each text with the placeholder that follows it; none follows the last."""
    rest = 0
    while (start := line.find("{{", rest)) >= 0 and (end := line.find("}}", start + 2)) >= 0:
        yield line[rest:start], line[start + 2 : end]
        rest = end + 2
    yield line[rest:], None


def _fill(expression: str, values: JsonObject) -> str:
    path, *filters = (part.strip() for part in expression.split("|"))
    value = read_path(values, path) if path else None
    if value is MISSING or value is None:
        return ""
    for name in filters:
        value = _apply_filter(name, value)
    return text_of(value)


def unknown_filters(template: str) -> list[str]:
    """Give the filters of a template that are ignored, in their order."""
    expressions = (e for line in template.split("\n") for _, e in _split(line) if e)
    names = (name.strip() for e in expressions for name in e.split("|")[1:])
    return [n for n in dict.fromkeys(names) if n not in _FILTERS and not _JOIN.fullmatch(n)]


def unclosed(template: str) -> list[str]:
    """Give the ends of lines that begin with a placeholder that does not end."""
    rests = ([text for text, _ in _split(line)][-1] for line in template.split("\n"))
    return [rest[rest.index("{{") :] for rest in rests if "{{" in rest]


def filter_names() -> list[str]:
    return [*_FILTERS, "join"]


def _apply_filter(name: str, value: JsonValue) -> JsonValue:
    simple = _FILTERS.get(name)
    if simple is not None:
        return simple(value)
    join = _JOIN.fullmatch(name)
    if join is None:
        return value
    if not isinstance(value, list):
        return text_of(value)
    return joined(_separator(join[1]), map(text_of, value))


def _separator(argument: str | None) -> str:
    text = (argument or "").strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text or _DEFAULT_SEPARATOR
