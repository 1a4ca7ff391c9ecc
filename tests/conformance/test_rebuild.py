"""A run rebuilt from JSON between any two steps goes the same way as one that stays in memory."""

from __future__ import annotations

import json
import random
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from flow_builder import Host
from recorded import load_cases

from abstractruntime.errors import FlowError
from abstractruntime.sandbox import default_runner
from abstractruntime.visualflow_compiler import Services, compile_visualflow

HERE = Path(__file__).parent
CORPUS = HERE.resolve().parents[2] / "shared" / "conformance" / "visible" / "micro.jsonl"
# The whole corpus where it lies beside the repository, else what is carried.
CASES = [CORPUS] if CORPUS.is_file() else sorted(HERE.glob("cases/*.jsonl"))

MAX_STEPS = 400
RANDOM_IDS = re.compile(r"msg_[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ANSWERS = {
    "ask_user": lambda n: {"response": f"answer-{n}"},
    "llm_call": lambda n: {"content": f"text {n}", "data": {"n": n}, "tool_calls": []},
    "answer_user": lambda n: {"message": f"shown {n}", "level": "message"},
}


def _answer(effect: Any, count: int) -> Any:
    return ANSWERS.get(effect.type.value, lambda n: {"output": {"n": n}})(count)


def _trace(document: Any, inputs: dict[str, Any], *, rebuild: bool) -> Any:
    services = Services(
        code=default_runner(),  # what is run here is our own, so one worker will do
        random=random.Random(1),
        now=lambda: datetime(2030, 1, 1, tzinfo=timezone.utc),
    )
    spec = compile_visualflow(document, services=services)
    host = Host(spec, json.loads(json.dumps(inputs)), answer=_answer, rebuild=rebuild)
    steps = 0
    while steps < MAX_STEPS and host.step():
        steps += 1
    requests = [effect.payload for effect in host.effects]
    text = json.dumps([host.path, requests, host.output, host.run.vars])
    return RANDOM_IDS.sub("<id>", text)


@pytest.mark.parametrize("area", ["control", "vars", "effects", "mix", "document", "subflow"])
def test_rebuilding_a_run_between_its_steps_changes_nothing(area, tmp_path, monkeypatch):
    # File nodes of the cases work in the current directory.
    monkeypatch.chdir(tmp_path)
    compared = 0
    for case in load_cases(*CASES):
        if case["case_id"].split("/")[1] != area or "cap" in case["tags"]:
            continue
        for document in case["flows"].values():
            inputs = case["starts"][0].get("inputs") or {}
            try:
                live = _trace(document, inputs, rebuild=False)
            except (FlowError, TypeError):
                continue
            assert _trace(document, inputs, rebuild=True) == live, case["case_id"]
            compared += 1
    assert compared > 0
