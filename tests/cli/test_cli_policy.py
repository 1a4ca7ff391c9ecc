"""How often effects are tried, as configured: attempts are records of their own."""

from __future__ import annotations

import json

import pytest

FAILING = {"format": "art-stub-llm/1", "answers": [{"fail": "the model is tired"}]}


def model_flow() -> dict:
    execution = {"type": "execution"}
    return {
        "id": "one-call",
        "entryNode": "start",
        "nodes": [
            {
                "id": "start",
                "type": "on_flow_start",
                "data": {"inputs": [], "outputs": [{"id": "exec-out", **execution}]},
            },
            {
                "id": "ask-model",
                "type": "llm_call",
                "data": {
                    "label": "Ask the model",
                    "inputs": [
                        {"id": "exec-in", **execution},
                        {"id": "prompt", "type": "string"},
                    ],
                    "outputs": [{"id": "response", "type": "string"}],
                    "pinDefaults": {"prompt": "well?"},
                },
            },
        ],
        "edges": [
            {
                "source": "start",
                "sourceHandle": "exec-out",
                "target": "ask-model",
                "targetHandle": "exec-in",
            }
        ],
    }


@pytest.mark.parametrize("attempts", [1, 2])
def test_each_attempt_at_a_model_is_a_record(art, tmp_path, monkeypatch, attempts):
    (tmp_path / "flow.json").write_text(json.dumps(model_flow()))
    (tmp_path / "script.json").write_text(json.dumps(FAILING))
    monkeypatch.setenv("ART_LLM_ATTEMPTS", str(attempts))
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    ended = art("run", "flow.json", "--run-id", "r1", "--llm-stub", "script.json", "--json")

    assert ended.code == 1
    assert "the model is tired" in ended.document["error"]["message"]
    records = art("ledger", "show", "r1", "--json").document["records"]
    failed = [r["attempt"] for r in records if r["status"] == "failed"]
    assert failed == list(range(1, attempts + 1))
