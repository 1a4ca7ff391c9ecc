"""Every example bundle behaves as its cases say, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.cli.app import main

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
CASES = sorted(BUNDLES.glob("*/cases/*.json"))
CASE_KEYS = {"format", "name", "input", "answers", "expect"}
EXPECT_KEYS = {"exit_code", "status", "output", "waiting"}


@pytest.fixture
def art(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ART_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("ART_CONFIG_DIR", str(tmp_path / "config"))

    def call(*args: str) -> tuple[int, dict[str, Any]]:
        code = main([*args, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


def test_every_bundle_has_a_description_and_cases() -> None:
    for flow in BUNDLES.glob("*/flow.json"):
        assert (flow.parent / "README.md").is_file()
        assert list(flow.parent.glob("cases/*.json"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_case(path: Path, art: Any) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    expect = case["expect"]
    assert set(case) == CASE_KEYS
    assert case["format"] == "art-case/1"
    assert set(expect) <= EXPECT_KEYS

    art("compile", str(path.parents[1]), "--unsigned", "-o", "case.flowbundle")
    code, run = art(
        "run", "case.flowbundle", "--run-id", "case", "--input", json.dumps(case["input"])
    )
    for answer in case["answers"]:
        assert code == 4
        code, run = art("resume", "case", "--input", json.dumps({"response": answer}))

    assert (code, run["status"]) == (expect["exit_code"], expect["status"])
    assert run["output"] == expect.get("output")
    waiting = run["waiting"] or {}
    assert {key: waiting[key] for key in expect.get("waiting", {})} == expect.get("waiting", {})
    assert art("ledger", "verify", "case")[1]["verdict"] == "valid_unsigned"
