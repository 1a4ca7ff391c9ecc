"""Reading the bytes of a flow document: strict JSON, with a place for every complaint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from abstractruntime._json import MAX_DEPTH, JsonObject, load_strict, normalise, unescape_pointer
from abstractruntime.errors import FlowError, InvalidValue
from abstractruntime.visualflow_compiler._model import Diagnostic
from abstractruntime.visualflow_compiler._positions import (
    Place,
    first_duplicate_key,
    first_scalar,
    locate,
)

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """A document and the text it was read from, for messages with line and column."""

    document: JsonObject
    text: str
    file: str | None = None
    findings: tuple[Diagnostic, ...] = ()


def read_document(data: bytes, *, file: str | None = None) -> Source:
    """Parse a flow document.

    A repeated key is a finding of the source, not a failure: published documents have
    them, and the last one counts.

    Raises:
        FlowError: the bytes are not UTF-8 JSON, hold a value that cannot be stored, are
            not an object, or are too large; `findings` has one diagnostic with its place.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise _unreadable(
            "VF004",
            f"document has {len(data)} bytes, the limit is {MAX_DOCUMENT_BYTES}",
            file=file,
            hint="split the flow into subflows",
        )
    text = _decode(data, file)
    document, findings = _parse(text, file)
    if not isinstance(document, dict):
        raise _unreadable(
            "VF003",
            f"document is {json_kind(document)}, expected a JSON object",
            file=file,
            place=Place(1, 1),
            hint="a flow document is an object with id, nodes and edges",
        )
    return Source(document, text, file, findings)


def _decode(data: bytes, file: str | None) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = data.count(b"\n", 0, cause.start) + 1
        raise _unreadable(
            "VF001",
            f"document is not UTF-8: {cause.reason} at byte {cause.start}",
            file=file,
            place=Place(line, 1),
            hint="save the file as UTF-8",
        ) from None


def _parse(text: str, file: str | None) -> tuple[Any, tuple[Diagnostic, ...]]:
    try:
        return _parse_either(text, file)
    except InvalidValue as cause:
        code = "VF004" if "deeper" in cause.message else "VF005"
        pointer = str(cause.details.get("path", ""))
        raise _unreadable(code, cause.message, file=file, text=text, pointer=pointer) from None
    except json.JSONDecodeError as cause:
        place = Place(cause.lineno, cause.colno)
        raise _unreadable(
            "VF001", f"document is not JSON: {cause.msg}", file=file, place=place
        ) from None
    except RecursionError:
        message = f"document is nested deeper than {MAX_DEPTH} levels"
        raise _unreadable("VF004", message, file=file) from None
    except ValueError as cause:
        raise _not_json_value(text, file, str(cause)) from None


def _not_json_value(text: str, file: str | None, reason: str) -> FlowError:
    pointer, place = first_scalar(text, reason.partition(" ")[0]) or ("", None)
    message = f"document holds a value that is not JSON: {reason}"
    return _unreadable("VF005", message, file=file, pointer=pointer, place=place)


def _parse_either(text: str, file: str | None) -> tuple[Any, tuple[Diagnostic, ...]]:
    try:
        return normalise(load_strict(text)), ()
    except ValueError as cause:
        if not str(cause).startswith("duplicate key"):
            raise
    document = normalise(json.loads(text, parse_constant=_refuse_constant))
    found = first_duplicate_key(text)
    return document, (_duplicate_key(found, file),) if found else ()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _duplicate_key(found: tuple[str, Place], file: str | None) -> Diagnostic:
    pointer, place = found
    key = unescape_pointer(pointer.rpartition("/")[2])
    return Diagnostic(
        code="VF002",
        severity="warning",
        message=f"key {key!r} occurs twice in one object, the last one counts",
        pointer=pointer,
        file=file,
        line=place.line,
        column=place.column,
        hint="remove one of the two; readers disagree which one counts",
    )


def json_kind(value: object) -> str:
    """Name the JSON type of a value, with its article."""
    names = {
        dict: "an object",
        list: "an array",
        str: "text",
        bool: "a boolean",
        type(None): "null",
    }
    return names.get(type(value), "a number")


def _unreadable(
    code: str,
    message: str,
    *,
    file: str | None,
    text: str = "",
    pointer: str = "",
    place: Place | None = None,
    hint: str | None = None,
) -> FlowError:
    if place is None and text:
        place = locate(text, [pointer]).get(pointer)
    finding = Diagnostic(
        code=code,
        severity="error",
        message=message,
        pointer=pointer,
        file=file,
        line=place.line if place else None,
        column=place.column if place else None,
        hint=hint,
    )
    return FlowError(message, findings=(finding,), hint=hint)
