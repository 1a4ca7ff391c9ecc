"""`art key import`: take a key that was made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from abstractruntime._files import read_bounded
from abstractruntime.cli._keyring import key_directory, read_trust, trust_path, write_trust
from abstractruntime.cli._session import Session
from abstractruntime.cli.keys import (
    UNENCRYPTED,
    BundleOption,
    UsageOption,
    emit_key,
    entry_of,
    parse_bundles,
    parse_usages,
    require_trustable,
)
from abstractruntime.errors import UsageError
from abstractruntime.signing import VerifierKey, save_signing_key
from abstractruntime.signing.keys import (
    load_signing_key,
    load_vkey,
    save_public_key,
)
from abstractruntime.signing.pem import is_encrypted, parse_public_pem

_MAX_BYTES = 64 * 1024


def import_(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .vkey line, or a PEM of an Ed25519 key.")
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Of a PEM without a .vkey beside it."),
    ] = None,
    usage: UsageOption = [],  # noqa: B006 - the parser makes a new list for each call
    bundle: BundleOption = [],  # noqa: B006 - as above
) -> int:
    """Copy a key that was made elsewhere to the keys of this machine, and trust it.

    A private key is opened with the passphrase in ART_KEY_PASSPHRASE, or in the file that
    ART_KEY_PASSPHRASE_FILE names, and kept encrypted with it. The file itself is left where it is.
    """
    # What is wrong with them is said before anything is written.
    parse_usages(usage), parse_bundles(bundle)
    trust = read_trust(session)
    data = read_bounded(file, _MAX_BYTES)
    if b"PRIVATE KEY" in data:
        passphrase = session.passphrase
        key = load_signing_key(
            file, name=name, passphrase=passphrase if is_encrypted(data) else None
        )
        require_trustable(trust, key.verifier)
        entry = save_signing_key(key, key_directory(session), passphrase=passphrase)
        if passphrase is None:
            session.out.note(UNENCRYPTED)
    else:
        public = _public(file, data, name)
        require_trustable(trust, public)
        entry = save_public_key(public, key_directory(session))
    trusted = entry_of(trust, entry.key, usage, bundle)
    write_trust(session, trust.with_key(trusted))
    session.out.note(f"trusted on this machine: {trust_path(session)}")
    emit_key(session, trusted, entry)
    return 0


def _public(file: Path, data: bytes, name: str | None) -> VerifierKey:
    if b"PUBLIC KEY" not in data:
        found = load_vkey(file)
        if name not in {None, found.name}:
            raise UsageError(
                f"'{file}' is the key {found.name!r}; its name is part of what it signs",
                hint="leave --name out",
                argument="--name",
            )
        return found
    if name is None:
        raise UsageError(
            f"'{file}' does not say whose key it is", hint="add --name NAME", path=str(file)
        )
    return VerifierKey(name, parse_public_pem(data, file))
