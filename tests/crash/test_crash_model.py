"""Power cuts: whatever a disk may legally hold afterwards, the store keeps its promises.

P1 the ledger is a prefix of what was written; P2 what was acknowledged is there; P3 the
checkpoint never claims more than the ledger, and state is the fold of the ledger.
"""

from __future__ import annotations

import json
import random

import pytest
from crash_story import (
    LEDGER,
    ROOT,
    RUN,
    Story,
    many_checkpoints,
    steps_and_effects,
    to_completion,
    wait_and_resume,
)

from abstractruntime.core.records import STATUS_KEY_PREFIX
from abstractruntime.errors import AbstractRuntimeError, NotFound
from abstractruntime.storage import large_values
from abstractruntime.storage._files.simfs import Image, Mutations, SimFileSystem, crash_states
from abstractruntime.storage._store import lease, run_log
from abstractruntime.storage._store.run_log import DirectoryRunLog
from abstractruntime.storage.directory import open_store

STATES_PER_SCENARIO = 12_700


SCENARIOS = [steps_and_effects, to_completion, wait_and_resume, many_checkpoints]


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch):
    monkeypatch.setattr(run_log, "CHECKPOINT_GROWTH_BYTES", 1200)
    monkeypatch.setattr(large_values, "LIMIT_BYTES", 290)
    monkeypatch.setattr("abstractruntime.storage._store.record_lines.LIMIT_BYTES", 290)


def told(scenario, durability="strict", mutations=None) -> Story:
    story = Story(durability, mutations)
    scenario(story)
    story.log.close()
    return story


def violations(story: Story, *, states: int, seed: int) -> list[str]:
    written = story.fs.image()[LEDGER].splitlines()
    per_point = states // len(story.fs.journal) + 1
    found = []
    for marks, image in crash_states(story.fs.journal, random.Random(seed), per_point=per_point):
        lease._claims.clear()
        problem = check(story, written, marks, image)
        if problem:
            found.append(problem)
    return found


def check(story: Story, written: list[bytes], marks: list[dict], image: Image) -> str | None:
    acknowledged = max((mark.get("lines", 0) for mark in marks), default=0)
    fs = SimFileSystem(image)
    try:
        log = open_store(ROOT, durability=story.durability, fs=fs).open(RUN)
    except NotFound:
        return f"lost run with {acknowledged} acknowledged lines" if acknowledged else None
    except AbstractRuntimeError as error:
        return f"{type(error).__name__}: {error}"
    lines = fs.image()[LEDGER].splitlines()
    kept = next(
        (i for i, line in enumerate(lines) if i >= len(written) or line != written[i]), len(lines)
    )
    if kept < acknowledged:
        return f"P2: {acknowledged} lines acknowledged, {kept} kept"
    if any(not is_own(line) for line in lines[kept:]):
        return "P1: not a prefix"
    run = log.run
    text = json.dumps([run.vars, run.status.value, run.current_node, run.output])
    if text != story.states[kept]:
        return f"P3: another state after {kept} lines"
    commands = {mark["command"] for mark in marks if "command" in mark}
    applied = {c for line in lines for c in (json.loads(line).get("commit") or {}).get("cmd", ())}
    waiting = {command.id for command in log.take_commands()}
    if not commands <= applied | waiting or applied & waiting:
        return "P2: command lost or given twice"
    log.close()
    return None


def is_own(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    key = record["idempotency_key"] or ""
    return (
        key.startswith(STATUS_KEY_PREFIX) or (record["result"] or {}).get("internal") == "recovered"
    )


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_every_crash_state_keeps_the_promises(scenario):
    story = told(scenario)

    assert violations(story, states=STATES_PER_SCENARIO, seed=1) == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_crash_states_keep_the_promises(seed):
    """Over all seeds, a million states."""
    for scenario in SCENARIOS:
        assert violations(told(scenario), states=STATES_PER_SCENARIO, seed=seed) == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_relaxed_mode_keeps_what_was_settled(scenario):
    assert violations(told(scenario, "relaxed"), states=2_000, seed=2) == []


@pytest.mark.parametrize(
    "mutations",
    [
        Mutations(skip_file_sync=True),
        Mutations(skip_new_file_sync=True),
        Mutations(skip_dir_sync=True),
    ],
    ids=["ledger not synced", "temp file not synced", "directory never synced"],
)
def test_a_missing_sync_is_caught(mutations):
    assert violations(told(wait_and_resume, mutations=mutations), states=1_000, seed=3)


def test_a_checkpoint_before_the_ledger_line_is_caught(monkeypatch):
    sync = DirectoryRunLog._sync

    def settle(log):
        with monkeypatch.context() as patch:
            patch.setattr(DirectoryRunLog, "_sync", lambda _log: None)
            log._checkpoint_if_due()
        sync(log)

    monkeypatch.setattr(DirectoryRunLog, "settle", settle)
    monkeypatch.setattr(run_log, "CHECKPOINT_GROWTH_BYTES", 1 << 30)

    assert violations(told(to_completion), states=1_000, seed=4)
