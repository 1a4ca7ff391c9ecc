"""A few words to write JSON Schemas with.

The fields of an object are one text, in the order in which they are published: `name` is a
text, `name:count` one of the kinds below, and `name?` or `name?:count` may also be null.
Fields after a `|` may be missing. A shape that is no kind is given under the name of its
field; one that the text does not place comes after those that it does.
"""

from __future__ import annotations

from typing import Any, Final

from abstractruntime._json import JsonObject

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
TEXT: Final[JsonObject] = {"type": "string"}
COUNT: Final[JsonObject] = {"type": "integer", "minimum": 0}

_KINDS: Final[dict[str, Any]] = {
    "": TEXT,
    "any": True,
    "count": COUNT,
    "flag": {"type": "boolean"},
    "list": {"type": "array"},
    "number": {"type": "number", "minimum": 0},
    "object": {"type": "object"},
    "position": {"type": "integer", "minimum": 1},
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "texts": {"type": "array", "items": TEXT},
}


def open_object(fields: str = "", /, **shapes: Any) -> JsonObject:
    """Give an object with these fields, which may also hold others."""
    required, _, optional = fields.partition("|")
    asked = _fields(required)
    extra = _fields(optional)
    asked |= {name: shape for name, shape in shapes.items() if name not in extra}
    extra = {name: shapes.get(name, shape) for name, shape in extra.items()}
    return {"type": "object", "properties": {**asked, **extra}, "required": list(asked)}


def closed_object(fields: str = "", /, **shapes: Any) -> JsonObject:
    """Give an object with these fields and no others."""
    return {**open_object(fields, **shapes), "additionalProperties": False}


def document(tag: str, title: str, fields: str = "", /, **shapes: Any) -> JsonObject:
    """Give the schema of a document whose `format` is `tag`."""
    body = closed_object(f"format {fields}", format={"const": tag}, **shapes)
    return {"$schema": DRAFT, "title": title, **body}


def nullable(shape: JsonObject) -> JsonObject:
    return {**shape, "type": [shape["type"], "null"]}


def list_of(items: JsonObject) -> JsonObject:
    return {"type": "array", "items": items}


def map_of(values: JsonObject, description: str | None = None) -> JsonObject:
    """Give an object of any keys, whose values have one shape."""
    shape = {"type": "object", "additionalProperties": values}
    return shape if description is None else {**shape, "description": description}


def one_of(*values: Any) -> JsonObject:
    return {"enum": list(values)}


def _fields(text: str) -> dict[str, Any]:
    return dict(_field(word) for word in text.split())


def _field(word: str) -> tuple[str, Any]:
    name, _, kind = word.partition(":")
    shape = _KINDS[kind]
    return name.rstrip("?"), nullable(shape) if name.endswith("?") else shape
