"""The fields of a document as it was written, before its nodes and edges are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from abstractruntime.errors import FlowError
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic

_ID_KEYS = ("id", "flow_id", "workflow_id")


def document_mapping(raw: Any) -> Mapping[str, Any]:
    """Give the document behind `raw` as a mapping.

    Raises:
        TypeError: `raw` is neither a dict nor an object with `model_dump()` or `dict()`.
    """
    document = raw
    if not isinstance(raw, dict):
        document = _dumped(raw)
    if not isinstance(document, dict):
        raise TypeError("VisualFlow must be a JSON object (dict)")
    return document


def _dumped(raw: Any) -> Any:
    dump = getattr(raw, "model_dump", None)
    if callable(dump):
        try:
            return dump(mode="json")
        except TypeError:
            return dump()
    to_dict = getattr(raw, "dict", None)
    return to_dict() if callable(to_dict) else None


def document_id(document: Mapping[str, Any]) -> str:
    """Give the flow's id: the first usable one of `id`, `flow_id`, `workflow_id`.

    Raises:
        FlowError: there is none.
    """
    found = first_id(document)
    if not found:
        finding = missing_id()
        raise FlowError(finding.message, findings=(finding,), hint=finding.hint)
    return found


def first_id(document: Mapping[str, Any]) -> str:
    for key in _ID_KEYS:
        if document.get(key):
            return as_text(document[key])
    return ""


def missing_id() -> Diagnostic:
    return Diagnostic(
        code="VF006",
        severity="error",
        message="VisualFlow missing required 'id'",
        pointer="/id",
        hint='add "id": "my-flow" at the top level',
    )


def entry_name(document: Mapping[str, Any]) -> str | None:
    """Give the trimmed `entryNode`, or None when it is absent, blank or no text."""
    value = document.get("entryNode")
    return value.strip() or None if isinstance(value, str) else None


def text_of(document: Mapping[str, Any], key: str) -> str:
    """Give a descriptive field as text; absent and null are empty."""
    value = document.get(key)
    return "" if value is None else str(value)


def document_texts(document: Mapping[str, Any], key: str) -> list[str]:
    """Give the non-blank texts of a list field, trimmed."""
    value = document.get(key)
    items = value if isinstance(value, list) else []
    return [item.strip() for item in items if isinstance(item, str) and item.strip()]


def as_text(value: Any) -> str:
    return "" if value is None else str(value).strip()


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
