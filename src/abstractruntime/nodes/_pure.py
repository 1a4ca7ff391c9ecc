"""The base of node types that only compute."""

from __future__ import annotations

import copy
from typing import ClassVar

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes.base import MISSING, Element, Pin, Scope, ValueNode


class PureNode(ValueNode):
    """A node whose output follows from its inputs.

    Most types override `compute`; those that read their configuration, the clock or
    the random source override `evaluate`.
    """

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        return self.compute(inputs)

    def compute(self, inputs: JsonObject) -> JsonValue:
        raise NotImplementedError

    def arguments(self, inputs: JsonObject) -> list[JsonValue]:
        """Give the values of the type's input pins, in order.

        A pin that is absent or null has its default, or None when it declares none.
        """
        return [_value_or_default(inputs, pin) for pin in self.inputs]


class BareNode(PureNode):
    """A pure node with the single output pin `result`."""

    bare = True
    outputs: ClassVar[tuple[Pin, ...]] = (Pin("result", doc="The result."),)


def _value_or_default(inputs: JsonObject, pin: Pin) -> JsonValue:
    value = inputs.get(pin.id)
    if value is None and pin.default is not MISSING:
        return copy.deepcopy(pin.default)
    return value


def declared_values(element: Element, inputs: JsonObject) -> list[JsonValue]:
    """Give the present values in the order in which the document declares the pins.

    Documents that declare none have the pins `a` and `b`.
    """
    order = element.input_ids or ("a", "b")
    return [inputs[name] for name in order if name in inputs]
