"""An id derived from what is said about an actor."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

from abstractruntime._json import JsonObject, dump_sorted


@dataclass(frozen=True, slots=True)
class ActorFingerprint:
    """An actor and the id derived from its description.

    The id is a hash of the description: equal descriptions give equal ids. It proves
    nothing about who acts, and is no credential.
    """

    actor_id: str
    kind: str
    display_name: str | None = None
    metadata: JsonObject | None = None

    @classmethod
    def from_metadata(
        cls, *, kind: str, display_name: str | None = None, metadata: JsonObject | None = None
    ) -> ActorFingerprint:
        """Derive the id: `ar_` and 24 hex characters; absent metadata counts as empty.

        Raises:
            ValueError, TypeError: the metadata is not JSON.
        """
        described = {"kind": kind, "display_name": display_name, "metadata": metadata or {}}
        digest = hashlib.sha256(dump_sorted(described)).hexdigest()
        return cls(f"ar_{digest[:24]}", kind, display_name, metadata)

    def to_dict(self) -> JsonObject:
        return asdict(self)
