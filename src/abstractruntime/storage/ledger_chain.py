"""The hash chain of ledgers: hashing, verifying, and a store wrapper that adds it.

The chain shows edits, reorderings and gaps; who wrote the ledger, and whether its tail was
cut, only signed heads show; `signing.verdict.verify_ledger` looks at both.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from abstractruntime._json import normalise
from abstractruntime.errors import UsageError
from abstractruntime.signing.record_checks import hash_record
from abstractruntime.storage._decorating import LedgerDecorator, append_stored, bind_subscribe
from abstractruntime.storage.base import LedgerStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from abstractruntime.core.models import StepRecord

_Replaces: TypeAlias = "Callable[[StepRecord], StepRecord]"

_HEAD_LINE_LIMIT = 1024 * 1024


def compute_record_hash(*, record: Mapping[str, Any], prev_hash: str | None) -> str:
    """Give the SHA-256, in hex, over a record that follows `prev_hash`.

    `record_hash` and `signature` take no part; every other key does, unknown ones included.
    """
    return hash_record({**record, "prev_hash": prev_hash})


def verify_ledger_chain(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Check the chain of parsed records and give the report of 0.4.x.

    The walk goes on from the stored hash after a mismatch, so one edit gives one error; it
    stops at a record without a hash. An empty ledger is fine: a removed tail, or the removal
    of everything, does not show here.
    """
    errors: list[dict[str, Any]] = []
    previous: str | None = None
    computed_head: str | None = None
    head: str | None = None
    count = 0
    stopped = False
    for index, record in enumerate(records):
        count, head = index + 1, record.get("record_hash")
        if stopped:
            continue
        found = _check_link(index, record, previous)
        errors.extend(found)
        if not head:
            stopped = True
            continue
        computed_head = compute_record_hash(record=record, prev_hash=record.get("prev_hash"))
        previous = head
    return {
        "ok": not errors,
        "count": count,
        "errors": errors,
        "first_bad_index": min((error["index"] for error in errors), default=None),
        "head_hash": head,
        "computed_head_hash": computed_head,
    }


def _check_link(
    index: int, record: Mapping[str, Any], previous: str | None
) -> list[dict[str, Any]]:
    errors: list[dict[str, Any]] = []
    actual, stored = record.get("prev_hash"), record.get("record_hash")
    if actual != previous:
        errors.append(
            {
                "index": index,
                "type": "prev_hash_mismatch",
                "expected_prev_hash": previous,
                "actual_prev_hash": actual,
            }
        )
    if not stored:
        errors.append({"index": index, "type": "missing_record_hash"})
        return errors
    computed = compute_record_hash(record=record, prev_hash=actual)
    if computed != stored:
        errors.append(
            {"index": index, "type": "record_hash_mismatch", "stored": stored, "computed": computed}
        )
    return errors


class HashChainedLedgerStore(LedgerDecorator):
    """A ledger store whose records are chained before the inner store keeps them.

    Records are normalised and then hashed, so the chain is over what is stored. An inner
    store that replaces large values does so before the hash is taken. `subscribe`, `count`,
    `list_after` and other extras of the inner store are passed through. One writer per run:
    the head is remembered.

    Raises:
        UsageError: values are replaced further down, where the chain cannot see it.
    """

    def __init__(self, inner: LedgerStore) -> None:
        super().__init__(inner)
        self._replaces, self._target = _split(inner)
        self._heads: dict[str, str | None] = {}
        # A subscriber below may append while it is being told of a record.
        self._mutex = threading.RLock()
        bind_subscribe(self, inner)

    def append(self, record: StepRecord) -> None:
        """Set `prev_hash` and `record_hash` on `record` and append it.

        Raises:
            InvalidValue: effect or result is not JSON; nothing was written.
        """
        self.append_stored(record)

    def append_stored(self, record: StepRecord) -> StepRecord:
        record.effect = normalise(record.effect, "/effect")
        record.result = normalise(record.result, "/result")
        stored = record if self._replaces is None else self._replaces(record)
        with self._mutex:
            self._link(stored)
            try:
                kept = append_stored(self._target, stored)
            except BaseException:
                # Whether it counts, the store knows.
                del self._heads[record.run_id]
                raise
        record.prev_hash, record.record_hash = stored.prev_hash, stored.record_hash
        return kept

    def _link(self, record: StepRecord) -> None:
        run_id = record.run_id
        if run_id not in self._heads:
            self._heads[run_id] = self._stored_head(run_id)
        record.prev_hash = self._heads[run_id]
        record.record_hash = compute_record_hash(
            record=record.to_dict(), prev_hash=record.prev_hash
        )
        self._heads[run_id] = record.record_hash

    def _stored_head(self, run_id: str) -> str | None:
        tail: Callable[[str, int], list[dict[str, Any]]] | None = getattr(self._inner, "tail", None)
        records = tail(run_id, 1) if tail is not None else self._inner.list(run_id)
        head = records[-1].get("record_hash") if records else None
        return head if isinstance(head, str) else None


def _split(inner: LedgerStore) -> tuple[_Replaces | None, LedgerStore]:
    """Give what must happen to a record before it is hashed, and where it goes then."""
    replaces: _Replaces | None = getattr(inner, "offloaded", None)
    if replaces is None:
        return None, inner
    if "offloaded" in vars(type(inner)):
        target: LedgerStore = inner.inner  # type: ignore[attr-defined] # whoever has `offloaded` has `inner`
        return replaces, target
    # Hazard: a hash over a record that the store then changes would never verify.
    raise UsageError(
        f"{type(inner).__name__} stands between the chain and the store that offloads",
        hint="chain first: OffloadingLedgerStore(HashChainedLedgerStore(...))",
        argument="inner",
    )
