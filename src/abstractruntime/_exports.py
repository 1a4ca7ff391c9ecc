"""Packages whose names load on first use, so that importing the package costs next to nothing.

What a name is for a type checker is in the `__init__.pyi` beside the package; a test keeps
the two in agreement.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def homes(table: dict[str, str]) -> dict[str, str]:
    """Turn `{module: "Name Other"}` into `{name: module}`."""
    return {name: module for module, names in table.items() for name in names.split()}


def lazy_names(package: str, table: dict[str, str]) -> Callable[[str], Any]:
    """Give the `__getattr__` of a package that finds each name in its module below the package."""

    def load(name: str) -> Any:
        if name not in table:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{table[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
