"""Replays the recorded behaviour of AbstractRuntime 0.4.2 and allows only the listed differences.

The corpus and its runner lie beside the repository; without them there is nothing to compare.
The runner works in a process of its own, as it hides optional packages and sets time zone and locale.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from abstractruntime.nodes.registry import find_node_type
from abstractruntime.visualflow_compiler.document import FlowDocument

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
CORPUS = SHARED / "conformance"
FLOWS = SHARED / "flows"
DEVIATIONS = Path(__file__).with_name("deviations.yaml")
RUNS = [pytest.param((), id="live"), pytest.param(("--restart",), id="restart")]

pytestmark = pytest.mark.skipif(
    not (CORPUS / "check.py").is_file(), reason=f"no conformance corpus at {CORPUS}"
)


def _runner() -> Any:
    spec = importlib.util.spec_from_file_location("conformance_check", CORPUS / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _documents(case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "flows" in case:
        yield from case["flows"].values()
    for name in case.get("flow_files", ()):
        yield json.loads((FLOWS / name).read_text(encoding="utf-8"))


def _in_scope(case: dict[str, Any]) -> bool:
    flows = (FlowDocument(document).flow for document in _documents(case))
    return all(find_node_type(element.type) for flow in flows for element in flow.elements)


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = _runner().load_cases(str(CORPUS), ("visible",))
    return loaded


@pytest.fixture(scope="module")
def deviations() -> dict[str, dict[str, Any]]:
    entries = yaml.safe_load(DEVIATIONS.read_text(encoding="utf-8"))
    return {entry["case_id"]: entry for entry in entries}


def _failures(tmp_path: Path, *options: str) -> dict[str, Any]:
    report = tmp_path / "report.json"
    command = [sys.executable, str(CORPUS / "check.py"), "--flows", str(FLOWS), "--min-pass", "0"]
    # File nodes of the cases work in the current directory.
    done = subprocess.run(
        [*command, "--report", str(report), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert report.exists(), done.stderr[-2000:]
    return {f["case_id"]: f["diffs"] for f in json.loads(report.read_text())["failures"]}


@pytest.mark.parametrize("options", RUNS)
def test_only_listed_cases_differ(cases, deviations, options, tmp_path, capsys):
    in_scope = {case["case_id"] for case in cases if _in_scope(case)}

    failures = _failures(tmp_path, *options)

    differ = in_scope & failures.keys()
    with capsys.disabled():
        passed = len(in_scope) - len(differ)
        print(f"\nconformance: {passed} passed / {len(in_scope)} in scope / {len(cases)} total")
    unlisted = {case_id: failures[case_id][0] for case_id in sorted(differ - deviations.keys())}
    assert unlisted == {}, "these cases differ and are not in deviations.yaml"
    assert sorted((deviations.keys() & in_scope) - differ) == [], "listed, and yet they pass"


def test_every_deviation_names_a_case_in_scope_and_its_quirk(cases, deviations):
    in_scope = {case["case_id"] for case in cases if _in_scope(case)}

    assert deviations.keys() - in_scope == set()
    assert all(entry["quirk"] and entry["reason"] for entry in deviations.values())
