"""Each call to the file system fails once: a typed error, nothing acknowledged is lost, work goes on."""

from __future__ import annotations

import contextlib
import errno
import json

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
from faults import chained

from abstractruntime.errors import NotFound, StoreError, StoreFull, StoreIOError, WriterPoisoned
from abstractruntime.storage import large_values
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage._store import lease, run_log
from abstractruntime.storage.directory import open_store

SCENARIOS = [steps_and_effects, to_completion, wait_and_resume, many_checkpoints]
FAULTS = {
    "disk full": errno.ENOSPC,
    "input/output error": errno.EIO,
    "permission denied": errno.EACCES,
}


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch):
    monkeypatch.setattr(run_log, "CHECKPOINT_GROWTH_BYTES", 1200)
    monkeypatch.setattr(large_values, "LIMIT_BYTES", 290)
    monkeypatch.setattr("abstractruntime.storage._store.record_lines.LIMIT_BYTES", 290)
    yield
    lease._claims.clear()


def calls_of(scenario) -> int:
    story = Story()
    scenario(story)
    story.log.close()
    return len(story.fs.calls)


def broken_story(
    scenario, index: int, code: int
) -> tuple[Story | None, Exception | None, SimFileSystem]:
    """Run a scenario whose `index`-th call fails."""
    fs = SimFileSystem()
    fs.fail_at[index] = code
    story = None
    try:
        story = Story(fs=fs)
        scenario(story)
    except StoreError as error:
        return story, error, fs
    return story, None, fs


def acknowledged(fs: SimFileSystem) -> int:
    return max((e.note.get("lines", 0) for e in fs.journal if e.verb == "mark"), default=0)


def reopened(fs: SimFileSystem):
    """Open as a new process would, on the disk as it is."""
    lease._claims.clear()
    return open_store(ROOT, fs=SimFileSystem(fs.image()), origin="test/0").open(RUN)


@pytest.mark.parametrize("code", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_every_failing_call_is_survived(scenario, code):
    for index in range(calls_of(scenario)):
        lease._claims.clear()
        story, error, fs = broken_story(scenario, index, code)
        assert error is None or isinstance(error, StoreFull | StoreIOError | WriterPoisoned), index
        if (
            error is not None
            and code == errno.ENOSPC
            and fs.calls[index] in ("append", "write_new")
        ):
            assert isinstance(error, StoreFull), (index, fs.calls[index])
        check_disk(story, fs, index)


def check_disk(story: Story | None, fs: SimFileSystem, index: int) -> None:
    least = acknowledged(fs)
    try:
        log = reopened(fs)
    except NotFound:
        assert least == 0, index
        return
    assert len(list(chained(RUN, log._services.files.read(LEDGER)))) >= least, index
    assert story is not None
    run = log.run
    text = json.dumps([run.vars, run.status.value, run.current_node, run.output])
    assert story.log is None or text in {*story.states.values(), story.text()}, index
    log.settle()
    log.close()


def test_a_failed_append_leaves_the_log_usable():
    story = Story()
    story.create()
    story.fs.fail_at[len(story.fs.calls) + 1] = errno.ENOSPC  # the size check comes first
    size = len(story.fs.image()[LEDGER])

    with pytest.raises(StoreFull) as caught:
        story.hop()
    assert caught.value.details["bytes_needed"] > 0
    assert len(story.fs.image()[LEDGER]) == size
    story.log.rollback()
    assert "hops" not in story.log.run.vars
    story.hop()
    assert story.log.run.vars["hops"] == 1


def test_a_failed_sync_poisons_the_log_until_it_is_opened_again(monkeypatch):
    monkeypatch.setattr(run_log, "CHECKPOINT_GROWTH_BYTES", 1 << 30)
    story = Story()
    story.create()
    story.hop()
    story.fs.fail_at[len(story.fs.calls)] = errno.EIO

    with pytest.raises(StoreIOError):
        story.log.settle()
    with pytest.raises(WriterPoisoned):
        story.hop()
    with contextlib.suppress(StoreError):
        story.log.close()
    story.log = story.engine.open(RUN)
    story.log.settle()
    assert story.log.run.vars["hops"] == 1
