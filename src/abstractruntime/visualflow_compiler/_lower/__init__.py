"""Checked flow in, executable workflow out."""

from __future__ import annotations

from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.visualflow_compiler._lower._handlers import lower_program
from abstractruntime.visualflow_compiler._lower._program import build_program
from abstractruntime.visualflow_compiler._lower._step import Services
from abstractruntime.visualflow_compiler.graph import FlowGraph

__all__ = ["Services", "lower"]


def lower(graph: FlowGraph, services: Services | None = None) -> WorkflowSpec:
    """Give the workflow of a flow that passed its checks."""
    return lower_program(build_program(graph), services)
