"""What tests of pure nodes share: a scope without a run, and elements from plain data."""

import random
from datetime import datetime, timezone

from abstractruntime.nodes.base import Element, ElementPin, NodeError, ValueNode
from abstractruntime.nodes.registry import node_types

FAMILIES = {"literals", "math", "text", "logic", "data", "json", "reports"}


class FakeScope:
    run_id = "r1"
    ambient = None
    code = None

    def __init__(self, seed=0):
        self.vars = {}
        self.random = random.Random(seed)

    def now(self):
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def pure_types():
    types = node_types().values()
    return [t for t in types if isinstance(t, ValueNode) and t.family in FAMILIES]


def an_element(name, data=None):
    """Build an element; `inputs` and `outputs` of `data` are its declared pins."""
    data = data or {}
    pins = {
        side: tuple(ElementPin(pin["id"], pin.get("type", "any")) for pin in data.get(side, ()))
        for side in ("inputs", "outputs")
    }
    return Element(id="n1", type=name, data=data, **pins)


def evaluate(name, inputs, data=None, seed=0):
    return node_types()[name].evaluate(an_element(name, data), inputs, FakeScope(seed))


def error_of(name, inputs, data=None):
    """Give the error text of a node that must not succeed."""
    try:
        value = evaluate(name, inputs, data)
    except NodeError as error:
        return str(error)
    raise AssertionError(f"{name} gave {value!r} instead of an error")


def same(left, right):
    """Compare JSON values by type as well: 1, 1.0 and true differ."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
