"""Checking flow documents: every problem at once, each with a code, a place and a hint."""

from __future__ import annotations

from abstractruntime.visualflow_compiler.check._reads import names_read
from abstractruntime.visualflow_compiler.check._render import (
    render_github,
    render_pointer,
    render_sarif,
    render_text,
)
from abstractruntime.visualflow_compiler.check._rules import RULES, Rule
from abstractruntime.visualflow_compiler.check._run import (
    MAX_FINDINGS,
    CheckResult,
    check_document,
    check_flow,
    compilable,
    require_ok,
)
from abstractruntime.visualflow_compiler.check.tree import (
    Absent,
    Find,
    check_documents,
    check_read,
    check_tree,
    read_tree,
)

__all__ = [
    "MAX_FINDINGS",
    "RULES",
    "Absent",
    "CheckResult",
    "Find",
    "Rule",
    "check_document",
    "check_documents",
    "check_flow",
    "check_read",
    "check_tree",
    "compilable",
    "names_read",
    "read_tree",
    "render_github",
    "render_pointer",
    "render_sarif",
    "render_text",
    "require_ok",
]
