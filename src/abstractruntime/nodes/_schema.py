"""Response schemas as authors wire them into nodes."""

from __future__ import annotations

import importlib

from abstractruntime._json import JsonObject, JsonValue, load_strict
from abstractruntime.nodes.base import NodeError

_SEMANTIC_PREFIX = "abstractsemantics:"


def read_response_schema(value: JsonValue) -> JsonObject | None:
    """Give the schema behind a pin: an object, its JSON text, or one wrapped as `json_schema`.

    None where there is no schema. What the object means is the model handler's business.

    Raises:
        NodeError: it refers to a semantic schema that cannot be resolved.
    """
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, dict) or not value:
        return None
    return _resolved(_unwrapped(value))


def _parsed(text: str) -> JsonValue:
    try:
        return load_strict(text)
    except ValueError:
        return None


def _unwrapped(schema: JsonObject) -> JsonObject:
    inner = schema.get("json_schema")
    if schema.get("type") == "json_schema" and isinstance(inner, dict):
        found = inner.get("schema")
        return found if isinstance(found, dict) else schema
    return schema


def _resolved(schema: JsonObject) -> JsonObject:
    ref = schema.get("$ref")
    if not isinstance(ref, str) or not ref.startswith(_SEMANTIC_PREFIX):
        return schema
    try:
        semantics = importlib.import_module("abstractsemantics")
    except ImportError:
        raise NodeError(
            f"schema {ref!r} needs the package abstractsemantics (extra 'memory')"
        ) from None
    found = semantics.resolve_schema_ref(schema)
    if not isinstance(found, dict):
        raise NodeError(f"schema {ref!r} is not known to abstractsemantics")
    return found
