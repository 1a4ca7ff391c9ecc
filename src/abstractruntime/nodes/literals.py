"""Literals: constants that the author wrote into the flow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from abstractruntime._json import JsonObject, JsonValue, isolate
from abstractruntime.nodes._coerce import storable
from abstractruntime.nodes._pure import PureNode
from abstractruntime.nodes._shown import shown_value
from abstractruntime.nodes.base import Element, Example, Pin, Problem, Scope, register
from abstractruntime.nodes.shape import Shape, ShapeOf, shape_of

_BRACKETS: Final = ("{", "[")


class _Literal(PureNode):
    """A constant: every reading gives a fresh copy, under the type's own pin.

    A document that declares one output pin under another name is answered there too.
    """

    family = "literals"
    is_constant = True
    output_pin: ClassVar[str] = "value"
    compat = (
        "Readings are copies, so changing one never changes another (quirk 11); a single declared "
        "output pin of another name is answered as well (quirk 53)."
    )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonObject:
        value = self.constant(element.data.get("literalValue"))
        record = {self.output_pin: value}
        if len(element.outputs) == 1:
            record[element.outputs[0].id] = value
        return record

    def output_names(self, element: Element) -> frozenset[str]:
        single = element.output_ids if len(element.outputs) == 1 else ()
        return frozenset({self.output_pin, *single})

    def shape(self, element: Element, incoming: ShapeOf) -> Shape:
        return shape_of(element.data.get("literalValue"))

    def constant(self, literal: JsonValue) -> JsonValue:
        """Give the value to publish for `data.literalValue`."""
        return isolate(storable(literal))


@register
class LiteralString(_Literal):
    type = "literal_string"
    doc = (
        "Gives the text in `literalValue`. The value is published as it stands: a number written "
        "there stays a number, and a missing one is null."
    )
    outputs = (Pin("value", "string", "The text."),)
    data_schema: ClassVar[JsonObject] = {"literalValue": {"description": "The text."}}
    examples = (Example({}, {"value": "hello"}, {"literalValue": "hello"}),)


@register
class LiteralNumber(_Literal):
    type = "literal_number"
    doc = (
        "Gives the number in `literalValue`, as an integer or a float just as it is written. "
        "The value is not converted: a text stays a text, and a missing one is null."
    )
    outputs = (Pin("value", "number", "The number."),)
    data_schema: ClassVar[JsonObject] = {"literalValue": {"description": "The number."}}
    examples = (Example({}, {"value": 2.5}, {"literalValue": 2.5}),)


@register
class LiteralBoolean(_Literal):
    type = "literal_boolean"
    doc = (
        "Gives true or false from `literalValue`. The value is not converted: the text "
        '"false" stays a text, and nodes that test a text find any non-empty one true.'
    )
    outputs = (Pin("value", "boolean", "True or false."),)
    data_schema: ClassVar[JsonObject] = {"literalValue": {"description": "True or false."}}
    examples = (Example({}, {"value": True}, {"literalValue": True}),)


@register
class LiteralJson(_Literal):
    type = "literal_json"
    doc = "Gives any JSON value from `literalValue`: an object, list, text, number, bool or null."
    outputs = (Pin("value", "object", "The value."),)
    data_schema: ClassVar[JsonObject] = {"literalValue": {"description": "Any JSON value."}}
    examples = (Example({}, {"value": {"k": [1, None]}}, {"literalValue": {"k": [1, None]}}),)

    def doubts(self, element: Element, inputs: JsonObject) -> Iterable[Problem]:
        value = element.data.get("literalValue")
        if isinstance(value, str) and value.strip()[:1] in _BRACKETS:
            yield Problem(
                f"literalValue is the text {shown_value(value)}, which nobody reads as JSON",
                "VF213",
                pointer="/data/literalValue",
                hint="write the object or list itself, without quotes around it",
            )


@register
class LiteralArray(_Literal):
    type = "literal_array"
    doc = (
        "Gives the list in `literalValue`. The value is not converted: something that is not a "
        "list is published as it stands."
    )
    outputs = (Pin("value", "array", "The list."),)
    data_schema: ClassVar[JsonObject] = {"literalValue": {"description": "The list."}}
    examples = (Example({}, {"value": ["a", 1]}, {"literalValue": ["a", 1]}),)


@register
class JsonSchemaLiteral(_Literal):
    type = "json_schema"
    doc = (
        "Gives the JSON Schema in `literalValue`, for pins that ask for a structured answer. "
        "The schema is not checked here; the node that uses it does that."
    )
    outputs = (Pin("value", "json_schema", "The schema."),)
    data_schema: ClassVar[JsonObject] = {"literalValue": {"description": "A JSON Schema."}}
    examples = (
        Example({}, {"value": {"type": "object"}}, {"literalValue": {"type": "object"}}),
        Example(
            {},
            {"value": {"type": "string"}, "schema": {"type": "string"}},
            {"literalValue": {"type": "string"}, "outputs": [{"id": "schema", "type": "object"}]},
        ),
    )


@register
class ToolsAllowlist(_Literal):
    type = "tools_allowlist"
    is_constant = False  # Compat: declared with execution pins, it is a step.
    doc = (
        "Gives the tool names in `literalValue`, trimmed, without blanks and repetitions, in the "
        "order written. Anything that is not a list of texts gives no tools."
    )
    output_pin = "tools"
    outputs = (Pin("tools", "tools", "The tool names."),)
    data_schema: ClassVar[JsonObject] = {
        "literalValue": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Names of the tools that may be used.",
        }
    }
    examples = (
        Example({}, {"tools": ["read_file"]}, {"literalValue": [" read_file ", "", "read_file"]}),
    )

    def constant(self, literal: JsonValue) -> JsonValue:
        if not isinstance(literal, list):
            return []
        names = (name.strip() for name in literal if isinstance(name, str))
        return storable(list(dict.fromkeys(name for name in names if name)))
