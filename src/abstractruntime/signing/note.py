"""C2SP signed notes, and the tree heads written in them.

A note is a text that ends in LF, an empty line, and signature lines
`— <key name> <base64(key id || signature)>`. A tree head is the three-line text
origin, size, base64 root. Rules:

1. A signature of a known key must hold; one that does not condemns the whole note.
2. Signatures of unknown keys are ignored; a note without a known one proves nothing.
3. There is one spelling: sizes without leading zeros, base64 with padding.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abstractruntime.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from abstractruntime.signing.keys import SigningKey, VerifierKey

_DASH = "\u2014"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_NOTE_BYTES = 1024 * 1024
_MAX_SIGNATURES = 100


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line; name and id select a key, nothing more."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note whose signatures were not checked yet."""

    text: str
    signatures: tuple[NoteSignature, ...]


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What a signed head says: this log, this many records, this root."""

    origin: str
    size: int
    root: bytes

    def render(self) -> str:
        """Give the note text.

        Raises:
            UsageError: the origin cannot stand on a line of its own.
        """
        if not self.origin or not self.origin.isprintable():
            raise UsageError(f"origin {self.origin!r} must be one non-empty printable line")
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_note(text: str, key: SigningKey) -> str:
    """Give the note of `text` signed by one key.

    Raises:
        UsageError: the text does not end in LF or holds other control characters.
    """
    if not text.endswith("\n") or _has_control(text):
        raise UsageError("a note text ends in LF and has no other control characters")
    signature = base64.b64encode(key.key_id + key.sign(text.encode())).decode()
    return f"{text}\n{_DASH} {key.name} {signature}\n"


def parse_note(note: str) -> Note:
    """Read a note without judging its signatures.

    Raises:
        IntegrityError: the note is not well formed.
    """
    if len(note) > _MAX_NOTE_BYTES or _has_control(note):
        raise IntegrityError("note is too long or holds control characters")
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise IntegrityError("note has no signature lines after an empty line")
    signatures = tuple(_parse_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > _MAX_SIGNATURES:
        raise IntegrityError(f"note has more than {_MAX_SIGNATURES} signatures")
    return Note(text + "\n", signatures)


def _parse_signature(line: str) -> NoteSignature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    data = _decode_base64(encoded)
    if dash != _DASH or not name or data is None or len(data) < 5:
        raise IntegrityError(f"note signature line {line[:80]!r} is not well formed")
    return NoteSignature(name, data[:4], data[4:])


def verify_note(note: Note, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
    """Give the known keys that signed the note, each once; empty when none is known.

    Raises:
        IntegrityError: a signature in the name of a known key does not hold.
    """
    known = {(key.name, key.key_id): key for key in keys}
    signers: dict[bytes, VerifierKey] = {}
    message = note.text.encode()
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        if not key.verify(message, signature.signature):
            raise IntegrityError(f"signature of '{key.label}' does not hold", signer=key.label)
        signers.setdefault(key.public, key)
    return tuple(signers.values())


def parse_tree_head(text: str) -> TreeHead:
    """Read the three lines of a tree head.

    Raises:
        IntegrityError: the text has another form, or extension lines.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise IntegrityError("tree head is not the three lines origin, size, root")
    root = _decode_base64(lines[2])
    if not _SIZE.fullmatch(lines[1]) or root is None or len(root) != 32:
        raise IntegrityError("size or root of the tree head is not well formed")
    return TreeHead(lines[0], int(lines[1]), root)


def _decode_base64(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # Invariant: one value has one spelling, so unused bits in the last digit must be zero.
    return data if base64.b64encode(data).decode() == text else None


def _has_control(text: str) -> bool:
    return any(ord(c) < 32 and c != "\n" for c in text)
