"""Comparison, truth and choice."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._pure import BareNode, declared_values
from abstractruntime.nodes.base import Element, Example, NodeError, Pin, Problem, Scope, register

_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = MappingProxyType(
    {
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    }
)
_FALSE_LOOKING: Final = frozenset({"false", "0", "no", "off", "null", "none"})
_VERDICT = (Pin("result", "boolean", "True or false."),)


@register
class Compare(BareNode):
    type = "compare"
    needs = ("a", "b")
    compares = ("a", "b")
    family = "logic"
    doc = (
        "Compares `a` with `b` by `op`: == != < <= > >=. Numbers are compared by value (1 equals "
        '1.0 and true), but a text never equals a number ("1" is not 1). Values that have no order, '
        "such as a text and a number, give false for the four order comparisons."
    )
    inputs = (
        Pin("a", "any", "The left value."),
        Pin("b", "any", "The right value."),
        Pin("op", "string", "The comparison.", default="==", choices=tuple(_OPERATORS)),
    )
    outputs = _VERDICT
    examples = (
        Example({"a": 1, "b": 1.0}, True),
        Example({"a": "a", "b": 1, "op": "<"}, False),
        Example({"a": 3, "b": 2, "op": ">="}, True),
    )

    def compute(self, inputs: JsonObject) -> bool:
        name = str(inputs.get("op", "=="))
        compare = _OPERATORS.get(name)
        if compare is None:
            raise NodeError(f"Unknown comparison operator: {name}")
        try:
            return bool(compare(inputs.get("a"), inputs.get("b")))
        except TypeError:
            return False


class _Truth(BareNode):
    """A node that tests its inputs for truth, by Python's rules."""

    family = "logic"
    outputs = _VERDICT

    def check(self, element: Element) -> list[Problem]:
        """Warn about a default text that reads like false and counts as true."""
        return [
            Problem(
                f"default {value!r} of pin '{pin.id}' is a text and counts as true",
                "VF306",
                pin=pin.id,
                hint="write false without quotes",
            )
            for pin in self.inputs
            if pin.id not in element.wired
            and isinstance(value := element.pin_defaults.get(pin.id), str)
            and value.strip().lower() in _FALSE_LOOKING
        ]


_PAIR = (
    Pin("a", "boolean", "The first value.", default=False),
    Pin("b", "boolean", "The second value.", default=False),
)


@register
class And(_Truth):
    type = "and"
    doc = (
        "True when both values are true. Empty texts, lists and objects, 0 and null are false; "
        'every other text is true, also "false".'
    )
    inputs = _PAIR
    examples = (Example({"a": True, "b": 1}, True), Example({"a": True}, False))

    def compute(self, inputs: JsonObject) -> bool:
        return all(self.arguments(inputs))


@register
class Or(_Truth):
    type = "or"
    doc = (
        "True when at least one value is true. Empty texts, lists and objects, 0 and null are "
        'false; every other text is true, also "false".'
    )
    inputs = _PAIR
    examples = (Example({"a": [], "b": "x"}, True), Example({}, False))

    def compute(self, inputs: JsonObject) -> bool:
        return any(self.arguments(inputs))


@register
class Not(_Truth):
    type = "not"
    needs = ("value",)
    doc = 'True when the value is false, empty, 0 or missing. The text "false" counts as true.'
    inputs = (Pin("value", "boolean", "The value to negate.", default=False),)
    examples = (Example({"value": False}, True), Example({"value": "false"}, False))

    def compute(self, inputs: JsonObject) -> bool:
        (value,) = self.arguments(inputs)
        return not value


@register
class Coalesce(BareNode):
    type = "coalesce"
    family = "logic"
    doc = (
        "Gives the first input that is not null, in the order of the declared pins (`a` then `b` "
        "when none are declared). 0, false and empty texts count as values."
    )
    inputs = (
        Pin("a", "any", "The first choice."),
        Pin("b", "any", "The second choice."),
        Pin("*", "any", "Further choices.", dynamic=True, declared=True),
    )
    examples = (Example({"a": None, "b": 2}, 2), Example({"a": "", "b": "x"}, ""))

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        values = declared_values(element, inputs)
        return next((value for value in values if value is not None), None)
