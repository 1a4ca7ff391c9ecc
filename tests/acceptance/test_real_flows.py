"""Documents of published size through the command line: compile and sign, run, answer, verify.

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

TESTS = Path(__file__).parents[1]
OWN = TESTS / "flows"
PUBLISHED = TESTS.parents[1] / "shared" / "flows"

published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason=f"published flow documents are not at {PUBLISHED}"
)

THREE = [{"name": "ann", "limit": 9}, {"name": "bob"}, {"name": "cy"}]
# What goes in, and what a person types at each question; the run ends after the last one.
RUNS = [
    (OWN / "onboarding.json", [], ["Ada King", "tools", "Turin"]),
    (
        OWN / "approval-chain.json",
        ["amount=7", "approvers=" + json.dumps(THREE)],
        ["yes", "no"],
    ),
    (OWN / "stock-count.json", ['shelves=[{"code": "A", "boxes": [1, 2]}]'], []),
    (PUBLISHED / "a803f4bd.json", [], ["Alice"]),
    (PUBLISHED / "61e7c1a4.json", [], ["food:pizza", "/q"]),
    (PUBLISHED / "8f013493.json", ["number=3"], []),
]


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


@pytest.mark.parametrize(
    ("flow", "inputs", "answers"),
    [pytest.param(*run, marks=[published] if PUBLISHED in run[0].parents else []) for run in RUNS],
    ids=[run[0].stem for run in RUNS],
)
def test_flow_runs_from_answer_to_answer_in_new_processes(flow, inputs, answers, environment):
    bundle = str(environment / "flow.flowbundle")
    given = [word for item in inputs for word in ("--input", item)]

    code, _ = art("compile", str(flow), "-o", bundle, "--key", "release")
    assert code == 0
    code, run = art("run", bundle, *given)
    for answer in answers:
        assert (code, run["status"]) == (4, "waiting")
        code, run = art("resume", run["run_id"], "--input", answer, "--as", "alice")

    assert (code, run["status"]) == (0, "completed")
    code, verdict = art("ledger", "verify", run["run_id"], "--require-signed")
    assert (code, verdict["verdict"], verdict["final"]) == (0, "valid", True)
    assert verdict["signed_records"] == verdict["records"] == run["ledger"]["records"]


# A published document gives one pin two defaults: readers differ which of them counts.
REFUSED = {"bff163ad": {"VF002"}}


@pytest.mark.parametrize(
    ("flows", "refused", "count"),
    [
        pytest.param(OWN, {}, 23, id="own"),
        pytest.param(PUBLISHED, REFUSED, 92, id="published", marks=published),
    ],
)
def test_every_document_compiles_to_a_signed_bundle_or_says_why(
    flows, refused, count, environment, capsys
):
    reasons: dict[str, set[str]] = {}
    paths = sorted(flows.glob("*.json"))
    for path in paths:
        target = str(environment / f"{path.stem}.flowbundle")
        code = main(["compile", str(path), "-o", target, "--key", "release", "--json"])
        document = json.loads(capsys.readouterr().out)
        if code == 0:
            assert main(["bundle", "verify", target, "-q"]) == 0
        else:
            assert code == 1
            findings = document["error"]["diagnostics"]
            reasons[path.stem] = {item["code"] for item in findings if item["severity"] == "error"}

    assert reasons == refused
    assert len(paths) == count
