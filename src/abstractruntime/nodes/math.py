"""Arithmetic and random numbers.

Results are floats, also for whole numbers, because flows show them as text ("3.0");
only `random_int` gives an integer. A result that JSON cannot hold ends the run with an
error instead of travelling on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._coerce import finite, number, number_or, python_errors, whole
from abstractruntime.nodes._pure import BareNode
from abstractruntime.nodes.base import Element, Example, NodeError, Pin, Problem, Scope, register

_COMPAT = (
    "A null input counts as absent (quirk 13); a result that is infinite or not a number is an "
    "error (quirk 21)."
)
_RESULT = (Pin("result", "number", "The result, a float."),)


class _Binary(BareNode):
    """Two numbers in, one float out."""

    family = "math"
    inputs: ClassVar[tuple[Pin, ...]] = (
        Pin("a", "number", "The first number.", default=0),
        Pin("b", "number", "The second number.", default=0),
    )
    outputs = _RESULT
    compat = _COMPAT

    def compute(self, inputs: JsonObject) -> float:
        left, right = (number(value) for value in self.arguments(inputs))
        with python_errors():
            return finite(self.apply(left, right))

    def apply(self, left: float, right: float) -> JsonValue:
        raise NotImplementedError


@register
class Add(_Binary):
    type = "add"
    needs = ("a", "b")
    doc = "Adds two numbers. Numeric texts and bools are converted; a missing number is 0."
    examples = (Example({"a": 7, "b": "3"}, 10.0), Example({"b": 4}, 4.0))

    def apply(self, left: float, right: float) -> float:
        return left + right


@register
class Subtract(_Binary):
    type = "subtract"
    needs = ("a", "b")
    doc = "Subtracts `b` from `a`. Numeric texts and bools are converted; a missing number is 0."
    examples = (Example({"a": 7, "b": 3}, 4.0),)

    def apply(self, left: float, right: float) -> float:
        return left - right


@register
class Multiply(_Binary):
    type = "multiply"
    needs = ("a", "b")
    doc = "Multiplies two numbers. A missing number is 0, so one missing factor gives 0."
    examples = (Example({"a": 7, "b": 3}, 21.0), Example({"a": 7}, 0.0))

    def apply(self, left: float, right: float) -> float:
        return left * right


@register
class Divide(_Binary):
    type = "divide"
    needs = ("a", "b")
    doc = "Divides `a` by `b`. Dividing by zero is an error; a missing divisor is 1."
    inputs = (
        Pin("a", "number", "The dividend.", default=0),
        Pin("b", "number", "The divisor.", default=1),
    )
    examples = (Example({"a": 7, "b": 2}, 3.5), Example({"a": 4}, 4.0))

    def doubts(self, element: Element, inputs: JsonObject) -> Iterable[Problem]:
        return _by_zero(inputs)

    def apply(self, left: float, right: float) -> float:
        if right == 0:
            raise NodeError("Division by zero")
        return left / right


@register
class Modulo(_Binary):
    type = "modulo"
    needs = ("a", "b")
    doc = (
        "Gives the remainder of `a` divided by `b`, which has the sign of `b`: -7 modulo 3 is 2. "
        "Zero as `b` is an error; a missing `b` is 1."
    )
    inputs = (
        Pin("a", "number", "The dividend.", default=0),
        Pin("b", "number", "The divisor.", default=1),
    )
    examples = (Example({"a": -7, "b": 3}, 2.0),)

    def doubts(self, element: Element, inputs: JsonObject) -> Iterable[Problem]:
        return _by_zero(inputs)

    def apply(self, left: float, right: float) -> float:
        if right == 0:
            raise NodeError("Modulo by zero")
        return left % right


@register
class Power(_Binary):
    type = "power"
    needs = ("base", "exp")
    doc = (
        "Raises `base` to `exp`. An overflow, zero to a negative power and a negative base with "
        "a fractional exponent are errors."
    )
    inputs = (
        Pin("base", "number", "The base.", default=0),
        Pin("exp", "number", "The exponent.", default=1),
    )
    examples = (Example({"base": 2, "exp": -2}, 0.25), Example({"base": 5}, 5.0))
    compat = _COMPAT + " A complex result is an error (quirk 20)."

    def apply(self, left: float, right: float) -> JsonValue:
        return left**right


@register
class Abs(BareNode):
    type = "abs"
    needs = ("value",)
    family = "math"
    doc = "Gives the number without its sign. Numeric texts are converted; a missing one is 0."
    inputs = (Pin("value", "number", "The number.", default=0),)
    outputs = _RESULT
    examples = (Example({"value": "-4"}, 4.0),)
    compat = _COMPAT

    def compute(self, inputs: JsonObject) -> float:
        (value,) = self.arguments(inputs)
        return finite(abs(number(value)))


@register
class Round(BareNode):
    type = "round"
    needs = ("value",)
    family = "math"
    doc = (
        "Rounds to `decimals` places; a negative number of places rounds to tens, hundreds and "
        "so on. Halves go to the even neighbour (2.5 becomes 2.0), and the result stays a float."
    )
    inputs = (
        Pin("value", "number", "The number.", default=0),
        Pin("decimals", "number", "How many decimals to keep.", default=0),
    )
    outputs = _RESULT
    examples = (
        Example({"value": 2.5}, 2.0),
        Example({"value": "3.14159", "decimals": 3}, 3.142),
        Example({"value": 1250, "decimals": -2}, 1200.0),
    )
    compat = _COMPAT

    def compute(self, inputs: JsonObject) -> float:
        value, decimals = self.arguments(inputs)
        with python_errors():
            return finite(round(number(value), whole(decimals)))


@register
class RandomInt(BareNode):
    type = "random_int"
    family = "math"
    doc = (
        "Draws a whole number from `min` to `max`, both included; reversed limits are swapped. "
        "A limit that is not a number takes its default. The draw is kept with the run."
    )
    inputs = (
        Pin("min", "number", "The smallest number.", default=0),
        Pin("max", "number", "The largest number.", default=100),
    )
    outputs = (Pin("result", "number", "The number, an integer."),)
    draws = True
    examples = (Example({"min": "9", "max": 9.7}, 9),)

    def doubts(self, element: Element, inputs: JsonObject) -> Iterable[Problem]:
        return _reversed(_limit(inputs, "min", 0), _limit(inputs, "max", 100))

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> int:
        low, high = sorted((int(_limit(inputs, "min", 0)), int(_limit(inputs, "max", 100))))
        return scope.random.randint(low, high)


@register
class RandomFloat(BareNode):
    type = "random_float"
    family = "math"
    doc = (
        "Draws a number from `min` up to `max`; reversed limits are swapped, and equal ones give "
        "that number. A limit that is not a number takes its default. The draw is kept with the run."
    )
    inputs = (
        Pin("min", "number", "The smallest number.", default=0),
        Pin("max", "number", "The limit above.", default=1),
    )
    outputs = _RESULT
    draws = True
    examples = (Example({"min": 2, "max": "2"}, 2.0),)
    compat = "An infinite limit takes its default (quirk 21)."

    def doubts(self, element: Element, inputs: JsonObject) -> Iterable[Problem]:
        return _reversed(_limit(inputs, "min", 0.0), _limit(inputs, "max", 1.0))

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> float:
        low, high = sorted((_limit(inputs, "min", 0.0), _limit(inputs, "max", 1.0)))
        return low if low == high else finite(scope.random.uniform(low, high))


def _limit(inputs: JsonObject, name: str, default: float) -> float:
    return number_or(inputs.get(name), default)


def _reversed(low: float, high: float) -> Iterable[Problem]:
    if low > high:
        yield Problem(
            f"min is {low:g}, which is above max, {high:g}; they are swapped",
            "VF210",
            pin="min",
            hint="write the smaller number at min",
        )


def _by_zero(inputs: JsonObject) -> Iterable[Problem]:
    if number_or(inputs.get("b"), 1) == 0:
        yield Problem(
            "fails whenever it runs: b is always 0", "VF319", pin="b", hint="write another number"
        )
