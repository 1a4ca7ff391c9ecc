"""Judging the lines of a ledger one by one.

Two readers agree on what is right. `accept` takes a line that is exactly what the store
writes and follows from the line before, at the price of one fast parse. Every other line
goes to `judge`, which parses with the standard library, tolerates what 0.4.x wrote, and
names what is wrong. Only `judge` ever calls a line bad.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson

from abstractruntime._json import dump_line, load_strict

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC_KEYS: Final = (
    "run_id", "step_id", "node_id", "status", "effect", "result", "error", "started_at", "ended_at",
    "actor_id", "session_id", "attempt", "idempotency_key", "prev_hash", "record_hash", "signature",
)  # fmt: skip
_LINE_KEYS: Final = (*PUBLIC_KEYS, "seq", "commit")
_WITHOUT_COMMIT: Final = list(_LINE_KEYS[:-1])
_WITH_COMMIT: Final = list(_LINE_KEYS)
_TERMINAL_PREFIX: Final = "system:terminal_status:"
_SEAL: Final = re.compile(r"seal:[0-9a-f]{64}")
_UNHASHED: Final = ("record_hash", "signature")
_SORTED: Final = orjson.OPT_SORT_KEYS


class _Unknown:
    """Stands for a link that an unreadable line took away."""


_UNKNOWN: Final = _Unknown()


def is_seal(signature: Any) -> bool:
    """Tell whether a record's signature is the mark of a host for itself; to others it says nothing."""
    return isinstance(signature, str) and _SEAL.fullmatch(signature) is not None


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that is wrong, and where; `record` counts lines from 0."""

    code: str
    record: int | None
    byte_offset: int | None
    expected: Any = None
    found: Any = None
    detail: str | None = None

    def to_dict(self) -> dict[str, Any]:
        data = {
            "code": self.code, "record": self.record, "byte_offset": self.byte_offset,
            "expected": self.expected, "found": self.found,
        }  # fmt: skip
        return data if self.detail is None else {**data, "detail": self.detail}


def hash_record(record: dict[str, Any]) -> str:
    """Give the record hash over a record as it is stored, its `prev_hash` included."""
    body = {key: value for key, value in record.items() if key not in _UNHASHED}
    body.setdefault("prev_hash", None)
    # Compat: 0.4.x hashed NaN and infinities as it wrote them, so this writer lets them pass.
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return sha256(text.encode()).hexdigest()


@dataclass(slots=True)
class Older:
    """The lines of 0.4.x at the start of a ledger, as the record that imports them pins them."""

    records: int = 0
    size: int = 0
    digest: Any = field(default_factory=sha256)
    is_pinned: bool = False

    def add(self, line: bytes) -> None:
        self.records += 1
        self.size += len(line) + 1
        self.digest.update(line)
        self.digest.update(b"\n")

    def pins(self, head: Any) -> dict[str, Any]:
        return {
            "records": self.records,
            "bytes": self.size,
            "sha256": self.digest.hexdigest(),
            "tail_hash": head if isinstance(head, str) else None,
        }


@dataclass(slots=True)
class ChainState:
    """What the next line of a ledger has to follow from."""

    run_id: str | None = None
    index: int = 0
    head: str | _Unknown | None = None
    seq: int = 0
    epoch: int = 0
    chained: bool = False
    sequenced: bool = False
    unchained_records: int = 0
    older: Older = field(default_factory=Older)
    last_key: Any = None
    warnings: dict[str, None] = field(default_factory=dict)

    @property
    def head_hash(self) -> str | None:
        return self.head if isinstance(self.head, str) else None

    @property
    def is_terminal(self) -> bool:
        """Say whether the last line is the one that ends a run."""
        return isinstance(self.last_key, str) and self.last_key.startswith(_TERMINAL_PREFIX)

    def accept(self, line: bytes) -> bool:
        """Take `line` if it is canonical, chained and next in sequence; else change nothing."""
        if self.older.records and not self.sequenced:
            return False
        try:
            record = orjson.loads(line)
            if type(record) is not dict or orjson.dumps(record) != line:
                return False
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return False
        epoch = self._epoch_when_in_place(record)
        if epoch is None:
            return False
        stored = record.pop("record_hash")
        del record["signature"]
        if sha256(orjson.dumps(record, option=_SORTED)).hexdigest() != stored:
            return False
        self.head, self.epoch, self.last_key = stored, epoch, record["idempotency_key"]
        self.index += 1
        self.seq += 1
        self.chained = self.sequenced = True
        return True

    def _epoch_when_in_place(self, record: dict[str, Any]) -> int | None:
        """Give the line's epoch if its keys, link, number and run are the expected ones."""
        keys = list(record)
        if keys == _WITH_COMMIT:
            commit = record["commit"]
            epoch = commit.get("epoch", self.epoch) if type(commit) is dict else None
            if type(epoch) is not int or epoch < self.epoch:
                return None
        elif keys == _WITHOUT_COMMIT:
            epoch = self.epoch
        else:
            return None
        seq = record["seq"]
        in_place = (
            record["prev_hash"] == self.head
            and seq == self.seq
            and type(seq) is int
            and record["run_id"] == self.run_id
            and (record["signature"] is None or is_seal(record["signature"]))
        )
        return epoch if in_place else None

    def judge(self, line: bytes, offset: int) -> list[Defect]:
        """Give everything that is wrong with `line`, and go on behind it."""
        parsed = _parse(line)
        if isinstance(parsed, dict):
            problems = [
                *self._judge_import(parsed, line),
                *self._judge_form(parsed, line),
                *self._judge_place(parsed),
                *self._judge_chain(parsed),
            ]
            self.last_key = parsed.get("idempotency_key")
        else:
            code, reason = parsed
            problems = [(code, "one JSON object", reason)]
            self.head, self.last_key = _UNKNOWN, None
            self.seq += 1
        index = self.index
        self.index += 1
        return [
            Defect(code, index, offset, _brief(expected), _brief(found))
            for code, expected, found in problems
        ]

    def _judge_import(self, record: dict[str, Any], line: bytes) -> Iterator[tuple[str, Any, Any]]:
        if self.sequenced:
            return
        if "seq" not in record:
            self.older.add(line)
        elif self.older.records:
            result = record.get("result")
            is_import = isinstance(result, dict) and result.get("internal") == "imported"
            pinned = result.get("ledger") if isinstance(result, dict) and is_import else None
            found = self.older.pins(self.head)
            self.older.is_pinned = pinned == found
            if not is_import and not self.chained:
                yield "import_missing", "a record that imports the lines of 0.4.x", None
            elif is_import and pinned != found:
                yield "import_mismatch", json.dumps(pinned), json.dumps(found)

    def _judge_form(self, record: dict[str, Any], line: bytes) -> Iterator[tuple[str, Any, Any]]:
        if record.get("signature") is not None and not is_seal(record["signature"]):
            yield "unexpected_signature", None, record["signature"]
        if "seq" not in record:
            if json.dumps(record, ensure_ascii=False).encode() != line:
                self.warnings["a line of an older version has an unusual spelling"] = None
            return
        expected = dump_line(record)
        if expected != line:
            yield (
                "not_canonical",
                "the line as the store writes it",
                _first_difference(line, expected),
            )
        order = [key for key in record if key in _LINE_KEYS]
        if order != [key for key in _LINE_KEYS if key in record]:
            yield "not_canonical", "keys in their fixed order", ", ".join(order)

    def _judge_place(self, record: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        run_id = record.get("run_id")
        if self.run_id is None and isinstance(run_id, str):
            self.run_id = run_id
        if run_id != self.run_id or run_id is None:
            yield "run_id_mismatch", self.run_id, run_id
        seq = record.get("seq")
        if type(seq) is not int and (self.sequenced or "seq" in record):
            yield "seq_mismatch", self.seq, seq
            self.seq += 1
        elif type(seq) is int:
            if seq != self.seq:
                yield "seq_mismatch", self.seq, seq
            self.seq, self.sequenced = seq + 1, True
        else:
            self.seq += 1
        commit = record.get("commit")
        epoch = commit.get("epoch") if isinstance(commit, dict) else None
        if type(epoch) is int:
            if epoch < self.epoch:
                yield "epoch_backwards", self.epoch, epoch
            self.epoch = epoch

    def _judge_chain(self, record: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        stored, previous = record.get("record_hash"), record.get("prev_hash")
        if stored is None and previous is None and not self.chained and not self.sequenced:
            # Compat: plain 0.4.x ledgers carry no hashes; a chain may begin behind them.
            self.unchained_records += 1
            return
        if not isinstance(self.head, _Unknown) and (
            previous != self.head or "prev_hash" not in record
        ):
            yield "prev_hash_mismatch", self.head, previous
        self.chained = True
        if not isinstance(stored, str):
            yield "missing_record_hash", hash_record(record), stored
            self.head = _UNKNOWN
            return
        computed = hash_record(record)
        if computed != stored:
            yield "record_hash_mismatch", computed, stored
        self.head = stored


def _parse(line: bytes) -> dict[str, Any] | tuple[str, str]:
    """Give the object on a line, or the defect code and the reason why there is none."""
    try:
        value = _load(line.decode())
        # Text that cannot be written again cannot be hashed either.
        json.dumps([[value]], ensure_ascii=False).encode()
    except UnicodeDecodeError:
        return "bad_line", "not UTF-8"
    except UnicodeEncodeError:
        return "bad_line", "holds a lone surrogate"
    except RecursionError:
        return "bad_line", "nested too deep"
    except ValueError as cause:
        code = "duplicate_key" if str(cause).startswith("duplicate key") else "bad_line"
        return code, str(cause)
    return value if isinstance(value, dict) else ("not_object", type(value).__name__)


def _load(text: str) -> Any:
    try:
        return load_strict(text)
    except ValueError as cause:
        if not str(cause).endswith("is not JSON"):
            raise
        # Compat: 0.4.x wrote NaN and infinities; lines with a number of ours never hold them.
        value = json.loads(text)
        if not isinstance(value, dict) or "seq" in value:
            raise
        return value


def _brief(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _first_difference(line: bytes, expected: bytes) -> str:
    pairs = zip(line, expected, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(line), len(expected)))
    return f"byte {at} of the line"
