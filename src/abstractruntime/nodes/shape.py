"""What is known of an object before the flow runs: its keys.

A shape maps each key to the shape of its value. It is empty for a value without keys, and None for a
value of which nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from abstractruntime._json import JsonValue

# A recursive alias, which type checkers take no further than this level.
Shape: TypeAlias = "Mapping[str, Shape] | None"
ShapeOf = Callable[[str], Shape]
"""Gives the shape of what arrives at an input pin."""

_STEP = re.compile(r"[^.\[\]]+")


def shape_of(value: JsonValue) -> Shape:
    """Give the shape of a constant; lists are left open, as their places are no names."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    return None if isinstance(value, list) else {}


def missing_name(shape: Shape, path: str) -> tuple[str, tuple[str, ...]] | None:
    """Give the first name of a path that is not there, and the names that are; None for no such.

    Whether a name that is a number is one, or a place in a list, is not known.
    """
    for name in _STEP.findall(path):
        if shape is None or name.strip().isdecimal():
            return None
        if name.strip() not in shape:
            return name.strip(), tuple(shape)
        shape = shape[name.strip()]
    return None
