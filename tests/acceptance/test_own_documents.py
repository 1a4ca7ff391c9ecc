"""Documents of our own, of published size and shape, in `tests/flows`: each does what its cases say.

Every case is played three ways: in memory as `art test` does, in one process over a store, and in a
process for each step. What comes of it is the same, the ledgers verify, and so does the history.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from worlds import RUN, Process, WithoutChance, World, packed

from abstractruntime._history.export import export_history
from abstractruntime._history.verify import verify_history_bundle
from abstractruntime._runtime.effect_host import EffectHost
from abstractruntime.core.models import parse_moment
from abstractruntime.core.run_tree import RunTree
from abstractruntime.effects.registry import builtin_handlers
from abstractruntime.nodes.registry import node_types
from abstractruntime.signing import verify_ledger
from abstractruntime.testing import FakeClock
from abstractruntime.testing._case_mocks import CaseHandlers
from abstractruntime.testing.cases import Case, CaseStep, load_case, run_case
from abstractruntime.visualflow_compiler.check import check_tree
from abstractruntime.visualflow_compiler.fmt import format_document

FLOWS = Path(__file__).parents[1] / "flows"
PATHS = {path.stem: path for path in sorted(FLOWS.glob("*.json"))}
CASES = sorted(FLOWS.glob("cases/*.json"))


@cache
def documents() -> Mapping[str, Any]:
    return {name: json.loads(path.read_bytes()) for name, path in PATHS.items()}


class Cast(WithoutChance):
    """Everybody in a case: they do what its steps say, and say what its mocks say."""

    def __init__(self, case: Case) -> None:
        self.clock = FakeClock(case.clock) if case.clock else FakeClock()
        self._case = case
        self._mocks = CaseHandlers(case)
        self._steps = list(case.steps)

    def inputs(self, document: Any) -> dict[str, Any]:
        return copy.deepcopy(dict(self._case.input))

    def handlers(self) -> Any:
        return self._mocks.handlers()

    def meet(self, process: Process) -> None:
        self._mocks.fall_back_to(builtin_handlers(EffectHost(process.runtime)))

    def go_on(self, process: Process) -> bool:
        if not self._steps:
            return False
        step = self._steps.pop(0)
        getattr(self, f"_{step.action}")(process, step)
        return True

    def _answer(self, process: Process, step: CaseStep) -> None:
        payload = step.value if isinstance(step.value, dict) else {"response": step.value}
        process.driver.answer(RUN, payload, wait_key=step.wait_key)

    def _event(self, process: Process, step: CaseStep) -> None:
        process.runtime.emit_event(name=step.value, payload=step.payload, session_id=RUN)

    def _advance(self, process: Process, step: CaseStep) -> None:
        self.clock.advance(step.value)

    def _wake(self, process: Process, step: CaseStep) -> None:
        waits = RunTree(process.runtime.engine, RUN).open_waits()
        first = min(parse_moment(wait.until) for wait in waits if wait.until)
        self.clock.advance(max(first - self.clock.now(), timedelta(0)).total_seconds())


def test_documents_are_clean_formatted_and_of_published_size():
    files = {path.name: path.read_bytes() for path in PATHS.values()}
    found = {name: result.diagnostics for name, result in check_tree(files).items()}
    sizes = [len(document["nodes"]) for document in documents().values()]

    assert [f"{name}: {item}" for name, items in found.items() for item in items] == []
    assert [name for name, data in files.items() if format_document(data) != data] == []
    assert len(sizes) >= 20
    assert (min(sizes) >= 20, max(sizes) >= 80, max(sizes) <= 90) == (True, True, True)


def test_every_node_type_occurs():
    used = {node["type"] for document in documents().values() for node in document["nodes"]}

    assert sorted(set(node_types()) - used) == []


def test_every_document_is_told_about():
    assert {load_case(path).flow for path in CASES} == {
        f"../{path.name}" for path in PATHS.values()
    }


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_comes_out_the_same_whatever_restarts(path, tmp_path):
    case = load_case(path)
    flow = Path(case.flow).stem

    told = run_case(case, documents(), entry=flow)
    assert told.problems == ()
    calm, hasty = (
        _played(case, flow, tmp_path / "files", restarting=restarting)
        for restarting in (False, True)
    )

    ending = calm.ending()
    assert hasty.ending() == ending
    assert ending["output"] == told.actual.document["output"]
    assert ending["status"] == told.actual.document["status"]
    _verifies(calm)


def _played(case: Case, flow: str, files: Path, *, restarting: bool) -> Process:
    # A run records absolute paths of files, so that both play in one place.
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir()
    for name, text in case.files.items():
        target = files / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return World(packed(PATHS[flow]), files, Cast(case)).tell(restarting=restarting)


def _verifies(process: Process) -> None:
    history = export_history(process.runtime.engine, RUN, generated_at="2026-01-01T00:00:00+00:00")

    assert verify_history_bundle(json.loads(json.dumps(history))) == []
    for run_id in history["ledgers"]:
        lines = [stored.line + b"\n" for stored in process.runtime.engine.records(run_id)]
        assert verify_ledger(lines).verdict == "valid_unsigned"
