"""Runs that version 0.4.x left in a directory: reading them as they are.

Rules:
1. The checkpoint is the state. A ledger of 0.4.x tells effects, not changes, so without a
   readable checkpoint the run is damaged, and nothing is guessed.
2. A run belongs to 0.4.x until its ledger has a record with a `seq`: the one that imports
   it (see `importing`). Its older lines stay where they are, and that record pins them.
3. 0.4.x saves the checkpoint after every outcome, before it writes another record. So only
   the last record can be missing from the state, and `unabsorbed` says whether it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject
from abstractruntime._text import shell_word
from abstractruntime.core.models import RunState, RunStatus, parse_moment
from abstractruntime.errors import ChainBroken, IntegrityError, InvalidValue
from abstractruntime.storage._files.jsonl import (
    Line,
    Tail,
    last_committed,
    parse_object,
    scan_lines,
)
from abstractruntime.storage._store.record_lines import is_status_record
from abstractruntime.storage._store.reuse import Rewound

if TYPE_CHECKING:
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout

# Lines of ours are compact; 0.4.x put a blank after each colon.
_OUR_START = b'{"run_id":"'
# Checkpoints of 0.4.x are indented.
_OLD_START = b"{\n"
_TEXTS = ("run_id", "workflow_id", "current_node", "created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class LegacyRun:
    """A run as 0.4.x left it; `checkpoint` holds the bytes it was read from."""

    run: RunState
    checkpoint: bytes
    tail: Tail

    @property
    def header(self) -> JsonObject:
        """The fields of the run beside its variables."""
        fields = self.run.to_dict()
        return {k: v for k, v in fields.items() if k not in ("vars", "ledger_seq")}


@dataclass(slots=True)
class Prefix:
    """The lines of 0.4.x at the start of a ledger, and the line of ours behind them."""

    records: int = 0
    bytes: int = 0
    head: str | None = None
    last: JsonObject | None = None
    next: JsonObject | None = None
    digest: Any = field(default_factory=sha256)

    def pins(self) -> JsonObject:
        """Give what the import record says of these lines."""
        return {
            "records": self.records,
            "bytes": self.bytes,
            "sha256": self.digest.hexdigest(),
            "tail_hash": self.head,
        }


class LegacyRuns:
    """The runs of 0.4.x in one directory; reads only."""

    def __init__(self, files: StoreFiles, layout: Layout) -> None:
        self._files = files
        self._layout = layout

    def starts_here(self, run_id: str) -> bool:
        """Tell whether the ledger may begin with lines of 0.4.x; one short read."""
        return self._files.read(self._layout.ledger(run_id), 0, len(_OUR_START)) != _OUR_START

    def read(self, run_id: str) -> LegacyRun | None:
        """Give a run that was not imported yet; None when this is no such run.

        Raises:
            IntegrityError: its checkpoint is missing or cannot be read.
        """
        path = self._layout.ledger(run_id)
        last = last_committed(self._files, path)
        if last is not None and not self._is_old(path, last):
            return None
        data = self._files.read(self._layout.checkpoint(run_id))
        if last is None and not (data or b"").startswith(_OLD_START):
            # Nothing, or what a power cut left of a run of ours that nobody was told of.
            return None
        if data is None:
            raise _unreadable(run_id, "it is missing")
        run = _parse(run_id, data)
        if run is None:
            return None
        info = self._files.info(path)
        committed = last.offset + len(last.data) + 1 if last else 0
        return LegacyRun(run, data, Tail(committed, info.size if info else 0))

    def prefix(self, run_id: str) -> Prefix:
        """Read the lines of 0.4.x, up to the first line of ours.

        Raises:
            ChainBroken: one of them is not a JSON object.
        """
        prefix = Prefix()
        for line in scan_lines(self._files, self._layout.ledger(run_id)):
            record = parse_object(line.data)
            if record is None:
                raise _bad_line(run_id, prefix.records, line.offset)
            if "seq" in record:
                prefix.next = record
                break
            prefix.digest.update(line.data + b"\n")
            prefix.records += 1
            prefix.bytes = line.offset + len(line.data) + 1
            head = record.get("record_hash")
            prefix.head = head if isinstance(head, str) else None
            prefix.last = record
        return prefix

    def imported_prefix(self, run_id: str) -> Prefix:
        """Read the lines of 0.4.x before the import, and hold them against its pins.

        Raises:
            ChainBroken: they are not the ones that were imported.
        """
        prefix = self.prefix(run_id)
        pinned = pinned_by(prefix.next)
        # A ledger that ends before its import is too short for its checkpoint, which says so.
        if prefix.next is not None and prefix.records and pinned != prefix.pins():
            raise ChainBroken(
                f"ledger of run {run_id!r}: the {prefix.records} records before the import at byte"
                f" {prefix.bytes} are not the ones that were imported",
                hint=f"art ledger verify {shell_word(run_id)}; restore the ledger from a backup",
                run_id=run_id,
                offset=prefix.bytes,
                line=prefix.records + 1,
                expected=pinned,
                found=prefix.pins(),
            )
        return prefix

    def _is_old(self, path: str, last: Line) -> bool:
        record = parse_object(last.data)
        if record is not None:
            return "seq" not in record
        # A damaged last line belongs to whoever wrote the first.
        first = next(scan_lines(self._files, path), None)
        record = parse_object(first.data) if first else None
        return record is not None and "seq" not in record


def pinned_by(record: JsonObject | None) -> JsonObject | None:
    """Give what an import record pins; None for any other record."""
    result = record.get("result") if record else None
    if not isinstance(result, dict) or result.get("internal") != "imported":
        return None
    pins = result.get("ledger")
    return pins if isinstance(pins, dict) else None


def unabsorbed(run: RunState, prefix: Prefix) -> Rewound | None:
    """Give between which records outcomes lie that the checkpoint does not hold.

    The last record is one when it is a completed effect of the current node of a running
    run, and ended no earlier than the checkpoint was saved. A pause that was saved while the
    effect ran, or later, also makes it one: 0.4.x dropped the outcome then and kept the
    record. Times that cannot be compared do too, as 0.4.x reused every completed effect.
    Anything else that the last record may be (started, failed, waiting) is repeated from the
    node.

    When the last record closes the run, but the checkpoint says that it is running, a host
    put it back; then every completed effect is one.

    An outcome is used only when a node plans an effect with the same key again.
    """
    last, count = prefix.last, prefix.records
    if run.status is not RunStatus.RUNNING or last is None:
        return None
    if is_status_record(last):
        return Rewound(-1, count)
    return Rewound(count - 2, count) if _is_newer(run, last) else None


def _is_newer(run: RunState, last: JsonObject) -> bool:
    is_outcome = last.get("status") == "completed" and bool(last.get("idempotency_key"))
    if not is_outcome or last.get("node_id") != run.current_node:
        return False
    try:
        started, ended = (parse_moment(last[name]) for name in ("started_at", "ended_at"))
        pauses = [parse_moment(stamp) for stamp in _pauses(run)]
        return ended >= parse_moment(run.updated_at) or any(at >= started for at in pauses)
    except (InvalidValue, KeyError):
        return True


def _pauses(run: RunState) -> list[str]:
    runtime = run.vars.get("_runtime")
    control = runtime.get("control") if isinstance(runtime, dict) else None
    stamp = control.get("paused_at") if isinstance(control, dict) else None
    return [stamp] if isinstance(stamp, str) else []


def _parse(run_id: str, data: bytes) -> RunState | None:
    """Read a checkpoint of 0.4.x; None for one of ours."""
    try:
        content = json.loads(data)
        if "_meta" in content:
            return None
        wrong = [name for name in _TEXTS if not isinstance(content[name], str)]
        if wrong or not isinstance(content.get("vars") or {}, dict):
            raise TypeError(f"{(wrong or ['vars'])[0]} has the wrong type")
        run = RunState.from_dict(content)
    except KeyError as cause:
        raise _unreadable(run_id, f"{cause.args[0]} is missing") from cause
    except (ValueError, TypeError, AttributeError, RecursionError) as cause:
        raise _unreadable(run_id, str(cause)) from cause
    if run.run_id != run_id:
        raise _unreadable(run_id, f"it belongs to run {run.run_id!r}")
    return run


def _unreadable(run_id: str, reason: str) -> IntegrityError:
    return IntegrityError(
        f"the checkpoint of run {run_id!r}, of version 0.4.x, cannot be read: {reason}",
        hint=f"restore run_{run_id}.json from a backup; a ledger of 0.4.x alone does not tell the state",
        run_id=run_id,
    )


def _bad_line(run_id: str, index: int, offset: int) -> ChainBroken:
    return ChainBroken(
        f"ledger of run {run_id!r}: line {index + 1} at byte {offset} is not a JSON object",
        hint=f"art ledger verify {shell_word(run_id)}; restore the ledger from a backup",
        run_id=run_id,
        offset=offset,
        line=index + 1,
    )
