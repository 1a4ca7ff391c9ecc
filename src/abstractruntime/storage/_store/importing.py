"""Taking a run of 0.4.x over, once, when it is first opened for writing.

Rules:
1. The original checkpoint is kept as `imported/run_<id>.json` before anything changes.
2. One record, `imported`, is appended to the ledger of the run. Its commit carries the
   whole state, its result pins the lines before it. Until it is on disk the run belongs to
   0.4.x; from then on it is a run like any other.
3. The checkpoint is replaced only after that record is durable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from abstractruntime._json import JsonObject
from abstractruntime.errors import ChainBroken, InvalidValue
from abstractruntime.storage._files.jsonl import JsonlFile
from abstractruntime.storage._files.quarantine import cut_torn_tail
from abstractruntime.storage._store.checkpoint import (
    STATE,
    DueCheckpoint,
    Place,
    digest_of,
    render_body,
)
from abstractruntime.storage._store.header import header_of
from abstractruntime.storage._store.image import RunImage
from abstractruntime.storage._store.legacy import LegacyRun, Prefix, unabsorbed
from abstractruntime.storage._store.record_lines import EncodedRecord, RecordWriter, clean_record
from abstractruntime.storage._store.reuse import mark_rewound
from abstractruntime.storage._store.shadow import StateShadow

if TYPE_CHECKING:
    from abstractruntime.core.records import RecordFactory
    from abstractruntime.storage._store.services import Services


def import_run(services: Services, records: RecordFactory, run_id: str) -> None:
    """Make a run of 0.4.x, whose lease is held, one of this store; does nothing to any other.

    Raises:
        ChainBroken: a line in the middle of its ledger cannot be read.
        IntegrityError: its checkpoint cannot be read.
        InvalidValue: its state holds something that is not JSON, such as NaN.
    """
    legacy = services.recovery.legacy
    old = legacy.read(run_id)
    if old is None:
        return
    prefix = legacy.prefix(run_id)
    if prefix.next is not None:
        raise _driven_back(run_id, prefix)
    lines, checkpoint = _encode(services, records, old, prefix)
    files, layout = services.files, services.layout
    files.ensure_dir(layout.originals)
    files.write_atomic(layout.original(run_id), old.checkpoint)
    path = layout.ledger(run_id)
    file = JsonlFile(path, files.create(path), prefix.bytes)
    try:
        if old.tail.end > prefix.bytes:
            cut_torn_tail(files, layout, services.clock, file, prefix.bytes)
        file.append(b"".join(encoded.line + b"\n" for encoded in lines))
        if services.durability != "off":
            file.sync()
            files.sync_dir(layout.root)
        # Invariant: without a checkpoint of ours a ledger that is lost later would look like
        # that of a run of 0.4.x which never had one, and the run would start over.
        files.write_atomic(layout.checkpoint(run_id), checkpoint.to_bytes())
    finally:
        file.close()


def _encode(
    services: Services, records: RecordFactory, old: LegacyRun, prefix: Prefix
) -> tuple[list[EncodedRecord], DueCheckpoint]:
    """Give the lines of the import, the second one closing a run that has ended, and its checkpoint."""
    run, writer = old.run, RecordWriter(services.blobs, services.seal)
    facts: JsonObject = {"version": "0.4", "ledger": prefix.pins()}
    facts["checkpoint"] = services.layout.original(run.run_id).removeprefix(
        f"{services.layout.root}/"
    )
    record = records.internal(run, "imported", **facts)
    clean_record(record)
    reusable = unabsorbed(run, prefix)
    if reusable is not None:
        mark_rewound(run, reusable)
    try:
        commit: JsonObject = {"epoch": 1, "init": header_of(run)}
        delta = StateShadow().compare(run.vars)
        delta.write_into(commit)
    except InvalidValue as error:
        error.hint = f"mend the value in run_{run.run_id}.json, then repeat the command"
        raise
    if old.tail.end > prefix.bytes:
        torn = {"offset": prefix.bytes, "bytes": old.tail.end - prefix.bytes}
        commit["recovered"] = torn
    image = RunImage(run.run_id)
    facts = {"status": record.status, "step_id": record.step_id, "key": record.idempotency_key}
    image.advance(commit, **facts, record_hash="", size=0)
    body = render_body(image, delta.state_json())
    commit[STATE] = digest_of(body)
    seq = prefix.records
    lines = [writer.encode(record, commit, seq=seq, prev_hash=prefix.head, plain=False)]
    place = Place(seq, prefix.bytes + len(lines[0].line) + 1, lines[0].record_hash)
    if run.status.is_terminal:
        closing, head = records.terminal_status(run), lines[0].record_hash
        lines.append(writer.encode(closing, None, seq=seq + 1, prev_hash=head, plain=False))
    return lines, DueCheckpoint(body, place)


def _driven_back(run_id: str, prefix: Prefix) -> ChainBroken:
    return ChainBroken(
        f"version 0.4.x went on with run {run_id!r} after it was imported at byte {prefix.bytes}",
        hint="restore the store from a backup; see docs/how-to/migrate.md, going back",
        run_id=run_id,
        offset=prefix.bytes,
        line=prefix.records + 1,
    )
