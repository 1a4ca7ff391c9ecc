"""The keys and trust decisions of the person who runs the tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from abstractruntime.errors import NotFound
from abstractruntime.signing import (
    KeyEntry,
    SigningKey,
    TrustStore,
    VerifierKey,
    list_keys,
    load_signing_key,
    load_trust,
    load_vkey,
    parse_vkey,
    save_trust,
)

if TYPE_CHECKING:
    from abstractruntime.cli._session import Session


def key_directory(session: Session) -> Path:
    return session.config_dir / "keys"


def trust_path(session: Session) -> Path:
    return Path(session.config.get("trust_store"))


def read_trust(session: Session) -> TrustStore:
    return load_trust(trust_path(session))


def write_trust(session: Session, trust: TrustStore) -> None:
    save_trust(trust, trust_path(session))


def own_keys(session: Session) -> list[KeyEntry]:
    return list_keys(key_directory(session))


def load_private_key(session: Session, name: str) -> SigningKey:
    """Give the private key of this name, label or path.

    Raises:
        NotFound: there is none.
        UsageError: it needs another passphrase.
    """
    for entry in own_keys(session):
        if name in (entry.key.name, entry.key.label) and entry.private_path is not None:
            return load_signing_key(entry.private_path, passphrase=session.passphrase)
    if Path(name).is_file():
        return load_signing_key(Path(name), passphrase=session.passphrase)
    raise NotFound(
        f"no private key {name!r}",
        hint=f"see: art key list; or make it: art key new {name}",
        kind="key",
        id=name,
        known=[entry.key.label for entry in own_keys(session)],
    )


def read_public_key(text: str) -> VerifierKey:
    """Give the key of a verifier-key line, or of a file that holds one."""
    return load_vkey(Path(text)) if Path(text).is_file() or "+" not in text else parse_vkey(text)
