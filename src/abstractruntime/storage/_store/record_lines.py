"""From a step record and its commit to the bytes of a ledger line, and back.

Rules:
1. A line is compact JSON in insertion order: the 16 public keys, `seq`, `commit`.
2. `record_hash` is SHA-256 over the sorted form without `record_hash` and `signature`;
   `prev_hash` takes part in it and is null in the first record.
3. orjson writes both where it provably agrees with the standard library.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from abstractruntime._json import (
    JsonObject,
    dump_line,
    dump_sorted,
    load_strict,
    normalise,
    replace_surrogates,
)
from abstractruntime._text import shell_word
from abstractruntime.core.models import StepRecord, StepStatus
from abstractruntime.core.records import STATUS_KEY_PREFIX
from abstractruntime.errors import ChainBroken, InvalidValue
from abstractruntime.storage._store.blobs import Blobs
from abstractruntime.storage._store.plain import dump, dump_plain_sorted, is_plain
from abstractruntime.storage._store.seals import Seal, record_seal
from abstractruntime.storage.large_values import LIMIT_BYTES, MARK, MAX_RECORD_WEIGHT, weight_of

if TYPE_CHECKING:
    from types import EllipsisType

    from abstractruntime.storage._files.jsonl import Line

# The key of a commit that says how much its run has written beside the ledger so far.
BESIDE: Final = "beside"

# Reading `.value` of an enum member costs more than the rest of the field.
_STATUS_TEXTS = {status: status.value for status in StepStatus}


class EncodedRecord(NamedTuple):
    """A line without its LF, the hash that the next record links to, and what went beside the line."""

    line: bytes
    record_hash: str
    beside_bytes: int = 0


class RecordWriter:
    """Encodes the records of one run."""

    def __init__(self, blobs: Blobs, seal: Seal | None = None) -> None:
        self._blobs = blobs.counting()
        self._seal = seal

    def encode(
        self,
        record: StepRecord,
        commit: JsonObject | None,
        *,
        seq: int,
        prev_hash: str | None,
        plain: bool,
        least_size: int = 0,
    ) -> EncodedRecord:
        """Give the line of a record whose values went through `clean_record`.

        Args:
            plain: Whether orjson may write it, as `clean_record` and the delta found.
            least_size: How long it is at least, if that is known.
        """
        effect, result = record.effect, record.result
        place: Any = {"seq": seq, "prev_hash": prev_hash, "plain": plain, "seal": self._seal}
        if least_size <= LIMIT_BYTES:
            encoded = _encode(record, effect, result, commit, **place)
            if len(encoded.line) <= LIMIT_BYTES and MARK not in encoded.line:
                return encoded
        _require_bounded(effect, result, commit)
        pack, before = self._blobs.pack, self._blobs.added_bytes
        effect = pack(effect, keep=True)
        result = pack(result)
        commit = None if commit is None else self._blobs.pack_commit(commit)
        added = self._blobs.added_bytes - before
        if commit is not None and added:
            commit[BESIDE] = commit.get(BESIDE, 0) + added
        return _encode(record, effect, result, commit, **place)._replace(beside_bytes=added)


def _require_bounded(*parts: Any) -> None:
    # Invariant: what is written can be read; see `Reading`.
    if sum(map(weight_of, parts)) > MAX_RECORD_WEIGHT:
        raise InvalidValue(
            f"a record would hold more than {MAX_RECORD_WEIGHT} values",
            hint="keep large data in files, and their names in the run",
            limit=MAX_RECORD_WEIGHT,
        )


def clean_record(record: StepRecord, *, plain_effect: JsonObject | None = None) -> bool:
    """Normalise what a record carries, in place; True when orjson may write it.

    Args:
        plain_effect: An effect that was found plain before, as that of a started attempt.

    Raises:
        InvalidValue: effect or result is not JSON.
    """
    plain = True
    if record.effect is not plain_effect and not is_plain(record.effect):
        plain, record.effect = False, normalise(record.effect, "/effect")
    if record.result is not None and not is_plain(record.result):
        plain, record.result = False, normalise(record.result, "/result")
    if record.error is not None and not record.error.isascii():
        record.error = replace_surrogates(record.error)
    return plain


def _encode(
    record: StepRecord,
    effect: Any,
    result: Any,
    commit: JsonObject | None,
    *,
    seq: int,
    prev_hash: str | None,
    plain: bool,
    seal: Seal | None,
) -> EncodedRecord:
    body: JsonObject = {
        "run_id": record.run_id,
        "step_id": record.step_id,
        "node_id": record.node_id,
        "status": _STATUS_TEXTS[record.status],
        "effect": effect,
        "result": result,
        "error": record.error,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "actor_id": record.actor_id,
        "session_id": record.session_id,
        "attempt": record.attempt,
        "idempotency_key": record.idempotency_key,
        "prev_hash": prev_hash,
    }
    ending: JsonObject = {"seq": seq} if commit is None else {"seq": seq, "commit": commit}
    if plain:
        try:
            digest = sha256(dump_plain_sorted({**body, **ending})).hexdigest()
            signature = record_seal(seal, record.run_id, seq, digest) or record.signature
            line = dump({**body, "record_hash": digest, "signature": signature, **ending})
            return EncodedRecord(line, digest)
        except TypeError:
            # A lone surrogate: `normalise` names the field that holds it.
            normalise({**body, **ending})
    digest = sha256(dump_sorted({**body, **ending})).hexdigest()
    signature = record_seal(seal, record.run_id, seq, digest) or record.signature
    line = dump_line({**body, "record_hash": digest, "signature": signature, **ending})
    return EncodedRecord(line, digest)


def result_of(record: StepRecord) -> Any:
    """Give the value that `put` refers to: the answer of a resume record, else the result."""
    return _result_of(record.effect, record.result)


def stored_result_of(record: JsonObject) -> Any:
    """Give the value that `put` refers to, of a parsed record."""
    return _result_of(record.get("effect"), record.get("result"))


def _result_of(effect: JsonObject | None, result: Any) -> Any:
    if effect is not None and effect.get("type") == "resume":
        return (effect.get("payload") or {}).get("payload")
    return result


def is_status_record(record: JsonObject) -> bool:
    """Tell whether a parsed record only repeats the terminal status."""
    return is_status_key(record.get("idempotency_key"))


def is_status_key(key: Any) -> bool:
    """Tell whether a record with this idempotency key only repeats the terminal status."""
    return str(key or "").startswith(STATUS_KEY_PREFIX)


def check_line(
    line: Line, *, run_id: str, seq: int, prev_hash: str | EllipsisType | None = ...
) -> JsonObject:
    """Read a line and check its number, its link and its hash.

    Args:
        line: The line.
        run_id: The run that it must be of.
        seq: The number that it must have.
        prev_hash: What it must link to; without it, something else vouches for its hash.

    Raises:
        ChainBroken: with the line's offset and number.
    """
    try:
        record = load_strict(line.data)
    except (ValueError, RecursionError) as cause:
        raise _broken(run_id, seq, line, f"is not JSON: {cause}") from cause
    if type(record) is not dict:
        raise _broken(run_id, seq, line, "is not an object")
    expected: JsonObject = {"run_id": run_id, "seq": seq, "prev_hash": prev_hash}
    if prev_hash is ...:
        del expected["prev_hash"]
    expected["record_hash"] = stored_hash(record)
    for name, value in expected.items():
        found = record.get(name)
        if found != value:
            what = f"has {name} {found!r}, expected {value!r}"
            raise _broken(run_id, seq, line, what, expected=value, found=found)
    return record


def _broken(run_id: str, seq: int, line: Line, what: str, **facts: Any) -> ChainBroken:
    return ChainBroken(
        f"ledger of run {run_id!r}: line {seq + 1} at byte {line.offset} {what}",
        hint=f"art ledger verify {shell_word(run_id)}; the run cannot be driven until this is repaired",
        run_id=run_id,
        offset=line.offset,
        line=seq + 1,
        **facts,
    )


def stored_hash(record: JsonObject) -> str:
    """Compute the hash of a parsed record."""
    body = {k: v for k, v in record.items() if k not in ("record_hash", "signature")}
    if is_plain(body):
        return sha256(dump_plain_sorted(body)).hexdigest()
    return sha256(dump_sorted(body)).hexdigest()


def _parse_old(data: bytes) -> JsonObject | None:
    """Read a line that only 0.4.x can have written: NaN and infinities become their names."""
    try:
        record = json.loads(data, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "seq" not in record else None


def parse_line(run_id: str, number: int, line: Line) -> JsonObject:
    """Read a stored line without checking its place in the chain.

    Raises:
        ChainBroken: it is not a JSON object.
    """
    try:
        record = load_strict(line.data)
    except (ValueError, RecursionError):
        record = _parse_old(line.data)
    if type(record) is dict:
        return record
    raise ChainBroken(
        f"ledger of run {run_id!r}: line {number + 1} at byte {line.offset} is not a JSON object",
        hint=f"art ledger verify {shell_word(run_id)}",
        run_id=run_id,
        offset=line.offset,
        line=number + 1,
    )
