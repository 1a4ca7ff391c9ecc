"""DSSE v1 envelopes around in-toto statements about bundles.

1. A signature covers `PAE(type, payload)`, so bytes of one type never pass for another.
2. `keyid` is a hint: every signature is tried with every key that the caller gives.
3. A threshold counts distinct public keys, not signatures.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._json import dump_line, dump_sorted, load_strict
from abstractruntime.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from abstractruntime.signing.keys import SigningKey, VerifierKey

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://abstractruntime.dev/flowbundle/v1"
SUBJECT_NAME: Final = "manifest.json"
MAX_ENVELOPE_BYTES: Final = 1024 * 1024
MAX_SIGNATURES: Final = 16


@dataclass(frozen=True, slots=True)
class EnvelopeSignature:
    key_hint: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed envelope whose signatures were not checked yet."""

    payload_type: str
    payload: bytes
    signatures: tuple[EnvelopeSignature, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """What an in-toto statement says about one bundle."""

    digest: str
    predicate: Mapping[str, Any]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Give the bytes that a DSSE signature covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def render_statement(
    digest: str, predicate: Mapping[str, Any], *, predicate_type: str = PREDICATE_TYPE
) -> bytes:
    """Write the statement that a bundle with this digest has these properties."""
    return dump_sorted(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": SUBJECT_NAME, "digest": {"sha256": digest}}],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
    )


def parse_statement(payload: bytes, *, predicate_type: str = PREDICATE_TYPE) -> Statement:
    """Read a statement about a bundle.

    Raises:
        IntegrityError: it is not a statement of this kind about exactly one manifest.
    """
    try:
        data = load_strict(payload.decode())
        (subject,) = data["subject"]
        digest, name = subject["digest"]["sha256"], subject["name"]
        kinds = (data["_type"], data["predicateType"])
        predicate = data["predicate"]
    except (ValueError, KeyError, TypeError, RecursionError) as cause:
        raise IntegrityError("payload is not a statement about one manifest") from cause
    if kinds != (STATEMENT_TYPE, predicate_type) or name != SUBJECT_NAME:
        raise IntegrityError(f"statement has another type: {kinds!r} about {name!r}")
    if not isinstance(digest, str) or not isinstance(predicate, dict):
        raise IntegrityError("digest or predicate of the statement is not well formed")
    return Statement(digest, predicate)


def create_envelope(
    payload: bytes, keys: Iterable[SigningKey], *, payload_type: str = PAYLOAD_TYPE
) -> bytes:
    """Sign `payload` with every key and give the envelope, one compact JSON line without LF."""
    message = pae(payload_type, payload)
    signatures = [{"keyid": key.verifier.label, "sig": _encode(key.sign(message))} for key in keys]
    return dump_line(
        {"payload": _encode(payload), "payloadType": payload_type, "signatures": signatures}
    )


def parse_envelope(data: bytes) -> Envelope:
    """Read an envelope without judging its signatures.

    Raises:
        IntegrityError: it is not a DSSE envelope, or too large.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise IntegrityError(f"envelope is longer than {MAX_ENVELOPE_BYTES} bytes")
    try:
        value = load_strict(data.decode())
        raw = value["signatures"]
        payload_type, payload = value["payloadType"], _decode(value["payload"])
        signatures = tuple(
            EnvelopeSignature(str(item.get("keyid") or ""), _decode(item["sig"])) for item in raw
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise IntegrityError("not a DSSE envelope") from cause
    if not isinstance(payload_type, str) or not signatures or len(signatures) > MAX_SIGNATURES:
        raise IntegrityError(f"an envelope has 1 to {MAX_SIGNATURES} signatures and a payload type")
    return Envelope(payload_type, payload, signatures)


def verify_envelope(
    envelope: Envelope, keys: Iterable[VerifierKey], *, payload_type: str = PAYLOAD_TYPE
) -> tuple[VerifierKey, ...]:
    """Give the keys, distinct by public key, that signed the payload as this type.

    Signatures that no given key confirms are skipped; none confirmed gives an empty tuple.
    """
    if envelope.payload_type != payload_type:
        return ()
    message = pae(payload_type, envelope.payload)
    distinct = {key.public: key for key in keys}
    return tuple(
        key
        for key in distinct.values()
        if any(key.verify(message, item.signature) for item in envelope.signatures)
    )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: Any) -> bytes:
    """Read standard or URL-safe base64."""
    if not isinstance(text, str):
        raise TypeError("base64 text expected")
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error as cause:
        raise ValueError(str(cause)) from cause
