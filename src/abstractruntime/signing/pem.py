"""Ed25519 keys in PEM form, as other programs write and read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abstractruntime.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_SET_IT = "set ART_KEY_PASSPHRASE, or ART_KEY_PASSPHRASE_FILE to a file that holds it"


def is_encrypted(pem: bytes) -> bool:
    """Say whether a private key in PEM form needs a passphrase."""
    return b"ENCRYPTED" in pem


def parse_public_pem(data: bytes, path: Path) -> bytes:
    """Give the 32 bytes of an Ed25519 public key in PEM form.

    Raises:
        UsageError: it is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - slow import
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - slow import
        Ed25519PublicKey,
    )
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - slow import
        load_pem_public_key,
    )

    try:
        public = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise UsageError(f"'{path}' is not a readable PEM file", path=str(path)) from cause
    if not isinstance(public, Ed25519PublicKey):
        raise UsageError(f"'{path}' is not an Ed25519 key", path=str(path))
    raw: bytes = public.public_bytes_raw()
    return raw


def parse_private_pem(data: bytes, passphrase: bytes | None, path: Path) -> Any:
    """Give the Ed25519 private key in PEM form.

    Raises:
        UsageError: it is none, or needs another passphrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - slow import
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - slow import
        Ed25519PrivateKey,
    )
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - slow import
        load_pem_private_key,
    )

    try:
        private = load_pem_private_key(data, passphrase or None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as cause:
        message, hint = _why_not_opened(data, passphrase, path)
        raise UsageError(f"key '{path}' {message}", hint=hint, path=str(path)) from cause
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(f"key '{path}' is not an Ed25519 key", path=str(path))
    return private


def _why_not_opened(data: bytes, passphrase: bytes | None, path: Path) -> tuple[str, str]:
    """Say what is wrong with a private key that cannot be opened, and what to do."""
    if b"PRIVATE KEY" not in data:
        beside = path.with_suffix(".pem")
        found = f": {beside}" if beside != path and beside.exists() else " of a key"
        return "is not a private key in PEM form", f"name the .pem file{found}"
    if is_encrypted(data):
        if passphrase:
            return "does not open with the passphrase that is given", _SET_IT
        return "is encrypted, and no passphrase is given", _SET_IT
    if passphrase:
        hint = "unset ART_KEY_PASSPHRASE and ART_KEY_PASSPHRASE_FILE for this command"
        return "is not encrypted, and a passphrase is given", hint
    return "cannot be read as PKCS#8 PEM", "convert it: openssl pkcs8 -topk8 -nocrypt -in KEY"
