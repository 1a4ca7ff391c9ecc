"""The names that author code sees besides its own."""

from __future__ import annotations

from abstractruntime.sandbox._author import VISIBLE

__all__ = ["VISIBLE"]
