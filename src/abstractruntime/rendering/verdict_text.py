"""A verdict over a ledger, for people: what is wrong first, then what else is known."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from abstractruntime.rendering.terminal import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from abstractruntime._json import JsonObject

# What each defect says of the place that it names.
_MEANINGS: Final[Mapping[str, str]] = {
    "record_hash_mismatch": "was changed after it was written",
    "prev_hash_mismatch": "does not follow from the one before it: records were changed, removed or put in",
    "seq_mismatch": "is not the one that belongs here: records were removed, put in or put in another order",
    "missing_record_hash": "has no hash: it was changed or put in",
    "run_id_mismatch": "belongs to another run",
    "epoch_backwards": "was written by an owner who had lost the run",
    "not_canonical": "was written by something else than a store",
    "malformed": "is no record",
    "line_too_long": "is longer than a record can be",
    "too_many_defects": "is where the check was given up",
    "unexpected_signature": "has a signature that no store writes",
    "import_missing": "follows lines of 0.4.x that nothing imported",
    "import_mismatch": "imported other lines of 0.4.x than those before it",
    "root_mismatch": "is the last one under a signed head that covers other records",
    "head_signature_invalid": "is the last one under a head whose signature is not valid",
    "head_key_unknown": "is the last one under a head of a signer whom nobody here knows",
    "head_key_revoked": "is the last one under a head whose key was revoked",
    "head_origin_mismatch": "is the last one under a head that was signed for another store",
    "head_out_of_order": "is the last one under a head that is older than the one before it",
    "heads_missing": "names a host that signs this run, and there is no signed head",
    "pin_origin_mismatch": "is pinned by a head of another store",
    "checkpoint_beyond_ledger": "is missing: the ledger is shorter than its checkpoint says",
    "checkpoint_mismatch": "is not what the checkpoint beside it was made of",
    "large_value_missing": "refers to a large value that is not there",
    "large_value_mismatch": "refers to a large value that was changed",
    "bundle_mismatch": "names a bundle that is another one now",
}
_VERDICTS: Final = ("valid", "valid_unsigned", "invalid")


def verdict_lines(document: JsonObject) -> Iterator[str]:
    """Give an `art-verify/1` document as lines: the verdict, defects, warnings."""
    run = f"run {document['run_id'] or '(unknown)'}"
    signed = f"{document['signed_records']} of {document['records']} records signed"
    if document["signers"]:
        signed += f" by {', '.join(document['signers'])}"
    state = "final" if document["final"] else "unfinished"
    if document["defects"]:
        yield f"{document['verdict']}: {run}: {_lead(document)}"
        yield f"  {signed}, {state}"
    else:
        yield f"{document['verdict']}: {run}, {signed}, {state}"
    if not document["records"]:
        yield "  note: there is no record in it; was this a ledger?"
    for defect in document["defects"]:
        yield f"  {_defect_text(defect)}"
    if document["defect_count"] > len(document["defects"]):
        yield f"  and {document['defect_count'] - len(document['defects']):,} more"
    for warning in document["warnings"]:
        yield f"  note: {warning}"


def summary_line(documents: Sequence[JsonObject]) -> str:
    """Give how many ledgers have which verdict."""
    counts = Counter(document["verdict"] for document in documents)
    told = ", ".join(f"{count:,} {word}" for word in _VERDICTS if (count := counts[word]))
    return f"{plural(len(documents), 'ledger')}: {told}" if documents else "no ledgers"


def _lead(document: JsonObject) -> str:
    """Say what is wrong first, and what follows from it."""
    first = min(document["defects"], key=_place)
    meaning = _MEANINGS.get(first["code"], first["code"].replace("_", " "))
    record = first["record"]
    if record is None:
        return f"the ledger {meaning}"
    if record == 0:
        return f"record 0 {meaning}; nothing in this ledger is proven"
    stand = "record 0 stands" if record == 1 else f"records 0 to {record - 1:,} stand"
    return f"record {record:,} {meaning}; {stand}, nothing from there on is proven"


def _place(defect: Mapping[str, Any]) -> tuple[bool, int]:
    return defect["record"] is None, defect["record"] or 0


def _defect_text(defect: JsonObject) -> str:
    places = {"record": defect["record"], "byte": defect["byte_offset"]}
    where = ", ".join(f"{name} {n}" for name, n in places.items() if n is not None)
    detail = f" ({defect['detail']})" if defect.get("detail") else ""
    found = f"expected {_shown(defect['expected'])}, found {_shown(defect['found'])}"
    return f"{defect['code']}{': ' if where else ''}{where}: {found}{detail}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)
