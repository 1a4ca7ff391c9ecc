"""Seals: marks by which a host knows again what it wrote, in a store that others may have put together.

The record of a sealed ledger has a mark over its hash as its `signature`; the hash links to all
records before it, so the last mark vouches for the ledger. A mark proves nothing to anybody else.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

# Gives the mark of a text, as hexadecimal digits.
Seal: TypeAlias = Callable[[str], str]


def record_seal(seal: Seal | None, run_id: str, seq: int, record_hash: str) -> str | None:
    """Give the signature of a record; None in a store without seals."""
    if seal is None:
        return None
    return f"seal:{seal(f'record {run_id} {seq} {record_hash}')}"


def has_seal(seal: Seal, run_id: str, record: Mapping[str, Any]) -> bool:
    """Tell whether a record has the seal of this host."""
    seq, digest = record.get("seq"), record.get("record_hash")
    if not (isinstance(seq, int) and isinstance(digest, str)):
        return False
    return is_equal(record.get("signature"), record_seal(seal, run_id, seq, digest))


def command_seal(seal: Seal, digest: str) -> str:
    """Give the mark of a command whose content has this digest."""
    return seal(f"command {digest}")


def is_equal(found: Any, mark: str | None) -> bool:
    """Compare what was found with a mark, in a time that tells nothing of the mark."""
    if not isinstance(found, str) or mark is None:
        return False
    return hmac.compare_digest(found.encode("utf-8", "surrogatepass"), mark.encode())
