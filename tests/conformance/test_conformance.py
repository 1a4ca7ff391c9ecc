"""Replays the recorded behaviour of AbstractRuntime 0.4.2 and allows only the listed differences.

The repository carries chosen cases. Where the whole corpus lies beside it, the rest of the corpus is
extra evidence: its own runner plays it, in a process that hides optional packages.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from recorded import LISTS, SECTIONS, Case, differences, load_cases

from abstractruntime.nodes.registry import find_node_type
from abstractruntime.visualflow_compiler.document import FlowDocument

HERE = Path(__file__).parent
CARRIED = sorted(HERE.glob("cases/*.jsonl"))
AREAS = [path.stem for path in CARRIED]
DEVIATIONS = {
    entry["case_id"]: entry
    for entry in yaml.safe_load((HERE / "deviations.yaml").read_text(encoding="utf-8"))
}
SHARED = HERE.resolve().parents[2] / "shared"
CORPUS = SHARED / "conformance"
FLOWS = SHARED / "flows"
MODES = pytest.mark.parametrize("restart", [False, True], ids=["live", "restart"])

with_corpus = pytest.mark.skipif(
    not (CORPUS / "check.py").is_file(), reason=f"the rest of the corpus is not at {CORPUS}"
)


def play(case: Case, home: Path, monkeypatch: Any, *, restart: bool = False) -> list[str]:
    # File nodes of the cases work in the current directory.
    home.mkdir()
    monkeypatch.chdir(home)
    return differences(case, home, restart=restart)


@MODES
@pytest.mark.parametrize("area", AREAS)
def test_only_listed_cases_differ(area, restart, tmp_path, monkeypatch):
    found = {
        case["case_id"]: play(case, tmp_path / str(number), monkeypatch, restart=restart)
        for number, case in enumerate(load_cases(HERE / "cases" / f"{area}.jsonl"))
    }

    _judge(found.keys(), {case_id: lines[0] for case_id, lines in found.items() if lines})


def test_carried_cases_are_the_documented_number_and_hold_every_deviation_of_theirs():
    carried = [case["case_id"] for case in load_cases(*CARRIED)]

    assert len(carried) == len(set(carried)) == 320
    assert {case_id for case_id in DEVIATIONS if case_id.startswith("micro/")} <= set(carried)
    assert all(entry["quirk"] and entry["reason"] for entry in DEVIATIONS.values())


@pytest.mark.parametrize("section", SECTIONS)
def test_a_recording_that_says_something_else_differs(section, tmp_path, monkeypatch):
    talking = next(
        c for c in load_cases(*CARRIED) if c["case_id"] == "micro/effects/ask_user/off-choice"
    )
    other = copy.deepcopy(talking)
    if section == "requests":
        other["script"][0]["request"]["prompt"] = "something else"
    else:
        lists: dict[str, Any] = {name: [] for name in LISTS}
        other["expected"][section] = lists.get(section, "something else")

    assert play(talking, tmp_path / "same", monkeypatch) == []
    lines = play(other, tmp_path / "other", monkeypatch)
    assert [line.startswith(section) for line in lines] == [True]


@with_corpus
@MODES
def test_only_listed_cases_differ_in_the_rest_of_the_corpus(restart, tmp_path, capsys):
    carried = {case["case_id"] for case in load_cases(*CARRIED)}
    rest = [c for c in load_cases(*_corpus()) if c["case_id"] not in carried]
    in_scope = {case["case_id"] for case in rest if _is_in_scope(case)}

    failures = _failures(rest, tmp_path, restart=restart)

    with capsys.disabled():
        passed = len(in_scope - failures.keys())
        print(f"\nthe rest of the corpus: {passed} passed / {len(in_scope)} in scope / {len(rest)}")
    _judge(in_scope, {case_id: failures[case_id] for case_id in in_scope & failures.keys()})


@with_corpus
def test_every_deviation_names_a_case_of_the_corpus():
    assert DEVIATIONS.keys() <= {case["case_id"] for case in load_cases(*_corpus())}


def _judge(played: Any, differ: dict[str, Any]) -> None:
    unlisted = {case_id: differ[case_id] for case_id in differ.keys() - DEVIATIONS.keys()}
    assert unlisted == {}, "these cases differ and are not in deviations.yaml"
    assert sorted((DEVIATIONS.keys() & played) - differ.keys()) == [], "listed, and yet they pass"


def _corpus() -> list[Path]:
    return sorted(CORPUS.glob("visible/*.jsonl"))


def _is_in_scope(case: Case) -> bool:
    flows = (FlowDocument(document).flow for document in _documents(case))
    return all(find_node_type(element.type) for flow in flows for element in flow.elements)


def _documents(case: Case) -> Iterator[dict[str, Any]]:
    yield from case.get("flows", {}).values()
    for name in case.get("flow_files", ()):
        yield json.loads((FLOWS / name).read_text(encoding="utf-8"))


def _failures(cases: list[Case], tmp_path: Path, *, restart: bool) -> dict[str, Any]:
    """Give the first difference of each case that differs, as the corpus's own runner finds it."""
    report = tmp_path / "report.json"
    corpus = tmp_path / "corpus" / "visible" / "micro.jsonl"
    corpus.parent.mkdir(parents=True)
    corpus.write_text("\n".join(map(json.dumps, cases)), encoding="utf-8")
    command = [sys.executable, str(CORPUS / "check.py"), "--flows", str(FLOWS), "--min-pass", "0"]
    command += ["--corpus", str(corpus.parents[1]), "--report", str(report)]
    done = subprocess.run(
        [*command, *(["--restart"] if restart else [])],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        # Its stores sync every write; in memory that costs nothing.
        env={**os.environ, **({"TMPDIR": "/dev/shm"} if Path("/dev/shm").is_dir() else {})},
    )
    assert report.exists(), done.stderr[-2000:]
    return {f["case_id"]: f["diffs"][0] for f in json.loads(report.read_text())["failures"]}
