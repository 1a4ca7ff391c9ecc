"""JSON texts: reading them into values and writing values as text."""

from __future__ import annotations

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._coerce import text_of, whole_or
from abstractruntime.nodes._parse import parse_loose_json
from abstractruntime.nodes._pure import BareNode
from abstractruntime.nodes.base import Example, Pin, register
from abstractruntime.nodes.budget import joined
from abstractruntime.rendering.json_stringify import json_pieces


@register
class ParseJson(BareNode):
    type = "parse_json"
    needs = ("text",)
    family = "json"
    doc = (
        "Reads a value out of a text, as models write it: JSON with or without a Markdown fence, "
        "else the first object or list inside the text, else a Python literal. Objects and lists "
        'that come in pass through. A scalar is wrapped as `{"value": x}` unless `wrap_scalar` '
        "is false. An empty text, or one without a value, is an error."
    )
    inputs = (
        Pin("text", "string", "The text to read."),
        Pin("wrap_scalar", "boolean", "Wrap scalars into an object.", default=True),
    )
    outputs = (Pin("result", "object", "The value."),)
    examples = (
        Example({"text": '```json\n{"a": 1}\n```'}, {"a": 1}),
        Example({"text": "The list is [1, 2] here"}, [1, 2]),
        Example({"text": "null"}, {"value": None}),
        Example({"text": "7", "wrap_scalar": False}, 7),
    )
    compat = (
        'The text null gives `{"value": null}`, and error texts are the same in every process '
        "(quirk 18); NaN and infinities are errors (quirk 21); a key named `result` or `output` "
        "does not replace the whole object (quirk 10)."
    )

    def compute(self, inputs: JsonObject) -> JsonValue:
        text, wrap_scalar = self.arguments(inputs)
        if isinstance(text, dict | list):
            return text
        # Compat: other values are read from their Python text, so true and 5 come out as they are.
        value = parse_loose_json(text_of(text))
        if isinstance(value, dict | list) or not wrap_scalar:
            return value
        return {"value": value}


@register
class StringifyJson(BareNode):
    type = "stringify_json"
    needs = ("value",)
    family = "json"
    doc = (
        "Writes a value as JSON text. `mode` is `beautify` (several lines), `none` (one line) or "
        "`minified` (no spaces); without a mode, an `indent` of 0 or less means minified. A text "
        "that is JSON as a whole, also inside a Markdown fence, is written as the value it holds; "
        "every other text is quoted."
    )
    inputs = (
        Pin("value", "any", "The value to write."),
        Pin(
            "mode",
            "string",
            "beautify, none or minified.",
            choices=("beautify", "none", "minified"),
        ),
        Pin("indent", "number", "Spaces per level of `beautify`.", default=2),
        Pin("sort_keys", "boolean", "Sort the keys of objects.", default=False),
    )
    outputs = (Pin("result", "string", "The JSON text."),)
    examples = (
        Example({"value": {"b": 1, "a": "é"}, "mode": "minified"}, '{"b":1,"a":"é"}'),
        Example({"value": [1], "indent": 1}, "[\n 1\n]"),
        Example({"value": "See [1] for", "mode": "none"}, '"See [1] for"'),
        Example({"value": "[ 1 ]", "mode": "none", "sort_keys": True}, "[1]"),
    )
    compat = "JSON and Python literals inside prose are no longer extracted (quirk 19)."

    def compute(self, inputs: JsonObject) -> str:
        mode = text_of(inputs.get("mode")).strip().lower()
        indent = whole_or(inputs.get("indent"), 2)
        if not mode and indent is not None and indent <= 0:
            mode = "minified"
        pieces = json_pieces(
            inputs.get("value"),
            mode=mode or "beautify",
            beautify_indent=2 if indent is None else indent,
            sort_keys=inputs.get("sort_keys") is True,
        )
        return joined("", pieces)
