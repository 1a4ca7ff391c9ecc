"""Moments as arguments: a value, or a function that gives one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Stamp: TypeAlias = str | Callable[[], str]


def stamp_text(stamp: Stamp) -> str:
    return stamp() if callable(stamp) else stamp
