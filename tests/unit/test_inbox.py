from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from abstractruntime.core.commands import Cancel, Command, Pause, SetLimits
from abstractruntime.errors import InvalidValue, UsageError
from abstractruntime.storage._files.fs import StoreFiles
from abstractruntime.storage._files.layout import Layout
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage._store.inbox import Inboxes


class FakeClock:
    seconds = 1_800_000_000.0

    def now(self):
        return datetime.fromtimestamp(self.seconds, timezone.utc)

    def now_iso(self):
        return self.now().isoformat()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def fs():
    return SimFileSystem({"/s/store.json": b"{}"})


@pytest.fixture
def inboxes(fs, clock):
    return Inboxes(StoreFiles(fs), Layout("/s"), clock)


def ids(inboxes):
    return [command.id for command in inboxes.read("r").values()]


@pytest.mark.parametrize("step", [0.0, 1.0, -60.0], ids=["same moment", "later", "clock went back"])
def test_commands_come_in_the_order_of_posting(inboxes, clock, step):
    for number in range(20):
        inboxes.post("r", Command(f"c{number}", Cancel()))
        clock.seconds += step

    assert ids(inboxes) == [f"c{number}" for number in range(20)]


def test_posting_again_changes_nothing(inboxes, clock):
    inboxes.post("r", Command("c", Pause("1")))
    clock.seconds += 5
    inboxes.post("r", Command("c", Pause("2")))

    assert [command.request for command in inboxes.read("r").values()] == [Pause("1")]


def test_removed_commands_are_gone(inboxes):
    inboxes.post("r", Command("a", Cancel()))
    inboxes.post("r", Command("b", Cancel()))
    inboxes.remove("r", list(inboxes.read("r"))[:1])

    assert ids(inboxes) == ["b"]
    assert inboxes.runs_with_commands() == ["r"]


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b"7",
        b'{"id": "b"}',
        b'{"id": {}, "kind": "cancel"}',
        b'{"id": "b", "kind": ["cancel"]}',
        b'{"id": "b", "kind": "limits", "payload": "x"}',
        b'{"id": "b", "kind": "resume", "payload": [1]}',
    ],
)
def test_files_that_hold_no_command_are_altered(inboxes, fs, data):
    inboxes.post("r", Command("a", Cancel()))
    fs.write_new(f"/s/inbox/r/{'0' * 26}.json", data, sync=True)

    found = inboxes.read("r")
    assert [c.id for c in found.values()] == [f"{'0' * 26}.json", "a"]
    assert [name for name, _ in inboxes.altered(found)] == [f"{'0' * 26}.json"]


def test_a_command_without_a_digest_is_not_what_was_posted(inboxes, fs):
    inboxes.post("r", Command("a", Cancel()))
    (name,) = inboxes.read("r")
    content = json.loads(fs.read(f"/s/inbox/r/{name}"))
    del content["sha256"]
    reasons = {"a": "it has no digest", "b": "its name is not that of its id"}
    for kept, why in reasons.items():
        fs.make_dir(f"/s/inbox/{kept}")
        data = json.dumps({**content, "id": kept}).encode()
        fs.write_new(f"/s/inbox/{kept}/{name}", data, sync=True)

        assert inboxes.altered(inboxes.read(kept)) == [(name, why)]


def test_an_altered_command_does_not_keep_the_real_one_out(inboxes, fs):
    inboxes.post("r", Command("a", Cancel()))
    (name,) = inboxes.read("r")
    fs.remove(f"/s/inbox/r/{name}")
    fs.write_new(f"/s/inbox/r/{name}", b"{}", sync=True)

    inboxes.post("r", Command("a", Cancel()))

    assert ids(inboxes) == ["a"]
    assert len(fs.names("/s/quarantine")) == 1


@pytest.mark.parametrize(
    "command, error",
    [
        (Command("", Cancel()), UsageError),
        (Command("a", SetLimits({"x": float("nan")})), InvalidValue),
    ],
)
def test_bad_commands_are_refused(inboxes, command, error):
    with pytest.raises(error):
        inboxes.post("r", command)
    assert ids(inboxes) == []
