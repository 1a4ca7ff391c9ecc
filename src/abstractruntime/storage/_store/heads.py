"""Signed heads of ledgers: when a host key vouches for what was recorded so far.

The tree over the lines is kept only where a signer exists; it is rebuilt by one pass
over the ledger when a run is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abstractruntime.errors import HeadMismatch, StoreError
from abstractruntime.storage._files.jsonl import JsonlFile, Tail, scan_lines
from abstractruntime.storage._files.stream import open_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abstractruntime.signing.heads import HeadStack
    from abstractruntime.signing.keys import SigningKey
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout
    from abstractruntime.storage._store.services import HeadSignerPort, Services


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


def open_heads(services: Services, run_id: str) -> HeadsFile | None:
    """Rebuild the tree of a ledger and check it against the last signed head; None without a signer.

    Raises:
        HeadMismatch: the ledger does not extend that head.
    """
    if services.signer is None:
        return None
    from abstractruntime.signing.heads import HeadStack  # noqa: PLC0415 - as in KeySigner

    files, layout = services.files, services.layout
    last = _last_head(files, layout.heads(run_id))
    lines = (line.data for line in scan_lines(files, layout.ledger(run_id)))
    return HeadsFile(services, services.signer, run_id, HeadStack.rebuild(lines, last))


def _last_head(files: StoreFiles, path: str) -> Any:
    from abstractruntime.signing.heads import BadHead, read_heads  # noqa: PLC0415 - as in KeySigner

    lines = (line.data + b"\n" for line in scan_lines(files, path))
    last = None
    for entry in read_heads(lines):
        if isinstance(entry, BadHead):
            raise HeadMismatch(
                f"line {entry.line + 1} of the signed heads is damaged: {entry.reason}",
                hint="restore the heads file from a backup",
                path=path,
            )
        last = entry.head
    return last
