"""Objects: reading, writing, merging, building and taking apart.

Lists have their own module, `arrays`; both use the one path grammar of `_paths`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._coerce import as_dict, text_of
from abstractruntime.nodes._parse import parse_loose_json
from abstractruntime.nodes._pure import BareNode, PureNode
from abstractruntime.nodes._shown import shown_value
from abstractruntime.nodes.base import (
    MISSING,
    Constant,
    Element,
    Example,
    NodeError,
    Pin,
    Scope,
    register,
)
from abstractruntime.nodes.keys import TEXTS, settings
from abstractruntime.nodes.paths import parse_path, read_path, write_path
from abstractruntime.nodes.shape import Shape, ShapeOf

_OBJECT = (Pin("result", "object", "The object."),)


@register
class Get(PureNode):
    type = "get"
    needs = ("object", "key")
    family = "data"
    doc = (
        "Reads one value out of an object or list by its path: names separated by dots, `[n]` or a "
        "number for list elements. A missing value, a stored null and an empty path give "
        "`default`. A text is not parsed, and a key that contains a dot cannot be reached."
    )
    inputs = (
        Pin("object", "object", "Where to read.", default={}, also=("array",)),
        Pin("key", "string", "The path.", default=""),
        Pin("default", "any", "Given instead of nothing."),
    )
    outputs = (Pin("value", "any", "What lies there, or the default."),)
    examples = (
        Example({"object": {"a": {"b": [1, {"c": 2}]}}, "key": "a.b[1].c"}, {"value": 2}),
        Example({"object": {"a": None}, "key": "a", "default": "d"}, {"value": "d"}),
    )

    def lookups(self, element: Element, constant: Constant) -> Iterable[tuple[str, str]]:
        key = constant("key")
        has_default = "default" in element.wired or "default" in element.pin_defaults
        return [("object", key)] if isinstance(key, str) and not has_default else []

    def compute(self, inputs: JsonObject) -> JsonObject:
        path = text_of(inputs.get("key"))
        found = read_path(inputs.get("object"), path) if path else None
        missing = found is None or found is MISSING
        return {"value": inputs.get("default") if missing else found}


@register
class Set(BareNode):
    type = "set"
    needs = ("key",)
    family = "data"
    doc = (
        "Gives a copy of the object with one value set at a path; missing objects on the way are "
        "created and scalars replaced. In a list, an existing element is replaced; an index "
        "outside the list is an error. The object that came in stays as it was."
    )
    inputs = (
        Pin("object", "object", "The object to start from.", default={}),
        Pin("key", "string", "The path.", default=""),
        Pin("value", "any", "The value to put there; null when absent."),
    )
    outputs = _OBJECT
    examples = (
        Example({"object": {"a": {"b": 1}}, "key": "a.c", "value": 2}, {"a": {"b": 1, "c": 2}}),
        Example({"object": {"l": [1, 2]}, "key": "l[0]", "value": 9}, {"l": [9, 2]}),
    )
    compat = (
        "Nested objects of the source are never changed (quirk 12); null is an empty object "
        "(quirk 13); a list on the path is changed in place instead of being replaced by an object, "
        "and `[n]` is an index (quirks 25 and 26)."
    )

    def shape(self, element: Element, incoming: ShapeOf) -> Shape:
        key, base = element.pin_defaults.get("key"), incoming("object")
        if base is None or "key" in element.wired or not isinstance(key, str):
            return None
        name, *inner = map(str, parse_path(key))
        return {**base, name: None if inner else incoming("value")}

    def compute(self, inputs: JsonObject) -> JsonValue:
        # Compat: a key without any name is the empty name, not an error.
        tokens = parse_path(text_of(inputs.get("key"))) or ("",)
        return write_path(as_dict(inputs.get("object")), tokens, inputs.get("value"))


@register
class Merge(BareNode):
    type = "merge"
    family = "data"
    doc = (
        "Joins two objects into a new one; where both have a key, `b` wins. Only the top level is "
        "merged: a nested object of `b` replaces that of `a` as a whole."
    )
    inputs = (
        Pin("a", "object", "The first object.", default={}),
        Pin("b", "object", "The object that wins.", default={}),
    )
    outputs = _OBJECT
    examples = (Example({"a": {"x": 1, "y": 1}, "b": {"y": 2}}, {"x": 1, "y": 2}),)
    compat = (
        "Null is an empty object (quirk 13); a key named `result` or `output` does not replace the "
        "whole object (quirk 10)."
    )

    def shape(self, element: Element, incoming: ShapeOf) -> Shape:
        first, second = incoming("a"), incoming("b")
        return None if first is None or second is None else {**first, **second}

    def compute(self, inputs: JsonObject) -> JsonValue:
        first, second = self.arguments(inputs)
        return _part(first) | _part(second)


def _part(value: JsonValue) -> JsonObject:
    try:
        return as_dict(value)
    except NodeError as error:
        raise NodeError(f"expected an object, got {shown_value(value)}") from error


@register
class MakeObject(BareNode):
    type = "make_object"
    family = "data"
    doc = (
        "Builds an object from the values of its pins, under the pins' names. Pins without a value "
        "are left out, null values are kept, and names that start with an underscore are skipped."
    )
    inputs = (Pin("*", "any", "One pin per key.", dynamic=True),)
    outputs = _OBJECT
    examples = (Example({"k": 1, "n": None, "_x": 2}, {"k": 1, "n": None}),)
    compat = "A key named `result` or `output` does not replace the whole object (quirk 10)."

    def shape(self, element: Element, incoming: ShapeOf) -> Shape:
        given = element.wired.union(element.pin_defaults)
        return {name: incoming(name) for name in given if not name.startswith("_")}

    def compute(self, inputs: JsonObject) -> JsonObject:
        return {name: value for name, value in inputs.items() if not name.startswith("_")}


@register
class BreakObject(PureNode):
    type = "break_object"
    has_whole = False
    needs = ("object",)
    family = "data"
    doc = (
        "Takes an object apart: every path in `breakConfig.selectedPaths` becomes an output pin of "
        "that name, null when nothing lies there. A text is parsed as JSON first, as `parse_json` "
        "does; a text that is not JSON has no values."
    )
    inputs = (Pin("object", "object", "The object, or its JSON text.", also=("array", "string")),)
    outputs = (Pin("*", "any", "One pin per selected path.", dynamic=True),)
    data_schema = settings(
        "breakConfig", selectedPaths={**TEXTS, "description": "Paths that become output pins."}
    )
    examples = (
        Example(
            {"object": {"a": {"b": [7]}}},
            {"a.b.0": 7, "z": None},
            {"breakConfig": {"selectedPaths": ["a.b.0", "z"]}},
        ),
        Example({"object": '{"a": 1}'}, {"a": 1}, {"breakConfig": {"selectedPaths": ["a"]}}),
    )

    def output_names(self, element: Element) -> frozenset[str]:
        return frozenset(_selected(element))

    def lookups(self, element: Element, constant: Constant) -> Iterable[tuple[str, str]]:
        return [("object", path) for path in _selected(element)]

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonObject:
        source = _parsed(inputs.get("object"))
        found = {path: read_path(source, path) for path in _selected(element)}
        return {path: None if value is MISSING else value for path, value in found.items()}


def _selected(element: Element) -> list[str]:
    paths = element.config("breakConfig").get("selectedPaths")
    texts = paths if isinstance(paths, list) else ()
    return [path.strip() for path in texts if isinstance(path, str) and path.strip()]


def _parsed(value: JsonValue) -> JsonValue:
    if not isinstance(value, str):
        return value
    try:
        return parse_loose_json(value)
    except NodeError:
        return None


_COMPLETED: JsonObject = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "number"}},
    "required": ["b"],
}


@register
class EditJsonSchema(PureNode):
    type = "edit_json_schema"
    family = "data"
    doc = (
        "Gives a JSON Schema with what the node's own schema (`literalValue`) adds: properties, required "
        "names and definitions that the incoming `schema` lacks. What it has already stays as it is."
    )
    inputs = (Pin("schema", "json_schema", "The schema to add to.", default={}),)
    outputs = (
        Pin("schema", "json_schema", "The completed schema."),
        Pin("value", "json_schema", "The same."),
    )
    data_schema: ClassVar[JsonObject] = {"literalValue": {"type": "object"}}
    examples = (
        Example(
            {"schema": {"type": "object", "properties": {"a": {"type": "string"}}}},
            {"schema": _COMPLETED, "value": _COMPLETED},
            data={
                "literalValue": {
                    "properties": {"a": {"type": "null"}, "b": {"type": "number"}},
                    "required": ["b"],
                }
            },
        ),
    )
    compat = "Unknown to 0.4.2, which copied its inputs (quirk 9)."

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        given, added = inputs.get("schema"), element.data.get("literalValue")
        schema: JsonObject = dict(given) if isinstance(given, dict) else {}
        if isinstance(added, dict):
            schema = _completed(schema, added)
        return {"schema": schema, "value": schema}


def _completed(schema: JsonObject, added: JsonObject) -> JsonObject:
    result = {**added, **schema}
    for key in ("properties", "$defs"):
        parts = [part.get(key) for part in (added, schema)]
        present = [part for part in parts if isinstance(part, dict)]
        if present:
            known = schema.get(key)
            order = known if isinstance(known, dict) else {}
            merged = {name: value for part in present for name, value in part.items()}
            result[key] = {**{name: merged[name] for name in order}, **merged}
    required = [name for part in (schema, added) for name in _names(part.get("required"))]
    if required:
        result["required"] = list(dict.fromkeys(required))
    return result


def _names(value: JsonValue) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
