"""What is wrong with a directory store: damaged runs, snapshots, and what keeps from writing.

Rules:
1. A damaged run stops nobody else: what it raises is an answer.
2. Looking changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from abstractruntime._text import shell_word
from abstractruntime.core.record_fields import STARTS_CHILD, started_child
from abstractruntime.core.store import Contradiction, Damage, Fault, Reached
from abstractruntime.errors import AbstractRuntimeError, IntegrityError, NotFound
from abstractruntime.storage._care.run_snapshots import DirectorySnapshots
from abstractruntime.storage._files.jsonl import parse_object, scan_lines
from abstractruntime.storage._files.layout import is_id, is_readable_id, run_ids
from abstractruntime.storage._store.checkpoint import parse_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from abstractruntime.storage._store.engine import DirectoryEngine


class Health:
    """Looks for damage in one store; see `core.store.StoreHealth`."""

    def __init__(self, engine: DirectoryEngine) -> None:
        self._engine = engine
        self._files = engine.services.files
        self._layout = engine.services.layout

    def knows(self, run_id: str) -> bool:
        if not is_readable_id(run_id):
            return False
        paths = self._layout.ledger(run_id), self._layout.checkpoint(run_id)
        return any(self._files.info(path) is not None for path in paths)

    def damage(self, run_id: str) -> AbstractRuntimeError | None:
        cause = self._why_unreadable(run_id)
        if not isinstance(cause, NotFound):
            return cause or self._engine.set_aside(run_id)
        return IntegrityError(
            f"the ledger of run {run_id!r} holds no record any more",
            hint=f"restore the ledger from a backup, or inspect it: art ledger verify {shell_word(run_id)}",
            run_id=run_id,
        )

    def unlisted(self, known: Collection[str]) -> Iterator[Damage]:
        """Give the runs that have files but are not `known`, each with what is wrong with it.

        The index forgets a run that lost its ledger, and never learns one that it could not read.
        """
        for run_id in sorted(run_ids(self._files.names(self._layout.root)) - set(known)):
            cause = self._why_unreadable(run_id)
            # A ledger without a complete line is no run: nobody was told of it.
            if cause is not None and not isinstance(cause, NotFound):
                yield run_id, cause

    def snapshots(self) -> Iterator[Damage]:
        return DirectorySnapshots(self._engine).damaged()

    def access(self) -> Iterator[Fault]:
        engine = self._engine
        if not self._files.fs.is_writable(engine.path):
            message = f"{engine.path} cannot be written"
            yield Fault("not_writable", "error", None, message, "check permissions")
        if engine.lost is not None:
            yield Fault("store_file_lost", "error", None, str(engine.lost), engine.lost.hint)
        if engine.is_read_only:
            message = f"format {engine.format} is newer; reading only"
            yield Fault("newer_format", "warning", None, message)

    def faults(
        self, run_id: str | None = None, *, is_whole: Callable[[str], bool] = lambda _: True
    ) -> list[Fault]:
        # Most who ask for the health of a run need no whole diagnosis.
        from abstractruntime.storage._care.repair import diagnose  # noqa: PLC0415 - see above

        # Nobody here knows what is odd about a newer format.
        return (
            [] if self._engine.is_read_only else diagnose(self._engine, run_id, is_whole=is_whole)
        )

    def ledger_bytes(self, run_id: str) -> int:
        info = self._files.info(self._layout.ledger(run_id))
        return 0 if info is None else info.size

    def reached(self, run_id: str) -> Reached | None:
        """Give up to where a run was checkpointed; None when there is nothing that can be read."""
        data = self._files.read(self._layout.checkpoint(run_id))
        checkpoint = parse_checkpoint(data or b"")
        if checkpoint is None:
            return None
        place = checkpoint.place
        return Reached(place.size, place.head, checkpoint.digest)

    def contradictions(self, run_id: str | None = None) -> Iterator[tuple[str, Contradiction]]:
        inboxes = self._engine.services.inboxes
        named = [run_id] if run_id is not None else inboxes.runs_with_commands()
        for owner in filter(is_id, named):
            for name, why in inboxes.altered(inboxes.read(owner)):
                yield owner, Contradiction("command_altered", f"command {name}: {why}")
        for owner, (_, cause) in DirectorySnapshots(self._engine).contradicted(
            lambda one: run_id in (None, one)
        ):
            yield owner, Contradiction("snapshot_mismatch", str(cause))
        runs = run_ids(self._files.names(self._layout.root)) if run_id is None else {run_id}
        for owner in sorted(runs):
            yield from self._lost_children(owner)

    def _lost_children(self, run_id: str) -> Iterator[tuple[str, Contradiction]]:
        """Give the runs that a run says it started and of which nothing is left."""
        for seq, line in enumerate(scan_lines(self._files, self._layout.ledger(run_id))):
            record = parse_object(line.data) if STARTS_CHILD in line.data else None
            child = started_child(record or {})
            if child is not None and not self.knows(child):
                detail = f"run {child}, which record {seq} started, is not in the store"
                yield run_id, Contradiction("child_missing", detail, expected=child)

    def _why_unreadable(self, run_id: str) -> AbstractRuntimeError | None:
        try:
            self._engine.peek(run_id)
        except AbstractRuntimeError as cause:
            return cause
        return None
