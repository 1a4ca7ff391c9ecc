"""What the parts of one directory store share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from abstractruntime.core.ports import Barrier
from abstractruntime.storage._store.beside import Beside
from abstractruntime.storage._store.observers import Observers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from abstractruntime.core.ports import Clock, Ids
    from abstractruntime.signing.heads import HeadStack
    from abstractruntime.signing.keys import VerifierKey
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout
    from abstractruntime.storage._store.blobs import Blobs
    from abstractruntime.storage._store.inbox import Inboxes
    from abstractruntime.storage._store.index import RunIndex
    from abstractruntime.storage._store.recovery import Recovery
    from abstractruntime.storage._store.seals import Seal

Durability = Literal["strict", "relaxed", "off"]

SYNCED_BARRIERS: dict[str, frozenset[Barrier]] = {
    "strict": frozenset({Barrier.EXTERNAL, Barrier.ACK}),
    "relaxed": frozenset({Barrier.ACK}),
    "off": frozenset(),
}


class HeadSignerPort(Protocol):
    """Signs tree heads in the name of a store."""

    @property
    def verifier(self) -> VerifierKey:
        """Give the public half of the key."""
        ...

    def sign_head(self, stack: HeadStack, *, origin: str, run_id: str, offset: int) -> bytes:
        """Give the line for the heads file, with its LF; remember the head in `stack`."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The collaborators of every run log of one store."""

    layout: Layout
    files: StoreFiles
    blobs: Blobs
    inboxes: Inboxes
    recovery: Recovery
    index: RunIndex
    clock: Clock
    ids: Ids
    durability: Durability
    signer: HeadSignerPort | None
    origin: str
    # Whose signed heads count beside those of the signer; asked only where there are heads.
    host_keys: Callable[[], Iterable[VerifierKey]] = tuple
    # Marks what this host writes, where somebody else may have written, too.
    seal: Seal | None = None
    observers: Observers = field(default_factory=Observers)
    beside: Beside = field(default_factory=Beside)
