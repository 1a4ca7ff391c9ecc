"""Garbage collection of a directory store: `plan_gc` says what can go, `collect` removes it.

Rules:
1. What any run mentions stays, and so does what live runs own; see `_gc_needs`. Runs
   themselves go only when they are purged by name.
2. Files younger than the grace period stay. Whoever refers to an old file again writes it
   again, and a file that is not the planned one any more stays as well. So runs may go on
   while garbage is collected.
3. Every step leaves a store in which nothing that is needed is missing; after a failure, or
   a power cut, the next collection ends what this one began.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from abstractruntime._json import JsonObject, dump_line
from abstractruntime.errors import UsageError
from abstractruntime.storage._care.needs import (
    Census,
    Mentions,
    needed_bundles,
    read_census,
    read_mentions,
    unreadable,
)
from abstractruntime.storage._care.purge import (
    PurgePlan,
    plan_purges,
    purge,
    sync_parents,
    tombstones,
)
from abstractruntime.storage._files.file_lock import StoreLock
from abstractruntime.storage._files.layout import run_ids
from abstractruntime.storage._store.blobs import ASIDE, read_kept
from abstractruntime.storage.artifacts import ArtifactMetadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from abstractruntime.storage._files.fs import FileInfo
    from abstractruntime.storage._store.engine import DirectoryEngine
    from abstractruntime.storage._store.services import Services

Kind: TypeAlias = Literal[
    "artifact", "blob", "bundle", "command", "inbox", "quarantine", "temporary"
]

MIN_GRACE_S = 3600
_LOCK_WAIT_S = 10.0
_TEMPORARY, _REF, _BLOB, _BUNDLE = ".tmp", ".meta", ".bin", ".flowbundle"
# Others may bring these back under the same name; they are taken aside before they go.
_CONTESTED = frozenset({"artifact", "blob", "bundle"})
# Artifacts go before the blobs they name, and inboxes after what is in them.
_ORDER: tuple[frozenset[Kind], ...] = (
    frozenset({"artifact", "command", "quarantine", "temporary"}),
    frozenset({"blob"}),
    frozenset({"bundle"}),
    frozenset({"inbox"}),
)


@dataclass(frozen=True, slots=True)
class GcItem:
    """A file, or an empty inbox directory, that nobody needs; `path` is below the store."""

    kind: Kind
    path: str
    size_bytes: int = 0
    inode: int = 0
    modified_ns: int = 0

    def to_dict(self) -> JsonObject:
        return {"kind": self.kind, "path": self.path, "size_bytes": self.size_bytes}


@dataclass(frozen=True, slots=True)
class GcPlan:
    """What a collection would remove, in this order: first the purged runs."""

    purges: tuple[PurgePlan, ...]
    items: tuple[GcItem, ...]

    @property
    def size_bytes(self) -> int:
        """How much space it gives back."""
        runs = sum(part.size_bytes for part in self.purges)
        return runs + sum(item.size_bytes for item in self.items)

    def to_dict(self) -> JsonObject:
        return {
            "purges": [plan.to_dict() for plan in self.purges],
            "items": [item.to_dict() for item in self.items],
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True, slots=True)
class GcReport:
    """What a collection did; `kept` is what had changed since it was planned."""

    purged: tuple[str, ...]
    removed: tuple[GcItem, ...]
    kept: tuple[GcItem, ...]

    def to_dict(self) -> JsonObject:
        return {
            "purged": list(self.purged),
            "removed": [item.to_dict() for item in self.removed],
            "kept": [item.to_dict() for item in self.kept],
        }


# -- planning -----------------------------------------------------------------


def plan_gc(
    engine: DirectoryEngine,
    *,
    grace_s: float,
    now: datetime,
    purge: Sequence[str] = (),
    quarantine: bool = False,
) -> GcPlan:
    """Find what nobody needs; changes nothing.

    Args:
        engine: The store.
        grace_s: Files that are younger stay; at least an hour.
        now: The present moment.
        purge: Finished root runs that go, with everything below them.
        quarantine: Whether torn bytes that recovery kept aside go as well.

    Raises:
        UsageError: the grace period is too short, or a run cannot be purged.
        NotFound: a run to be purged is not there.
        IntegrityError: something that may mention files is damaged.
        UnsupportedFormat: a newer version wrote the store.
    """
    if grace_s < MIN_GRACE_S:
        raise UsageError(
            f"grace period of {grace_s:g} s is too short: what runs are just writing could go",
            hint=f"use {MIN_GRACE_S} s or more",
            argument="grace_s",
        )
    services = _writable(engine)
    # Invariant: the files are listed before what mentions them is read. A file that is
    # written, and mentioned, after that is not among them.
    shelf = _Shelf(services, before_ns=int((now.timestamp() - grace_s) * 1e9))
    census = read_census(services)
    purges = plan_purges(services, census, purge)
    gone = {run.run_id for plan in purges for run in plan.runs}
    items = [
        *_unneeded_content(services, shelf, census, gone),
        *_unneeded_bundles(shelf, census, gone),
        *_void_inboxes(services, shelf, census, gone),
        *shelf.temporary(),
    ]
    if quarantine:
        items += shelf.old("quarantine", services.layout.quarantine, "")
    return GcPlan(tuple(purges), tuple(dict.fromkeys(items)))


def _writable(engine: DirectoryEngine) -> Services:
    engine.require_writable()
    services = engine.services
    if services.files.info(services.layout.store_file) is None:
        raise UsageError(
            f"{engine.path!r} still belongs to version 0.4.x, which may be writing to it",
            hint="go on with one of its runs first; that makes the directory a store",
            argument="engine",
        )
    return services


class _Shelf:
    """The files of a store that may turn out to be garbage, as they were when listed."""

    def __init__(self, services: Services, *, before_ns: int) -> None:
        layout = services.layout
        self._services = services
        self._before_ns = before_ns
        self.blobs = self._named("blob", layout.blobs, _BLOB)
        self.refs = self._named("artifact", layout.refs, _REF)
        self.bundles = self._named("bundle", layout.bundles, _BUNDLE)

    def is_old(self, item: GcItem) -> bool:
        return item.modified_ns <= self._before_ns

    def old(self, kind: Kind, directory: str, suffix: str) -> list[GcItem]:
        """Give the old files of a directory with a suffix; temporary ones have a kind of their own."""
        found = []
        for info in self._services.files.list(directory):
            is_wanted = info.name.endswith(suffix) and not info.is_dir
            if is_wanted and (kind == "temporary" or not info.name.endswith(_TEMPORARY)):
                found.append(self._item(kind, f"{directory}/{info.name}", info))
        return [item for item in found if self.is_old(item)]

    def temporary(self) -> list[GcItem]:
        """Give what writers left that died before they gave their file its name."""
        layout, files = self._services.layout, self._services.files
        inboxes = [f"{layout.inboxes}/{name}" for name in files.names(layout.inboxes)]
        directories = (
            layout.root,
            layout.blobs,
            layout.refs,
            layout.bundles,
            layout.snapshots,
            layout.quarantine,
            layout.tombstones,
            *inboxes,
        )
        return [i for d in directories for i in self.old("temporary", d, _TEMPORARY)]

    def _named(self, kind: Kind, directory: str, suffix: str) -> dict[str, GcItem]:
        """Give files by name without suffix; one that was taken aside stands for the original."""
        found: dict[str, GcItem] = {}
        infos = {info.name: info for info in self._services.files.list(directory)}
        for name, info in sorted(infos.items()):
            original = name.removesuffix(ASIDE)
            if original.endswith(suffix) and original[0] != ".":
                item = self._item(kind, f"{directory}/{original}", infos.get(original, info))
                found[original.removesuffix(suffix)] = item
        return found

    def _item(self, kind: Kind, path: str, info: FileInfo) -> GcItem:
        below = path[len(self._services.layout.root) + 1 :]
        return GcItem(kind, below, info.size, info.inode, info.modified_ns)


def _unneeded_content(
    services: Services, shelf: _Shelf, census: Census, gone: set[str]
) -> Iterable[GcItem]:
    """Give the artifacts and blobs that nothing mentions; artifacts first, as they name blobs."""
    metadata = _read_metadata(services, shelf)
    owners = {name for name, run in census.items() if not run.is_live and name not in gone}
    owners |= gone | (set(tombstones(services)) - set(census))
    refs = {
        name
        for name, data in metadata.items()
        if shelf.is_old(shelf.refs[name]) and data.run_id in owners
    }
    blobs = {name for name, item in shelf.blobs.items() if shelf.is_old(item)}
    mentions = Mentions(refs | blobs)
    read_mentions(services, gone, mentions)
    for name in metadata.keys() - refs:
        mentions.read(dump_line(metadata[name].to_dict()))
    _follow(services, shelf, metadata, mentions, set(shelf.blobs) - blobs)
    yield from (shelf.refs[name] for name in sorted(refs - mentions.found))
    yield from (shelf.blobs[name] for name in sorted(blobs - mentions.found))


def _follow(
    services: Services,
    shelf: _Shelf,
    metadata: dict[str, ArtifactMetadata],
    mentions: Mentions,
    todo: set[str],
) -> None:
    """Note what kept content mentions in turn; `todo` is the content that is kept anyway."""
    done: set[str] = set()
    while True:
        for name in mentions.found & metadata.keys():
            mentions.read(dump_line(metadata[name].to_dict()))
        todo = (todo | (mentions.found & shelf.blobs.keys())) - done
        if not todo or mentions.is_complete:
            return
        for name in todo:
            path = f"{services.layout.root}/{shelf.blobs[name].path}"
            mentions.read(read_kept(services.files, path) or b"")
        done |= todo


def _read_metadata(services: Services, shelf: _Shelf) -> dict[str, ArtifactMetadata]:
    """Give the metadata of every artifact; one that was deleted meanwhile is left out."""
    found = {}
    for name, item in shelf.refs.items():
        path = f"{services.layout.root}/{item.path}"
        data = read_kept(services.files, path)
        if data is not None:
            found[name] = _parse_metadata(item.path, data)
    return found


def _parse_metadata(path: str, data: bytes) -> ArtifactMetadata:
    try:
        return ArtifactMetadata.from_dict(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise unreadable(f"artifact metadata {path!r}", cause) from cause


def _unneeded_bundles(shelf: _Shelf, census: Census, gone: set[str]) -> Iterable[GcItem]:
    needed = needed_bundles({name: run for name, run in census.items() if name not in gone})
    for digest, item in sorted(shelf.bundles.items()):
        if digest not in needed and shelf.is_old(item):
            yield item


def _void_inboxes(
    services: Services, shelf: _Shelf, census: Census, gone: set[str]
) -> Iterable[GcItem]:
    """Give the commands that nobody will apply, and the inboxes of ended runs that are then empty."""
    files, layout = services.files, services.layout
    for run_id in sorted(files.names(layout.inboxes)):
        run = census.get(run_id)
        if run_id in gone or (run is not None and run.is_live):
            continue
        directory = f"{layout.inboxes}/{run_id}"
        void = shelf.old("command", directory, ".json")
        yield from void
        left = len(files.names(directory)) - len(void)
        if left == len(shelf.old("temporary", directory, _TEMPORARY)):
            yield GcItem("inbox", directory[len(layout.root) + 1 :])


# -- collecting ---------------------------------------------------------------


def collect(engine: DirectoryEngine, plan: GcPlan) -> GcReport:
    """Remove what was planned and has not changed since; runs may go on meanwhile.

    Raises:
        Busy: another collection is going on, or someone owns a run that is to be purged.
        UsageError: a run that is to be purged has gone on since.
        StoreError: the store could not be changed; plan and collect again.
        Refused: a run of the store is somebody else's, who may have written what is garbage.
    """
    services = _writable(engine)
    for run_id in sorted(run_ids(services.files.names(services.layout.root))):
        engine.require_own(run_id)
    lock = StoreLock(
        services.files, services.layout.store_lock, clock=services.clock, wait_s=_LOCK_WAIT_S
    )
    with lock.held():
        _put_back(services)
        for part in plan.purges:
            purge(engine, part)
        removed = [item for part in _ORDER for item in _sweep(services, plan.items, part)]
    kept = [item for item in plan.items if item not in set(removed)]
    purged = tuple(run.run_id for part in plan.purges for run in part.runs)
    return GcReport(purged, tuple(removed), tuple(kept))


def _put_back(services: Services) -> None:
    """Undo what an interrupted collection had taken aside."""
    files, layout = services.files, services.layout
    for directory in (layout.blobs, layout.refs, layout.bundles):
        for name in files.names(directory):
            if not name.endswith(ASIDE):
                continue
            path = f"{directory}/{name}"
            if files.info(path.removesuffix(ASIDE)) is None:
                files.rename(path, path.removesuffix(ASIDE))
            else:
                files.remove(path)


def _sweep(services: Services, items: Sequence[GcItem], kinds: frozenset[Kind]) -> list[GcItem]:
    """Remove the items of some kinds, except what was put to use since the plan was made."""
    doomed = [item for item in items if item.kind in kinds]
    needed = _needed_now(services, kinds) if doomed else set()
    root = services.layout.root
    removed = [
        item for item in doomed if f"{root}/{item.path}" not in needed and _remove(services, item)
    ]
    sync_parents(services, [f"{root}/{item.path}" for item in removed])
    return removed


def _needed_now(services: Services, kinds: frozenset[Kind]) -> set[str]:
    layout = services.layout
    needed: set[str] = set()
    if "bundle" in kinds:
        bundles = needed_bundles(read_census(services))
        needed |= {f"{layout.bundles}/{digest}{_BUNDLE}" for digest in bundles}
    if "blob" in kinds:
        # Artifacts are stored under the lock that is held here, so none comes after this look.
        named = _read_metadata(services, _Shelf(services, before_ns=0)).values()
        needed |= {layout.blob(data.blob_id) for data in named if data.blob_id}
    return needed


def _remove(services: Services, item: GcItem) -> bool:
    """Remove an item; False when it is gone, or is not what was planned."""
    path = f"{services.layout.root}/{item.path}"
    if item.kind == "inbox":
        return services.files.remove_dir(path)
    if not _is_planned(services, path, item):
        return False
    if item.kind not in _CONTESTED:
        services.files.remove(path)
        return True
    # Hazard: between a look at a file and its removal someone may replace it by a fresh one.
    services.files.rename(path, path + ASIDE)
    is_planned = _is_planned(services, path + ASIDE, item)
    if is_planned or services.files.info(path) is not None:
        services.files.remove(path + ASIDE)
    else:
        services.files.rename(path + ASIDE, path)
    return is_planned


def _is_planned(services: Services, path: str, item: GcItem) -> bool:
    info = services.files.info(path)
    found = (info.inode, info.size, info.modified_ns) if info is not None else None
    return found == (item.inode, item.size_bytes, item.modified_ns)
