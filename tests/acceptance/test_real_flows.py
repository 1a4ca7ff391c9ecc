"""Published flow documents through the command line: compile and sign, run, answer, verify.

Every step of a run is a process of its own, as it is for people and scripts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from abstractruntime.cli.app import main
from abstractruntime.nodes._registry import node_types

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


def test_every_document_in_scope_compiles_to_a_signed_bundle_and_the_rest_say_why(
    environment, capsys
):
    compiled: set[str] = set()
    reasons: Counter[str] = Counter()
    for path in sorted(FLOWS.glob("*.json")):
        target = environment / f"{path.stem}.flowbundle"
        code = main(["compile", str(path), "-o", str(target), "--key", "release", "--json"])
        document = json.loads(capsys.readouterr().out)
        if code == 0:
            compiled.add(path.stem)
            assert main(["bundle", "verify", str(target), "-q"]) == 0
        else:
            assert code == 1
            reasons.update(finding_codes(document))

    with capsys.disabled():
        print(f"\npublished flows: {len(compiled)} compile; the rest: {dict(reasons)}")
    assert compiled == in_scope()
    assert set(reasons) == {"VF202"}


def in_scope() -> set[str]:
    """Give the documents whose node types, those of their children included, all exist here."""
    documents = {path.stem: json.loads(path.read_text()) for path in FLOWS.glob("*.json")}
    known = set(node_types())

    def is_supported(name: str, seen: frozenset[str] = frozenset()) -> bool:
        nodes = documents[name]["nodes"]
        children = {n["data"].get("subflowId") for n in nodes if n["type"] == "subflow"}
        below = (children & documents.keys()) - seen
        return {n["type"] for n in nodes} <= known and all(
            is_supported(child, seen | {name}) for child in below
        )

    # This one never reaches its listener, the only node that does not exist here.
    return {name for name in documents if is_supported(name)} | {"tg-agent-main"}


def finding_codes(document: dict) -> set[str]:
    findings = document["error"].get("diagnostics", [])
    return {item["code"] for item in findings if item["severity"] == "error"} or {
        finding_code(document)
    }


def finding_code(document: dict) -> str:
    return document["error"]["code"]
