"""The verdict over a ledger: one pass over its bytes, in constant memory, executing nothing.

1. Every line is checked for form, place and hash chain; see `record_checks`.
2. Every signed head is checked when the pass reaches its size; see `_head_watch`.
3. `valid` needs a head signed by a key the caller trusts, a first record that says that this
   host signs the ledger, and no defect. Else the best verdict is `valid_unsigned`: consistent,
   but anyone could have written it.
4. Being unfinished is no defect: `final` says whether the last signed record ends the run.
5. What a store keeps beside a ledger is judged with it, if the caller gives it: the state that a
   record fixes, and the large values that records refer to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from abstractruntime._files import lines_of
from abstractruntime.errors import ExitCode
from abstractruntime.signing._head_watch import NEVER, HeadWatch
from abstractruntime.signing._large_values import LargeValueWatch
from abstractruntime.signing.merkle import TreeState
from abstractruntime.signing.record_checks import ChainState, Defect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from abstractruntime.signing.heads import BadHead, SignedHead
    from abstractruntime.signing.keys import VerifierKey
    from abstractruntime.signing.note import TreeHead

FORMAT: Final = "art-verify/1"
MAX_LINE_BYTES: Final = 64 * 1024 * 1024
MAX_DEFECTS: Final = 100
MAX_BAD_LINES: Final = 10_000

Verdict = Literal["valid", "valid_unsigned", "invalid"]


@dataclass(frozen=True, slots=True)
class LedgerVerdict:
    """What a ledger's bytes, heads and the given keys allow to conclude.

    `defects` holds the first 100, `defect_count` counts all, `first_bad_index` is the lowest
    record that any of them names. `signed_records` is the size of
    the largest head that holds, 0 if the ledger was begun unsigned; the `unsigned_tail` behind it is chained but not signed.
    """

    verdict: Verdict
    records: int
    signed_records: int
    final: bool
    signers: tuple[str, ...]
    defects: tuple[Defect, ...]
    defect_count: int
    first_bad_index: int | None
    run_id: str | None
    origin: str | None
    root_hash: str
    head_hash: str | None
    heads: int
    bytes: int
    torn_tail_bytes: int
    warnings: tuple[str, ...] = ()

    @property
    def unsigned_tail(self) -> int:
        return max(0, self.records - self.signed_records)

    @property
    def ok(self) -> bool:
        return self.verdict != "invalid"

    def exit_code(
        self, *, require_signed: bool = False, unsigned_tail_max: int | None = None
    ) -> ExitCode:
        """Give the process exit code under a policy: 1 invalid, 3 policy not met, else 0."""
        if not self.ok:
            return ExitCode.FAILED
        tail_limit = self.records if unsigned_tail_max is None else unsigned_tail_max
        unmet = require_signed and self.verdict != "valid"
        if unmet or self.unsigned_tail > tail_limit:
            return ExitCode.REFUSED
        return ExitCode.OK

    def to_dict(self) -> dict[str, Any]:
        """Give the verify document."""
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "run_id": self.run_id,
            "records": self.records,
            "signed_records": self.signed_records,
            "unsigned_tail": self.unsigned_tail,
            "final": self.final,
            "signers": list(self.signers),
            "defects": [defect.to_dict() for defect in self.defects],
            "defect_count": self.defect_count,
            "first_bad_index": self.first_bad_index,
            "head_hash": self.head_hash,
            "root_hash": self.root_hash,
            "origin": self.origin,
            "heads": self.heads,
            "bytes": self.bytes,
            "torn_tail_bytes": self.torn_tail_bytes,
            "warnings": list(self.warnings),
        }


def verify_ledger(  # noqa: PLR0913 - all but the first are optional, and independent
    lines: Iterable[bytes] | IO[bytes],
    *,
    heads: Iterable[SignedHead | BadHead] = (),
    keys: Iterable[VerifierKey] = (),
    revoked: Mapping[VerifierKey, str] | None = None,
    origin: str | None = None,
    run_id: str | None = None,
    pin: TreeHead | None = None,
    reached: tuple[int, Any] | tuple[int, Any, Any] | None = None,
    large_values: Callable[[str], bytes | None] | None = None,
    beside: Iterable[Defect] = (),
    max_line_bytes: int = MAX_LINE_BYTES,
) -> LedgerVerdict:
    """Judge one ledger.

    Args:
        lines: A binary file, or its lines, each with its LF.
        heads: The lines of its heads file, in order (`read_heads`).
        keys: The host keys that the caller trusts.
        revoked: Host keys that were, each with its standing in words; they win over `keys`.
        origin: The store origin that the heads must name, when known.
        run_id: The run that the ledger must belong to, when known.
        pin: A head that the caller saw earlier and that must still hold.
        reached: A place that the ledger is known to have reached, as by a checkpoint: its size
            in bytes there, the hash of the last record, and the digest of the state that is kept
            for it, if any; the record must fix it.
        large_values: Gives what is kept under a digest, or None; with it every reference is followed.
        beside: What else was found to contradict the ledger.
        max_line_bytes: A longer line ends the pass with a defect, as do 10,000 defects.
    """
    found = _Findings()
    watch = HeadWatch(
        heads, found.add, keys=tuple(keys), revoked=revoked or {}, origin=origin, pin=pin
    )
    values = LargeValueWatch(large_values, found.add) if large_values is not None else None
    ledger = _LedgerPass(watch, ChainState(run_id=run_id), found, max_line_bytes, reached, values)
    ledger.run(lines)
    if reached is not None:
        ledger.judge_reached(*reached)
    for defect in beside:
        found.add(defect)
    return ledger.verdict()


@dataclass(slots=True)
class _Findings:
    """Keeps the first defects and counts all, so that hostile input costs bounded memory."""

    first: list[Defect] = field(default_factory=list)
    count: int = 0
    lowest: int | None = None

    def add(self, defect: Defect) -> None:
        self.count += 1
        if len(self.first) < MAX_DEFECTS:
            self.first.append(defect)
        if defect.record is not None:
            self.lowest = defect.record if self.lowest is None else min(self.lowest, defect.record)


@dataclass(slots=True)
class _LedgerPass:
    """One pass over one ledger; `run` once, then ask for the verdict."""

    watch: HeadWatch
    chain: ChainState
    found: _Findings
    max_line_bytes: int
    reached: tuple[int, Any] | tuple[int, Any, Any] | None = None
    values: LargeValueWatch | None = None
    line_there: bytes | None = None
    signed_by: str | None = None
    tree: TreeState = field(default_factory=TreeState)
    offset: int = 0
    torn: int = 0

    def run(self, lines: Iterable[bytes] | IO[bytes]) -> None:
        tree, chain, watch = self.tree, self.chain, self.watch
        watch.check(tree, chain, 0)
        due = watch.due
        there = self.reached[0] if self.reached else -1
        for raw in _read_lines(lines, self.max_line_bytes):
            if len(raw) > self.max_line_bytes + 1:
                self._stop_at_long_line(len(raw))
                return
            if self.found.count > MAX_BAD_LINES:
                self._stop_at_noise()
                return
            if self.torn or _is_torn(raw, is_signed=due < NEVER):
                self.torn += len(raw)
                continue
            line = raw[:-1]
            tree.add(line)
            if tree.size == 1:
                self.signed_by = _stated_host(line)
            if not chain.accept(line):
                self._judge(line)
            if self.values is not None:
                self.values.check(line, tree.size - 1, self.offset)
            self.offset += len(raw)
            if self.offset == there:
                self.line_there = line
            if tree.size >= due:
                watch.check(tree, chain, self.offset)
                due = watch.due
        watch.finish(tree, chain)

    def _judge(self, line: bytes) -> None:
        for defect in self.chain.judge(line, self.offset):
            self.watch.suspect(self.tree.size - 1)
            self.found.add(defect)

    def _stop_at_long_line(self, length: int) -> None:
        found = f"at least {length} bytes; nothing behind was checked"
        limit = self.max_line_bytes
        self.found.add(Defect("line_too_long", self.tree.size, self.offset, limit, found))

    def _stop_at_noise(self) -> None:
        found = f"{self.found.count} defects; nothing behind was checked"
        self.found.add(
            Defect("too_many_defects", self.tree.size, self.offset, MAX_BAD_LINES, found)
        )

    def judge_reached(self, size: int, head: Any, state: Any = None) -> None:
        """A ledger that does not reach a place where it was, or holds another record there, lost it.

        One that holds the record, but not the digest of the state that is kept, never led to that.
        """
        if self.offset < size:
            self.found.add(
                Defect("checkpoint_beyond_ledger", self.tree.size, self.offset, size, self.offset)
            )
            return
        record = _parse(self.line_there)
        found, fixed = record.get("record_hash"), _state_in(record)
        place = size - len(self.line_there) - 1 if self.line_there is not None else size
        if found != head:
            self.found.add(Defect("checkpoint_mismatch", None, place, head, found))
        elif state is not None and fixed != state:
            detail = "the checkpoint does not match the ledger; it is not used"
            self.found.add(Defect("checkpoint_mismatch", None, place, fixed, state, detail))

    def verdict(self) -> LedgerVerdict:
        watch, chain = self.watch, self.chain
        signed = watch.signed_records if self._is_begun_signed else 0
        return LedgerVerdict(
            verdict="invalid" if self.found.count else "valid" if signed else "valid_unsigned",
            records=self.tree.size,
            signed_records=signed,
            final=watch.signed_terminal if signed else chain.is_terminal,
            signers=tuple(watch.signers) if signed else (),
            defects=tuple(self.found.first),
            defect_count=self.found.count,
            first_bad_index=self.found.lowest,
            run_id=chain.run_id,
            origin=watch.origin,
            root_hash=self.tree.root().hex(),
            head_hash=chain.head_hash,
            heads=watch.heads_held,
            bytes=self.offset + self.torn,
            torn_tail_bytes=self.torn,
            warnings=(*self._warnings(), *watch.warnings),
        )

    @property
    def _is_begun_signed(self) -> bool:
        return any(key.vkey == self.signed_by for key in self.watch.first_signers)

    def _warnings(self) -> Iterator[str]:
        yield from self.chain.warnings
        if self.watch.signed_records and not self._is_begun_signed:
            yield (
                f"{', '.join(self.watch.signers)} signed {self.watch.signed_records} records as they"
                " were found: the first record does not say that this host signs the run"
            )
        if self.chain.unchained_records:
            pinned = (
                "; the record that imports them pins them" if self.chain.older.is_pinned else ""
            )
            yield f"{self.chain.unchained_records} records carry no hash{pinned}"
        if self.torn:
            yield f"torn tail of {self.torn} bytes, never acknowledged, was left out"


def _parse(line: bytes | None) -> dict[str, Any]:
    try:
        record = json.loads(line or b"")
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _stated_host(line: bytes) -> Any:
    """Give the verifier key of the host that signs a ledger, as its first record says.

    Invariant: read here as `core.origin.RunOrigin.of` reads it for whoever goes on with the run.
    """
    record = _parse(line)
    result = record.get("result")
    if record.get("effect") is not None or not isinstance(result, dict):
        return None
    return result.get("signed_by") if result.get("internal") == "run_started" else None


def _state_in(record: dict[str, Any]) -> Any:
    commit = record.get("commit")
    return commit.get("state") if isinstance(commit, dict) else None


def _is_torn(raw: bytes, *, is_signed: bool) -> bool:
    """Tell whether a line, and so all behind it, was never acknowledged: it is no record and no leaf.

    A line without LF was not written to its end. One with NUL is what a power cut left of a
    line that nobody had synced, unless a head or pin vouches for it.
    """
    return raw[-1:] != b"\n" or (not is_signed and b"\0" in raw)


def _read_lines(lines: Iterable[bytes] | IO[bytes], limit: int) -> Iterable[bytes]:
    """Give the lines of a file in bounded pieces; other iterables as they are."""
    readline = getattr(lines, "readline", None)
    if readline is None:
        return lines
    return lines_of(lines, limit)  # type: ignore[arg-type] # what has `readline` is a file
