"""Signed heads of ledgers: when a host key vouches for what was recorded so far.

The tree over the lines is kept only where a signer exists; it is rebuilt by one pass
over the ledger when a run is opened. Where there are heads, that pass also compares them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from abstractruntime._text import shell_word
from abstractruntime.errors import HeadMismatch, IntegrityError, StoreError, UsageError
from abstractruntime.storage._files.fs import file_name
from abstractruntime.storage._files.jsonl import JsonlFile, Tail, scan_lines
from abstractruntime.storage._files.stream import open_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from abstractruntime.core.origin import RunOrigin
    from abstractruntime.signing.heads import HeadStack, SignedHead
    from abstractruntime.signing.keys import SigningKey, VerifierKey
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout
    from abstractruntime.storage._store.services import HeadSignerPort, Services

RECORDS_PER_HEAD = 64


class StoredHeads:
    """The signed heads of one store, as they are stored; see `core.store.HeadStore`."""

    def __init__(self, files: StoreFiles, layout: Layout) -> None:
        self._files = files
        self._layout = layout

    def lines(self, run_id: str) -> Iterator[bytes]:
        with open_stream(self._files, self._layout.heads(run_id)) as file:
            yield from file


class KeySigner:
    """Signs with a host key."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def sign_head(self, stack: HeadStack, *, origin: str, run_id: str, offset: int) -> bytes:
        from abstractruntime.signing.heads import sign_head  # noqa: PLC0415 - stores without a key never load it

        return sign_head(stack, self._key, origin=origin, run_id=run_id, offset=offset)

    @property
    def verifier(self) -> VerifierKey:
        return self._key.verifier


@dataclass(slots=True)
class HeadsFile:
    """The signed heads of one owned run, and the tree they are taken from."""

    services: Services
    signer: HeadSignerPort
    run_id: str
    stack: HeadStack
    _file: JsonlFile | None = None

    @property
    def unsigned(self) -> int:
        """How many records no head covers yet."""
        last = self.stack.last
        return self.stack.tree.size - (last.size if last else 0)

    @property
    def is_due(self) -> bool:
        """Whether to sign before the run rests: the first record, and then after so many."""
        return self.stack.last is None or self.unsigned >= RECORDS_PER_HEAD

    @property
    def is_poisoned(self) -> bool:
        """Whether a sync of the heads failed."""
        return self._file is not None and self._file.is_poisoned

    def add(self, line: bytes) -> None:
        self.stack.tree.add(line)

    def sign(self, ledger_bytes: int) -> None:
        """Sign the tree as it is; the ledger must be durable up to `ledger_bytes`."""
        file = self._open()
        before = self.stack.last
        line = self.signer.sign_head(
            self.stack, origin=self.services.origin, run_id=self.run_id, offset=ledger_bytes
        )
        try:
            file.append(line)
        except OSError:
            self.stack.last = before
            raise
        if self.services.durability != "off":
            file.sync()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> JsonlFile:
        if self._file is not None:
            return self._file
        files, layout = self.services.files, self.services.layout
        path = layout.heads(self.run_id)
        tail = Tail()
        for _ in scan_lines(files, path, tail=tail):
            pass
        file = JsonlFile(path, files.create(path), tail.committed)
        if not tail.committed:
            # Invariant: the name is durable before the first line, so a line proves that it is.
            try:
                files.sync_dir(layout.root)
            except StoreError:
                file.close()
                raise
        self._file = file
        if tail.torn_bytes:
            self._file.cut(tail.committed)
        return self._file


def open_heads(
    services: Services,
    run_id: str,
    origin: RunOrigin,
    *,
    may_begin: Callable[[], bool] = lambda: True,
) -> HeadsFile | None:
    """Compare a ledger with its last signed head, and rebuild its tree for a signer; else give None.

    Rules:
    1. A ledger whose first record names a host has signed heads from that record on. Without
       them it is not the one that was signed, and nobody goes on with it. Only its own host may
       find a first record alone: it died before it signed that.
    2. What the last head covers is as it was. The head is of this ledger in this store, and a
       signer extends it only if a key that counts here signed it.
    3. A signature that a known key made is checked, signer or not.

    Args:
        services: Have the signer.
        run_id: The run.
        origin: What the first record of the ledger states.
        may_begin: Whether a signer may begin to sign a ledger that was begun without one.

    Raises:
        HeadMismatch: the ledger is not the one that was signed.
    """
    files, layout, signer = services.files, services.layout, services.signer
    path = layout.heads(run_id)
    if signer is None and origin.signed_by is None and files.info(path) is None:
        return None
    from abstractruntime.signing.heads import HeadStack  # noqa: PLC0415 - as in KeySigner

    last = _last_head(files, path)
    if last is None:
        _require_begun(services, run_id, origin)
        if origin.signed_by is None and not may_begin():
            return None
    else:
        _require_ours(services, run_id, last, origin)
    covered = last.head if last is not None else None
    lines = (line.data for line in scan_lines(files, layout.ledger(run_id)))
    try:
        if signer is not None:
            return HeadsFile(services, signer, run_id, HeadStack.rebuild(lines, covered))
        if covered is not None:
            HeadStack.rebuild(islice(lines, covered.size), covered)
    except HeadMismatch as error:
        raise HeadMismatch(
            f"ledger of run {run_id!r}: {error.message}",
            hint=f"art ledger verify {shell_word(run_id)}",
            **{**error.details, "run_id": run_id},
        ) from error
    return None


def _last_head(files: StoreFiles, path: str) -> SignedHead | None:
    from abstractruntime.signing.heads import BadHead, read_heads  # noqa: PLC0415 - as in KeySigner

    last = None
    for entry in read_heads(line.data + b"\n" for line in scan_lines(files, path)):
        if isinstance(entry, BadHead):
            raise HeadMismatch(
                f"line {entry.line + 1} of the signed heads is damaged: {entry.reason}",
                hint="restore the heads file from a backup",
                path=path,
            )
        last = entry
    return last


def _require_begun(services: Services, run_id: str, origin: RunOrigin) -> None:
    """Refuse a ledger that has no heads, though its first record says that it is signed."""
    if origin.signed_by is None:
        return
    signer = services.signer
    is_own = signer is not None and signer.verifier.vkey == origin.signed_by
    lines = scan_lines(services.files, services.layout.ledger(run_id))
    if not is_own or len(list(islice(lines, 2))) > 1:
        raise HeadMismatch(
            f"the first record of run {run_id!r} says that '{origin.signed_by.rpartition('+')[0]}' signs it,"
            " and there is no signed head",
            hint=f"restore {file_name(services.layout.heads(run_id))} and the ledger from a backup;"
            f" art ledger verify {shell_word(run_id)}",
            run_id=run_id,
            expected=origin.signed_by,
        )


def _require_ours(services: Services, run_id: str, last: SignedHead, origin: RunOrigin) -> None:
    """Refuse a head of another ledger or store, and one whose signature says nothing to a signer."""
    from abstractruntime.signing.note import verify_note  # noqa: PLC0415 - as in KeySigner

    own = f"{services.origin}/runs/{run_id}"
    if last.head.origin != own:
        raise HeadMismatch(
            f"the heads of run {run_id!r} were signed as {last.head.origin!r}, but this store is"
            f" {services.origin!r}",
            hint="restore store.json and the heads from a backup; art ledger verify "
            + shell_word(run_id),
            run_id=run_id,
            expected=own,
            found=last.head.origin,
        )
    signer = services.signer
    try:
        signers = verify_note(last.note, _known_keys(services, origin))
    except IntegrityError as cause:
        raise HeadMismatch(
            f"the last signed head of run {run_id!r} is not what was signed: {cause}",
            hint="restore the heads file from a backup; art ledger verify " + shell_word(run_id),
            run_id=run_id,
        ) from cause
    if signer is not None and not signers:
        names = ", ".join(f"{s.name}+{s.key_id.hex()}" for s in last.note.signatures)
        raise HeadMismatch(
            f"the heads of run {run_id!r} were signed by {names}, which does not count here,"
            f" and '{signer.verifier.label}' is not to sign what somebody else may have written",
            hint="art key trust VKEY --usage host, if you know that host; or go on without a host key",
            run_id=run_id,
            found=names,
        )


def _known_keys(services: Services, origin: RunOrigin) -> list[VerifierKey]:
    """Give the keys whose signatures are checked; what a ledger names itself counts for no signer."""
    known = list(services.host_keys())
    if services.signer is not None:
        return [services.signer.verifier, *known]
    from abstractruntime.signing.keys import parse_vkey  # noqa: PLC0415 - as in KeySigner

    with contextlib.suppress(UsageError):
        known.append(parse_vkey(origin.signed_by or ""))
    return known
