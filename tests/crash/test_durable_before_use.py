"""Whatever is built upon is durable first, whoever made it and however far that got.

A sync that failed, or that a process died before, leaves a file which everybody finds and
a power cut takes away. Whoever finds it makes up for that sync before anything relies on it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from crash_story import LEDGER, RUN, Story
from faults import KEY, World
from faults_files import Worst

from abstractruntime.core.commands import Answer, Command
from abstractruntime.core.origin import RunOrigin
from abstractruntime.errors import StoreError
from abstractruntime.storage import _artifact_files, commands
from abstractruntime.storage._artifact_files import ArtifactFiles
from abstractruntime.storage._files.fs import StoreFiles
from abstractruntime.storage._files.layout import Layout
from abstractruntime.storage._files.simfs import Image, JournalEntry, SimFileSystem, _Disk
from abstractruntime.storage._store import lease, run_log
from abstractruntime.storage._store.blobs import Blobs
from abstractruntime.storage._store.heads import KeySigner, open_heads
from abstractruntime.storage._store.inbox import Inboxes
from abstractruntime.storage.commands import CommandRecord, JsonlCommandStore
from abstractruntime.storage.large_values import LIMIT_BYTES
from abstractruntime.testing.clocks import FakeClock

ROOT = "/s"
BEFORE = {"/s/store.json": b"{}", "/s/ledger_r.jsonl": b"a\n"}


@pytest.fixture(autouse=True)
def _no_claims():
    yield
    lease._claims.clear()


def after_power_cut(
    journal: list[JournalEntry], until: Callable[[JournalEntry], bool] = lambda _: False
) -> Image:
    """Give the disk on which everything is lost that may be lost, cut at an entry or at the end."""
    disk = _Disk()
    for entry in journal:
        disk.apply(entry)
        if until(entry):
            break
    return disk.crash(Worst())


# -- a deed that fails at a sync is repeated ---------------------------------------------


class Deed(NamedTuple):
    """Something that promises a file, with all objects made anew, and where the file is."""

    build: Callable[[SimFileSystem], Callable[[], object]]
    directory: str


def offload(fs: SimFileSystem) -> Callable[[], object]:
    blobs = Blobs(StoreFiles(fs), Layout(ROOT))
    return lambda: blobs.pack("x" * (LIMIT_BYTES + 1))


def post(fs: SimFileSystem) -> Callable[[], object]:
    inboxes = Inboxes(StoreFiles(fs), Layout(ROOT), FakeClock())
    return lambda: inboxes.post("r", Command("c1", Answer()))


def sign(fs: SimFileSystem) -> Callable[[], object]:
    services: Any = SimpleNamespace(
        files=StoreFiles(fs), layout=Layout(ROOT), signer=KeySigner(KEY), host_keys=tuple, origin="test/0", durability="strict"
    )  # fmt: skip
    heads = open_heads(services, "r", RunOrigin())
    assert heads is not None
    return lambda: heads.sign(2)


def keep_artifact(fs: SimFileSystem) -> Callable[[], object]:
    return lambda: ArtifactFiles(ROOT).put("a1", "0" * 64, b"content", b"{}")


def append_command(fs: SimFileSystem) -> Callable[[], object]:
    store = JsonlCommandStore(f"{ROOT}/commands")
    return lambda: store.append(CommandRecord("c1", "r", "cancel", {}, "t"))


DEEDS = {
    "offloaded value": Deed(offload, "/s/artifacts/blobs"),
    "command": Deed(post, "/s/inbox/r"),
    "signed head": Deed(sign, ROOT),
    "artifact": Deed(keep_artifact, "/s/artifacts"),
    "command of a host": Deed(append_command, "/s/commands"),
}


def syncs_of(deed: Deed, disks: list[SimFileSystem]) -> list[int]:
    disks.append(SimFileSystem(BEFORE))
    deed.build(disks[-1])()
    return [i for i, verb in enumerate(disks[-1].calls) if verb in ("sync", "sync_dir")]


@pytest.mark.parametrize("who", ["the same process", "another process"])
@pytest.mark.parametrize("name", DEEDS)
def test_a_repetition_makes_up_for_a_failed_sync(name, who, monkeypatch):
    deed, disks = DEEDS[name], []
    for module in (_artifact_files, commands):
        monkeypatch.setattr(module, "RealFileSystem", lambda **_: disks[-1])
    for index in syncs_of(deed, disks):
        disks.append(SimFileSystem(BEFORE))
        fs = disks[-1]
        fs.fail_at[index] = errno.EIO
        act = deed.build(fs)
        with pytest.raises(StoreError):
            act()
        if who == "another process" or name == "signed head":  # a poisoned file is opened again
            act = deed.build(fs)
        act()

        promised = {
            path: data
            for path, data in fs.image().items()
            if path.startswith(f"{deed.directory}/") and path not in BEFORE
        }
        assert promised
        assert promised.items() <= after_power_cut(fs.journal).items(), fs.calls[index]


# -- what an acknowledged line or command rests on ------------------------------------------


def test_a_command_does_not_outlive_what_it_answers():
    story = Story()
    story.create()
    story.hop()

    story.engine.post(RUN, Command("c1", Answer()))

    assert after_power_cut(story.fs.journal)[LEDGER] == story.fs.image()[LEDGER]


def test_an_emitter_knows_whom_it_told(monkeypatch):
    monkeypatch.setattr(run_log, "CHECKPOINT_GROWTH_BYTES", 1 << 30)
    world = World()
    process = world.process()
    process.start("listener", "other")
    process.drive("other")
    process.start("emitter")
    process.drive()

    image = after_power_cut(
        world.disk.journal, lambda e: (e.verb, e.path) == ("sync_dir", "/s/inbox/other")
    )

    assert any(path.startswith("/s/inbox/other/") for path in image)
    assert b'"internal":"progress"' in image["/s/ledger_root.jsonl"]
