"""Each sync fails once: exit code 74, nothing acknowledged, the writer refuses to go on."""

from __future__ import annotations

import contextlib
import errno
import os

import pytest
from crash_story import Story, many_checkpoints, steps_and_effects, to_completion, wait_and_resume
from faults_cli import DEEDS, Tool

from abstractruntime.errors import StoreError, StoreIOError, WriterPoisoned
from abstractruntime.storage._files import fs
from abstractruntime.storage._files.jsonl import JsonlFile
from abstractruntime.storage._store import lease, run_log


class FailingSync:
    """Counts the syncs of a process; number `at` fails."""

    def __init__(self, at: int | None = None, report: int | None = None) -> None:
        self.at, self.count, self.report = at, 0, report
        self._real = os.fsync

    def __call__(self, descriptor: int) -> None:
        self.count += 1
        if self.report is not None:
            os.write(self.report, b".")
        if self.count == self.at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._real(descriptor)

    def install(self) -> None:
        os.fsync = self
        fs._sync_data = self


def syncs_of(tool: Tool) -> int:
    reader, writer = os.pipe()
    assert tool.do(tool.deed.verb, FailingSync(report=writer).install) in (0, 4)
    os.close(writer)
    count = len(os.read(reader, 10_000))
    os.close(reader)
    return count


def fail_each_sync(tmp_path, name: str) -> list[int]:
    deed = DEEDS[name]
    clean = Tool(tmp_path / "clean", deed)
    clean.prepare()
    codes = []
    for at in range(1, syncs_of(clean) + 1):
        tool = Tool(tmp_path / str(at), deed)
        tool.prepare()
        told = tool.ledger()
        codes.append(tool.do(deed.verb, FailingSync(at).install))
        tool.check_and_finish(told)
    return codes


@pytest.mark.parametrize("name", DEEDS)
def test_each_failing_sync_ends_the_command(name, tmp_path):
    codes = fail_each_sync(tmp_path, name)

    assert codes == [74] * len(codes)
    assert len(codes) >= 2


def test_a_swallowed_sync_error_is_caught(tmp_path, monkeypatch):
    def sync(file):
        with contextlib.suppress(OSError):
            file._file.sync()

    monkeypatch.setattr(JsonlFile, "sync", sync)

    assert set(fail_each_sync(tmp_path, "run")) != {74}


# -- the writer itself ----------------------------------------------------------------

STORIES = [steps_and_effects, to_completion, wait_and_resume, many_checkpoints]


@pytest.fixture(autouse=True)
def _small_checkpoints(monkeypatch):
    monkeypatch.setattr(run_log, "CHECKPOINT_GROWTH_BYTES", 1200)
    yield
    lease._claims.clear()


def poisoned_at(story_of) -> tuple[int, list[int]]:
    """Fail every sync of the ledger; give how many there are, and after which it went on."""
    clean = Story()
    opened = len(clean.fs.calls)
    story_of(clean)
    syncs = [i for i, verb in enumerate(clean.fs.calls) if verb == "sync" and i >= opened]
    ledger_syncs, went_on = 0, []
    for index in syncs:
        lease._claims.clear()
        story = Story()
        story.fs.fail_at[index] = errno.EIO
        with pytest.raises(StoreIOError):
            story_of(story)
        if story.log is None or not story.log._memory.file.is_poisoned:
            continue  # another file than the ledger, which can be written again
        ledger_syncs += 1
        for again in (story.hop, story.log.settle):
            try:
                again()
                went_on.append(index)
            except WriterPoisoned:
                continue
            except StoreError:
                went_on.append(index)
    return ledger_syncs, went_on


@pytest.mark.parametrize("story_of", STORIES, ids=lambda s: s.__name__)
def test_a_failed_sync_poisons_the_writer(story_of):
    count, went_on = poisoned_at(story_of)

    assert went_on == []
    assert count >= 1
    assert WriterPoisoned.exit_code == 74


def test_a_writer_that_ignores_its_poison_is_caught(monkeypatch):
    monkeypatch.setattr(JsonlFile, "_refuse", lambda file: None)

    assert poisoned_at(to_completion)[1]
