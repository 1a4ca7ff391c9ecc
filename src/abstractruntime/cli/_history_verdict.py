"""Judging an exported history: the same verdicts and exit codes as for a ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abstractruntime._history.verify import (
    HistoryDefect,
    not_covered,
    outcome_shown,
    verify_history_bundle,
)
from abstractruntime._json import load_strict
from abstractruntime.errors import ExitCode
from abstractruntime.rendering.failure_text import failure_text

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.signing import VerifierKey

FORMAT = "art-verify-history/1"
_UNSIGNED = "unsigned_records"


@dataclass(frozen=True, slots=True)
class HistoryVerdict:
    """What an exported history and the given keys allow to conclude.

    `valid` needs a head by a trusted key over every ledger in it; `unsigned` are the records
    behind the last such head, over all ledgers. What became of the run is told of what is consistent.
    """

    root_run_id: str | None
    runs: int
    records: int
    defects: tuple[HistoryDefect, ...]
    is_signed: bool
    unsigned: int
    keys: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
    outcome: str | None = None
    failure: JsonObject | None = None

    @property
    def verdict(self) -> str:
        if self.defects:
            return "invalid"
        return "valid" if self.is_signed else "valid_unsigned"

    def exit_code(self, *, require_signed: bool, unsigned_tail_max: int | None) -> ExitCode:
        """Give the process exit code under a policy: 1 invalid, 3 policy not met, else 0."""
        if self.defects:
            return ExitCode.FAILED
        limit = self.records if unsigned_tail_max is None else unsigned_tail_max
        unmet = (require_signed and not self.is_signed) or self.unsigned > limit
        return ExitCode.REFUSED if unmet else ExitCode.OK

    def to_dict(self) -> JsonObject:
        """Give the `art-verify-history/1` document."""
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "root_run_id": self.root_run_id,
            "runs": self.runs,
            "records": self.records,
            "unsigned_tail": self.unsigned,
            "trusted_keys": list(self.keys),
            "defects": [defect.to_dict() for defect in self.defects],
            "not_covered": list(self.not_covered),
            "outcome": self.outcome,
            "failure": self.failure,
        }


def judge_history(
    data: bytes, keys: Sequence[VerifierKey], revoked: Mapping[VerifierKey, str] | None = None
) -> HistoryVerdict:
    """Judge the bytes of an exported history under the host keys that the reader trusts.

    Without keys, damage still shows: heads are then checked with the keys the file names.
    Where there were keys, and all are revoked, what they or others signed is as invalid as before.
    """
    try:
        document = load_strict(data)
    except (ValueError, RecursionError) as cause:
        found = HistoryDefect("malformed", expected="JSON", found=str(cause)[:200])
        return HistoryVerdict(None, 0, 0, (found,), is_signed=False, unsigned=0)
    given = tuple(keys) if keys or revoked else None
    defects = verify_history_bundle(document, keys=given, revoked=revoked)
    unsigned = [defect for defect in defects if defect.code == _UNSIGNED]
    real = tuple(defect for defect in defects if defect.code != _UNSIGNED)
    ledgers = _ledgers(document)
    records = sum(len(items) for items in ledgers.values())
    return HistoryVerdict(
        root_run_id=_text(document, "root_run_id"),
        runs=len(ledgers),
        records=records,
        defects=real,
        # The record of such a defect is the number of records that are signed.
        is_signed=bool(keys) and bool(ledgers) and all(defect.record for defect in unsigned),
        unsigned=sum(int(defect.found) for defect in unsigned) if keys else records,
        keys=tuple(key.label for key in keys),
        not_covered=() if real else tuple(not_covered(document)),
        **({} if real else outcome_shown(document)),
    )


def _ledgers(document: Any) -> dict[str, list[Any]]:
    found = document.get("ledgers") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        return {}
    items = {run: ledger.get("items") for run, ledger in found.items() if isinstance(ledger, dict)}
    return {run: value for run, value in items.items() if isinstance(value, list)}


def _text(document: Any, name: str) -> str | None:
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) else None


def history_lines(document: JsonObject, retired: Mapping[str, str] | None = None) -> Iterator[str]:
    """Give the verdict for people: one line, then the defects; retired keys with their standing."""
    signed = document["records"] - document["unsigned_tail"]
    standing = retired or {}
    keys = [
        f"{key}, {standing[key]}" if key in standing else key for key in document["trusted_keys"]
    ]
    by = f" by {' or '.join(keys)}" if signed else ""
    runs = "1 run" if document["runs"] == 1 else f"{document['runs']} runs"
    yield (
        f"{document['verdict']}: history of run {document['root_run_id'] or '(unknown)'}, {runs},"
        f" {signed} of {document['records']} records signed{by}"
    )
    if document["outcome"] is not None:
        failure = document["failure"]
        why = f": {failure_text(failure)}" if failure is not None else ""
        yield f"{document['outcome']}: run {document['root_run_id']}{why}"
    for defect in document["defects"]:
        if defect["code"] == "malformed":
            yield f"  malformed: at {defect['expected']}: {defect['found']}"
            continue
        where = "" if defect["record"] is None else f" record {defect['record']}:"
        run = f" run {defect['run_id']}," if defect["run_id"] else ""
        yield f"  {defect['code']}:{run}{where} expected {defect['expected']}, found {defect['found']}"
    if document["not_covered"]:
        yield f"  not fixed by the records: {', '.join(document['not_covered'])}"
