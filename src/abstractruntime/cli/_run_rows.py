"""Which runs a list shows: those of the index, as their ledgers tell them, and the damaged ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from abstractruntime.cli._store import about, header_row, outcome_in
from abstractruntime.core.models import RunStatus, WaitReason
from abstractruntime.core.outcome import Outcome
from abstractruntime.core.ports import RunHeader, RunQuery
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import AbstractRuntimeError, Quarantined

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.core.store import Store

SCAN_LIMIT: Final = 100_000
_EVERYTHING: Final = 1_000_000_000
DAMAGED: Final = "damaged"
_UNKNOWN: Final = (
    "workflow_id", "waiting_on", "wait_key", "until", "created_at", "updated_at",
    "parent_run_id", "session_id", "question", "error",
)  # fmt: skip


class Listed(str, Enum):
    """What a list can be asked for: an outcome, a status of the ledger, or damage."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    LIMITED = "limited"
    INTERRUPTED = "interrupted"
    QUARANTINED = "quarantined"
    COMPLETED = "completed"
    DAMAGED = DAMAGED

    @property
    def is_in_index(self) -> bool:
        """Whether a row of the index says it; of the others more must be read."""
        return self in (Listed.SUCCEEDED, Listed.FAILED, Listed.CANCELLED, Listed.COMPLETED)

    def is_of(self, row: JsonObject) -> bool:
        return self.value in (row["outcome"], row["status"])


class Sort(str, Enum):
    """What a list is in the order of; times and what has none, the latest first."""

    UPDATED = "updated"
    CREATED = "created"
    RUN = "run"
    FLOW = "flow"
    OUTCOME = "outcome"


_SORT_KEYS: Final[Mapping[Sort, tuple[Callable[[RunHeader], str], bool]]] = {
    Sort.UPDATED: (lambda run: run.updated_at, True),
    Sort.CREATED: (lambda run: run.created_at, True),
    Sort.RUN: (lambda run: run.run_id, False),
    Sort.FLOW: (lambda run: run.workflow_id, False),
    Sort.OUTCOME: (lambda run: run.outcome.value, False),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are to be listed, and how many; what is unset or empty restricts nothing.

    Of several values for one thing a run needs to have one.

    Attributes:
        labels: By name, the values that it may have.
        since: Changed at this moment or after it.
        until: Changed before this moment.
        search: Texts in the id, the flow, a label, the question or the error; case is nothing.
    """

    status: frozenset[Listed] = frozenset()
    waiting_on: frozenset[WaitReason] = frozenset()
    workflow: frozenset[str] = frozenset()
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict)
    since: str = ""
    until: str | None = None
    search: tuple[str, ...] = ()
    children: bool = False
    sort: Sort = Sort.UPDATED
    limit: int = 50

    def query(self, limit: int) -> RunQuery:
        """Give what the index is asked for: it knows one value of each kind."""
        outcome = status = None
        asked = _only(self.status)
        if asked is Listed.COMPLETED:
            status = RunStatus.COMPLETED
        elif asked is not None and asked.is_in_index:
            outcome = Outcome(asked.value)
        return RunQuery(
            status=status,
            outcome=outcome,
            wait_reason=_only(self.waiting_on),
            workflow_id=_only(self.workflow),
            root_only=not self.children,
            live_only=bool(self.status) and self.status <= _LIVE,
            limit=limit,
        )

    @property
    def is_told(self) -> bool:
        """Whether what the index gives needs no further look."""
        is_simple = max(map(len, (self.status, self.workflow))) <= 1
        is_indexed = all(status.is_in_index for status in self.status)
        return is_simple and is_indexed and not (self.labels or self.search or self.waiting_on)

    def may_show(self, word: Listed) -> bool:
        return not self.status or word in self.status

    @property
    def is_filtered(self) -> bool:
        names = ("status", "waiting_on", "workflow", "labels", "since", "until", "search")
        return Listed.DAMAGED not in self.status and any(getattr(self, name) for name in names)

    def may_be(self, header: RunHeader) -> bool:
        """Tell whether a run can be one of these, by what a listing knows."""
        is_in_time = self.until is None or header.updated_at < self.until
        is_asked = self.children or header.parent_run_id is None
        return is_asked and is_in_time and header.updated_at >= self.since

    def is_of(self, header: RunHeader, row: JsonObject) -> bool:
        """Tell whether a run is one of these, whatever the index said."""
        is_asked = (
            (not self.waiting_on or row["waiting_on"] in [on.value for on in self.waiting_on])
            and (not self.workflow or header.workflow_id in self.workflow)
            and (not self.status or any(status.is_of(row) for status in self.status))
            and all(row["labels"].get(name) in texts for name, texts in self.labels.items())
            and (self.children or header.parent_run_id is None)
        )
        if not (is_asked and self.search):
            return is_asked
        text = _searched(row)
        return any(part.casefold() in text for part in self.search)


_Value = TypeVar("_Value")


def _only(values: frozenset[_Value]) -> _Value | None:
    return next(iter(values)) if len(values) == 1 else None


_LIVE: Final = frozenset(
    {Listed.WAITING, Listed.RUNNING, Listed.PAUSED, Listed.LIMITED, Listed.INTERRUPTED}
)


@dataclass(slots=True)
class Listing:
    """The rows of a list of runs, and what is wrong with the damaged ones among them.

    `total` is how many there are, of which `rows` are the first.
    """

    rows: list[JsonObject] = field(default_factory=list)
    damage: dict[str, AbstractRuntimeError] = field(default_factory=dict)
    total: int = 0

    def add(self, row: JsonObject, cause: AbstractRuntimeError | None, limit: int) -> None:
        self.total += 1
        if len(self.rows) >= limit:
            return
        self.rows.append(row)
        if cause is not None:
            self.damage[row["run_id"]] = cause


def list_runs(engine: Store, wanted: Wanted) -> Listing:
    """Give the runs that are wanted, in their order."""
    listing = Listing()
    key, is_descending = _SORT_KEYS[wanted.sort]
    # What is wrong with a run stands in no row: then all are asked for, to find what has none.
    query = wanted.query(SCAN_LIMIT) if wanted.is_filtered else RunQuery(limit=_EVERYTHING)
    rows = engine.find(query)
    found = [run for run in rows if wanted.may_be(run)]
    found.sort(key=key, reverse=is_descending)
    # What a row cannot say is read of every run; else those beyond the limit are only counted.
    for header in found:
        if wanted.is_told and len(listing.rows) >= wanted.limit:
            listing.total += 1
            continue
        _list_run(listing, engine, wanted, header)
    if not wanted.is_filtered:
        _add_unlisted(listing, engine, wanted.limit, {run.run_id for run in rows})
    return listing


def _list_run(listing: Listing, engine: Store, wanted: Wanted, header: RunHeader) -> None:
    """Add a run as its ledger tells it, when it is wanted, or when damage hides what it is."""
    try:
        labels = engine.origin(header.run_id).labels
        tree = RunTree(engine, header.run_id)
        own = RunHeader.of(tree.state())
    except AbstractRuntimeError as error:
        cause = engine.health.damage(header.run_id) or error
        row = {**header_row(header, {}), **_damage(cause)}
        if wanted.may_show(Listed.DAMAGED) or wanted.is_of(header, row):
            listing.add(row, cause, wanted.limit)
        return
    row = {**header_row(own, labels, outcome_in(engine, tree)), **about(tree)}
    if wanted.is_of(own, row):
        aside = engine.set_aside(own.run_id) if row["outcome"] == "quarantined" else None
        listing.add(row, aside, wanted.limit)


def _damage(cause: AbstractRuntimeError) -> JsonObject:
    word = Outcome.QUARANTINED.value if isinstance(cause, Quarantined) else DAMAGED
    return {"status": word, "outcome": word, "question": None, "error": cause.message}


def _add_unlisted(listing: Listing, engine: Store, limit: int, known: set[str]) -> None:
    """Add damaged runs without an index row; they have no time, so they come last."""
    for run_id, cause in islice(engine.health.unlisted(known), SCAN_LIMIT):
        row: JsonObject = {"run_id": run_id, **dict.fromkeys(_UNKNOWN), "labels": {}}
        listing.add({**row, **_damage(cause)}, cause, limit)


def _searched(row: JsonObject) -> str:
    labels = [f"{key}={value}" for key, value in row["labels"].items()]
    texts = [row["run_id"], row["workflow_id"], *labels, row.get("question"), row.get("error")]
    return "\n".join(text for text in texts if text).casefold()
