"""The keys and trust decisions of the person who runs the tool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from abstractruntime._near import close_names
from abstractruntime._text import shell_word
from abstractruntime.errors import NotFound, Refused, UsageError
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
from abstractruntime.signing.keys import check_key_name

if TYPE_CHECKING:
    from abstractruntime.cli._session import Session
    from abstractruntime.signing.trust import Usage


_SETTINGS: Mapping[Usage, str] = {"bundle": "signing_key", "ledger": "host_key"}


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


def load_private_key(session: Session, name: str, usage: Usage = "bundle") -> SigningKey:
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
    raise _no_private_key(session, name, usage)


def _no_private_key(session: Session, name: str, usage: Usage) -> NotFound:
    """Say what was meant perhaps, or how to make the key that is named."""
    setting = session.config.values[_SETTINGS[usage]]
    place = setting.origin if setting.value == name and setting.origin != "flag" else None
    known = [entry for entry in own_keys(session) if entry.private_path is not None]
    trust = read_trust(session)
    fitting = [entry.key.name for entry in known if not trust.why_not_sign(entry.key, usage)]
    near = close_names(name, fitting)
    made = f"art key new {shell_word(name) if _is_new(session, name) else 'NAME'}"
    return NotFound(
        f"no private key {name!r}"
        + (f", which {_SETTINGS[usage]} names in {place}" if place else ""),
        hint=(f"did you mean {near[0]!r}? " if near else "")
        + f"see: art key list; or make one: {made}"
        + (" --usage host" if usage == "ledger" else ""),
        kind="key",
        id=name,
        known=[entry.key.label for entry in known],
    )


def _is_new(session: Session, name: str) -> bool:
    """Tell whether a key can be made under a name; what looks like a path is one."""
    taken = any(name in (entry.key.name, entry.key.label) for entry in own_keys(session))
    is_path = name.startswith((".", "/", "~")) or name.endswith((".pem", ".vkey"))
    try:
        check_key_name(name)
    except UsageError:
        return False
    return not (taken or is_path)


def require_may_sign(
    session: Session, key: SigningKey, usage: Usage, bundle_id: str | None = None
) -> None:
    """Refuse to sign what this user's own decisions would not count.

    Raises:
        Refused: the key is revoked or retired, or is for something else.
    """
    # Whoever only lists keys needs no clock.
    from abstractruntime._ports_system import SystemClock

    now = SystemClock().now()
    if why := read_trust(session).why_not_sign(key.verifier, usage, bundle_id, now=now):
        what = f"bundle {bundle_id!r}" if bundle_id else f"{usage}s"
        raise Refused(
            f"key '{key.verifier.label}' does not sign {what}: {why}",
            hint="see: art key list; or make another: art key new NAME"
            + (" --usage host" if usage == "ledger" else ""),
            key=key.verifier.label,
        )


def load_host_key(session: Session, name: str) -> SigningKey:
    """Give the private key that signs heads.

    Raises:
        NotFound: there is none.
        UsageError: it needs another passphrase.
        Refused: it is revoked or retired, or is no host key.
    """
    key = load_private_key(session, name, "ledger")
    require_may_sign(session, key, "ledger")
    return key


@dataclass(frozen=True, slots=True)
class LedgerTrust:
    """Whose signatures over ledgers count.

    Attributes:
        keys: Host keys that do, retired ones among them.
        revoked: Those that no longer do, each with its standing in words.
        retired: The standing of the retired ones, by label.
    """

    keys: tuple[VerifierKey, ...] = ()
    revoked: Mapping[VerifierKey, str] = field(default_factory=dict)
    retired: Mapping[str, str] = field(default_factory=dict)

    def remarks(self, signers: Iterable[str]) -> tuple[str, ...]:
        """Give what is to be said about those who signed."""
        return tuple(f"signed by {s}, {self.retired[s]}" for s in signers if s in self.retired)


def ledger_trust(session: Session, named: Iterable[str] = ()) -> LedgerTrust:
    """Give whom this user believes about ledgers; `named` keys or files instead, if there are any.

    A key that is revoked here counts for nothing, even when it is named.
    """
    trust = read_trust(session)
    given = tuple(read_public_key(text) for text in named)
    keys = given or trust.ledger_keys()
    revoked = {key: trust.standing_of(key) for key in given if trust.status_of(key) == "revoked"}
    if not given:
        revoked = trust.revoked_ledger_keys()
    retired = {k.label: trust.standing_of(k) for k in keys if trust.status_of(k) == "retired"}
    return LedgerTrust(tuple(keys), revoked, retired)


def read_public_key(text: str) -> VerifierKey:
    """Give the key of a verifier-key line, or of a file that holds one."""
    return load_vkey(Path(text)) if Path(text).is_file() or "+" not in text else parse_vkey(text)
