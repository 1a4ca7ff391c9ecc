"""Memory effects whose process dies: one span, one archive, and no message lost or told twice.

Each story is told once without a fault. Then, for every append to any ledger, the process
dies with nothing, half, one line or all of the bytes written, and another goes on from that
disk. Artifacts outlive the processes, so a second archive of the same messages would show.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from test_kernel_contract import (  # type: ignore[import-not-found]  # pytest puts this directory on the path
    ROOT,
    RUN,
    Died,
    TickingClock,
    asks,
    chains_hold,
    comparable,
    cut_at,
    done,
    spec,
)

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import EffectType, RunState
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage._files.simfs import SimFileSystem, crash_states
from abstractruntime.storage._store import lease
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.directory import open_store

NOTE, TAG = EffectType.MEMORY_NOTE, EffectType.MEMORY_TAG
COMPACT, REHYDRATE = EffectType.MEMORY_COMPACT, EffectType.MEMORY_REHYDRATE
QUERY = EffectType.MEMORY_QUERY
OTHER = "other"
SUMMARY = {"summary": "they talked", "key_points": ["p"], "confidence": 1}
CHAT = [{"role": "system", "content": "be kind"}] + [
    {"role": "user", "content": f"m{n}"} for n in range(4)
]


def rehydrate_first(run, ctx):
    span_id = run.vars["c"]["results"][0]["meta"]["span_id"]
    return asks(REHYDRATE, {"span_ids": [span_id], "target_run_id": OTHER}, then="z")(run, ctx)


def query(then: str):
    return asks(QUERY, {"scope": "all", "return": "both"}, key="q", then=then)


KEEP = {"note": "hi", "tags": {"a": "b"}, "keep_in_context": True}
STORIES = {
    story.workflow_id: story
    for story in (
        spec("note", a=asks(NOTE, KEEP, then="q"), q=query("z"), z=done),
        spec("twice", a=asks(NOTE, KEEP, then="b"), b=asks(NOTE, KEEP, then="z"), z=done),
        spec("session", a=asks(NOTE, {**KEEP, "scope": "session"}, then="q"), q=query("z"), z=done),
        spec("elsewhere", a=asks(NOTE, {**KEEP, "target_run_id": OTHER}, then="z"), z=done),
        spec(
            "tag",
            a=asks(NOTE, {"note": "hi", "scope": "session"}, then="t"),
            t=asks(TAG, {"span_id": 1, "tags": {"c": "d"}, "scope": "session"}, key="t", then="z"),
            z=done,
        ),
        spec("compact", a=asks(COMPACT, {"preserve_recent": 1}, then="q"), q=query("z"), z=done),
        spec("compact_last", a=asks(COMPACT, {"preserve_recent": 0})),
        spec(
            "compact_other",
            a=asks(COMPACT, {"preserve_recent": 1, "target_run_id": OTHER}, then="z"),
            z=done,
        ),
        spec(
            "rehydrate_other",
            a=asks(COMPACT, {"preserve_recent": 1}, key="c", then="r"),
            r=rehydrate_first,
            z=done,
        ),
    )
}
CASES = [pytest.param(name, True, id=name) for name in STORIES] + [
    pytest.param(name, False, id=f"{name}-by-a-child")
    for name in ("compact", "compact_last", "compact_other")
]


@dataclass
class World:
    """What a death of the process does not undo."""

    has_summarizer: bool = True
    calls: Counter = field(default_factory=Counter)
    artifacts: InMemoryArtifactStore = field(default_factory=InMemoryArtifactStore)
    clock: TickingClock = field(default_factory=TickingClock)

    def summarize_chat_history(self, **asked: Any) -> Any:
        self.calls["summary"] += 1
        return SUMMARY

    def llm(self, run: RunState, effect: Any) -> EffectOutcome:
        self.calls["summary"] += 1
        return EffectOutcome.completed({"content": json.dumps(SUMMARY)})

    def runtime(self, fs: SimFileSystem) -> Runtime:
        registry = WorkflowRegistry()
        for workflow in STORIES.values():
            registry.register(workflow)
        lease._claims.clear()
        return Runtime.on_engine(
            open_store(ROOT, origin="test/0", fs=fs, clock=self.clock),
            effect_handlers={EffectType.LLM_CALL: self.llm},
            workflow_registry=registry,
            artifact_store=self.artifacts,
            chat_summarizer=self if self.has_summarizer else None,
            clock=self.clock,
        )

    def tell(self, fs: SimFileSystem, name: str) -> Any:
        """Drive a story to its end, from wherever it is, and give the states it ends with."""
        rt = self.runtime(fs)
        for run_id in (OTHER, RUN):
            chat = {"context": {"messages": json.loads(json.dumps(CHAT))}}
            try:
                rt.start(workflow=STORIES[name], run_id=run_id, vars=chat, session_id="sess")
            except ValueError:
                continue  # an earlier process created it
        state = Driver(rt).drive(RUN)
        assert state.status == "completed", state.error
        return labelled(json.dumps(comparable(rt)))


def labelled(text: str) -> str:
    """Number ids by first appearance, so that what refers to what shows, and hide times."""
    seen: dict[str, str] = {}
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "<time>", text)
    return re.sub(
        r"\b(msg_)?([0-9a-f]{32})\b",
        lambda m: f"{m[1] or ''}<id {seen.setdefault(m[2], str(len(seen)))}>",
        text,
    )


@pytest.mark.parametrize(("name", "has_summarizer"), CASES)
def test_a_death_at_any_append_leaves_one_span_and_one_archive(name, has_summarizer, monkeypatch):
    calm, fs = World(has_summarizer), SimFileSystem()
    expected = calm.tell(fs, name)
    artifacts = len(calm.artifacts.list_all())
    appends = fs.calls.count("append")
    assert appends >= 3

    for number in range(1, appends + 1):
        for part in ("none", "half", "line", "all"):
            where = f"append {number}, {part} written"
            world, fs = World(has_summarizer), SimFileSystem()
            with monkeypatch.context() as patch:
                cut_at(patch, number, part)
                with pytest.raises(Died):
                    world.tell(fs, name)
            fs = SimFileSystem(fs.image())

            assert world.tell(fs, name) == expected, where
            assert len(world.artifacts.list_all()) == artifacts, where
            assert world.calls["summary"] <= calm.calls["summary"] + 1, where
            chains_hold(fs.image())


@pytest.mark.parametrize("name", ["session", "compact", "compact_other", "rehydrate_other"])
def test_a_power_cut_leaves_one_span_and_no_gap(name):
    calm, fs = World(), SimFileSystem()
    expected = calm.tell(fs, name)

    for _, image in crash_states(fs.journal, random.Random(name), per_point=2):
        world, disk = World(artifacts=calm.artifacts), SimFileSystem(image)

        assert world.tell(disk, name) == expected
        chains_hold(disk.image())
