"""A store as people and tools see it: an `Engine`, and the parts that care for what is in it.

The kernel needs an `Engine`. A command line, a console or a server needs a `Store`, whose
parts answer what they ask. Nothing here names a file: `address` and what else is text for
people is a path in a directory store, and something else in a database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Literal, NamedTuple, Protocol, runtime_checkable

from abstractruntime.core.models import JsonObject, RunState
from abstractruntime.core.origin import RunOrigin
from abstractruntime.core.ports import Engine, StoredRecord
from abstractruntime.errors import AbstractRuntimeError

Level = Literal["note", "warning", "error"]
# The id of something that cannot be read, and why.
Damage = tuple[str, AbstractRuntimeError]


@dataclass(frozen=True, slots=True)
class Owner:
    """Who drives a run, as far as it has told."""

    pid: int | None = None
    host: str | None = None
    since: str | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """The end of a ledger: how much there is, the hash of the last record, how much is signed.

    `beside_bytes` is what the run has written beside it: large values, and artifacts.
    """

    records: int = 0
    head_hash: str | None = None
    signed_records: int = 0
    bytes: int = 0
    beside_bytes: int = 0

    @property
    def all_bytes(self) -> int:
        """What the run takes, but for what is written anew each time."""
        return self.bytes + self.beside_bytes


class Reached(NamedTuple):
    """A place that a ledger has reached: its size there, and the hash of the last record.

    `state` is the digest of a state that is kept for this place, which that record must fix; None
    when nothing is.
    """

    size_bytes: int
    head_hash: Any
    state: str | None = None


class Contradiction(NamedTuple):
    """Something beside a ledger that is not what the ledger, or whoever wrote it, made of it."""

    code: str
    detail: str
    expected: Any = None
    found: Any = None


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it should be; `run_id` None when it is of the whole store.

    `step` names the repair that mends it; None means that repair cannot, or need not.
    """

    code: str
    level: Level
    run_id: str | None
    message: str
    hint: str | None = None
    step: str | None = None

    def to_dict(self) -> JsonObject:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class BundleStore(Protocol):
    """The bundles that runs were started from, by digest."""

    def put(self, digest: str, data: bytes) -> None:
        """Keep a bundle durably; one that is there counts as new again."""
        ...

    def get(self, digest: str, *, limit: int) -> bytes | None:
        """Give at most the first `limit` bytes of a bundle; None when it is not there."""
        ...

    def address(self, digest: str) -> str:
        """Say where a person puts back a bundle that was lost."""
        ...


@runtime_checkable
class KeepsBundles(Protocol):
    """A store that keeps bundles beside its runs."""

    @property
    def bundles(self) -> BundleStore: ...


class HeadStore(Protocol):
    """The signed heads of ledgers."""

    def lines(self, run_id: str) -> Iterator[bytes]:
        """Give the heads of a run as they are stored, oldest first, each with its LF."""
        ...


class StoreHealth(Protocol):
    """What is wrong with a store; what is damaged stops nothing else, and looking changes nothing."""

    def knows(self, run_id: str) -> bool:
        """Say whether anything of a run with this very id is there, readable or not."""
        ...

    def damage(self, run_id: str) -> AbstractRuntimeError | None:
        """Say why a run that a listing shows cannot be read; None when it can."""
        ...

    def unlisted(self, known: Collection[str]) -> Iterator[Damage]:
        """Give the damaged runs that are not `known`; listings do not always have them."""
        ...

    def snapshots(self) -> Iterator[Damage]: ...
    def access(self) -> Iterator[Fault]:
        """Give what keeps this process from writing."""
        ...

    def faults(
        self, run_id: str | None = None, *, is_whole: Callable[[str], bool] = ...
    ) -> Sequence[Fault]:
        """Give everything that is wrong with a run, or the store.

        Ledgers are read from their start, but of runs that are not `is_whole` from their checkpoint
        on, and what needs all ledgers is then not looked for.
        """
        ...

    def ledger_bytes(self, run_id: str) -> int:
        """Give how long the ledger of a run is, whatever is in it; 0 where there is none."""
        ...

    def reached(self, run_id: str) -> Reached | None:
        """Give up to where something beside a ledger remembers that it was durable."""
        ...

    def contradictions(self, run_id: str | None = None) -> Iterator[tuple[str, Contradiction]]:
        """Give what contradicts a run, or any, beside its ledger: commands, copies of its state."""
        ...


class RunSnapshot(Protocol):
    """A copy of a run's state under a name."""

    snapshot_id: str
    run_id: str
    step_id: str | None
    name: str
    description: str | None
    tags: list[str]
    created_at: str
    run_state: dict[str, Any]


class RunSnapshots(Protocol):
    """Named copies of runs that they can be put back to."""

    def create(
        self,
        run_id: str,
        *,
        name: str,
        description: str | None = None,
        tags: list[str] | None = None,
        step: int | None = None,
    ) -> RunSnapshot:
        """Keep a copy of a run as it is now, or as it was after record `step`."""
        ...

    def list(
        self, *, run_id: str | None = None, tag: str | None = None, limit: int = 100
    ) -> Sequence[RunSnapshot]:
        """Give the newest snapshots that match every given filter."""
        ...

    def restore(self, snapshot_id: str) -> RunState:
        """Put a waiting or finished run back to a snapshot; its ledger keeps what was since.

        Raises:
            NotFound, Busy, UsageError, IntegrityError
        """
        ...


class Plan(Protocol):
    """What would be done, or was; making a plan changes nothing."""

    def to_dict(self) -> JsonObject: ...


class RepairPlan(Plan, Protocol):
    """What repair would do to one run; nothing while something blocks it."""

    @property
    def findings(self) -> Sequence[Fault]: ...
    @property
    def steps(self) -> Sequence[str]: ...
    @property
    def blocked_by(self) -> Sequence[Fault]: ...


class Artifacts(Protocol):
    """Content-addressed storage: the same bytes of one run are one artifact."""

    def store(
        self,
        content: bytes,
        *,
        content_type: str = ...,
        run_id: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> Any: ...

    def load(self, artifact_id: str) -> Any: ...

    def get_metadata(self, artifact_id: str) -> Any: ...


class StoreCare(Protocol):
    """Mending runs, and removing what none needs, each by a plan that this store has made."""

    def plan_repair(self, run_id: str) -> RepairPlan: ...
    def repair(self, plan: RepairPlan) -> RepairPlan:
        """Do what a plan says, and give the plan of what is left.

        Raises:
            IntegrityError, UsageError, Busy
        """
        ...

    def plan_collection(
        self, *, grace_s: float, now: datetime, purge: Sequence[str] = (), quarantine: bool = False
    ) -> Plan:
        """Find what nobody needs and is older than the grace period.

        Raises:
            UsageError, NotFound, IntegrityError, UnsupportedFormat
        """
        ...

    def collect(self, plan: Plan) -> Plan:
        """Remove what a plan names and nobody has put to use since.

        Raises:
            Busy, UsageError, StoreError
        """
        ...


class Store(Engine, Protocol):
    """An engine with all its parts.

    `store_origin` is its name in signed heads, `address` what people know it by. `is_new` says
    whether it became a store by being opened, or does so with its first write. `admit` is asked
    before a run is opened for writing; what it raises keeps the run as it is.
    """

    @property
    def address(self) -> str: ...
    @property
    def store_origin(self) -> str: ...
    @property
    def is_new(self) -> bool: ...
    @property
    def admit(self) -> Callable[[str], None] | None: ...
    @property
    def artifacts(self) -> Artifacts:
        """Its artifacts; what runs keep in them counts as theirs, see `LedgerHead.beside_bytes`."""
        ...

    def note_added(self, run_id: str, size: int) -> None:
        """Count what was written for a run beside its ledger; its next record says it."""
        ...

    @property
    def bundles(self) -> BundleStore: ...
    @property
    def signed_by(self) -> str | None: ...
    @property
    def heads(self) -> HeadStore: ...
    @property
    def health(self) -> StoreHealth: ...
    @property
    def snapshots(self) -> RunSnapshots: ...
    @property
    def care(self) -> StoreCare: ...

    def is_sealed(self, run_id: str) -> bool:
        """Tell whether this host wrote the last record of a run, and with it all of them."""
        ...

    def records_with(self, run_id: str, words: Collection[bytes]) -> Iterator[StoredRecord]:
        """Give the records in whose lines one of these words stands, without reading the others."""
        ...

    def subscribe(
        self, callback: Callable[[JsonObject], None], *, run_id: str | None = None
    ) -> Callable[[], None]:
        """Call `callback` with every record that this process commits, or with those of one run.

        Calling what is given ends it.
        """
        ...

    def set_aside(self, run_id: str) -> AbstractRuntimeError | None:
        """Say why nobody drives a run, if too many processes died while they did."""
        ...

    def owner(self, run_id: str) -> Owner | None:
        """Say who drives a run right now; nobody who opens it meanwhile is disturbed."""
        ...

    def origin(self, run_id: str) -> RunOrigin: ...
    def head(self, run_id: str) -> LedgerHead:
        """Give the end of a ledger, without reading all of it."""
        ...

    def ledger(self, run_id: str) -> IO[bytes]:
        """Give the exact bytes of a ledger to read; nothing where there is none."""
        ...

    def resolve(self, record: JsonObject) -> JsonObject:
        """Give a stored record with its offloaded values back in place."""
        ...

    def large_value(self, digest: str) -> bytes | None:
        """Give what is kept under the digest of an offloaded value, unchecked; None when nothing is."""
        ...

    def check_index(self) -> Sequence[str]:
        """Mend what listings would say of runs, and give the ids of those for which that was wrong.

        Looks at every run, so that none is hidden from whoever serves the store.
        """
        ...

    def serving(self) -> AbstractContextManager[None]:
        """Be the one who serves this store, for the block; `Busy` when somebody else does."""
        ...
