"""Purging a finished run: its content goes, a tombstone that names the head stays.

Rules:
1. A run is purged with everything below it, and only when all of it has ended.
2. The tombstone of the root comes first and its ledger goes last. A tombstone whose head is
   that of a ledger which is still there is a purge that was interrupted; the next
   collection ends it.
3. Checkpoint and signed heads go before the ledger: they promise that it is there.
4. The lock file stays: who has just opened it would lock a file without a name, the next one
   another of that name, and both would own the run.
5. A tombstone is a claim: nothing is left that it could be compared with. It ends with a digest
   that shows a change; the signed head in it is as good as its signature. One that was changed
   has nothing purged.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._json import JsonObject, dump_line
from abstractruntime._text import shell_word
from abstractruntime.errors import UsageError
from abstractruntime.storage._care.needs import Census, RunFacts, read_snapshots
from abstractruntime.storage._files.fs import file_name
from abstractruntime.storage._files.jsonl import last_committed, parse_object
from abstractruntime.storage._store.recovery import no_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from abstractruntime.storage._store.engine import DirectoryEngine
    from abstractruntime.storage._store.services import Services

TOMBSTONE_FORMAT = "art-tombstone/1"
_DIGEST: Final = "sha256"


@dataclass(frozen=True, slots=True)
class PurgePlan:
    """A root and everything below it, leaves first; the root is the last."""

    runs: tuple[RunFacts, ...]

    @property
    def root(self) -> RunFacts:
        return self.runs[-1]

    @property
    def size_bytes(self) -> int:
        return sum(run.size_bytes for run in self.runs)

    def to_dict(self) -> JsonObject:
        return {
            "run_id": self.root.run_id,
            "head_hash": self.root.head_hash,
            "runs": [run.run_id for run in self.runs],
            "size_bytes": self.size_bytes,
        }


def plan_purges(services: Services, census: Census, wanted: Sequence[str]) -> list[PurgePlan]:
    """Give what is to be purged: what is asked for, and what an interrupted purge left.

    Raises:
        NotFound: no such run.
        UsageError: it is not a root, or something in its tree has not ended.
    """
    plans = []
    roots = dict.fromkeys(wanted)
    for run_id in roots:
        if run_id not in census:
            _require_purged(services, run_id)
            continue
        _require_root(census, census[run_id])
        plan = PurgePlan(_tree(census, run_id))
        _require_ended(plan)
        plans.append(plan)
    for run_id in _interrupted(services, census):
        if run_id not in roots:
            plan = PurgePlan(_tree(census, run_id))
            if not any(run.is_live for run in plan.runs):
                plans.append(plan)
    return plans


def _require_purged(services: Services, run_id: str) -> None:
    if services.files.info(services.layout.tombstone(run_id)) is None:
        raise no_run(run_id)


def _require_root(census: Census, run: RunFacts) -> None:
    if run.parent_run_id in census:
        raise UsageError(
            f"run {run.run_id!r} is part of run {run.parent_run_id!r}; only whole trees are purged",
            hint=f"purge the run above it: {run.parent_run_id}",
            argument="purge",
            run_id=run.run_id,
        )


def _require_ended(plan: PurgePlan) -> None:
    live = [run for run in plan.runs if run.is_live]
    foreign = [run for run in plan.runs if run.head_hash is None]
    if foreign:
        raise UsageError(
            f"run {foreign[0].run_id!r} still belongs to version 0.4.x",
            hint="import it by opening it for writing, or remove its files by hand",
            argument="purge",
            run_id=foreign[0].run_id,
        )
    if live:
        raise UsageError(
            f"run {live[0].run_id!r} is {live[0].status}; only finished runs can be purged",
            hint=f"cancel it first: art cancel {shell_word(plan.root.run_id)}",
            argument="purge",
            run_id=live[0].run_id,
        )


def _tree(census: Census, root: str) -> tuple[RunFacts, ...]:
    children: dict[str, list[str]] = {}
    for facts in census.values():
        if facts.parent_run_id is not None:
            children.setdefault(facts.parent_run_id, []).append(facts.run_id)
    order, todo = [], [root]
    while todo:
        run_id = todo.pop()
        order.append(census[run_id])
        todo += children.get(run_id, ())
    return tuple(reversed(order))


def tombstones(services: Services) -> list[str]:
    """Give the ids of the runs that were purged."""
    names = services.files.names(services.layout.tombstones)
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))


def _interrupted(services: Services, census: Census) -> Iterable[str]:
    for run_id in tombstones(services):
        facts = census.get(run_id)
        if facts is None or facts.head_hash is None or facts.parent_run_id in census:
            continue  # gone, or the purge of the run above it, which goes last, ends this one
        # Another head is a later run that was given the same id.
        if _buried_head(services, run_id) == facts.head_hash:
            yield run_id


def _buried_head(services: Services, run_id: str) -> Any:
    return (_read_tombstone(services, run_id) or {}).get("head_hash")


def altered_tombstones(services: Services) -> list[str]:
    """Give the ids whose tombstone is not as it was written."""
    return [run_id for run_id in tombstones(services) if not _read_tombstone(services, run_id)]


def _read_tombstone(services: Services, run_id: str) -> JsonObject | None:
    """Give a tombstone; None when it is not as it was written, or has no digest that says so."""
    content = parse_object(services.files.read(services.layout.tombstone(run_id)) or b"") or {}
    body = {name: value for name, value in content.items() if name != _DIGEST}
    is_whole = content.get(_DIGEST) == _digest(body)
    return content if is_whole and content.get("run_id") == run_id else None


def _digest(body: JsonObject) -> str:
    return sha256(dump_line(body)).hexdigest()


def purge(engine: DirectoryEngine, plan: PurgePlan) -> None:
    """Remove a tree of runs.

    Raises:
        Busy: someone owns one of its runs.
        UsageError: a run has changed since it was planned; nothing of it was removed.
    """
    services = engine.services
    with engine.fenced(plan.root.run_id):
        for run in plan.runs:
            _require_unchanged(engine, run)
        _bury(services, plan.root, plan)
        for run in plan.runs[:-1]:
            with engine.fenced(run.run_id):
                _require_unchanged(engine, run)
                _bury(services, run, plan)
                _remove(services, run.run_id)
        _remove(services, plan.root.run_id)


def _require_unchanged(engine: DirectoryEngine, run: RunFacts) -> None:
    last = last_committed(engine.services.files, engine.services.layout.ledger(run.run_id))
    size = last.offset + len(last.data) + 1 if last is not None else 0
    if size not in (0, run.size_bytes):
        raise UsageError(
            f"run {run.run_id!r} has gone on since the collection was planned",
            hint="plan again",
            argument="purge",
            run_id=run.run_id,
        )


def _bury(services: Services, run: RunFacts, plan: PurgePlan) -> None:
    path = services.layout.tombstone(run.run_id)
    if _buried_head(services, run.run_id) == run.head_hash:
        return
    heads = last_committed(services.files, services.layout.heads(run.run_id))
    tombstone = {
        "format": TOMBSTONE_FORMAT,
        "run_id": run.run_id,
        "root_run_id": plan.root.run_id,
        "workflow_id": run.workflow_id,
        "status": run.status,
        "records": run.records,
        "size_bytes": run.size_bytes,
        "head_hash": run.head_hash,
        "signed_head": heads.data.decode("utf-8", "replace") if heads is not None else None,
        "store_origin": services.origin,
        "purged_at": services.clock.now_iso(),
    }
    services.files.ensure_dir(services.layout.tombstones)
    content = {**tombstone, _DIGEST: _digest(tombstone)}
    services.files.write_atomic(path, dump_line(content) + b"\n")


def _remove(services: Services, run_id: str) -> None:
    files, layout = services.files, services.layout
    owned = [path for path, (owner, _) in read_snapshots(services).items() if owner == run_id]
    files_of_run = layout.ledger(run_id), layout.checkpoint(run_id)
    prefixes = (*(f"{file_name(path)}." for path in files_of_run), layout.set_aside(run_id))
    owned += [
        f"{layout.quarantine}/{name}"
        for name in files.names(layout.quarantine)
        if name.startswith(prefixes)
    ]
    inbox = layout.inbox(run_id)
    owned += [f"{inbox}/{name}" for name in files.names(inbox)]
    originals = [layout.original(run_id), layout.checkpoint(run_id), layout.heads(run_id)]
    owned += [path for path in originals if files.info(path) is not None]
    _remove_durably(services, owned)
    files.remove_dir(inbox)
    _remove_durably(services, [layout.ledger(run_id)])


def _remove_durably(services: Services, paths: Sequence[str]) -> None:
    for path in paths:
        services.files.remove(path)
    sync_parents(services, paths)


def sync_parents(services: Services, paths: Iterable[str]) -> None:
    """Make removals durable, so that no power cut brings a file back."""
    for directory in sorted({path.rpartition("/")[0] for path in paths}):
        services.files.sync_dir(directory)
