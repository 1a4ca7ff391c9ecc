"""Reading the structures of a zip file by hand, strictly bounded.

Only what bundles need: one disk, no zip64, no encryption, methods stored and deflate.
Nothing is allocated from a number in the file before that number was checked.
"""

from __future__ import annotations

import stat
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from abstractruntime.workflow_bundle._errors import broken

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL: Final = struct.Struct("<4s5H3I2H")
CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
END: Final = struct.Struct("<4s4H2IH")
LOCAL_SIGNATURE: Final = b"PK\x03\x04"
CENTRAL_SIGNATURE: Final = b"PK\x01\x02"
END_SIGNATURE: Final = b"PK\x05\x06"
STORED: Final = 0
DEFLATED: Final = 8
_ENCRYPTED: Final = 0x0001
_UTF8_NAME: Final = 0x0800
# Kinds of file in the upper half of the attributes; none when the archive comes from elsewhere.
_PLAIN: Final = frozenset({0, stat.S_IFREG, stat.S_IFDIR})


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of an archive is looked at, in bytes and members."""

    archive: int = 64 * 1024 * 1024
    members: int = 10_000
    manifest: int = 4 * 1024 * 1024
    envelope: int = 1024 * 1024
    signatures: int = 16
    legacy_member: int = 16 * 1024 * 1024
    legacy_total: int = 64 * 1024 * 1024
    legacy_ratio: int = 200


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Member:
    """One member as the central directory describes it."""

    name: str
    method: int
    crc: int
    packed_size: int
    size: int
    local_offset: int


def read_entries(data: bytes, limits: Limits) -> list[Member]:
    """Give the members in the order of the central directory.

    Raises:
        BundleArchiveError: not a zip file, or one that breaks a rule above.
    """
    if len(data) > limits.archive:
        raise broken("archive_size", f"archive is longer than {limits.archive} bytes")
    at = data.rfind(END_SIGNATURE, max(0, len(data) - END.size - 0xFFFF))
    if at < 0 or at + END.size > len(data):
        raise broken("not_a_zip", "not a zip archive: no end record")
    _, disk, start_disk, on_disk, count, size, offset, comment = END.unpack_from(data, at)
    if disk or start_disk or on_disk != count or at + END.size + comment != len(data):
        raise broken("end_record", "end record of the archive is not consistent")
    if offset + size != at:
        raise broken("end_record", "archive has data before or between its parts, or is zip64")
    if count > limits.members:
        raise broken("member_count", f"archive has {count} members, at most {limits.members}")
    return list(_walk(data, offset, at, count))


def _walk(data: bytes, position: int, end: int, count: int) -> Iterator[Member]:
    for _ in range(count):
        if position + CENTRAL.size > end:
            raise broken("central_directory", "central directory of the archive is cut off")
        (
            signature, _, _, flags, method, _, _, crc, packed, size, name_size, extra, comment, _, _, attributes, local,
        ) = CENTRAL.unpack_from(data, position)  # fmt: skip
        following = position + CENTRAL.size + name_size + extra + comment
        if signature != CENTRAL_SIGNATURE or following > end:
            raise broken("central_directory", "central directory of the archive is damaged")
        raw = data[position + CENTRAL.size : position + CENTRAL.size + name_size]
        name = _decode_name(raw, flags)
        if flags & _ENCRYPTED or method not in (STORED, DEFLATED):
            raise broken(
                "method", f"member '{name}' is encrypted or packed in an unknown way", name
            )
        if stat.S_IFMT(attributes >> 16) not in _PLAIN:
            raise broken("special_file", f"member '{name}' is a link or a special file", name)
        yield Member(name, method, crc, packed, size, local)
        position = following
    if position != end:
        raise broken("central_directory", "central directory holds more than it counts")


def _decode_name(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _UTF8_NAME else "ascii")
    except UnicodeDecodeError as cause:
        raise broken("name_encoding", f"member name {raw[:80]!r} is not text") from cause


def packed_bytes(data: bytes, entry: Member) -> bytes:
    """Give a member's bytes as they lie in the archive, after checking its local header."""
    start = entry.local_offset
    if start + LOCAL.size > len(data):
        raise broken("local_header", f"member '{entry.name}' lies outside the archive", entry.name)
    signature, _, flags, method, *_, name_size, extra = LOCAL.unpack_from(data, start)
    name_end = start + LOCAL.size + name_size
    begin = name_end + extra
    same = signature == LOCAL_SIGNATURE and method == entry.method
    if not same or _decode_name(data[start + LOCAL.size : name_end], flags) != entry.name:
        raise broken("local_header", f"the two headers of '{entry.name}' disagree", entry.name)
    if begin + entry.packed_size > len(data):
        raise broken("local_header", f"member '{entry.name}' is cut off", entry.name)
    return data[begin : begin + entry.packed_size]


def unpack_member(data: bytes, entry: Member, limit: int) -> bytes:
    """Give a member's content, never more than `limit` bytes of it.

    Raises:
        BundleArchiveError: larger than declared or allowed, or damaged.
    """
    packed = packed_bytes(data, entry)
    if entry.size > limit:
        raise broken(
            "member_size",
            f"member '{entry.name}' has {entry.size} bytes, at most {limit}",
            entry.name,
        )
    content = packed if entry.method == STORED else _inflate(packed, entry)
    if len(content) != entry.size or zlib.crc32(content) != entry.crc:
        raise broken(
            "member_damaged",
            f"member '{entry.name}' does not match its size or checksum",
            entry.name,
        )
    return content


def _inflate(packed: bytes, entry: Member) -> bytes:
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # One byte more than declared is enough to see that the declaration is false.
        content = machine.decompress(packed, entry.size + 1)
    except zlib.error as cause:
        raise broken(
            "member_damaged", f"member '{entry.name}' cannot be unpacked", entry.name
        ) from cause
    if not machine.eof or machine.unused_data:
        raise broken("member_damaged", f"member '{entry.name}' is not one whole stream", entry.name)
    return content
