"""A command reads, decodes, builds, analyses and checks a flow document once."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cli_flows
import pytest
from flow_builder import END, START, flow, node

from abstractruntime.visualflow_compiler._load import read_content
from abstractruntime.visualflow_compiler.check import RULES
from abstractruntime.visualflow_compiler.graph import analyse

MARK = "only the document has this text"
ASK = node("q", "ask_user", "exec-in prompt", "exec-out response", label=MARK)
DOCUMENT = flow(START, ASK, END, edges="s > q; q > e")
ONCE = {"reads": 1, "decodes": 1, "builds": 1, "analyses": 1}
CALLS = {read_content.__code__: "builds", analyse.__code__: "analyses"}
_watching: list[Counter[str]] = []


def _opened(event: str, args: tuple[Any, ...]) -> None:
    if _watching and event == "open" and isinstance(args[0], str):
        is_written = (args[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        if args[0].endswith(("f.json", ".flowbundle")) and not is_written:
            _watching[-1]["reads"] += 1


sys.addaudithook(_opened)


def _counting(counts: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        if name != "decodes" or MARK in str(args[0]):
            counts[name] += 1
        return function(*args, **options)

    return call


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()

    def called(frame: Any, event: str, _arg: object) -> None:
        if event == "call" and frame.f_code in CALLS:
            counts[CALLS[frame.f_code]] += 1

    rule = RULES["VF101"]
    with monkeypatch.context() as patch:
        patch.setattr(json, "loads", _counting(counts, "decodes", json.loads))
        patch.setitem(RULES, "VF101", replace(rule, check=_counting(counts, "checks", rule.check)))
        _watching.append(counts)
        sys.setprofile(called)
        try:
            yield counts
        finally:
            sys.setprofile(None)
            _watching.pop()


@pytest.mark.parametrize(
    ("command", "code", "checks"),
    [
        pytest.param(("run", "f.json", "--run-id", "r"), 4, 1, id="run"),
        pytest.param(("resume", "asked", "--input", "yes"), 0, 1, id="resume"),
        pytest.param(("check", "f.json"), 0, 1, id="check"),
        pytest.param(("check", "f.json", "--tree"), 0, 1, id="check --tree"),
        pytest.param(("graph", "f.json"), 0, 0, id="graph"),
        pytest.param(("graph", "asked"), 0, 0, id="graph of a run"),
    ],
)
def test_a_document_is_handled_once(
    art: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    code: int,
    checks: int,
) -> None:
    (tmp_path / "f.json").write_text(json.dumps(DOCUMENT))
    assert "asked" not in command or art("run", "f.json", "--run-id", "asked").code == 4

    with counted(monkeypatch) as counts:
        done = art(*command)

    assert done.code == code, done.err
    assert counts == ONCE | ({"checks": checks} if checks else {})


def test_the_documents_of_a_directory_are_understood_once(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for document in (cli_flows.ASKS, cli_flows.CALLS):
        (tmp_path / f"{document['id']}.json").write_text(json.dumps(document))

    with counted(monkeypatch) as counts:
        done = art("run", "calls.json")

    assert done.code == 4, done.err
    assert (counts["builds"], counts["analyses"]) == (2, 2)
