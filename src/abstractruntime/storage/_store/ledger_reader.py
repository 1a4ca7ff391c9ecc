"""Reading the ledgers of a directory store, from their ends where that is enough."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

import orjson

from abstractruntime._json import JsonObject
from abstractruntime.core.origin import RunOrigin
from abstractruntime.core.ports import StoredRecord
from abstractruntime.core.store import LedgerHead
from abstractruntime.storage._files.jsonl import Line, last_committed, last_lines, scan_lines
from abstractruntime.storage._files.stream import open_stream
from abstractruntime.storage._store.heads_extent import heads_extent
from abstractruntime.storage._store.record_lines import BESIDE, parse_line
from abstractruntime.storage._store.recovery import Recovery

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout
    from abstractruntime.storage._store.blobs import Blobs


# The end of a line whose commit says it: `RecordWriter` and `DirectoryRunLog` put it last, or
# before the digest of a state.
_TOLD = re.compile(
    rb'"%b":(\d{1,18})(?:,"state":"sha256:[0-9a-f]{64}")?\}\}\n?\Z' % BESIDE.encode()
)
_ENDING_BYTES = 256


class LedgerReader:
    """The ledgers of one store; changes nothing."""

    def __init__(self, files: StoreFiles, layout: Layout, blobs: Blobs) -> None:
        self._files = files
        self._layout = layout
        self._blobs = blobs
        self._recovery = Recovery(files, layout, blobs)

    def records(self, run_id: str, *, after: int = -1) -> Iterator[StoredRecord]:
        """Give the committed records with a `seq` above `after`, as they are stored.

        Large values stay references; `resolve` puts them back.

        Raises:
            NotFound: no such run.
            ChainBroken: a line is not a JSON object.
        """
        for seq, line in self._lines(run_id):
            if seq > after:
                yield StoredRecord(seq, line.offset, line.data, parse_line(run_id, seq, line))

    def records_with(self, run_id: str, words: Collection[bytes]) -> Iterator[StoredRecord]:
        """Give the records in whose lines one of these words stands, without decoding the others.

        For whoever counts: of two values under one name the last one is taken.
        """
        for seq, line in self._lines(run_id):
            if any(word in line.data for word in words):
                yield StoredRecord(seq, line.offset, line.data, _glance_at(run_id, seq, line))

    def _lines(self, run_id: str) -> Iterator[tuple[int, Line]]:
        self.require_run(run_id)
        return enumerate(scan_lines(self._files, self._layout.ledger(run_id)))

    def recent(
        self, run_id: str, limit: int, *, most_bytes: int | None = None
    ) -> list[StoredRecord]:
        """Give the last `limit` records, as `records` does, without reading those before them.

        Of those only as many as take no more than `most_bytes`, but the last one in any case.
        """
        self.require_run(run_id)
        path = self._layout.ledger(run_id)
        lines = last_lines(self._files, path, limit, most_bytes=most_bytes)
        found = [(line, parse_line(run_id, -1, line)) for line in lines]
        if all("seq" in record for _, record in found):
            return [StoredRecord(r["seq"], line.offset, line.data, r) for line, r in found]
        # Lines of 0.4.x are not numbered.
        return list(self.records(run_id))[-limit:]

    def resolve(self, record: JsonObject) -> JsonObject:
        """Give a stored record with its offloaded values back in place."""
        return self._recovery.resolve(record)

    def large_value(self, digest: str) -> bytes | None:
        """Give what is kept under the digest of an offloaded value, unchecked; None when nothing is."""
        return self._blobs.read(digest)

    def origin(self, run_id: str) -> RunOrigin:
        """Give where a run comes from.

        Raises:
            NotFound: no such run.
        """
        first = next(iter(self.records(run_id)), None)
        if first is None:
            return RunOrigin()
        return RunOrigin.of(self.resolve({**first.record, "commit": None}))

    def ledger(self, run_id: str) -> IO[bytes]:
        """Give the exact bytes of a ledger to read; nothing where there is none."""
        return open_stream(self._files, self._layout.ledger(run_id))

    def head(self, run_id: str) -> LedgerHead:
        """Give the end of a ledger, from the ends of the files."""
        path = self._layout.ledger(run_id)
        last = last_committed(self._files, path)
        if last is None:
            self._recovery.load(run_id)
            return LedgerHead()
        record = parse_line(run_id, -1, last)
        # A closing record has no commit; the one before it has.
        # A closing record has no commit; the one before it has, and may be as large as a state.
        start = max(0, last.offset - _ENDING_BYTES)
        before = self._files.read(path, start, last.offset - start) or b""
        told = _TOLD.search(last.data[-_ENDING_BYTES:] if "commit" in record else before)
        seq = record["seq"] if "seq" in record else sum(1 for _ in self.records(run_id)) - 1
        return LedgerHead(
            records=seq + 1,
            head_hash=record.get("record_hash"),
            signed_records=heads_extent(self._files, self._layout.heads(run_id)).records,
            bytes=last.offset + len(last.data) + 1,
            beside_bytes=int(told[1]) if told else 0,
        )

    def require_run(self, run_id: str) -> None:
        """Refuse a run of which nothing is there.

        Raises:
            NotFound
        """
        if self._files.info(self._layout.ledger(run_id)) is None:
            # A run of 0.4.x needs no ledger.
            self._recovery.load(run_id)


def _glance_at(run_id: str, seq: int, line: Line) -> JsonObject:
    try:
        record = orjson.loads(line.data)
    except orjson.JSONDecodeError:
        record = None
    return record if type(record) is dict else parse_line(run_id, seq, line)
