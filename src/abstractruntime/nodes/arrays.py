"""Lists: building, extending, filtering, removing repetitions, picking elements."""

from __future__ import annotations

from typing import Any

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._coerce import (
    as_list,
    compact_json,
    items_of,
    python_errors,
    text_of,
    whole_or,
)
from abstractruntime.nodes._pure import BareNode, PureNode, declared_values
from abstractruntime.nodes.base import MISSING, Element, Example, Pin, Scope, register
from abstractruntime.nodes.budget import gathered
from abstractruntime.nodes.paths import read_path

_LIST = (Pin("result", "array", "The list."),)
_PARTS = (
    Pin("a", "any", "The first value."),
    Pin("b", "any", "The second value."),
    Pin("*", "any", "Further values.", dynamic=True, declared=True),
)
_NULL_COMPAT = "A null list counts as an empty one (quirk 13)."


class _ListNode(BareNode):
    family = "data"
    outputs = _LIST


@register
class MakeArray(_ListNode):
    type = "make_array"
    doc = (
        "Builds a list from the values of its pins, in the order declared. Null and missing values "
        "are left out; a list stays one element."
    )
    inputs = _PARTS
    examples = (Example({"a": 1, "b": [2]}, [1, [2]]), Example({"a": None, "b": "x"}, ["x"]))

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> list[JsonValue]:
        return [value for value in declared_values(element, inputs) if value is not None]


@register
class ArrayConcat(_ListNode):
    type = "array_concat"
    doc = (
        "Joins lists into one, in the order of the declared pins. A value that is not a list is "
        "added as one element, and null adds nothing. Nested lists stay as they are."
    )
    inputs = _PARTS
    examples = (Example({"a": [1, [2]], "b": 3}, [1, [2], 3]),)

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> list[JsonValue]:
        values = declared_values(element, inputs)
        return gathered(map(as_list, values))


@register
class ArrayAppend(_ListNode):
    type = "array_append"
    needs = ("array", "item")
    doc = (
        "Gives a copy of the list with one more item at its end. Null is an empty list, and any "
        "other value that is not a list becomes the first element. A missing item adds null."
    )
    inputs = (Pin("array", "array", "The list."), Pin("item", "any", "The item to add."))
    examples = (Example({"array": [1], "item": 2}, [1, 2]), Example({"item": 2}, [2]))

    def compute(self, inputs: JsonObject) -> list[JsonValue]:
        return [*as_list(inputs.get("array")), inputs.get("item")]


@register
class ArrayLength(_ListNode):
    type = "array_length"
    needs = ("array",)
    doc = "Counts the elements of a list; anything that is not a list has none."
    inputs = (Pin("array", "array", "The list."),)
    outputs = (Pin("result", "number", "The number of elements, an integer."),)
    examples = (Example({"array": [1, 2]}, 2), Example({"array": "abc"}, 0))

    def compute(self, inputs: JsonObject) -> int:
        array = inputs.get("array")
        return len(array) if isinstance(array, list) else 0


@register
class HasTools(_ListNode):
    type = "has_tools"
    needs = ("array",)
    doc = "True when the list has at least one element, as in a list of requested tool calls."
    inputs = (Pin("array", "array", "The list."),)
    outputs = (Pin("result", "boolean", "True or false."),)
    examples = (Example({"array": [{"name": "ls"}]}, True), Example({"array": {}}, False))

    def compute(self, inputs: JsonObject) -> bool:
        array = inputs.get("array")
        return isinstance(array, list) and bool(array)


@register
class ArrayMap(_ListNode):
    type = "array_map"
    needs = ("items", "key")
    doc = (
        "Gives the value of one key from every object in the list, null where it is missing; "
        "elements that are not objects stay as they are. The key is a name, not a path."
    )
    inputs = (
        Pin("items", "array", "The list.", default=[]),
        Pin("key", "string", "The key to read.", default="", role="names"),
    )
    examples = (Example({"items": [{"id": 1}, {}, "x"], "key": "id"}, [1, None, "x"]),)
    compat = _NULL_COMPAT

    def compute(self, inputs: JsonObject) -> list[JsonValue]:
        items, key = self.arguments(inputs)
        with python_errors():
            return [_keyed(item, key) for item in items_of(items)]


@register
class ArrayFilter(_ListNode):
    type = "array_filter"
    needs = ("items",)
    doc = (
        "Keeps the objects whose `key` equals `value`, and the other elements that equal `value` "
        "themselves. Numbers are compared by value (1 equals 1.0 and true). Without a `value`, "
        "objects that lack the key are kept. The key is a name, not a path."
    )
    inputs = (
        Pin("items", "array", "The list.", default=[]),
        Pin("key", "string", "The key to compare.", default="", role="names"),
        Pin("value", "any", "The value to keep."),
    )
    examples = (
        Example({"items": [{"id": 1}, {"id": 2}], "key": "id", "value": 1}, [{"id": 1}]),
        Example({"items": [1, 2, 1], "value": 1}, [1, 1]),
    )
    compat = _NULL_COMPAT

    def compute(self, inputs: JsonObject) -> list[JsonValue]:
        items, key, value = self.arguments(inputs)
        with python_errors():
            return [item for item in items_of(items) if _keyed(item, key) == value]


def _keyed(item: JsonValue, key: Any) -> JsonValue:
    return item.get(key) if isinstance(item, dict) else item


@register
class ArrayDedup(_ListNode):
    type = "array_dedup"
    needs = ("array",)
    doc = (
        "Drops repeated elements and keeps the first of each. Elements are equal when type and "
        "value are: 1, 1.0, true and the text 1 all differ. With a `key`, which is a path, elements "
        "are compared by what lies there; those without a value there are compared as a whole."
    )
    inputs = (
        Pin("array", "array", "The list."),
        Pin("key", "string", "The path to compare by.", default="", role="names"),
    )
    examples = (
        Example({"array": [1, 1.0, 1, "1"]}, [1, 1.0, "1"]),
        Example({"array": [{"id": 1, "n": "a"}, {"id": 1}], "key": "id"}, [{"id": 1, "n": "a"}]),
    )

    def compute(self, inputs: JsonObject) -> list[JsonValue]:
        array, key = self.arguments(inputs)
        if not isinstance(array, list):
            return []
        path = text_of(key).strip()
        first: dict[tuple[str, str], JsonValue] = {}
        for item in array:
            first.setdefault(_fingerprint(item, path), item)
        return list(first.values())


def _fingerprint(item: JsonValue, path: str) -> tuple[str, str]:
    """Give what makes an element equal to another: type name and canonical text."""
    found = read_path(item, path) if path else None
    subject = item if found is None or found is MISSING else found
    return type(subject).__name__, compact_json(subject)


class _Pick(PureNode):
    """A node that picks one element and says whether there was one."""

    family = "data"
    outputs = (
        Pin("result", "any", "The element, or the default."),
        Pin("found", "boolean", "True when there was an element."),
    )


@register
class GetElement(_Pick):
    type = "get_element"
    needs = ("array",)
    doc = (
        "Gives the element at `index`, from 0; negative indexes count from the end. An index "
        "that is not a number means 0, and a fraction is cut off. Outside the list, or without a "
        "list, the result is `default` and `found` is false."
    )
    inputs = (
        Pin("array", "array", "The list."),
        Pin("index", "number", "The position, from 0.", default=0),
        Pin("default", "any", "Given instead of nothing."),
    )
    examples = (
        Example({"array": ["a", "b"], "index": -1}, {"result": "b", "found": True}),
        Example({"array": [], "default": "d"}, {"result": "d", "found": False}),
    )

    def compute(self, inputs: JsonObject) -> JsonObject:
        array = inputs.get("array")
        size = len(array) if isinstance(array, list) else 0
        index = whole_or(inputs.get("index"), 0) or 0
        if array is None or not -size <= index < size:
            return {"result": inputs.get("default"), "found": False}
        return {"result": array[index], "found": True}


@register
class GetRandomElement(_Pick):
    type = "get_random_element"
    needs = ("array",)
    doc = (
        "Draws one element of the list; without elements the result is `default` and `found` is "
        "false. The draw is kept with the run."
    )
    inputs = (
        Pin("array", "array", "The list."),
        Pin("default", "any", "Given instead of nothing."),
    )
    draws = True
    examples = (
        Example({"array": ["only"]}, {"result": "only", "found": True}),
        Example({"array": [], "default": "d"}, {"result": "d", "found": False}),
    )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonObject:
        array = inputs.get("array")
        if not isinstance(array, list) or not array:
            return {"result": inputs.get("default"), "found": False}
        return {"result": scope.random.choice(array), "found": True}
