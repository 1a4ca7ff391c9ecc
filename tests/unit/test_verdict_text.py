"""The first line of a verdict: which record is the first that is wrong, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from abstractruntime.rendering.verdict_text import summary_line, verdict_lines


def defect(code: str, record: int | None) -> dict[str, Any]:
    return {"code": code, "record": record, "byte_offset": None, "expected": None, "found": "x"}


def verdict(*defects: dict[str, Any], **fields: Any) -> dict[str, Any]:
    known = {"verdict": "invalid", "run_id": "r", "records": 9, "signed_records": 0, "signers": []}
    return {**known, "final": True, "defects": list(defects), "defect_count": len(defects),
            "warnings": [], **fields}  # fmt: skip


@pytest.mark.parametrize(
    ("defects", "lead"),
    [
        ([defect("record_hash_mismatch", 5), defect("seq_mismatch", 3)],
         ("record 3 is not the one that belongs here: records were removed, put in or put in another order;"
         " records 0 to 2 stand, nothing from there on is proven")),
        ([defect("checkpoint_mismatch", None), defect("malformed", 1)],
         "record 1 is no record; record 0 stands, nothing from there on is proven"),
        ([defect("checkpoint_mismatch", None)], "the ledger is not what the checkpoint beside it was made of"),
        ([defect("of_a_later_version", 0)], "record 0 of a later version; nothing in this ledger is proven"),
    ],
    ids=["earliest", "a place before none", "no place", "unknown"],
)  # fmt: skip
def test_what_is_wrong_comes_first(defects: list[dict[str, Any]], lead: str) -> None:
    assert next(verdict_lines(verdict(*defects))) == f"invalid: run r: {lead}"


def test_a_valid_ledger_has_one_line() -> None:
    lines = list(verdict_lines(verdict(verdict="valid", signed_records=9, signers=["host"])))

    assert lines == ["valid: run r, 9 of 9 records signed by host, final"]


def test_verdicts_are_counted() -> None:
    words = ["valid", "invalid", "valid", "valid_unsigned"]

    told = summary_line([verdict(verdict=word) for word in words])

    assert told == "4 ledgers: 2 valid, 1 valid_unsigned, 1 invalid"
    assert summary_line([]) == "no ledgers"
