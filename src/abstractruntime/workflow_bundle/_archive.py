"""The canonical container: a zip in which one content has exactly one byte string.

1. Every member is stored, dated 1980-01-01, mode 0100644, without extras or comments.
2. Order: `manifest.json`; then `flows/`, `assets/`, `compiled/` by name; then `signatures/`.
3. Names are ASCII, at most 4 components, unique without regard to case.
4. Reading is: parse, write again, compare. What differs in one byte is refused.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final

from abstractruntime.workflow_bundle._errors import broken
from abstractruntime.workflow_bundle._zip import (
    CENTRAL,
    CENTRAL_SIGNATURE,
    DEFAULT_LIMITS,
    END,
    END_SIGNATURE,
    LOCAL,
    LOCAL_SIGNATURE,
    STORED,
    Limits,
    packed_bytes,
    read_entries,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MANIFEST: Final = "manifest.json"
SIGNATURES: Final = "signatures/"
CONTENT_ROOTS: Final = ("flows", "assets", "compiled")
_COMPONENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_MAX_NAME: Final = 200
_MAX_DEPTH: Final = 4
_VERSION: Final = 20
_MADE_ON_UNIX: Final = 3 << 8
_DATE: Final = 0x0021
_ATTRIBUTES: Final = 0o100644 << 16


def write_archive(members: Mapping[str, bytes], *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Give the one archive of these members.

    Raises:
        BundleArchiveError: a name, a size or the number of members is not allowed.
    """
    check_members(members, limits)
    local, central = bytearray(), bytearray()
    for name in sorted(members, key=_order):
        content, raw = members[name], name.encode("ascii")
        fields = (0, STORED, 0, _DATE, zlib.crc32(content), len(content), len(content), len(raw))
        central += CENTRAL.pack(
            CENTRAL_SIGNATURE, _VERSION | _MADE_ON_UNIX, _VERSION, *fields, 0, 0, 0, 0, _ATTRIBUTES,
            len(local),
        )  # fmt: skip
        central += raw
        local += LOCAL.pack(LOCAL_SIGNATURE, _VERSION, *fields, 0) + raw + content
    count = len(members)
    end = END.pack(END_SIGNATURE, 0, 0, count, count, len(central), len(local), 0)
    return bytes(local + central + end)


def read_archive(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, bytes]:
    """Give the members of a canonical archive.

    Raises:
        BundleArchiveError: it is not one; `details["rule"]` says why.
    """
    entries = read_entries(data, limits)
    if sum(entry.size for entry in entries) > len(data):
        raise broken("member_size", "members are larger together than the archive")
    members: dict[str, bytes] = {}
    for entry in entries:
        if entry.name in members:
            raise broken("duplicate_name", f"member '{entry.name}' appears twice", entry.name)
        if entry.method != STORED or entry.size != entry.packed_size:
            raise broken("method", f"member '{entry.name}' is compressed", entry.name)
        members[entry.name] = packed_bytes(data, entry)
    again = write_archive(members, limits=limits)
    if again != data:
        raise broken("canonical", f"archive is not in canonical form {_where(data, again)}")
    return members


def check_members(members: Mapping[str, bytes], limits: Limits) -> None:
    """Refuse names and sizes that a canonical archive cannot hold."""
    if MANIFEST not in members:
        raise broken("manifest_missing", f"archive has no '{MANIFEST}'", MANIFEST)
    if len(members) > limits.members:
        raise broken(
            "member_count", f"archive has {len(members)} members, at most {limits.members}"
        )
    if len(members[MANIFEST]) > limits.manifest:
        raise broken("manifest_size", f"manifest is longer than {limits.manifest} bytes", MANIFEST)
    signatures = [name for name in members if name.startswith(SIGNATURES)]
    if len(signatures) > limits.signatures:
        raise broken("signature_count", f"archive has more than {limits.signatures} signatures")
    for name in signatures:
        if len(members[name]) > limits.envelope:
            raise broken("envelope_size", f"'{name}' is longer than {limits.envelope} bytes", name)
    overhead = LOCAL.size + CENTRAL.size
    total = sum(len(name) * 2 + len(body) + overhead for name, body in members.items())
    if total + END.size > limits.archive:
        raise broken("archive_size", f"archive is longer than {limits.archive} bytes")
    _check_names(members)


def _check_names(names: Iterable[str]) -> None:
    folded: dict[str, str] = {}
    for name in names:
        reason = _name_problem(name)
        if reason is not None:
            raise broken("name", f"member name {name[:200]!r} is not allowed: {reason}", name[:200])
        other = folded.setdefault(name.lower(), name)
        if other != name:
            raise broken("name_case", f"members '{other}' and '{name}' differ in case only", name)


def _name_problem(name: str) -> str | None:
    if name == MANIFEST:
        return None
    if not name.isascii() or len(name) > _MAX_NAME:
        return f"not ASCII, or longer than {_MAX_NAME}"
    root, *rest = name.split("/")
    if f"{root}/" != SIGNATURES and root not in CONTENT_ROOTS:
        return "not in flows/, assets/, compiled/ or signatures/"
    if not 1 <= len(rest) < _MAX_DEPTH:
        return f"needs 2 to {_MAX_DEPTH} components"
    for part in rest:
        if not is_component(part):
            return f"component {part!r}"
    return None


def is_component(text: str) -> bool:
    """Say whether a text may be one component of a member name."""
    portable = not text.endswith(".") and not _DEVICES.fullmatch(text)
    return portable and _COMPONENT.fullmatch(text) is not None


def _order(name: str) -> tuple[int, str]:
    if name == MANIFEST:
        return 0, name
    return (2 if name.startswith(SIGNATURES) else 1), name


def _where(data: bytes, again: bytes) -> str:
    pairs = zip(data, again, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(data), len(again)))
    return f"at byte {at}"
