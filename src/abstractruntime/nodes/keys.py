"""The keys of a node's `data`: what a type says about its own, and those that every node may have."""

from __future__ import annotations

from typing import Final

from abstractruntime._json import JsonObject

TEXT: Final[JsonObject] = {"type": "string"}
TEXTS: Final[JsonObject] = {"type": "array", "items": TEXT}
WHOLE: Final[JsonObject] = {"type": "integer"}
FLAG: Final[JsonObject] = {"type": "boolean", "default": False}

COMMON_DATA: Final[JsonObject] = {
    "label": TEXT,
    "inputs": {"type": "array"},
    "outputs": {"type": "array"},
    "pinDefaults": {"type": "object"},
    "onError": {
        "enum": ["fail", "continue"],
        "default": "fail",
        "description": "continue: an error is given at the pin `error`, and the flow goes on",
    },
    "inputKey": {**TEXT, "description": "The variable that is the node's input."},
    "outputKey": {**TEXT, "description": "The variable that gets the node's output."},
}
"""JSON Schema properties of the `data` keys that every node may have."""
DRAWING_KEYS: Final = frozenset(
    {
        "nodeType", "icon", "color", "headerColor", "description", "position", "size", "width", "height",
        "style", "selected", "collapsed", "zIndex", "comment", "notes",
    }
)  # fmt: skip
"""Keys of `data` that say how a node is drawn, and nothing about what it does."""


def flag(*, default: bool) -> JsonObject:
    """Give the schema of a boolean, and what counts without it."""
    return {**FLAG, "default": default}


def older(schema: JsonObject) -> JsonObject:
    """Give the schema of a key that still works and has another name now."""
    return {**schema, "deprecated": True}


def settings(key: str, **properties: JsonObject) -> JsonObject:
    """Give the `data_schema` of a type that is configured by the object `data[key]`."""
    return {key: {"type": "object", "properties": properties}}
