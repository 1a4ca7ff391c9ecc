"""A user of the command line: own store, own configuration, an example flow at hand."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.cli.app import main

ROOT = Path(__file__).resolve().parents[2]
APPROVAL = ROOT / "bundles" / "release-approval" / "flow.json"
ORDERS = ROOT / "bundles" / "price-orders"
INPUT = '{"service": "api", "version": "2.1.0"}'


@dataclass
class Result:
    """What one invocation gave."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def art(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    for name in os.environ:
        if name.startswith(("ART_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ART_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("ART_CONFIG_DIR", str(tmp_path / "config"))

    def call(*args: str) -> Result:
        code = main(args)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def parked(art: Any) -> Any:
    """The same, with a run `demo` that waits for an answer."""
    assert art("run", str(APPROVAL), "--run-id", "demo", "--input", INPUT).code == 4
    return art
