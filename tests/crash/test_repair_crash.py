"""A repair that dies at any call loses nothing, and the next one ends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from crash_story import ROOT, RUN, Story, to_completion, wait_and_resume

from abstractruntime.errors import NotFound
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage._store import lease
from abstractruntime.storage.directory import open_store
from abstractruntime.storage.repair import apply_repair, plan_repair

LEDGER, CHECKPOINT = f"{ROOT}/ledger_{RUN}.jsonl", f"{ROOT}/run_{RUN}.json"
Image = dict[str, bytes]


class Died(BaseException):
    """The process ended here."""


class MortalFileSystem(SimFileSystem):
    """Lets the process die at one call."""

    dies_at = -1

    def _call(self, verb: str) -> None:
        if len(self.calls) == self.dies_at:
            raise Died
        super()._call(verb)


def torn(image: Image) -> None:
    image[LEDGER] += b'{"run_id"'


def other_state(image: Image) -> None:
    content = json.loads(image[CHECKPOINT])
    content["vars"]["items"] = ["made up"]
    image[CHECKPOINT] = json.dumps(content).encode()


def not_closed(image: Image) -> None:
    image[LEDGER] = b"".join(image[LEDGER].splitlines(keepends=True)[:-1])
    del image[CHECKPOINT]


def damaged(damage: Callable[[Image], None]) -> tuple[Image, Any]:
    """Give a store with one damaged run, and the state that its ledger tells."""
    story = Story()
    (to_completion if damage is not_closed else wait_and_resume)(story)
    story.log.close()
    image = dict(story.fs.image())
    state = open_store(ROOT, fs=SimFileSystem(image)).peek(RUN)
    damage(image)
    return image, state


def repair(fs: SimFileSystem) -> Any:
    lease._claims.clear()
    engine = open_store(ROOT, fs=fs)
    return apply_repair(engine, plan_repair(engine, RUN))


@pytest.fixture(autouse=True)
def _processes():
    yield
    lease._claims.clear()


@pytest.mark.parametrize("damage", [torn, other_state, not_closed], ids=lambda d: d.__name__)
def test_a_repair_may_die_at_every_call(damage):
    image, state = damaged(damage)
    whole = SimFileSystem(image)
    assert plan_repair(open_store(ROOT, fs=SimFileSystem(image)), RUN).steps
    assert repair(whole).findings == ()
    for index in range(len(whole.calls)):
        fs = MortalFileSystem(image)
        fs.dies_at = index
        with pytest.raises(Died):
            repair(fs)
        again = SimFileSystem(fs.image())
        assert repair(again).findings == (), index
        assert open_store(ROOT, fs=again).peek(RUN) == state, index


def test_there_is_nothing_to_repair_in_nothing():
    with pytest.raises(NotFound):
        repair(SimFileSystem())
