"""The memory effects one after the other, over both kinds of store."""

from __future__ import annotations

import json
from typing import Any

import pytest
from awkward_hosts import LLM, asks, done, spec
from memory_host import message

from abstractruntime._runtime.driver import Driver
from abstractruntime.core.models import EffectType
from abstractruntime.core.ports import EffectOutcome

NOTE, QUERY, TAG = EffectType.MEMORY_NOTE, EffectType.MEMORY_QUERY, EffectType.MEMORY_TAG
COMPACT, REHYDRATE = EffectType.MEMORY_COMPACT, EffectType.MEMORY_REHYDRATE
VARS = EffectType.VARS_QUERY
CHAT = {"context": {"messages": [message(n) for n in range(1, 5)]}, "scratchpad": {"k": 1}}

CHAIN = spec(
    "chain",
    note=asks(NOTE, {"note": "hi", "scope": "session"}, key="note", then="tag"),
    tag=asks(TAG, {"span_id": 1, "tags": {"t": "x"}, "scope": "session"}, key="tag", then="find"),
    find=asks(QUERY, {"tags": {"t": "x"}, "scope": "all", "return": "both"}, key="find", then="c"),
    c=asks(COMPACT, {"preserve_recent": 1}, key="compact", then="back"),
    back=asks(REHYDRATE, {"span_ids": [1]}, key="back", then="look"),
    look=asks(VARS, {"path": "scratchpad"}, key="look", then="z"),
    z=done,
)


def summarise(run: Any, effect: Any) -> EffectOutcome:
    return EffectOutcome.completed({"content": '{"summary": "all of it"}'})


@pytest.mark.parametrize("session", ["s1", None], ids=["session", "tree"])
def test_what_is_noted_is_found_tagged_archived_and_brought_back(make, session):
    rt = make(summarise, CHAIN, effect_handlers={LLM: summarise})
    run_id = rt.start(workflow=CHAIN, vars=json.loads(json.dumps(CHAT)), session_id=session)

    state = rt.tick(workflow=CHAIN, run_id=run_id)

    assert state.status == "completed", state.error
    meta = {name: state.vars[name]["results"][0]["meta"] for name in ("note", "find", "compact")}
    assert meta["find"]["span_ids"] == [meta["note"]["span_id"]]
    assert meta["find"]["matches"][0]["tags"] == {"t": "x"}
    assert state.vars["back"]["inserted"] == 3
    assert json.loads(state.vars["look"]["results"][0]["output"])["value"] == {"k": 1}
    contents = [m["content"] for m in state.vars["context"]["messages"]]
    assert contents[0].endswith("]: all of it")
    assert contents[1:] == ["m1", "m2", "m3", "m4"]
    owner = f"session_memory_{session}" if session else run_id
    spans = rt.get_state(owner).vars["_runtime"]["memory_spans"]
    assert meta["note"]["span_id"] in [s["artifact_id"] for s in spans]
    assert rt.get_state(meta["compact"]["llm_run_id"]).parent_run_id == run_id


@pytest.mark.parametrize(("session", "may"), [("mine", True), ("yours", False), (None, False)])
def test_a_run_reaches_its_session_and_no_other(make, session, may):
    asking = spec("asking", a=asks(VARS, {"target_run_id": "far"}, then="z"), z=done)
    rt = make(summarise, asking)
    rt.start(workflow=asking, run_id="far", session_id=session)
    run_id = rt.start(workflow=asking, session_id="mine")

    state = rt.tick(workflow=asking, run_id=run_id)

    told = state.vars["out"]["results"][0]
    assert told["success"] is may
    assert may or "out of reach" in told["error"]


def test_a_summary_that_someone_else_is_making_is_waited_for(make, monkeypatch):
    compacting = spec("compacting", a=asks(COMPACT, {"preserve_recent": 1}, then="z"), z=done)
    rt = make(
        summarise,
        compacting,
        effect_handlers={LLM: summarise},
    )
    run_id = rt.start(workflow=compacting, vars=json.loads(json.dumps(CHAT)))
    with monkeypatch.context() as patch:
        patch.setattr(rt._host, "drive_child", rt.engine.peek)
        parked = rt.tick(workflow=compacting, run_id=run_id)

    state = Driver(rt).drive(run_id)

    assert parked.waiting.reason == "subworkflow"
    assert state.status == "completed", state.error
    assert "Compacted 3 messages" in state.output["out"]["results"][0]["output"]
    assert len(state.vars["_runtime"]["memory_spans"]) == 1
