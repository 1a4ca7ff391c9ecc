"""Ed25519 keys: values, C2SP verifier-key lines, and key files.

1. A private key is a PKCS#8 PEM file of mode 0600, with or without passphrase; beside
   it lies `<same name>.vkey`, one verifier-key line, which also carries the key's name.
2. A verifier-key line is `<name>+<8 hex>+<base64(0x01 || public key)>`, where the hex
   digits are the first four bytes of SHA-256(name, LF, 0x01, public key).
3. `cryptography` is imported when a key is used, not when this module is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import stat
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from abstractruntime._files import doubt_about, read_bounded, write_atomic
from abstractruntime._text import shell_word
from abstractruntime.errors import NotFound, Refused, UsageError
from abstractruntime.signing._points import is_weak_point
from abstractruntime.signing.pem import parse_private_pem

if TYPE_CHECKING:
    from pathlib import Path

ED25519 = b"\x01"
_KEY_FILE_LIMIT = 64 * 1024
_MAX_FILE_NAME = 80
# A name stands in every signature line, and in messages.
_MAX_NAME = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_VKEY_FORM = "a verifier key reads <name>+<8 hex digits>+<base64>"
_HEX_ID = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name; everything needed to check a signature."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.public) != 32:
            raise UsageError(
                f"public key of '{self.name}' has {len(self.public)} bytes, expected 32"
            )

    @property
    def key_id(self) -> bytes:
        """Give the four bytes that select this key; a hint, never a proof."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    @property
    def label(self) -> str:
        """Give `<name>+<8 hex>`, the form in which signers are reported."""
        return f"{self.name}+{self.key_id.hex()}"

    @property
    def vkey(self) -> str:
        """Give the C2SP verifier-key line."""
        return f"{self.label}+{base64.b64encode(ED25519 + self.public).decode()}"

    @property
    def is_weak(self) -> bool:
        """Whether anybody could sign for it, or nobody: see `is_weak_point`."""
        return is_weak_point(self.public)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Say whether `signature` is this key's signature of `message`; a weak key has none."""
        if self.is_weak:
            return False
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - slow import

        try:
            _public_key(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@lru_cache(maxsize=64)
def _public_key(public: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - slow import
        Ed25519PublicKey,
    )

    return Ed25519PublicKey.from_public_bytes(public)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its name; `verifier` is the public half."""

    verifier: VerifierKey
    _private: Any = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.verifier.name

    @property
    def key_id(self) -> bytes:
        return self.verifier.key_id

    def sign(self, message: bytes) -> bytes:
        """Give the 64-byte signature; the same message always gives the same bytes."""
        signature: bytes = self._private.sign(message)
        return signature

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> SigningKey:
        """Build the key of a 32-byte seed."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - slow import
            Ed25519PrivateKey,
        )

        return cls._wrap(name, Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def _wrap(cls, name: str, private: Any) -> SigningKey:
        return cls(VerifierKey(name, private.public_key().public_bytes_raw()), private)

    def to_pem(self, passphrase: bytes | None = None) -> bytes:
        """Give the PKCS#8 PEM text, encrypted when there is a passphrase."""
        from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - slow import

        seal: form.KeySerializationEncryption = form.NoEncryption()
        if passphrase:
            seal = form.BestAvailableEncryption(passphrase)
        pem: bytes = self._private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, seal)
        return pem


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key of a key directory; `private_path` is None when only the public half is there."""

    key: VerifierKey
    vkey_path: Path
    private_path: Path | None


def check_key_name(name: str) -> None:
    """Refuse a name that a verifier-key line or a signature line cannot carry.

    Raises:
        UsageError: the name is empty, or holds white space, control characters or '+'.
    """
    if not name or "+" in name or any(c.isspace() or not c.isprintable() for c in name):
        raise UsageError(
            f"key name {name!r} must be non-empty, without white space and '+'",
            hint="use a name such as 'example.org/release'",
        )
    if len(name) > _MAX_NAME:
        raise UsageError(
            f"key name {name[:40] + '...'!r} has {len(name)} characters, the limit is {_MAX_NAME}",
            hint="use a name such as 'example.org/release'",
        )


def file_safe_name(name: str) -> str:
    """Give a key name in the characters of a file name; different names can meet."""
    safe = _UNSAFE.sub("-", name).strip("-.")
    if safe and len(safe) <= _MAX_FILE_NAME:
        return safe
    # What is left tells nothing, or not all: the digest keeps such names apart.
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{safe[: _MAX_FILE_NAME - 9] or 'key'}-{digest}"


def parse_vkey(line: str) -> VerifierKey:
    """Read a verifier-key line.

    Raises:
        UsageError: the form, the algorithm or the key id is wrong.
    """
    name, _, rest = line.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as cause:
        raise _bad_vkey(line, "the key is not base64") from cause
    if not _HEX_ID.fullmatch(key_id):
        raise _bad_vkey(line, "the key id is not 8 hex digits")
    if data[:1] != ED25519 or len(data) != 33:
        raise _bad_vkey(line, "only Ed25519 keys (type 0x01) are supported")
    key = VerifierKey(name, data[1:])
    if key.key_id.hex() != key_id:
        raise _bad_vkey(line, f"the key id should be {key.key_id.hex()}")
    return key


def _bad_vkey(line: str, reason: str) -> UsageError:
    return UsageError(
        f"verifier key {line.strip()[:80]!r} is wrong: {reason}",
        hint=_VKEY_FORM,
        reason=reason,
    )


def generate(name: str) -> SigningKey:
    """Make a new key from the operating system's randomness."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - slow import
        Ed25519PrivateKey,
    )

    return SigningKey._wrap(name, Ed25519PrivateKey.generate())  # noqa: SLF001 - same module


def save_signing_key(
    key: SigningKey, directory: Path, *, passphrase: bytes | None = None
) -> KeyEntry:
    """Write a key pair into a key directory, never over an existing file.

    Raises:
        UsageError: a key of this file name is already there.
    """
    private = directory / f"{file_safe_name(key.name)}.pem"
    public = private.with_suffix(".vkey")
    if private.exists() or public.exists():
        raise _taken(key.name, private, public)
    write_atomic(private, key.to_pem(passphrase), mode=0o600, replace=False)
    return _publish(key.verifier, private)


def save_public_key(key: VerifierKey, directory: Path) -> KeyEntry:
    """Write a verifier-key line into a key directory, never over an existing file.

    Raises:
        UsageError: a key of this file name is already there.
    """
    private = directory / f"{file_safe_name(key.name)}.pem"
    public = private.with_suffix(".vkey")
    if private.exists() or public.exists():
        raise _taken(key.name, private, public)
    write_atomic(public, f"{key.vkey}\n".encode(), mode=0o644, replace=False)
    return KeyEntry(key, public, None)


def _taken(name: str, private: Path, public: Path) -> UsageError:
    there = public if public.exists() else private
    held = load_vkey(public).name if public.exists() else name
    of = "" if held == name else f", of the key {held!r}"
    return UsageError(
        f"'{there}' exists already{of}", hint="choose another key name", path=str(there)
    )


def _publish(key: VerifierKey, private: Path) -> KeyEntry:
    public = private.with_suffix(".vkey")
    write_atomic(public, f"{key.vkey}\n".encode(), mode=0o644, replace=False)
    return KeyEntry(key, public, private)


def begun_key(name: str, directory: Path, *, passphrase: bytes | None = None) -> KeyEntry | None:
    """Give the pair of a name whose making was interrupted, complete; None when there is none.

    Raises:
        UsageError: its private key has another passphrase.
    """
    private = directory / f"{file_safe_name(name)}.pem"
    if not private.exists():
        return None
    public = private.with_suffix(".vkey")
    if public.exists():
        published = load_vkey(public)
        return KeyEntry(published, public, private) if published.name == name else None
    try:
        key = load_signing_key(private, name=name, passphrase=passphrase)
    except UsageError as cause:
        raise UsageError(
            f"'{private}' was begun with another passphrase: {cause}",
            hint=f"give that one, or remove it: rm {shell_word(private)}",
            path=str(private),
        ) from cause
    return _publish(key.verifier, private)


def unfinished_keys(directory: Path) -> list[Path]:
    """Give private keys without a public line, and copies that an interrupted write left."""
    if not directory.is_dir():
        return []
    lone = [path for path in directory.glob("*.pem") if not path.with_suffix(".vkey").exists()]
    return sorted([*lone, *directory.glob(".*.pem.*.tmp")])


def load_signing_key(
    path: Path, *, name: str | None = None, passphrase: bytes | None = None
) -> SigningKey:
    """Read a private key file; its name comes from the `.vkey` file beside it.

    Args:
        path: The PEM file.
        name: The key's name, when there is no `.vkey` file.
        passphrase: Opens an encrypted file.

    Raises:
        NotFound: there is no such file.
        Refused: group or others can read the file, or somebody else could have written it.
        UsageError: not an Ed25519 key, a wrong passphrase, no name, or a `.vkey` of another key.
    """
    _refuse_missing(path)
    data = read_bounded(path, _KEY_FILE_LIMIT)
    if b"PRIVATE KEY" in data:
        _refuse_shared(path)
    private = parse_private_pem(data, passphrase, path)
    beside = path.with_suffix(".vkey")
    published = load_vkey(beside) if beside.exists() else None
    chosen = name or (published.name if published else None)
    if chosen is None:
        raise UsageError(
            f"key '{path}' has no name: its public line '{beside}' is missing",
            hint=f"take it over under its name: art key import {shell_word(path)} --name NAME",
            path=str(path),
        )
    key = SigningKey._wrap(chosen, private)  # noqa: SLF001 - same module
    if published is not None and published.public != key.verifier.public:
        raise UsageError(f"'{beside}' belongs to another key than '{path}'", path=str(path))
    return key


def _refuse_missing(path: Path) -> None:
    if not path.exists():
        raise NotFound(f"no key file '{path}'", hint="art key list", path=str(path))


def _refuse_shared(path: Path) -> None:
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(
            f"key file '{path}' can be read by others (mode {stat.S_IMODE(mode):04o})",
            hint=f"chmod 600 {shell_word(path)}",
            path=str(path),
        )
    for place in (path, path.with_suffix(".vkey")):
        if doubt := doubt_about(place):
            raise Refused(
                f"key '{path}' is not used: {doubt.reason}", hint=doubt.fix, path=str(doubt.path)
            )


def load_vkey(path: Path) -> VerifierKey:
    """Read a file that holds one verifier-key line.

    Raises:
        UsageError: it holds something else; what, is not said, as it may be a secret.
    """
    try:
        return parse_vkey(read_bounded(path, _KEY_FILE_LIMIT).decode())
    except UnicodeDecodeError as cause:
        raise _no_key_file(path, "it is not UTF-8") from cause
    except UsageError as cause:
        raise _no_key_file(path, cause.details.get("reason", "it names no key")) from None


def _no_key_file(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"'{path}' is not a verifier key file: {reason}", hint=_VKEY_FORM, path=str(path)
    )


def list_keys(directory: Path) -> list[KeyEntry]:
    """List the keys of a directory by file name; a missing directory has none."""
    if not directory.is_dir():
        return []
    found = []
    for path in sorted(directory.glob("*.vkey")):
        private = path.with_suffix(".pem")
        found.append(KeyEntry(load_vkey(path), path, private if private.exists() else None))
    return found
