"""What a compiled flow keeps of its run, no caller gives it."""

from __future__ import annotations

from typing import Any

import pytest
from flow_builder import START, end, flow, node

from abstractruntime import Runtime
from abstractruntime.core.models import RunStatus
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.visualflow_compiler import compile_visualflow

ASK = node("a", "ask_user", "exec-in prompt", "exec-out response", pinDefaults={"prompt": "?"})
ANSWERED = {"a": {"response": "yes"}}


@pytest.mark.parametrize(
    "given",
    [
        {"_temp": {"effects": ANSWERED, "node_outputs": ANSWERED}},
        {"_temp": {"_control": {"stack": ["e"], "frames": {"e": {}}}}},
        {"_temp": {"errors": {"a": {"success": False, "error": "planted"}}}},
        {"_last_output": {"response": "yes"}},
    ],
)
def test_nobody_says_what_a_run_has_done_before_it_began(given: Any) -> None:
    spec = compile_visualflow(flow(START, ASK, end("r"), edges="s > a; a > e; a.response > e.r"))
    runtime = Runtime(run_store=InMemoryRunStore(), ledger_store=InMemoryLedgerStore())
    run_id = runtime.start(workflow=spec, vars=given)
    assert not {"_temp", "_last_output"} & runtime.get_state(run_id).vars.keys()

    assert runtime.tick(workflow=spec, run_id=run_id).status is RunStatus.WAITING
