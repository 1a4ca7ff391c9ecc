"""Python's `{field}` templates without the parts that reach into objects' attributes."""

from __future__ import annotations

import re
import string
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from abstractruntime._json import JsonObject
from abstractruntime.nodes._coerce import python_errors, storable
from abstractruntime.nodes.base import NodeError
from abstractruntime.nodes.budget import require_text

MAX_WIDTH: Final = 10_000
_MAX_DIGITS: Final = 5

_FIELD = re.compile(r"([^.\[\]]*)((?:\[[^\]]+\])*)")
_INDEX = re.compile(r"\[([^\]]+)\]")
_NUMBER = re.compile(r"\d+")


def format_fields(template: str, values: JsonObject) -> str:
    """Give `template` with its fields replaced by `values`.

    Raises:
        NodeError: a field has no value, asks for an attribute, or its format is wrong.
    """
    with python_errors():
        return str(storable(_SafeFormatter().vformat(template, (), values)))


def field_names(template: str) -> list[str]:
    """Give the names of a template's fields, none when it cannot be read."""
    try:
        fields = [name for _text, name, _format, _how in string.Formatter().parse(template)]
    except ValueError:
        return []
    names = (re.split(r"[.\[]", name)[0] for name in fields if name)
    return [name for name in names if name and not name.isdecimal()]


def why_unreadable(template: str) -> str:
    """Say why a template cannot be read, whatever the values; an empty text when it can."""
    try:
        deque(string.Formatter().parse(template), maxlen=0)
    except ValueError as error:
        return str(error)
    return ""


class _SafeFormatter(string.Formatter):
    """Formats one template; counts what its fields take."""

    _size = 0

    def get_field(
        self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Any, str]:
        match = _FIELD.fullmatch(field_name)
        if match is None:
            raise NodeError(
                f"format field '{field_name}' is not a name or an index; write name[key]"
            )
        name, indexes = match.groups()
        if not name or name.isdecimal():
            raise NodeError(f"Replacement index {name or 0} out of range for positional args tuple")
        value = kwargs[name]
        for key in _INDEX.findall(indexes):
            value = value[int(key) if key.isdecimal() else key]
        return value, name

    def format_field(self, value: Any, format_spec: str) -> str:
        for digits in _NUMBER.findall(format_spec):
            if len(digits) > _MAX_DIGITS or int(digits) > MAX_WIDTH:
                raise NodeError(f"format width {digits} is above {MAX_WIDTH}")
        text = str(format(value, format_spec))
        self._size += len(text)
        require_text(self._size)
        return text
