"""Every value in every file of a store, changed: found, or harmless; never believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import pytest
from faults import KEY, ROOT, RUN, World
from ledger_files import rechained
from store_files import Kind, changed_values, told_of

from abstractruntime._json import dump_line
from abstractruntime._runtime.claims import Claims
from abstractruntime.core.commands import Command, SetLimits
from abstractruntime.effects.subworkflow import hand_over
from abstractruntime.storage import large_values
from abstractruntime.storage._files.simfs import Image
from abstractruntime.storage._store import inbox
from abstractruntime.storage._store.blobs import Blobs
from abstractruntime.storage._store.checkpoint import Checkpoint, digest_of
from abstractruntime.storage._store.heads import KeySigner

SIGNER = KeySigner(KEY)


def waiting_disk(**options: Any) -> Image:
    """Give a disk on which `root` and `other` wait for an answer, with a checkpoint each."""
    world = World(**options)
    process = world.process()
    for run_id in (RUN, "other"):
        process.start("question", run_id)
        process.drive(run_id)
    process.leave()
    return world.disk.image()


def answered(process: Any) -> None:
    process.answer()
    process.drive()


def test_one_number_changed_in_a_checkpoint_changes_nothing():
    image = waiting_disk()
    path = f"{ROOT}/run_{RUN}.json"
    content = json.loads(image[path])
    content["vars"]["out_a"]["said"] = "nine times as much"
    image[path] = dump_line(content) + b"\n"

    kind = Kind(waiting_disk(), [path], answered)

    assert kind.result(image) == kind.results[0]
    assert told_of(image) == ["checkpoint_mismatch", "checkpoint_mismatch"]


# -- the kinds ------------------------------------------------------------------


def checkpoints() -> Kind:
    image = waiting_disk()
    paths = [f"{ROOT}/run_{RUN}.json"]
    others = {
        "another run's": image[f"{ROOT}/run_other.json"],
        "a ledger": image[f"{ROOT}/ledger_{RUN}.jsonl"],
    }
    world = World()
    process = world.process()
    process.start("question")
    process.drive()
    process.control("pause_run")
    others["an older one"] = world.disk.image()[paths[0]]
    return Kind(image, paths, answered, others=others, is_told=True, may_be_lost=True)


def commands_of_people() -> Kind:
    world = World()
    process = world.process()
    for run_id in (RUN, "other"):
        process.start("question", run_id)
        process.drive(run_id)
        process.runtime.engine.post(run_id, Command("c1", SetLimits({"max_iterations": 7})))
    process.leave()
    image = world.disk.image()
    (path,) = (name for name in image if name.startswith(f"{ROOT}/inbox/{RUN}/"))
    (other,) = (name for name in image if name.startswith(f"{ROOT}/inbox/other/"))
    without = {name: data for name, data in image.items() if name != path}
    alone = Kind(without, [], answered)
    others = {"another run's": image[other]}
    return Kind(image, [path], answered, [alone.results[0]], others, may_be_lost=True)


def event_disk() -> tuple[Image, str]:
    """Give a disk on which a paused listener has got an event."""
    world = World()
    process = world.process()
    process.start("listener")
    process.drive()
    process.control("pause_run")
    process.start("emitter", "emitter")
    process.drive("emitter")
    process.leave()
    image = world.disk.image()
    (path,) = (name for name in image if name.startswith(f"{ROOT}/inbox/{RUN}/"))
    return image, path


def unpaused(process: Any) -> None:
    process.control("resume_run")
    process.drive()


def events() -> Kind:
    image, path = event_disk()
    without = {name: data for name, data in image.items() if name != path}
    return Kind(image, [path], unpaused, [Kind(without, [], unpaused).results[0]], may_be_lost=True)


def child_disk() -> tuple[Image, str]:
    """Give a disk on which the end of a child lies in the inbox of its parent."""
    world = World()
    process = world.process()
    process.start("async_child")
    process.drive()
    engine = process.runtime.engine
    wait: Any = engine.peek(RUN).waiting
    child_id = wait.details["sub_run_id"]
    process.answer(child_id)
    workflow = process.runtime.find_workflow("question")
    process.runtime.tick(workflow=workflow, run_id=child_id)
    child, traces = engine.peek(child_id), process.runtime.get_node_traces
    engine.post(RUN, hand_over(engine.peek(RUN), wait, child, traces))
    process.leave()
    image = world.disk.image()
    (path,) = (name for name in image if name.startswith(f"{ROOT}/inbox/{RUN}/"))
    return image, path


def ends_of_children() -> Kind:
    image, path = child_disk()
    return Kind(image, [path], lambda process: process.drive())


def blobs() -> Kind:
    world = World()
    process = world.process()
    process.start("big")
    process.runtime.tick(workflow=process.runtime.find_workflow("big"), run_id=RUN, max_steps=1)
    process.leave()
    image = world.disk.image()
    paths = sorted(name for name in image if "/blobs/" in name)
    others = {str(n): image[path] for n, path in enumerate(paths)}
    for name in [n for n in image if n.startswith(f"{ROOT}/run_")]:
        del image[name]
    return Kind(image, paths, lambda process: process.drive(), others=others)


def signed_disk() -> Image:
    return waiting_disk(signer=SIGNER)


def rewritten(image: Image) -> Iterator[tuple[str, Image]]:
    """Give disks on which a value of a ledger was changed and all of it chained anew.

    The checkpoint, which such a ledger does not fix, is gone; the heads are too, are left, or are
    there up to the first.
    """
    ledger, heads = f"{ROOT}/ledger_{RUN}.jsonl", f"{ROOT}/heads_{RUN}.jsonl"
    kept = {
        name: data for name, data in image.items() if name not in (heads, f"{ROOT}/run_{RUN}.json")
    }
    left: dict[str, Image] = {"gone": {}, "kept": {heads: image[heads]}}
    records = [json.loads(line) for line in image[ledger].splitlines()]
    for number, record in enumerate(records):
        for turn, (name, changed) in enumerate(changed_values(record)):
            for what in _ways(number, turn, name):
                lines = rechained(image[ledger], partial(_replace, number, changed))
                place = f"record {number}, heads {what}: {name}"
                yield place, {**kept, **left[what], ledger: lines}


def _ways(number: int, turn: int, name: str) -> tuple[str, ...]:
    """Give what becomes of the heads: with all changes of what the first record states, both."""
    if number == 0 and name.startswith("result"):
        return "gone", "kept"
    return {0: ("gone",), 3: ("kept",)}.get(turn % 6, ())


def refixed(image: Image) -> Iterator[tuple[str, Image]]:
    """Give disks whose checkpoint was changed, with a ledger that fixes it, and without heads or with."""
    names = f"ledger_{RUN}.jsonl", f"heads_{RUN}.jsonl", f"run_{RUN}.json"
    ledger, heads, path = (f"{ROOT}/{name}" for name in names)
    content = json.loads(image[path])
    content["vars"]["out_a"]["said"] = "nine times as much"
    at = content.pop("_at")
    body = dump_line(content)[:-1]

    def fix(records: list[Any]) -> None:
        records[at["seq"]]["commit"]["state"] = digest_of(body)

    lines = rechained(image[ledger], fix)
    record = json.loads(lines.splitlines()[at["seq"]])
    at["head"] = record["record_hash"]
    changed = {**image, ledger: lines, path: body + b',"_at":' + dump_line(at) + b"}\n"}
    yield "checkpoint fixed anew, heads kept", changed
    yield "checkpoint fixed anew, heads gone", {k: v for k, v in changed.items() if k != heads}


def _replace(number: int, changed: Any, records: list[Any]) -> None:
    records[number] = changed


def ledgers() -> Kind:
    kind = Kind(signed_disk(), [], answered, signer=SIGNER)
    kind.images = lambda image: chain(refixed(image), rewritten(image))
    return kind


def heads() -> Kind:
    image = signed_disk()
    path = f"{ROOT}/heads_{RUN}.jsonl"
    others = {"another run's": image[f"{ROOT}/heads_other.jsonl"]}
    return Kind(image, [path], answered, others=others, signer=SIGNER)


def store_files() -> Kind:
    image = signed_disk()
    # Its time is shown to nobody.
    return Kind(image, [f"{ROOT}/store.json"], answered)


def other_files() -> Kind:
    """Locks, the quarantine, tombstones: nothing of them becomes part of a run."""
    image = waiting_disk()
    facts = {"pid": 1, "host": "h", "since": "t", "command": "art", "ended": True}
    note = dump_line({**facts, "deaths": 0, "progress": 9})
    added = {
        f"{ROOT}/locks/run_{RUN}.lock": note,
        f"{ROOT}/locks/store.lock": note,
        f"{ROOT}/quarantine/ledger_{RUN}.jsonl.x": b'{"torn": 1}',
        f"{ROOT}/imported/run_{RUN}.json": b'{"run_id": "root", "vars": {"a": 1}}',
    }
    return Kind({**image, **added}, list(added), answered)


# -- what somebody writes who knows the format ---------------------------------


def forged(image: Image, path: str) -> list[tuple[str, bytes]]:
    """Give a command with each value of its payload changed, and a digest that fits, or none."""
    content = json.loads(image[path])
    _, _, name = path.rpartition("/")
    found = []
    for change, payload in changed_values(content["payload"]):
        body = {**content, "payload": payload}
        del body["sha256"]
        found.append((change, dump_line({**body, "sha256": inbox._digest(RUN, name, body)})))
        found.append((f"{change}, no digest", dump_line(body)))
    return found


def forgeries(image: Image, path: str, use: Any) -> Kind:
    without = {name: data for name, data in image.items() if name != path}
    kind = Kind(image, [path], use, [Kind(without, [], use).results[0]])
    kind.is_noted, kind.changes = True, lambda *_: forged(image, path)
    return kind


def without_digest(data: bytes, *_: Any) -> Iterator[tuple[str, bytes]]:
    content = json.loads(data)
    del content["sha256"]
    for change, changed in changed_values(content):
        yield change, dump_line(changed)


def stripped() -> Kind:
    kind = commands_of_people()
    kind.changes = without_digest
    return kind


FORGERIES = {
    "events": lambda: forgeries(*event_disk(), unpaused),
    "ends of children": lambda: forgeries(*child_disk(), lambda process: process.drive()),
    "commands of people": stripped,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_command_that_speaks_for_a_run_is_compared_with_it(name: str) -> None:
    counts, wrong = FORGERIES[name]().judge()

    print(f"\n{name}, forged: {dict(counts)}")
    assert wrong == []


def test_an_event_wakes_nobody_who_waits_for_another() -> None:
    process = World().process()
    process.start("two_waits")
    process.drive()
    process.start("listener", "other")
    process.drive("other")
    process.control("pause_run", "other")
    process.start("emitter", "emitter")
    process.drive("emitter")
    engine: Any = process.runtime.engine
    (sent,) = engine.services.inboxes.read("other").values()
    engine.post(RUN, Command(sent.id, replace(sent.request, wait_key="go")))
    process.drive()

    assert engine.peek(RUN).current_node == "a"
    assert [n for n in engine._files.names(f"{ROOT}/quarantine") if RUN in n]


KINDS = {
    "ledgers": ledgers,
    "checkpoints": checkpoints,
    "commands of people": commands_of_people,
    "events": events,
    "ends of children": ends_of_children,
    "large values": blobs,
    "heads": heads,
    "store.json": store_files,
    "locks, quarantine, imported": other_files,
}


@pytest.fixture(autouse=True)
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_values, "LIMIT_BYTES", 600)
    monkeypatch.setattr("abstractruntime.storage._store.record_lines.LIMIT_BYTES", 600)


@pytest.mark.parametrize("name", KINDS)
def test_nothing_that_was_changed_is_believed(name: str) -> None:
    counts, wrong = KINDS[name]().judge()

    print(f"\n{name}: {dict(counts)}")
    assert wrong == []
    assert counts.total() > 20


def believe_checkpoints(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Checkpoint, "is_fixed_by", lambda *_: True)


def believe_commands(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inbox, "_digest", lambda *_: "x")
    parse = lambda _self, _run, _name, data: Command.from_dict(json.loads(data))
    patch.setattr(inbox.Inboxes, "_parse", parse)


def believe_claims(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Claims, "objection", lambda *_: None)


def believe_blobs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Blobs, "_load", lambda self, digest: json.loads(self.read(digest)))


MISTAKES = {
    "checkpoints": (believe_checkpoints, checkpoints),
    "commands": (believe_commands, commands_of_people),
    "events": (believe_claims, FORGERIES["events"]),
    "ends of children": (believe_claims, FORGERIES["ends of children"]),
    "large values": (believe_blobs, blobs),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_belief_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake, kind = MISTAKES[name]
    sound = kind()
    mistake(monkeypatch)
    sound.flips = 0
    assert sound.judge(to_first=True)[1]
