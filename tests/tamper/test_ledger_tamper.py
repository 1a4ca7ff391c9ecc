"""Damage a signed ledger in every way we can think of: never `valid`, and the place is named."""

from __future__ import annotations

import base64
import copy
import io
import json

import pytest
from signed_ledger import (
    CACHED,
    KEY,
    OTHER_KEY,
    STORE,
    a_record,
    chain,
    heads_of,
    lines_of,
    records_of,
    tree_root,
)

from abstractruntime._json import dump_line
from abstractruntime.signing import TreeHead, read_heads, verify_ledger

COUNT = 24
SIZES = (8, 16, 24)
RECORDS = records_of(COUNT)
LINES = lines_of(RECORDS)
HEADS = heads_of(LINES, SIZES)


def judge(lines, heads=HEADS, **options):
    options.setdefault("keys", [CACHED])
    options.setdefault("origin", STORE)
    options.setdefault("run_id", "run-1")
    return verify_ledger(lines, heads=read_heads(heads), **options)


def codes(verdict):
    return {defect.code for defect in verdict.defects}


def test_the_untouched_ledger_is_valid():
    verdict = judge(LINES)

    assert (verdict.verdict, verdict.final, verdict.signed_records) == ("valid", True, COUNT)
    assert verdict.signers == (KEY.verifier.label,)
    assert verdict.heads == 3
    assert not verdict.warnings


# ---- every byte


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("bit", [0, 5])
def test_every_byte_flip_is_found_and_located(bit, part):
    data = b"".join(LINES)
    owner = [index for index, line in enumerate(LINES) for _ in line]
    quarter = range(part * len(data) // 4, (part + 1) * len(data) // 4)

    for position in quarter:
        damaged = bytearray(data)
        damaged[position] ^= 1 << bit
        verdict = judge(io.BytesIO(damaged))
        assert verdict.verdict == "invalid", position
        assert verdict.first_bad_index == owner[position], position


def test_every_truncation_is_found():
    data = b"".join(LINES)

    for length in range(0, len(data), 7):
        verdict = judge(io.BytesIO(data[:length]))
        assert verdict.verdict == "invalid", length
        assert verdict.bytes == length
        assert verdict.first_bad_index == data[:length].count(b"\n")


def test_no_byte_flip_of_the_heads_makes_another_ledger_valid():
    text = b"".join(HEADS)
    longer = lines_of(chain([*copy.deepcopy(RECORDS), a_record(COUNT)]))
    forged = lines_of(chain([*copy.deepcopy(RECORDS[:-1]), a_record(COUNT - 1)]))

    for position in range(len(text)):
        damaged = bytearray(text)
        damaged[position] ^= 1
        heads = bytes(damaged).splitlines(keepends=True)
        verdict = judge(forged, heads)
        # Losing the last head's LF loses that head: a rollback, which only a pin shows.
        assert verdict.verdict == "invalid" or verdict.signed_records == SIZES[1]
        assert judge(longer, heads).signed_records <= COUNT


# ---- one record


def _edit(change, *, rehash=False):
    def operate(lines, i):
        record = json.loads(lines[i])
        change(record)
        if rehash:
            chain([record], prev=record["prev_hash"])
        return [*lines[:i], dump_line(record) + b"\n", *lines[i + 1 :]]

    return operate


def _bytes(old, new):
    def operate(lines, i):
        assert old in lines[i]
        return [*lines[:i], lines[i].replace(old, new, 1), *lines[i + 1 :]]

    return operate


def _set(**fields):
    return lambda record: record.update(fields)


def _reorder(record):
    record["status"] = record.pop("status")


def _reorder_nested(record):
    record["result"] = dict(reversed(record["result"].items()))


def _from_other_run(lines, i):
    other = lines_of(records_of(COUNT, run_id="run-2"))
    return [*lines[:i], other[i], *lines[i + 1 :]]


def _forged_insert(lines, i):
    forged = a_record(i)
    chain([forged], prev=json.loads(lines[i - 1])["record_hash"] if i else None)
    return [*lines[:i], dump_line(forged) + b"\n", *lines[i:]]


LOCATED = {
    "value": _edit(_set(error="x")),
    "value-rehashed": _edit(_set(error="x"), rehash=True),
    "run-id": _edit(_set(run_id="run-9"), rehash=True),
    "seq": _edit(_set(seq=99), rehash=True),
    "seq-true": _edit(_set(seq=True), rehash=True),
    "seq-text": _edit(_set(seq="1"), rehash=True),
    "timestamp": _edit(_set(started_at="2026-01-01T00:00:00.000001+00:00")),
    "node-id": _edit(_set(node_id="node-2")),
    "status": _edit(_set(status="failed")),
    "idempotency-key": _edit(_set(idempotency_key="system:terminal_status:failed")),
    "epoch-backwards": _edit(_set(commit={"epoch": -1}), rehash=True),
    "signature": _edit(_set(signature="x")),
    "unknown-key": _edit(_set(extra=1)),
    "no-hash": _edit(_set(record_hash=None)),
    "no-link": _edit(lambda r: r.pop("prev_hash")),
    "other-link": _edit(_set(prev_hash="0" * 64), rehash=True),
    "key-order": _edit(_reorder),
    "space": _bytes(b'"status":', b'"status": '),
    "leading-space": lambda ls, i: [*ls[:i], b" " + ls[i], *ls[i + 1 :]],
    "trailing-space": lambda ls, i: [*ls[:i], ls[i][:-1] + b" \n", *ls[i + 1 :]],
    "crlf": lambda ls, i: [*ls[:i], ls[i][:-1] + b"\r\n", *ls[i + 1 :]],
    "bom": lambda ls, i: [*ls[:i], b"\xef\xbb\xbf" + ls[i], *ls[i + 1 :]],
    "nul": lambda ls, i: [*ls[:i], ls[i][:-1] + b"\0\n", *ls[i + 1 :]],
    "garbage": lambda ls, i: [*ls[:i], ls[i][:-1] + b"x\n", *ls[i + 1 :]],
    "two-in-one": lambda ls, i: [*ls[:i], ls[i][:-1] + ls[i][:-1] + b"\n", *ls[i + 1 :]],
    "duplicate-key": _bytes(b'"error":null', b'"error":null,"error":null'),
    "duplicate-nested": _bytes(b'"z":1', b'"z":1,"z":1'),
    "number-1.0": _bytes(b'"attempt":1', b'"attempt":1.0'),
    "number-1e0": _bytes(b'"attempt":1', b'"attempt":1e0'),
    "float-spelling": _bytes(b"1e+16", b"1e16"),
    "float-digits": _bytes(b"1e+16", b"10000000000000000.0"),
    "escape-slash": _bytes("é/".encode(), "é\\/".encode()),
    "escape-letter": _bytes(b"answer", b"\\u0061nswer"),
    "escape-case": _bytes(b"\\u001f", b"\\u001F"),
    "nfd": _bytes("é".encode(), "e\u0301".encode()),
    "nan": _bytes(b'"z":1', b'"z":NaN'),
    "surrogate": _bytes(b"answer", b"\\ud800"),
    "not-utf8": _bytes(b"answer", b"\xff"),
    "not-an-object": lambda ls, i: [*ls[:i], b"12\n", *ls[i + 1 :]],
    "deep": lambda ls, i: [*ls[:i], b"[" * 100_000 + b"\n", *ls[i + 1 :]],
    "many-digits": _bytes(b'"z":1', b'"z":' + b"1" * 5000),
    "empty-line": lambda ls, i: [*ls[:i], b"\n", *ls[i:]],
    "delete": lambda ls, i: [*ls[:i], *ls[i + 1 :]],
    "duplicate": lambda ls, i: [*ls[: i + 1], *ls[i:]],
    "insert": _forged_insert,
    "other-run": _from_other_run,
}


@pytest.mark.parametrize("index", [0, 7, 8, 11, COUNT - 2])
@pytest.mark.parametrize("name", LOCATED)
def test_a_damaged_record_is_named(name, index):
    # These three are right in themselves; the record behind them no longer follows.
    expected = index + (name in ("duplicate", "insert", "value-rehashed"))
    lines = LOCATED[name](list(LINES), index)

    verdict = judge(lines)

    assert verdict.verdict == "invalid"
    located = [d for d in verdict.defects if d.byte_offset is not None]
    assert min(d.record for d in located) == expected
    first = next(d for d in located if d.record == expected)
    assert first.byte_offset == sum(len(line) for line in lines[:expected])


@pytest.mark.parametrize("index", [0, 7, 11, COUNT - 2])
def test_swapped_neighbours_are_named(index):
    lines = list(LINES)
    lines[index], lines[index + 1] = lines[index + 1], lines[index]

    assert judge(lines).first_bad_index == index


@pytest.mark.parametrize("name", ["key-order-nested", "suffix", "everything"])
@pytest.mark.parametrize("index", [0, 7, 8, 20])
def test_a_rewritten_chain_is_found_by_the_heads(name, index):
    records = copy.deepcopy(RECORDS)
    if name == "key-order-nested":
        _reorder_nested(records[index])
    else:
        records[index]["error"] = "x"
        start = 0 if name == "everything" else index
        chain(records[start:], prev=records[start]["prev_hash"])

    verdict = judge(lines_of(records))

    (defect,) = verdict.defects
    assert defect.code == "head_root_mismatch"
    assert defect.record == index // 8 * 8


# ---- the tail and the heads


def _no_final_newline(lines):
    return [*lines[:-1], lines[-1][:-1]]


@pytest.mark.parametrize(
    "lines, heads, code, record",
    [
        (LINES[:-1], HEADS, "head_beyond_ledger", 23),
        (LINES[:16], HEADS, "head_beyond_ledger", 16),
        ([], HEADS, "head_beyond_ledger", 0),
        (_no_final_newline(LINES), HEADS, "head_beyond_ledger", 23),
        ([*LINES[:-1], LINES[-1][:-1] + b"\0\0"], HEADS, "head_beyond_ledger", 23),
        (LINES, heads_of(LINES, SIZES, key=OTHER_KEY), "head_key_unknown", 7),
        (LINES, heads_of(LINES, SIZES, run_id="run-2"), "head_origin_mismatch", 7),
        (LINES, heads_of(LINES, SIZES, origin="host.example/store2"), "head_origin_mismatch", 7),
        (LINES, heads_of(lines_of(records_of(30)), (8, 24)), "head_root_mismatch", 8),
        (LINES, [HEADS[2], HEADS[0]], "head_out_of_order", 7),
        (LINES, [*HEADS, b"{}\n"], "bad_head", None),
        (LINES, [b"x" * 100_000], "bad_head", None),
    ],
    ids=[
        "cut-one", "cut-to-head", "cut-all", "no-final-lf", "nul-tail", "other-key", "other-run",
        "other-store", "other-ledger", "older-head-last", "no-note", "long-line",
    ],
)  # fmt: skip
def test_tail_and_heads(lines, heads, code, record):
    verdict = judge(lines, heads)

    assert verdict.verdict == "invalid"
    assert code in codes(verdict)
    assert verdict.first_bad_index == record


def _resign(note, change):
    data = json.loads(note)
    data["note"] = change(data["note"])
    return dump_line(data) + b"\n"


def _with_signature(note, change):
    head, _, encoded = note.rstrip("\n").rpartition(" ")
    raw = change(bytearray(base64.b64decode(encoded)))
    return f"{head} {base64.b64encode(raw).decode()}\n"


def _add_order(raw):
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(raw[36:], "little") + order
    return bytes(raw[:36]) + scalar.to_bytes(32, "little")


@pytest.mark.parametrize(
    "change, code",
    [
        (lambda n: n.replace("\n24\n", "\n16\n"), "head_signature_invalid"),
        (lambda n: n.replace("\n24\n", "\n15\n"), "head_out_of_order"),
        (lambda n: n.replace("\n24\n", "\n024\n"), "bad_head"),
        (lambda n: n.replace("run-1", "run-2"), "head_origin_mismatch"),
        (lambda n: n + "x", "bad_head"),
        (lambda n: n.replace("\n\n", "\nextension\n\n"), "bad_head"),
        (lambda n: n.split("\n\n", 1)[0], "bad_head"),
        (lambda n: _with_signature(n, lambda r: r[:4] + bytes(64)), "head_signature_invalid"),
        (lambda n: _with_signature(n, _add_order), "head_signature_invalid"),
        (lambda n: _with_signature(n, lambda r: r[:-1]), "head_signature_invalid"),
    ],
    ids=["size", "older-size", "zero", "origin", "garbage", "extension", "unsigned", "zero-sig", "malleated", "short"],
)  # fmt: skip
def test_a_changed_note(change, code):
    heads = [*HEADS[:2], _resign(HEADS[2], change)]

    verdict = judge(LINES, heads)

    assert verdict.verdict == "invalid"
    assert code in codes(verdict)


def test_a_wrong_key_id_is_an_unknown_key():
    only = [_resign(HEADS[2], lambda n: _with_signature(n, lambda r: b"\0\0\0\0" + r[4:]))]

    assert codes(judge(LINES, only)) == {"head_key_unknown"}


# ---- what is not tampering, or cannot be seen


def test_records_behind_the_last_head_are_an_unsigned_tail():
    lines = lines_of(chain([*copy.deepcopy(RECORDS), a_record(COUNT)]))

    verdict = judge(lines)

    assert (verdict.verdict, verdict.unsigned_tail, verdict.final) == ("valid", 1, True)
    assert verdict.exit_code(unsigned_tail_max=0) == 3
    assert verdict.exit_code(unsigned_tail_max=1) == 0


def test_a_rollback_with_its_heads_needs_a_pin():
    pin = TreeHead(f"{STORE}/runs/run-1", COUNT, tree_root(line[:-1] for line in LINES))

    rolled_back = judge(LINES[:16], HEADS[:2])
    pinned = judge(LINES[:16], HEADS[:2], pin=pin)

    assert (rolled_back.verdict, rolled_back.final) == ("valid", False)
    assert codes(pinned) == {"pin_beyond_ledger"}
    assert judge(LINES, pin=pin).verdict == "valid"


@pytest.mark.parametrize("size", [5, 24])
def test_a_pin_of_another_history_is_a_defect(size):
    pin = TreeHead(f"{STORE}/runs/run-1", size, bytes(32))

    assert codes(judge(LINES, pin=pin)) == {"pin_root_mismatch"}


def test_without_heads_or_keys_the_best_verdict_is_valid_unsigned():
    assert judge(LINES, []).verdict == "valid_unsigned"
    assert judge(LINES, keys=[]).verdict == "valid_unsigned"
    assert judge(LINES, []).final is True
    assert judge(LINES, []).exit_code() == 0
    assert judge(LINES, []).exit_code(require_signed=True) == 3


def test_wrong_hints_beside_a_note_are_a_warning():
    data = json.loads(HEADS[2])
    heads = [*HEADS[:2], dump_line({**data, "offset": 1}) + b"\n"]

    verdict = judge(LINES, heads)

    assert verdict.verdict == "valid"
    assert len(verdict.warnings) == 1


def test_a_torn_tail_is_no_defect():
    verdict = judge([*LINES, LINES[0][:50]])

    assert (verdict.verdict, verdict.torn_tail_bytes, verdict.records) == ("valid", 50, COUNT)


def test_a_line_over_the_limit_ends_the_pass():
    lines = io.BytesIO(b"".join(LINES[:3]) + b"x" * 5000 + b"\n")

    verdict = judge(lines, max_line_bytes=1000)

    assert [(d.code, d.record) for d in verdict.defects] == [("line_too_long", 3)]


def test_defects_are_counted_beyond_those_that_are_kept():
    verdict = judge([b"x\n"] * 500, [])

    assert (len(verdict.defects), verdict.defect_count) == (100, 500)
    assert verdict.to_dict()["first_bad_index"] == 0
