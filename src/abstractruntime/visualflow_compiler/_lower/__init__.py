"""Checked flow in, executable workflow out."""

from __future__ import annotations

from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.visualflow_compiler._lower._handlers import make_handler
from abstractruntime.visualflow_compiler._lower._program import build_program
from abstractruntime.visualflow_compiler._lower._step import Services
from abstractruntime.visualflow_compiler.graph import FlowGraph

__all__ = ["Services", "lower"]


def lower(graph: FlowGraph, services: Services | None = None) -> WorkflowSpec:
    """Give the workflow of a flow that passed its checks.

    The node table is a plain dict that hosts may wrap. Handlers keep nothing between
    calls: they may serve any number of runs and threads at once.
    """
    program = build_program(graph)
    chosen = services or Services()
    nodes = {
        node_id: make_handler(program, program.units[node_id], chosen) for node_id in program.steps
    }
    guarded = frozenset(n for n in program.steps if program.units[n].type.touches_files)
    return WorkflowSpec(program.flow_id, program.entry, nodes, guarded)
