"""Large values of ledger lines, kept beside the ledger under their digest.

A value above `LIMIT_BYTES` is replaced by `{"$blob": sha256, "size": bytes}`; its file is
durable before the line that names it. A user's own key `$blob` is stored as `$$blob`,
`$$blob` as `$$$blob` and so on, so data never reads as a reference.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject, dump_line, load_strict
from abstractruntime.errors import IntegrityError

if TYPE_CHECKING:
    from abstractruntime.core.ports import Clock
    from abstractruntime.storage._files.fs import FileInfo, StoreFiles
    from abstractruntime.storage._files.layout import Layout

LIMIT_BYTES = 256 * 1024
# A file that is referred to again is written again once it is this old, so that the garbage
# collection, which spares what is younger than an hour, never takes it away meanwhile.
REFRESH_S = 600
# What the garbage collection holds in its hands has this suffix.
ASIDE = ".gc"
MARK = b'$blob"'

_KEY = "$blob"
_ESCAPED = re.compile(r"\$+blob")
# These parts of a commit are read one by one, so they stay in the line themselves.
_STRUCTURE = frozenset({"init", "set", "app"})


class Blobs:
    """The blob files of one store; without a clock, files that are there are never refreshed."""

    def __init__(self, files: StoreFiles, layout: Layout, clock: Clock | None = None) -> None:
        self._files = files
        self._layout = layout
        self._clock = clock

    def pack(self, value: Any, *, keep: bool = False) -> Any:
        """Give `value` with large parts offloaded, the smallest that suffice; `keep` spares its top."""
        if type(value) is dict:
            value = {
                (f"${k}" if _ESCAPED.fullmatch(k) else k): self.pack(v) for k, v in value.items()
            }
        elif type(value) is list:
            value = [self.pack(item) for item in value]
        elif type(value) is not str:
            return value
        if keep:
            return value
        data = dump_line(value)
        return self._store(data) if len(data) > LIMIT_BYTES else value

    def pack_commit(self, commit: JsonObject) -> JsonObject:
        """Give a commit whose large values are offloaded."""
        packed: JsonObject = {}
        for name, value in commit.items():
            if name in _STRUCTURE:
                packed[name] = {key: self.pack(item) for key, item in value.items()}
            else:
                packed[name] = self.pack(value)
        return packed

    def unpack(self, value: Any) -> Any:
        """Give `value` with every reference replaced by what it refers to.

        Raises:
            IntegrityError: a blob is missing or has other content.
        """
        if type(value) is list:
            return [self.unpack(item) for item in value]
        if type(value) is not dict:
            return value
        if _KEY in value:
            return self.unpack(self._load(value[_KEY]))
        return {
            (k[1:] if k.startswith("$$") and _ESCAPED.fullmatch(k) else k): self.unpack(v)
            for k, v in value.items()
        }

    def _store(self, data: bytes) -> JsonObject:
        digest = hashlib.sha256(data).hexdigest()
        path = self._layout.blob(digest)
        known = self._files.info(path)
        if known is None or known.size != len(data) or self._is_old(known):
            self._files.ensure_dir(self._layout.blobs)
            self._files.write_atomic(path, data)
        else:
            # Invariant: a line never refers to a file that a power cut may take away.
            self._files.sync_name(path)
        return {_KEY: digest, "size": len(data)}

    def _is_old(self, file: FileInfo) -> bool:
        if self._clock is None or not file.modified_ns:
            return False
        return self._clock.now().timestamp() - file.modified_ns / 1e9 > REFRESH_S

    def _load(self, digest: Any) -> Any:
        path = self._layout.blob(str(digest))
        data = self._files.read(path)
        if data is None:
            data = self._files.read(path + ASIDE)
        if data is None or hashlib.sha256(data).hexdigest() != digest:
            raise IntegrityError(
                f"blob {digest!r} is {'missing' if data is None else 'not what its name says'}",
                hint="restore artifacts/blobs from a backup",
                digest=digest,
            )
        return load_strict(data)


def holds_references(line: bytes) -> bool:
    """Tell whether a stored line may hold a reference or an escaped key."""
    return MARK in line
