"""Flows that touch files: the workspace, consent, and going on elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flow_builder import START, end, flow, node

WRITE = node("w", "write_file", "exec-in file_path content", "exec-out bytes")
WRITE["data"]["pinDefaults"] = {"file_path": "out/o.txt", "content": "hi"}
ASK = node("q", "ask_user", "exec-in prompt", "exec-out response", pinDefaults={"prompt": "p"})
DOCUMENT = flow(START, ASK, WRITE, end("n"), edges="s > q; q > w; w > e; w.bytes > e.n")


@pytest.fixture
def document(tmp_path: Path) -> str:
    path = tmp_path / "f.json"
    path.write_text(json.dumps(DOCUMENT))
    return str(path)


@pytest.fixture
def bundle(art, document: str, tmp_path: Path) -> str:
    path = str(tmp_path / "f.flowbundle")
    assert art("compile", document, "--unsigned", "-o", path).code == 0
    return path


def test_a_run_goes_on_in_the_workspace_it_was_started_in(art, document, tmp_path, monkeypatch):
    assert art("run", document, "--run-id", "r").code == 4
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    done = art("resume", "r", "--input", "x")

    assert done.code == 0, done.err
    assert (tmp_path / "out" / "o.txt").read_text() == "hi"
    assert list(elsewhere.iterdir()) == []


def test_a_workspace_is_configured(art, document, tmp_path, monkeypatch):
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    monkeypatch.setenv("ART_WORKSPACE", str(chosen))

    assert art("run", document, "--run-id", "r").code == 4
    assert art("resume", "r", "--input", "x").code == 0
    assert (chosen / "out" / "o.txt").exists()


def test_a_bundle_needs_consent_to_write(art, bundle):
    refused = art("run", bundle, "--allow-unsigned", "--run-id", "r")

    assert refused.code == 3
    assert "needs file:write" in refused.err
    assert "--allow file:write" in refused.err
    assert art("show", "r").code == 66


def test_what_is_granted_is_recorded(art, bundle, tmp_path):
    started = art("run", bundle, "--allow-unsigned", "--allow", "file:write", "--run-id", "r")

    assert started.code == 4
    (first, *_) = (tmp_path / "store").rglob("*.jsonl")
    facts = json.loads(first.read_text().splitlines()[0])["result"]
    assert facts["grants"] == ["file:write"]
    assert facts["workspace"] == str(tmp_path)
    assert art("resume", "r", "--input", "x").code == 0
    assert (tmp_path / "out" / "o.txt").exists()


def test_artifacts_are_kept_in_the_store(art, tmp_path):
    keep = node("k", "import_workspace_file", "exec-in file_path", "exec-out artifact")
    keep["data"]["pinDefaults"] = {"file_path": "a.txt"}
    read = node("d", "read_artifact", "exec-in artifact", "exec-out content")
    document = flow(
        START,
        keep,
        read,
        end("v"),
        edges="s > k; k > d; d > e; k.artifact > d.artifact; d.content > e.v",
    )
    (tmp_path / "a.txt").write_text("kept")
    (tmp_path / "g.json").write_text(json.dumps(document))

    done = art("run", str(tmp_path / "g.json"))

    assert done.document == {"v": "kept", "success": True}
    assert list((tmp_path / "store" / "artifacts").rglob("*.meta"))
