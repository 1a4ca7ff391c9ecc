"""Compat: where 0.4.x kept the step from document to flow."""

from __future__ import annotations

from abstractruntime.visualflow_compiler.compiler import visual_to_flow

__all__ = ["visual_to_flow"]
