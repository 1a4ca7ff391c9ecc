"""The RFC 6962 Merkle tree over the lines of a ledger, built while streaming.

State is the right edge: the roots of the perfect sub-trees, largest first, one per set
bit of the size. Leaf hash is SHA-256(0x00 || line), node hash SHA-256(0x01 || left || right).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from abstractruntime.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable

EMPTY_ROOT = sha256(b"").digest()


@dataclass(slots=True)
class TreeState:
    """A growing tree: `add` lines, ask for `root()` at any size.

    `copy()` and `to_dict()` give states that later additions do not change.
    """

    size: int = 0
    edge: list[bytes] = field(default_factory=list)

    def add(self, line: bytes) -> None:
        """Add one stored line, without its LF."""
        node = sha256(b"\x00" + line).digest()
        size, edge = self.size, self.edge
        self.size = size + 1
        while size & 1:
            node = sha256(b"\x01" + edge.pop() + node).digest()
            size >>= 1
        edge.append(node)

    def extend(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.add(line)

    def root(self) -> bytes:
        """Give the root over everything added so far."""
        if not self.edge:
            return EMPTY_ROOT
        node = self.edge[-1]
        for left in reversed(self.edge[:-1]):
            node = sha256(b"\x01" + left + node).digest()
        return node

    def copy(self) -> TreeState:
        return TreeState(self.size, list(self.edge))

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form `{size, edge: [hex, ...]}`."""
        return {"size": self.size, "edge": [node.hex() for node in self.edge]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TreeState:
        """Read the JSON form.

        Raises:
            IntegrityError: size and edge do not fit.
        """
        try:
            size, edge = int(data["size"]), [bytes.fromhex(node) for node in data["edge"]]
        except (KeyError, TypeError, ValueError) as cause:
            raise IntegrityError("stored tree state is not well formed") from cause
        if size < 0 or len(edge) != size.bit_count() or any(len(node) != 32 for node in edge):
            raise IntegrityError(f"stored tree state does not fit its size {size}", size=size)
        return cls(size, edge)
