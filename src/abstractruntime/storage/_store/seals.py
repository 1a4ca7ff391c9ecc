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


def is_sealed(seal: Seal, run_id: str, record: Mapping[str, Any]) -> bool:
    """Tell whether a record has the seal of this host."""
    found, seq, digest = (record.get(name) for name in ("signature", "seq", "record_hash"))
    if not (isinstance(found, str) and isinstance(seq, int) and isinstance(digest, str)):
        return False
    expected = record_seal(seal, run_id, seq, digest) or ""
    return hmac.compare_digest(found.encode(), expected.encode())


def command_seal(seal: Seal | None, digest: str) -> str:
    """Give what the file of a command ends with: its digest, or the mark of that."""
    return digest if seal is None else seal(f"command {digest}")
