"""The directory store: one append-only ledger and one checkpoint file per run.

Everything it promises is tested against a file system that forgets whatever was not synced;
see `storage._files.simfs`.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from abstractruntime._json import JsonObject
from abstractruntime._text import shell_word
from abstractruntime.core.commands import Command
from abstractruntime.core.models import RunState, StepRecord
from abstractruntime.core.origin import RunOrigin, state_signer
from abstractruntime.core.ports import Barrier, RunHeader, RunQuery
from abstractruntime.core.records import RecordFactory
from abstractruntime.core.run_tree import root_of
from abstractruntime.core.store import Owner
from abstractruntime.errors import NotFound, Quarantined, UsageError
from abstractruntime.storage._files.jsonl import (
    JsonlFile,
    scan_lines,
)
from abstractruntime.storage._files.layout import STORE_FORMAT, Layout, check_id
from abstractruntime.storage._files.quarantine import cut_torn_tail
from abstractruntime.storage._store.blobs import Blobs
from abstractruntime.storage._store.bundles import Bundles
from abstractruntime.storage._store.heads import StoredHeads, open_heads
from abstractruntime.storage._store.image import RunImage
from abstractruntime.storage._store.importing import import_run
from abstractruntime.storage._store.inbox import Inboxes
from abstractruntime.storage._store.index import UNCOUNTED, RunIndex
from abstractruntime.storage._store.lease import MOST_DEATHS, Leases, quarantined
from abstractruntime.storage._store.ledger_reader import LedgerReader
from abstractruntime.storage._store.memory import LogMemory
from abstractruntime.storage._store.recovery import Replay, no_run
from abstractruntime.storage._store.run_log import DirectoryRunLog
from abstractruntime.storage._store.seals import has_seal
from abstractruntime.storage._store.services import Durability, HeadSignerPort, Services
from abstractruntime.storage._store.store_file import (
    IMPORTED_FROM,
    NAMED,
    lost_store_file,
    save_store_file,
    unsupported,
)
from abstractruntime.storage._store.views import LedgerView, RunsView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Self  # types only; not a dependency at run time

    from abstractruntime.core.ports import Clock, Ids
    from abstractruntime.signing.keys import VerifierKey
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._store.lease import Lease
    from abstractruntime.storage._store.observers import LedgerCallback, Unsubscribe
    from abstractruntime.storage._store.seals import Seal

_WARM_LOGS = 8
_FIRST_LINE_BYTES = 16 * 1024


class DirectoryEngine(LedgerReader):
    """The runs of a store in a directory; see `core.ports.Engine`."""

    def __init__(  # noqa: PLR0913 - `open_store` gives every one
        self,
        root: str,
        facts: JsonObject,
        files: StoreFiles,
        *,
        durability: Durability,
        signer: HeadSignerPort | None,
        host_keys: Callable[[], Iterable[VerifierKey]],
        seal: Seal | None,
        only_sealed: bool,
        lock: bool,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self.path = self.address = root
        self.store_origin = str(facts["origin"])
        self.format = str(facts["format"])
        # A newer version wrote it.
        self.is_read_only = self.format != STORE_FORMAT
        layout = Layout(root)
        self.bundles = Bundles(files, layout)
        self.heads = StoredHeads(files, layout)
        blobs = Blobs(files, layout, clock)
        super().__init__(files, layout, blobs)
        self._facts = facts
        # A directory of 0.4.x becomes a store with its first write.
        self._is_unsaved = IMPORTED_FROM in facts and files.info(layout.store_file) is None
        # Why nothing may be written before a repair.
        self.lost = lost_store_file(layout, facts)
        is_writable = not (self.is_read_only or self._is_unsaved or self.lost)
        self._leases = Leases(files, layout, clock, lock=lock)
        self.services = Services(
            layout=layout,
            files=files,
            blobs=blobs,
            inboxes=Inboxes(files, layout, clock, seal=seal, only_sealed=only_sealed),
            recovery=self._recovery,
            index=RunIndex(files, layout, self._load_header, clock, writable=is_writable),
            clock=clock,
            ids=ids,
            durability=durability,
            signer=signer,
            origin=self.store_origin,
            host_keys=host_keys,
            seal=seal,
        )
        self._records = RecordFactory(clock, ids)
        self._warm: OrderedDict[str, LogMemory] = OrderedDict()

    keeps_commands = True
    is_new = False
    # Asked before anything of a run is changed; what it raises keeps the run as it is.
    admit: Callable[[str], None] | None = None
    # Asked besides before a run is opened that a host is to sign.
    may_sign: Callable[[str], None] | None = None

    @property
    def signed_by(self) -> str | None:
        """The verifier key of the host that signs the heads of what is recorded here."""
        signer = self.services.signer
        return signer.verifier.vkey if signer is not None else None

    @property
    def runs(self) -> RunsView:
        """The runs as a 0.4.x run store."""
        return RunsView(self)

    @property
    def ledgers(self) -> LedgerView:
        """The ledgers as a 0.4.x ledger store."""
        return LedgerView(self)

    # -- owning --------------------------------------------------------------

    def create(self, run: RunState, first: StepRecord) -> DirectoryRunLog:
        """Create a run durably and own it.

        Raises:
            UsageError: the id exists, or cannot stand in a file name.
            Busy: someone is just creating or driving it.
        """
        self.require_writable(run.run_id)
        self._claim()
        if self.signed_by is not None:
            state_signer(first, self.signed_by)
        path = self._layout.ledger(run.run_id)
        with contextlib.ExitStack() as undo:
            lease = self._leases.acquire(run.run_id)
            undo.callback(lease.release)
            memory = LogMemory(self._new_ledger(run.run_id, path), RunImage(run.run_id))
            undo.callback(memory.close)
            memory.heads = open_heads(self.services, run.run_id, RunOrigin.of(first.to_dict()))
            log = DirectoryRunLog(self.services, lease, memory, run, self._keep_warm)
            log.commit(first, barrier=Barrier.EXTERNAL)
            # The first checkpoint, too, waits until it is small beside the ledger.
            memory.checkpoint_length = memory.shadow.size()
            undo.pop_all()
            return log

    def _new_ledger(self, run_id: str, path: str) -> JsonlFile:
        """Open the ledger of a run that does not exist yet.

        A file without a complete line is no run: nobody was told of it. A checkpoint
        without a ledger is one that lost its ledger, and must not be written over.
        """
        info = self._files.info(path)
        has_lines = info is not None and any(True for _ in scan_lines(self._files, path))
        if has_lines or self._files.info(self._layout.checkpoint(run_id)) is not None:
            raise UsageError(
                f"run {run_id!r} exists already",
                hint=f"see it: art inspect {shell_word(run_id)}",
                argument="run_id",
                run_id=run_id,
            )
        file = JsonlFile(path, self._files.create(path), 0)
        if info is not None and info.size:
            cut_torn_tail(self._files, self._layout, self.services.clock, file, 0)
        return file

    def open(self, run_id: str, *, wait_s: float = 0.0, take_back: bool = False) -> DirectoryRunLog:
        """Own a run, waiting up to `wait_s` for its present owner.

        Args:
            run_id: The run.
            wait_s: How long to wait.
            take_back: Open a run that is set aside, and forget what set it aside.

        Raises:
            NotFound, Busy, IntegrityError
            Quarantined: too many processes died while they drove it.
        """
        self.require_writable(run_id)
        self.require_run(run_id)
        self.require_own(run_id)
        if self.may_sign is not None:
            self.may_sign(run_id)
        self._claim()
        with contextlib.ExitStack() as undo:
            lease = self._leases.acquire(run_id, wait_s=wait_s)
            undo.callback(lease.release)
            if take_back:
                lease.facts["deaths"] = 0
            elif lease.deaths >= MOST_DEATHS:
                raise quarantined(run_id, lease.deaths)
            log = self._own(run_id, lease, undo)
            undo.pop_all()
            return log

    def _own(self, run_id: str, lease: Lease, undo: contextlib.ExitStack) -> DirectoryRunLog:
        memory = self._take_warm(run_id)
        if memory is None:
            replay = self._recovery.load(run_id)
            if replay.is_legacy:
                import_run(self.services, self._records, run_id)
                replay = self._recovery.load(run_id)
            memory = self._recover(run_id, replay)
        undo.callback(memory.close)
        run, is_closed = memory.run(), memory.image.is_closed
        log = DirectoryRunLog(self.services, lease, memory, run, self._keep_warm)
        # Invariant: a ledger that names a host has a head before it has a second record.
        log.sign_if_due()
        if memory.recovered is not None:
            log.commit(self._records.internal(run, "recovered", **memory.recovered), scan=False)
        if not is_closed:
            log.append_bare(self._records.terminal_status(run))
        return log

    def _recover(self, run_id: str, replay: Replay) -> LogMemory:
        """Cut what was never acknowledged and remember the rest."""
        path = self._layout.ledger(run_id)
        handle = self._files.open_append(path)
        if handle is None:
            raise no_run(run_id)
        file = JsonlFile(path, handle, replay.tail.committed)
        memory = LogMemory.of(replay, file)
        memory.attempt = self._recovery.attempt(run_id, replay.image)
        if replay.tail.torn_bytes:
            cut_torn_tail(self._files, self._layout, self.services.clock, file, file.size)
            memory.recovered = {"offset": file.size, "bytes": replay.tail.torn_bytes}
        memory.heads = open_heads(
            self.services,
            run_id,
            self._stated_host(run_id),
            may_begin=lambda: not self._is_below_signed(replay.image.header.get("parent_run_id")),
        )
        return memory

    def _stated_host(self, run_id: str) -> RunOrigin:
        """Give where a run comes from, read only where its first record can name a host."""
        start = self._files.read(self._layout.ledger(run_id), 0, _FIRST_LINE_BYTES) or b""
        line, is_whole, _ = start.partition(b"\n")
        return self.origin(run_id) if b'"signed_by"' in line or not is_whole else RunOrigin()

    def _is_below_signed(self, parent: str | None) -> bool:
        """Tell whether a run that names no host stands below one that does.

        It was made without the host's key, or somebody took the name of the host away.
        """
        if parent is None:
            return False
        with contextlib.suppress(NotFound):
            return self.origin(root_of(self.peek, parent)).signed_by is not None
        return False

    @contextlib.contextmanager
    def fenced(self, run_id: str) -> Iterator[None]:
        """Keep everybody from owning a run for the block; only `admit` reads anything of it.

        Raises:
            Busy: someone owns it.
        """
        self.require_writable(run_id)
        self.require_own(run_id)
        lease = self._leases.acquire(run_id)
        try:
            memory = self._warm.pop(run_id, None)
            if memory is not None:
                memory.close()
            yield
        finally:
            lease.release()

    def _take_warm(self, run_id: str) -> LogMemory | None:
        memory = self._warm.pop(run_id, None)
        if memory is None:
            return None
        info = self._files.info(self._layout.ledger(run_id))
        if not memory.is_poisoned and memory.file.is_current(info.inode if info else None):
            return memory
        memory.close()
        return None

    def _keep_warm(self, memory: LogMemory) -> None:
        # Another thread may have kept its own since this one took it.
        if before := self._warm.pop(memory.image.run_id, None):
            before.close()
        self._warm[memory.image.run_id] = memory
        while len(self._warm) > _WARM_LOGS:
            with contextlib.suppress(KeyError):
                self._warm.popitem(last=False)[1].close()

    # -- reading -------------------------------------------------------------

    def peek(self, run_id: str) -> RunState:
        """Read a run without owning it; the copy is isolated."""
        # A warm log that nobody has extended since knows the state without folding a ledger.
        memory = self._take_warm(run_id)
        if memory is None:
            return self._recovery.peek(run_id)
        run = memory.run()
        self._keep_warm(memory)
        return run

    def set_aside(self, run_id: str) -> Quarantined | None:
        """Say why nobody drives a run, if too many processes died while they did."""
        deaths = self._leases.deaths(run_id)
        return quarantined(run_id, deaths) if deaths >= MOST_DEATHS else None

    def owner(self, run_id: str) -> Owner | None:
        """Say who drives a run right now; nobody who opens it meanwhile is disturbed."""
        return self._leases.owner(run_id)

    def find(self, query: RunQuery) -> list[RunHeader]:
        """Give the matching runs, newest `updated_at` first."""
        among = self.services.inboxes.runs_with_commands() if query.has_commands else None
        return self.services.index.find(query, among=among)

    def _load_header(self, run_id: str) -> tuple[RunHeader, int]:
        header, size = self._recovery.header(run_id)
        # What drives runs of 0.4.x also changes them without a record; they are read each time.
        return header, UNCOUNTED if size is None else size

    def subscribe(self, callback: LedgerCallback, *, run_id: str | None = None) -> Unsubscribe:
        """Call `callback` with every record that this process commits, or with those of one run.

        It gets a copy of the stored record, after the commit and in its thread; what it raises
        disturbs nobody. Calling the answer ends it.
        """
        return self.services.observers.subscribe(callback, run_id=run_id)

    # -- requests ------------------------------------------------------------

    def post(self, run_id: str, command: Command, *, sender: str | None = None) -> None:
        """Store a command durably for whoever owns the run now or next; idempotent by id.

        What it takes lies beside the ledger of the `sender`, if a run sends it.

        Raises:
            NotFound: no such run.
        """
        self.require_writable(run_id)
        self.require_run(run_id)
        self.require_own(run_id)
        self._claim()
        # Invariant: a command answers what its sender saw, which nobody may have synced yet. A
        # power cut that kept the answer and lost the question would waste the answer. That
        # there is a checkpoint proves that the ledger's name is durable.
        checkpoint = self._files.info(self._layout.checkpoint(run_id))
        self._files.sync_file(self._layout.ledger(run_id), is_named=checkpoint is not None)
        added = self.services.inboxes.post(run_id, command)
        if sender is not None:
            self.services.beside.add(sender, added)

    # -- names and ends ------------------------------------------------------

    def close(self) -> None:
        """Close warm files and the index; owned logs are their owners' to close."""
        while self._warm:
            self._warm.popitem()[1].close()
        self.services.index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def require_writable(self, run_id: str | None = None) -> None:
        """Refuse to write a store of a newer version, or a run whose id only 0.4.x allowed.

        Raises:
            UnsupportedFormat, UsageError
            StoreIOError: the file that names the store was lost.
        """
        if self.is_read_only:
            raise unsupported(self.format, self.path)
        if self.lost is not None:
            raise self.lost
        if run_id is not None:
            check_id(run_id)

    def require_own(self, run_id: str) -> None:
        """Refuse to change a run, or anything of it, that `admit` keeps as it is."""
        if self.admit is not None:
            self.admit(run_id)

    def is_sealed(self, run_id: str) -> bool:
        """Tell whether this host wrote the last record of a run, and with it all of them."""
        seal, last = self.services.seal, self.recent(run_id, 1)
        return seal is not None and bool(last) and has_seal(seal, run_id, last[0].record)

    def restore_store_file(self) -> None:
        """Write the lost file that names the store again, as its runs name it; see `lost`."""
        facts = {name: value for name, value in self._facts.items() if name != NAMED}
        save_store_file(self._files, self._layout, facts, clock=self.services.clock)
        self.lost = None

    def _claim(self) -> None:
        """Make the directory a store before anything is written into it."""
        if self._is_unsaved:
            save_store_file(self._files, self._layout, self._facts, clock=self.services.clock)
            self._is_unsaved = False
