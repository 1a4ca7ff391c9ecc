"""Published flow documents through the command line: compile and sign, run, answer, verify.

Every step of a run is a process of its own, as it is for people and scripts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from abstractruntime.cli.app import main

FLOWS = Path(__file__).parents[2].parent / "shared" / "flows"

pytestmark = pytest.mark.skipif(
    not FLOWS.is_dir(), reason=f"published flow documents are not at {FLOWS}"
)

# What a person types at each question; the run ends after the last one.
RUNS = {
    "a803f4bd": ([], ["Alice"]),
    "61e7c1a4": ([], ["food:pizza", "/q"]),
    "8f013493": (["number=3"], []),
}


@pytest.fixture
def environment(tmp_path, monkeypatch):
    found = {"ART_HOME": tmp_path / "store", "ART_CONFIG_DIR": tmp_path / "config"}
    for name, value in found.items():
        monkeypatch.setenv(name, str(value))
    assert main(["key", "new", "release", "-q"]) == 0
    assert main(["key", "new", "host", "--usage", "host", "-q"]) == 0
    monkeypatch.setenv("ART_HOST_KEY", "host")
    return tmp_path


def art(*argv: str) -> tuple[int, dict]:
    done = subprocess.run(
        [sys.executable, "-m", "abstractruntime", *argv, "--json"],
        capture_output=True,
        env=dict(os.environ),
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("flow", RUNS)
def test_flow_runs_from_answer_to_answer_in_new_processes(flow, environment):
    inputs, answers = RUNS[flow]
    bundle = str(environment / "flow.flowbundle")
    given = [word for item in inputs for word in ("--input", item)]

    code, _ = art("compile", str(FLOWS / f"{flow}.json"), "-o", bundle, "--key", "release")
    assert code == 0
    code, run = art("run", bundle, *given)
    for answer in answers:
        assert (code, run["status"]) == (4, "waiting")
        code, run = art("resume", run["run_id"], "--input", answer, "--as", "alice")

    assert (code, run["status"]) == (0, "completed")
    code, verdict = art("ledger", "verify", run["run_id"], "--require-signed")
    assert (code, verdict["verdict"], verdict["final"]) == (0, "valid", True)
    assert verdict["signed_records"] == verdict["records"] == run["ledger"]["records"]


# A document that gives one pin two defaults: readers differ which of them counts.
REFUSED = {"bff163ad": {"VF002"}}


def test_every_document_compiles_to_a_signed_bundle_and_the_one_other_says_why(environment, capsys):
    compiled: set[str] = set()
    reasons: dict[str, set[str]] = {}
    names = {path.stem for path in FLOWS.glob("*.json")}
    for name in names:
        target = environment / f"{name}.flowbundle"
        code = main(
            [
                "compile",
                str(FLOWS / f"{name}.json"),
                "-o",
                str(target),
                "--key",
                "release",
                "--json",
            ]
        )
        document = json.loads(capsys.readouterr().out)
        if code == 0:
            compiled.add(name)
            assert main(["bundle", "verify", str(target), "-q"]) == 0
        else:
            assert code == 1
            findings = document["error"]["diagnostics"]
            reasons[name] = {item["code"] for item in findings if item["severity"] == "error"}

    assert reasons == REFUSED
    assert compiled == names - REFUSED.keys()
    assert len(names) == 92
