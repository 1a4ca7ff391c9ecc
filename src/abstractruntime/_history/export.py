"""Collecting a run's history into one JSON document.

Rules:
1. Exporting changes nothing, except that large input values move into an artifact
   store when the caller hands one over.
2. Records stay exactly as stored. A "full" export of an engine renders back to the
   stored bytes, so it can be verified offline.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._history._inputs import move_large_values
from abstractruntime._history._session import session_turns
from abstractruntime._history._sources import (
    ClassicSource,
    EngineSource,
    HistorySource,
    Line,
    descendants,
)
from abstractruntime._json import isolate, mapping
from abstractruntime.core.models import format_time, utc_now
from abstractruntime.core.outcome import failure_of, outcome_of
from abstractruntime.core.record_fields import effect_type, elapsed_ms, record_status, text_or_none
from abstractruntime.errors import UsageError
from abstractruntime.schemas.history import HISTORY_FORMAT, RUN_HISTORY_BUNDLE_VERSION_V1
from abstractruntime.signing.merkle import TreeState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from abstractruntime._json import JsonObject
    from abstractruntime.core.models import RunState
    from abstractruntime.core.ports import Engine

_SNAPSHOT_KEYS: Final = ("workflow_id", "format", "sha256", "artifact_id", "created_at")
_RUN_KEYS: Final = (
    "run_id", "workflow_id", "status", "current_node", "created_at", "updated_at", "actor_id",
    "session_id", "parent_run_id", "error", "waiting",
)  # fmt: skip


def export_run_history_bundle(  # noqa: PLR0913 - the 0.4.x signature
    *,
    run_id: str,
    run_store: Any,
    ledger_store: Any,
    artifact_store: Any = None,
    include_subruns: bool = True,
    include_session: bool = False,
    session_turn_limit: int = 200,
    ledger_mode: str = "tail",
    ledger_max_items: int = 2000,
) -> JsonObject:
    """Give the history bundle of a run kept in a pair of 0.4.x stores.

    Args:
        run_id: The run at the root of the bundle.
        run_store: Its run store; child runs and sessions need a queryable one.
        ledger_store: Its ledger store.
        artifact_store: Where input values over 262144 bytes go; without it they stay inline.
        include_subruns: Add the ledgers of all descendants (at most 5000).
        include_session: Add the turns of the run's session, if it has one.
        session_turn_limit: How many turns at most, the latest.
        ledger_mode: `full`, or the last `ledger_max_items` records (`tail`).
        ledger_max_items: The tail's length; zero or less means all.

    Raises:
        UsageError: the run id is blank.
        NotFound: no such run.
        HistoryError: a store could not be read.
    """
    request = _Request(
        run_id=_require_id(run_id, "run_id"),
        include_subruns=include_subruns,
        include_session=include_session,
        session_turn_limit=session_turn_limit,
        max_items=_max_items(ledger_mode, ledger_max_items),
        artifact_store=artifact_store,
    )
    bundle, _ = _collect(ClassicSource(run_store, ledger_store), request)
    return bundle


def export_history(  # noqa: PLR0913 - the 0.4.x options, then the provenance
    engine: Engine,
    run_id: str,
    *,
    include_subruns: bool = True,
    include_session: bool = False,
    session_turn_limit: int = 200,
    ledger_mode: str = "full",
    ledger_max_items: int = 2000,
    artifact_store: Any = None,
    heads: Mapping[str, Sequence[str]] | None = None,
    vkeys: Sequence[str] = (),
    generated_at: str | None = None,
) -> JsonObject:
    """Give the history bundle of a run kept by an engine, with output and provenance.

    Write the document in insertion order and without changing numbers: key order and
    number spelling are part of what the signed heads cover.

    Args:
        engine: The store.
        run_id: The run at the root of the bundle.
        include_subruns: Add the ledgers of all descendants (at most 5000).
        include_session: Add the turns of the run's session, if it has one.
        session_turn_limit: How many turns at most, the latest.
        ledger_mode: `full`, or the last `ledger_max_items` records (`tail`).
        ledger_max_items: The tail's length; zero or less means all.
        artifact_store: Where input values over 262144 bytes go; without it they stay inline.
        heads: Signed notes per run id, oldest first.
        vkeys: Verifier keys of the signers.
        generated_at: The moment to state; now if absent.

    Raises:
        UsageError: the run id is blank.
        NotFound, IntegrityError, StoreError: from the engine.
    """
    request = _Request(
        run_id=_require_id(run_id, "run_id"),
        include_subruns=include_subruns,
        include_session=include_session,
        session_turn_limit=session_turn_limit,
        max_items=_max_items(ledger_mode, ledger_max_items),
        artifact_store=artifact_store,
        generated_at=generated_at,
        with_output=True,
    )
    bundle, facts = _collect(EngineSource(engine), request)
    notes = heads or {}
    runs = {each: fact.to_dict(notes.get(each, ())) for each, fact in facts.items()}
    root = runs.pop(request.run_id)
    return {
        "format": HISTORY_FORMAT,
        **bundle,
        "provenance": {**root, "vkeys": list(vkeys), "runs": runs},
    }


@dataclass(frozen=True, slots=True)
class _Request:
    run_id: str
    include_subruns: bool
    include_session: bool
    session_turn_limit: int
    max_items: int | None
    artifact_store: Any
    generated_at: str | None = None
    with_output: bool = False


@dataclass(slots=True)
class _LedgerFacts:
    """Size, head and tree of one ledger, gathered while its lines pass by."""

    head_hash: str | None = None
    tree: TreeState = field(default_factory=TreeState)

    def watch(self, lines: Iterable[Line]) -> Iterator[Line]:
        for line in lines:
            self.head_hash = text_or_none(line.record.get("record_hash"))
            if line.stored is not None:
                self.tree.add(line.stored)
            yield line

    def to_dict(self, heads: Sequence[str]) -> JsonObject:
        return {
            "head_hash": self.head_hash,
            "root_hash": self.tree.root().hex(),
            "size": self.tree.size,
            "heads": list(heads),
        }


def _collect(
    source: HistorySource, request: _Request
) -> tuple[JsonObject, dict[str, _LedgerFacts]]:
    root = source.load(request.run_id).run_id
    run_ids = descendants(source, root) if request.include_subruns else [root]
    facts = {run_id: _LedgerFacts() for run_id in run_ids}
    lines = {run_id: list(facts[run_id].watch(source.lines(run_id))) for run_id in run_ids}
    # Invariant: what is shown of the run is what the exported records say, also of one that
    # somebody drives at this moment. Where they do not say it, the state is read after them.
    run = source.run_of(lines[root]) or source.load(request.run_id)
    ledgers = {run_id: _ledger(run_id, lines[run_id], request.max_items) for run_id in run_ids}
    bundle = {
        "version": RUN_HISTORY_BUNDLE_VERSION_V1,
        "generated_at": request.generated_at or format_time(utc_now()),
        "root_run_id": root,
        "run": run_object(run, with_output=request.with_output),
        "workflow_snapshot": snapshot_of(run),
        "input_data": _input_data(run, request.artifact_store),
        "ledgers": ledgers,
        "timeline": [entry for ledger in ledgers.values() for entry in timeline_entries(ledger)],
        "session": _session(source, run, request),
    }
    return bundle, facts


def _ledger(run_id: str, lines: Iterable[Line], max_items: int | None) -> JsonObject:
    kept: deque[tuple[int, Line]] = deque(enumerate(lines, start=1), maxlen=max_items)
    start, end = (kept[0][0], kept[-1][0]) if kept else (1, 0)
    return {
        "run_id": run_id,
        "total": end,
        "cursor_start": start,
        "cursor_end": end,
        "items": [_item(cursor, line) for cursor, line in kept],
    }


def _item(cursor: int, line: Line) -> JsonObject:
    item = {"cursor": cursor, "record": line.record}
    return item if line.odd_text is None else {**item, "line": line.odd_text}


def timeline_entries(ledger: JsonObject) -> Iterator[JsonObject]:
    """Give one timeline entry per exported record of a ledger."""
    for item in ledger["items"]:
        record = item["record"]
        started = text_or_none(record.get("started_at"))
        ended = text_or_none(record.get("ended_at")) or started
        yield {
            "run_id": ledger["run_id"],
            "cursor": item["cursor"],
            "node_id": text_or_none(record.get("node_id")),
            "status": record_status(record) or None,
            "effect_type": effect_type(record),
            "started_at": started,
            "ended_at": ended,
            "duration_ms": elapsed_ms(started, ended),
        }


def run_object(run: RunState, *, with_output: bool) -> JsonObject:
    """Give what a bundle shows of a run beside its input."""
    data = run.to_dict()
    keys = (*_RUN_KEYS, "output") if with_output else _RUN_KEYS
    # Invariant: a bundle shares nothing with a store that hands out its own objects.
    shown: JsonObject = isolate({key: data[key] for key in keys})
    return {**shown, **isolate(what_became_of(run))} if with_output else shown


def what_became_of(run: RunState) -> JsonObject:
    """Give the outcome of a run, and why it failed; `status` and `error` keep the words of 0.4.x."""
    failure = failure_of(run)
    return {
        "outcome": outcome_of(run).value,
        "failure": failure.to_dict() if failure is not None else None,
    }


def snapshot_of(run: RunState) -> JsonObject | None:
    """Give the reference to the flow as it was when the run started, if one was kept."""
    found = mapping(run.vars.get("_runtime")).get("workflow_snapshot")
    if not isinstance(found, dict):
        return None
    return {key: text_or_none(found.get(key)) for key in _SNAPSHOT_KEYS}


def given_values(run: RunState) -> JsonObject:
    """Give the variables of a run that are its own, not the runtime's."""
    return {key: value for key, value in run.vars.items() if not key.startswith("_")}


def _input_data(run: RunState, artifact_store: Any) -> JsonObject:
    data: JsonObject = isolate(given_values(run))
    if artifact_store is None:
        return data
    return move_large_values(data, artifact_store=artifact_store, run_id=run.run_id)


def _session(source: HistorySource, run: RunState, request: _Request) -> JsonObject | None:
    session_id = (run.session_id or "").strip()
    if not request.include_session or not session_id:
        return None
    turns = session_turns(source, session_id, request.session_turn_limit)
    return {"session_id": session_id, "turns": turns}


def _max_items(mode: str, limit: int) -> int | None:
    """Give the tail's length, None for everything; an unknown mode means tail."""
    return None if mode == "full" or limit <= 0 else limit


def _require_id(value: str, name: str) -> str:
    if text_or_none(value) is None:
        raise UsageError(f"{name} must not be blank", argument=name)
    return value.strip()
