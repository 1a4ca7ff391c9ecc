from __future__ import annotations

from typing import Any

import pytest

from abstractruntime.rendering.agent_output import without_traces

PAD = {"sub_run_id": "r1", "node_traces": {"a": {}}, "steps": [1], "messages": []}


@pytest.mark.parametrize(
    ("value", "shown", "runs"),
    [
        (
            {"response": "hi", "scratchpad": PAD},
            {"response": "hi", "scratchpad": {"sub_run_id": "r1"}},
            ["r1"],
        ),
        (
            {"x": [{"scratchpad": PAD}] * 2},
            {"x": [{"scratchpad": {"sub_run_id": "r1"}}] * 2},
            ["r1"],
        ),
        ({"scratchpad": {"notes": 1}}, {"scratchpad": {"notes": 1}}, []),
        (None, None, []),
    ],
    ids=["answer", "twice", "an author's", "nothing"],
)
def test_answers_without_traces(value: Any, shown: Any, runs: list[str]) -> None:
    assert without_traces(value) == (shown, runs)
