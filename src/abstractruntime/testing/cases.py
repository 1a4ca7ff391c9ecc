"""Cases: stories of flows that say what goes in and what must come out.

    result = run_case(load_case(Path("cases/approved.yaml")), {"review": document})
    assert result.ok, result.problems

`art test` runs them from the command line; `art schema case` describes the file.
"""

from __future__ import annotations

from abstractruntime.testing._case_compare import Actual, CaseProblem, updated
from abstractruntime.testing._case_model import (
    CASE_FORMAT,
    Case,
    CaseStep,
    Mock,
    Script,
    load_case,
    load_case_document,
    parse_case,
)
from abstractruntime.testing._case_run import CaseResult, run_case
from abstractruntime.testing._case_save import Recorded, SavedCase, save_case

__all__ = [
    "CASE_FORMAT",
    "Actual",
    "Case",
    "CaseProblem",
    "CaseResult",
    "CaseStep",
    "Mock",
    "Recorded",
    "SavedCase",
    "Script",
    "load_case",
    "load_case_document",
    "parse_case",
    "run_case",
    "save_case",
    "updated",
]
