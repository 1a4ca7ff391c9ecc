"""What the runs of a store need: which files are mentioned where.

Rules:
1. Every committed line of every run counts, whatever became of the run; a mention is the
   name of a file, wherever it occurs.
2. What mentions something must be readable and as it was written. Otherwise nobody can say
   what is needed, and nothing is collected.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abstractruntime.core.origin import RunOrigin
from abstractruntime.errors import ChainBroken, IntegrityError, NotFound
from abstractruntime.storage._files.jsonl import Line, scan_lines
from abstractruntime.storage._files.layout import run_id_of_checkpoint, run_id_of_ledger
from abstractruntime.storage._store.record_lines import parse_line, stored_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from abstractruntime.storage._store.services import Services

_HEX = re.compile(rb"[0-9a-f]{32,}")
_USUAL_LENGTHS = (32, 64)
_SNAPSHOT = re.compile(r"/snapshot_[^/]+\.json\Z")
# Caches and signatures; snapshots are read with their owners.
_UNREAD = ("index.sqlite", "heads_", "store.json", "snapshot_")


class Mentions:
    """Which of some names occur in stored bytes."""

    __slots__ = ("_hex", "_others", "found")

    def __init__(self, names: Iterable[str]) -> None:
        wanted = {name.encode() for name in names}
        self._hex = {name for name in wanted if _HEX.fullmatch(name)}
        self._others = wanted - self._hex
        self.found: set[str] = set()

    @property
    def is_complete(self) -> bool:
        """Whether every name was found."""
        return not self._hex and not self._others

    def read(self, data: bytes) -> None:
        """Note the names that occur in `data`."""
        tokens = set(_HEX.findall(data))
        hits = self._hex & tokens
        for token in tokens:
            if len(token) not in _USUAL_LENGTHS:
                # Something hexadecimal stands directly beside the name.
                hits |= {name for name in self._hex if name in token}
        hits |= {name for name in self._others if name in data}
        self._hex -= hits
        self._others -= hits
        self.found.update(name.decode() for name in hits)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the collection has to know of a run."""

    run_id: str
    workflow_id: str
    status: str
    parent_run_id: str | None
    bundle_digest: str | None
    records: int
    size_bytes: int
    head_hash: str | None
    is_live: bool


Census = dict[str, RunFacts]


def read_census(services: Services) -> Census:
    """Read what every run is.

    Raises:
        IntegrityError: the files of a run contradict each other.
    """
    census: Census = {}
    for run_id in sorted(set(_run_ids(services))):
        try:
            census[run_id] = _facts(services, run_id)
        except NotFound:
            continue  # its creation was never acknowledged
        except IntegrityError as error:
            raise unreadable(f"run {run_id!r}", error) from error
    return census


def _run_ids(services: Services) -> Iterator[str]:
    for name in services.files.names(services.layout.root):
        run_id = run_id_of_ledger(name) or run_id_of_checkpoint(name)
        if run_id is not None:
            yield run_id


def _facts(services: Services, run_id: str) -> RunFacts:
    replay = services.recovery.load(run_id)
    image, header = replay.image, replay.image.header
    return RunFacts(
        run_id=run_id,
        workflow_id=header["workflow_id"],
        status=header["status"],
        parent_run_id=header.get("parent_run_id"),
        bundle_digest=_bundle_digest(services, run_id),
        records=image.seq,
        size_bytes=replay.tail.committed,
        head_hash=image.head,
        is_live=not image.is_terminal,
    )


def _bundle_digest(services: Services, run_id: str) -> str | None:
    lines = scan_lines(services.files, services.layout.ledger(run_id))
    first = next(iter(lines), None)
    return RunOrigin.of(parse_line(run_id, 0, first)).bundle_digest if first is not None else None


def needed_bundles(census: Mapping[str, RunFacts]) -> set[str]:
    """Give the digests of the bundles from which live runs, or the runs above them, come."""
    needed: set[str] = set()
    for facts in census.values():
        run: RunFacts | None = facts if facts.is_live else None
        seen: set[str] = set()
        while run is not None and run.run_id not in seen:
            seen.add(run.run_id)
            if run.bundle_digest is not None:
                needed.add(run.bundle_digest)
            run = census.get(run.parent_run_id) if run.parent_run_id is not None else None
    return needed


def read_mentions(services: Services, gone: set[str], mentions: Mentions) -> None:
    """Note what everything in the store mentions, except the runs that are about to go.

    Raises:
        IntegrityError: a record or snapshot is not what was written.
    """
    files, layout = services.files, services.layout
    for name in files.names(layout.root):
        run_id = run_id_of_ledger(name)
        if (run_id or run_id_of_checkpoint(name)) in gone or name.startswith(_UNREAD):
            continue
        if run_id is not None:
            _read_ledger(services, run_id, mentions)
        else:
            mentions.read(_content(services, f"{layout.root}/{name}"))
    for owner, data in read_snapshots(services).values():
        if owner not in gone:
            mentions.read(data)
    inboxes = [run_id for run_id in files.names(layout.inboxes) if run_id not in gone]
    others = (layout.quarantine, layout.originals, layout.artifacts)
    for directory in (*others, *(f"{layout.inboxes}/{run_id}" for run_id in inboxes)):
        for name in files.names(directory):
            mentions.read(_content(services, f"{directory}/{name}"))


def _content(services: Services, path: str) -> bytes:
    info = services.files.info(path)
    return b"" if info is None or info.is_dir else services.files.read(path) or b""


def _read_ledger(services: Services, run_id: str, mentions: Mentions) -> None:
    if mentions.is_complete:
        return
    path = services.layout.ledger(run_id)
    for number, line in enumerate(scan_lines(services.files, path)):
        # Lines of 0.4.x are not numbered, and not chained.
        if b'"seq":' in line.data:
            _require_unaltered(run_id, number, line)
        mentions.read(line.data)


def _require_unaltered(run_id: str, number: int, line: Line) -> None:
    record = parse_line(run_id, number, line)
    if "seq" in record and stored_hash(record) != record.get("record_hash"):
        altered = ChainBroken(f"line {number + 1} of its ledger was altered", run_id=run_id)
        raise unreadable(f"run {run_id!r}", altered)


def read_snapshots(services: Services) -> dict[str, tuple[str, bytes]]:
    """Give run id and content of every snapshot, by path.

    Raises:
        IntegrityError: one cannot be read.
    """
    layout = services.layout
    found: dict[str, tuple[str, bytes]] = {}
    # A 0.4.x host may keep its snapshots beside the runs.
    paths = [f"{d}/{n}" for d in (layout.snapshots, layout.root) for n in services.files.names(d)]
    for path in paths:
        if not _SNAPSHOT.search(path):
            continue
        data = services.files.read(path) or b""
        try:
            found[path] = (str(json.loads(data)["run_id"]), data)
        except (ValueError, KeyError, TypeError, RecursionError) as cause:
            raise unreadable(f"snapshot {path!r}", cause) from cause
    return found


def unreadable(what: str, cause: Exception) -> IntegrityError:
    """Give the error that ends a collection because something that may mention files is damaged."""
    hint = "repair or remove it first; what it needs is unknown, so nothing is collected"
    return IntegrityError(f"{what} cannot be read: {cause}", hint=hint, what=what)
