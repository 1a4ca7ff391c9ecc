"""Changing every value in the files of a store, and looking at what comes of it.

A `Kind` is one kind of file: a disk that holds it, what is done with that disk, and what may come
of it. Nothing else may: a result that is none of these was made by whoever changed the file.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from faults import KEY, ROOT, RUN, Process, World, comparable, ledgers_of

from abstractruntime._json import dump_line
from abstractruntime.cli._judge import verify_run
from abstractruntime.cli._keyring import LedgerTrust
from abstractruntime.errors import AbstractRuntimeError
from abstractruntime.storage._files.simfs import Image, SimFileSystem
from abstractruntime.storage._store import lease
from abstractruntime.storage._store.heads import KeySigner
from abstractruntime.storage.directory import open_store

Change = tuple[str, bytes | None]
REFUSED = "refused"
HOSTS = (KEY.verifier,)
WRONG = ("believed", "crashed", "untold", "left a ledger that does not verify")


def changes_of(data: bytes, others: dict[str, bytes], flips: int) -> Iterator[Change]:
    """Give every change of a file, by name: values, keys, bytes, its end, and other files."""
    yield "removed", None
    for name, other in others.items():
        if other != data:
            yield f"swapped with {name}", other
    for cut in range(1, flips):
        yield f"cut at {cut}/{flips}", data[: len(data) * cut // flips]
        at = len(data) * cut // flips
        yield f"bit {at} flipped", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    try:
        content = json.loads(data)
    except ValueError:
        return
    ending = b"\n" if data.endswith(b"\n") else b""
    yield "a blank added", data.replace(b":", b": ", 1)
    for name, changed in changed_values(content):
        yield name, dump_line(changed) + ending


def changed_values(content: Any) -> Iterator[tuple[str, Any]]:
    """Give a document once for each of its values and keys, with that one changed or removed."""
    for path, value in leaves(content):
        name = "/".join(map(str, path))
        for label, other in _others(value):
            yield f"{name} {label}", _with(content, path, lambda p, k, v=other: _put(p, k, v))
        yield f"{name} removed", _with(content, path, lambda p, k: p.pop(k))
        if path and isinstance(path[-1], str):
            yield f"{name} renamed", _with(content, path, lambda p, k: _put(p, f"{k}_", p.pop(k)))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Give every value below a document with its path, containers too."""
    if path:
        yield path, value
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from leaves(item, (*path, key))


def _others(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bool):
        yield "inverted", not value
    elif isinstance(value, int | float):
        yield "plus one", value + 1
        yield "negated", -value - 1
    elif isinstance(value, str):
        yield "with more text", f"{value}x"
        yield "emptied", "" if value else "x"
    elif value is None:
        yield "set", "forged"
    elif isinstance(value, dict):
        yield "with a key", {**value, "forged": 9}
    else:
        yield "with an item", [*value, "forged"]


def _put(parent: Any, key: Any, value: Any) -> None:
    parent[key] = value


def _with(content: Any, path: tuple[Any, ...], change: Callable[..., Any]) -> Any:
    changed = parent = copy.deepcopy(content)
    for key in path[:-1]:
        parent = parent[key]
    change(parent, path[-1])
    return changed


@dataclass
class Kind:
    """One kind of file.

    Attributes:
        image: A disk with files of this kind.
        paths: Those files.
        use: What a person does with such a disk.
        results: What may come of it, beside a refusal; the first is that of the untouched disk.
        others: Other files of this kind, by name.
        is_told: Whether a harmless change must be told by `doctor` or `verify`, too.
        is_noted: Whether only the run that refuses it tells, as `doctor` does not compare so far.
        flips: At how many places of a file a bit is flipped, and its end cut off.
        may_be_lost: Whether the file may be gone without a trace: what was posted is then lost.
        signer: Who signs heads while the disk is used.
        images: Gives disks that somebody changed in several places, by name, beside the `changes`.
    """

    image: Image
    paths: list[str]
    use: Callable[[Process], Any]
    results: list[Any] = field(default_factory=list)
    others: dict[str, bytes] = field(default_factory=dict)
    is_told: bool = False
    may_be_lost: bool = False
    is_noted: bool = False
    flips: int = 24
    changes: Callable[..., Iterator[Change]] = changes_of
    signer: KeySigner | None = None
    images: Callable[[Image], Iterator[tuple[str, Image]]] = lambda _: iter(())
    verdicts: Any = field(init=False)

    def __post_init__(self) -> None:
        untouched = self.result(self.image)
        assert not isinstance(untouched, str), untouched
        self.results.insert(0, untouched)
        self.verdicts = verdicts_of(self.after)

    def result(self, image: Image) -> Any:
        """Use a disk as a new process does; `after` is the disk that it leaves."""
        world = World(SimFileSystem(image), signer=self.signer)
        process = world.process()
        try:
            self.use(process)
            found = comparable(process)
            self.after = world.disk.image()
            return found
        except AbstractRuntimeError:
            return REFUSED
        except Exception as error:
            return f"crashed: {error!r}"
        finally:
            process.leave()

    def judge(self, *, to_first: bool = False) -> tuple[Counter[str], list[str]]:
        """Try every change, or those to the first that is wrong; gives what came of how many, and what is wrong."""
        counts: Counter[str] = Counter()
        wrong: list[str] = []
        for name, image, is_gone in self._changed():
            came_to = self._judge(image)
            if is_gone and came_to == "untold" and self.may_be_lost:
                came_to = "lost"
            counts[came_to] += 1
            if came_to in WRONG:
                wrong.append(f"{name}: {came_to}")
                if to_first:
                    break
        return counts, wrong

    def _changed(self) -> Iterator[tuple[str, Image, bool]]:
        for path in self.paths:
            short = path.removeprefix(ROOT)
            for name, data in self.changes(self.image[path], self.others, self.flips):
                image = {k: v for k, v in self.image.items() if k != path}
                if data is not None:
                    image[path] = data
                if image != self.image:
                    yield f"{short}: {name}", image, data is None
        for name, image in self.images(self.image):
            yield name, image, False

    def _judge(self, image: Image) -> str:
        result = self.result(image)
        if result == REFUSED:
            return "refused and told" if self.is_noted or told_of(image) else "untold"
        if str(result).startswith("crashed"):
            return "crashed"
        verdicts = verdicts_of(self.after)
        if self.verdicts[RUN] == "valid" != verdicts[RUN]:
            # Whoever asks for signatures is told, whatever came of it.
            return "told" if verdicts[RUN] == "invalid" and told_of(image) else "unsigned"
        if result not in self.results:
            return "believed"
        if verdicts != self.verdicts:
            return "left a ledger that does not verify"
        if result == self.results[0]:
            return "harmless" if not self.is_told else "told" if told_of(image) else "untold"
        return "refused and told" if self.is_noted or told_of(image) else "untold"


def verdicts_of(image: Image) -> dict[str, str]:
    """Give what verification says of the ledgers of a disk, to whom trusts the host's key."""
    with open_store(ROOT, fs=SimFileSystem(image)) as engine:
        found = [run_id for run_id, _ in ledgers_of(image)]
        return {run_id: verify_run(engine, run_id, LedgerTrust(HOSTS)).verdict for run_id in found}


def told_of(image: Image) -> list[str]:
    """Give what `doctor` and `ledger verify` say about a disk."""
    lease._claims.clear()
    try:
        with open_store(ROOT, fs=SimFileSystem(image)) as engine:
            told = [fault.code for fault in [*engine.health.access(), *engine.health.faults()]]
            for name in sorted(image):
                if name.startswith(f"{ROOT}/ledger_"):
                    run_id = name.removeprefix(f"{ROOT}/ledger_").removesuffix(".jsonl")
                    beside = [found for _, found in engine.health.contradictions(run_id)]
                    verdict = verify_run(engine, run_id, LedgerTrust(HOSTS), beside=beside)
                    told += [defect.code for defect in verdict.defects]
                    told += verdict.warnings
            return told
    except AbstractRuntimeError as error:
        return [error.code]
