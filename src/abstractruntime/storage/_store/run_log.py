"""One run of a directory store, owned: deltas, records, barriers, checkpoints.

Rules:
1. A commit is one append. What it remembers of the run changes only after the append
   succeeded, so a commit that raises can be followed by `rollback` and another commit.
2. The ledger is synced before a checkpoint or signed head that covers it is written:
   both can lag behind the ledger, never lead it.
3. Whether a checkpoint is to follow a commit is decided before the append, as the commit
   then holds its digest; what was rendered for it is what is written.
4. A command file is removed only after the record that applied it is as durable as the
   store promises; until then its id keeps it from being applied twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject
from abstractruntime.core.commands import Command
from abstractruntime.core.models import RunState, StepRecord
from abstractruntime.core.ports import Barrier, Position, RunHeader
from abstractruntime.core.records import RecordFactory, is_terminal_status
from abstractruntime.errors import InvalidValue, WriterPoisoned
from abstractruntime.storage._files.jsonl import scan_lines
from abstractruntime.storage._store.checkpoint import (
    STATE,
    DueCheckpoint,
    Place,
    digest_of,
    render_body,
)
from abstractruntime.storage._store.header import (
    changed_fields,
    header_of,
    is_terminal,
    run_from,
    write_fields,
)
from abstractruntime.storage._store.image import REMEMBERED_COMMANDS
from abstractruntime.storage._store.memory import LogMemory
from abstractruntime.storage._store.plain import is_plain
from abstractruntime.storage._store.record_lines import (
    BESIDE,
    EncodedRecord,
    RecordWriter,
    clean_record,
    parse_line,
    result_of,
)
from abstractruntime.storage._store.reuse import REUSE, Reuse, rewound_range
from abstractruntime.storage._store.services import SYNCED_BARRIERS
from abstractruntime.storage._store.shared_texts import LARGE_BYTES
from abstractruntime.storage.large_values import (
    MAX_STATE_WEIGHT,
    holds_references,
    weight_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from abstractruntime.storage._store.lease import Lease
    from abstractruntime.storage._store.services import Services
    from abstractruntime.storage._store.shadow import Delta

MAX_STATE_BYTES = 128 * 1024 * 1024
CHECKPOINT_GROWTH_BYTES = 64 * 1024
# Between two checkpoints of a running run the ledger grows by so many times the state, which
# bounds what checkpoints add to the bytes written per step, and what recovery has to fold.
CHECKPOINT_RATIO = 8
# Without a sync per effect, one more for a checkpoint would be felt; see `_checkpoint_growth`.
_RELAXED_GROWTH_BYTES = 16 * CHECKPOINT_GROWTH_BYTES
WAITING_CHECKPOINT_BYTES = 64 * 1024
# Creating a file costs more than folding this much; only `strict` pays it for every run.
_RELAXED_ENDING_BYTES = 16 * 1024


class DirectoryRunLog:
    """One run, owned until `close`; see `core.ports.RunLog`."""

    def __init__(
        self,
        services: Services,
        lease: Lease,
        memory: LogMemory,
        run: RunState,
        on_close: Callable[[LogMemory], None],
    ) -> None:
        self.run = run
        self.pending: StepRecord | None = memory.attempt
        self._services = services
        self._lease = lease
        self._memory = memory
        self._on_close = on_close
        self._writer = RecordWriter(services.blobs, services.seal)
        self._synced = SYNCED_BARRIERS[services.durability]
        self._unforgotten = len(memory.image.commands)
        self._epoch = memory.image.epoch + 1
        self._posted: dict[str, Command] = {}
        self._unpublished: list[bytes] = []
        self._reuse = Reuse(self._read_records)
        self._is_closed = False
        self._growth, self._ending_bytes = _RELAXED_GROWTH_BYTES, _RELAXED_ENDING_BYTES
        if services.durability == "strict":
            self._growth, self._ending_bytes = CHECKPOINT_GROWTH_BYTES, 0

    def next_occurrence(self) -> int:
        """Give the ordinal of the next effect occurrence; a commit with that plan uses it up."""
        return self._memory.image.occurrence

    @property
    def ledger_bytes(self) -> int:
        image = self._memory.image
        return image.size + image.beside + self._services.beside.of(image.run_id)

    @property
    def next_seq(self) -> int:
        """The ordinal that the next record gets."""
        return self._memory.image.seq

    def commit(
        self,
        *records: StepRecord,
        barrier: Barrier = Barrier.NONE,
        wrote: str | None = None,
        plan: JsonObject | None = None,
        scan: bool = True,
        commands: tuple[str, ...] = (),
        fix: bool = False,
    ) -> Position:
        """Write the records and everything that changed in `run`, as one transaction.

        `fix` has the next `settle` write a checkpoint, due or not; with a pending attempt there is
        none.
        """
        self._require_open()
        memory, first = self._memory, records[0]
        plain = clean_record(first, plain_effect=memory.plain_effect)
        memory.plain_effect = first.effect if plain else None
        delta = memory.shadow.compare(
            self.run.vars, wrote=wrote, source=result_of(first), scan=scan
        )
        most = min(MAX_STATE_WEIGHT, MAX_STATE_BYTES)
        _require_bounded(self.run.vars, memory.shadow.size_after(delta, above=most))
        header = memory.image.header
        changed = changed_fields(header, self.run) if header else header_of(self.run)
        is_listed_anew = "status" in changed or "waiting" in changed
        revives = is_listed_anew and memory.image.is_terminal
        commit = self._describe(changed, plan, delta, commands)
        plain = plain and delta.is_plain and is_plain(plan)
        if plain and ("output" in changed or "waiting" in changed):
            plain = is_plain(changed)
        body = self._body_to_fix(first, commit, delta, fix=fix)
        if body is not None:
            commit[STATE] = digest_of(body)
        position, size = self._append(records, commit, plain=plain, least_size=delta.size)
        memory.shadow.accept(delta)
        memory.due = None
        if body is not None:
            place = Place(position.seq, position.offset + size, first.record_hash)
            memory.due = DueCheckpoint(body, place)
        memory.recovered = None
        memory.is_header_unindexed = memory.is_header_unindexed or is_listed_anew
        if revives:
            # The index does not look at finished runs again by itself.
            self.index_now()
        self.pending = memory.attempt
        self._unforgotten += len(commands)
        memory.is_mid_commit = False
        self._after_append(barrier)
        if self._unpublished:
            self._publish()
        return position

    def _body_to_fix(
        self, record: StepRecord, commit: JsonObject, delta: Delta, *, fix: bool
    ) -> bytes | None:
        """Give the body of the checkpoint that is to follow a commit; None when none is."""
        memory = self._memory
        grown = memory.image.size - memory.covered
        is_grown = grown >= max(self._growth, CHECKPOINT_RATIO * memory.checkpoint_length)
        is_long = grown >= max(CHECKPOINT_GROWTH_BYTES, memory.checkpoint_length)
        status = commit.get("init", commit).get("status", memory.image.header.get("status"))
        has_ended = is_terminal({"status": status})
        is_ending = has_ended and (is_long or grown >= self._ending_bytes)
        # Nothing more is folded onto the end of a run, and its long values are read in any case.
        is_ending = is_ending and delta.state_size() <= max(LARGE_BYTES, grown)
        is_surely_due = fix or is_grown or is_ending
        if not is_surely_due and status != "waiting":
            return None
        after = memory.image.copy()
        after.advance(
            commit,
            status=record.status,
            step_id=record.step_id,
            key=record.idempotency_key,
            record_hash="",
            size=0,
        )
        if after.pending is not None:
            return None
        body = render_body(after, delta.state_json())
        is_due = is_surely_due or is_long or len(body) < WAITING_CHECKPOINT_BYTES
        return body if is_due else None

    def append_bare(self, record: StepRecord) -> None:
        """Write a record that carries no state: a closing one that is missing, or a foreign one."""
        self._require_open()
        plain = clean_record(record)
        self._append((record,), None, plain=plain)
        self._memory.is_mid_commit = False
        if self._unpublished:
            self._publish()

    def _publish(self) -> None:
        lines, self._unpublished = self._unpublished, []
        self._services.observers.publish(self.run.run_id, lines)

    def reuse(
        self,
        outcome: StepRecord,
        *,
        barrier: Barrier = Barrier.NONE,
        wrote: str | None = None,
    ) -> Position:
        """Commit what an earlier outcome made of `run`, with a record that names it.

        No attempt was committed before it, so anything may have changed.
        """
        records = RecordFactory(self._services.clock, self._services.ids)
        facts = {"action": REUSE, "of": outcome.seq, "key": outcome.idempotency_key}
        record = records.internal(self.run, "control", **facts)
        return self.commit(record, barrier=barrier, wrote=wrote)

    def _read_records(self) -> Iterator[JsonObject]:
        services, memory = self._services, self._memory
        path = services.layout.ledger(self.run.run_id)
        for number, line in enumerate(scan_lines(services.files, path)):
            record = parse_line(memory.image.run_id, number, line)
            yield services.recovery.resolve(record) if holds_references(line.data) else record

    def _require_open(self) -> None:
        if self._is_closed or self._lease.is_lost:
            raise WriterPoisoned(
                f"the log of run {self.run.run_id!r} is closed, or belongs to the parent process",
                hint="open the run again",
                run_id=self.run.run_id,
            )

    def _describe(
        self,
        changed: JsonObject,
        plan: JsonObject | None,
        delta: Delta,
        commands: tuple[str, ...],
    ) -> JsonObject:
        memory = self._memory
        commit: JsonObject = {"epoch": self._epoch}
        if memory.image.seq == 0:
            commit["init"] = changed
        else:
            write_fields(changed, commit)
        if plan is not None:
            commit["occ"] = plan.get("occ", memory.image.occurrence)
            commit["plan"] = plan
        delta.write_into(commit)
        if commands:
            commit["cmd"] = list(commands)
        if memory.recovered is not None:
            commit["recovered"] = memory.recovered
        if beside := memory.image.beside + self._services.beside.of(self.run.run_id):
            commit[BESIDE] = beside
        return commit

    def _append(
        self,
        records: Sequence[StepRecord],
        commit: JsonObject | None,
        *,
        plain: bool,
        least_size: int = 0,
    ) -> tuple[Position, int]:
        """Encode and write all records in one append, then tell each where it went.

        Gives the place of the first one and the length of its line, with LF.
        """
        memory = self._memory
        memory.is_mid_commit = True
        image = memory.image
        first, seq, head = image.seq, image.seq, image.head
        beside = (commit or {}).get(BESIDE, image.beside)
        counted = beside - image.beside
        written: list[tuple[StepRecord, JsonObject | None, EncodedRecord]] = []
        for record in records:
            if written:
                commit, plain = _own_commit(record, self._epoch, beside), clean_record(record)
                least_size = 0
            encoded = self._writer.encode(
                record, commit, seq=seq, prev_hash=head, plain=plain, least_size=least_size
            )
            written.append((record, commit, encoded))
            beside += encoded.beside_bytes
            seq, head = seq + 1, encoded.record_hash
        offset = memory.file.append(b"".join([encoded.line + b"\n" for _, _, encoded in written]))
        if self._services.observers.subscribers:
            self._unpublished += [encoded.line for _, _, encoded in written]
        # Only now, as a record whose append failed must look as it did before.
        for record, commit, encoded in written:
            record.seq, record.prev_hash = image.seq, image.head
            record.record_hash, record.commit = encoded.record_hash, commit
            memory.note(record, commit, encoded)
        self._services.beside.counted(self.run.run_id, counted)
        return Position(first, offset), len(written[0][2].line) + 1

    def _after_append(self, barrier: Barrier) -> None:
        memory = self._memory
        if barrier is not Barrier.NONE and barrier in self._synced:
            self._sync()
        if not memory.image.is_resting:
            self._checkpoint_if_due()
        self.sign_if_due()
        if self._unforgotten > REMEMBERED_COMMANDS // 2:
            self._sync()
            self._forget_commands()

    def sign_if_due(self) -> None:
        """Sign a head where the first record, or many, are without one."""
        memory = self._memory
        if memory.heads is not None and memory.heads.is_due:
            self._sync()
            memory.heads.sign(memory.image.size)

    def _sync(self) -> None:
        """Make the ledger survive power loss, its name included; nothing in mode `off`."""
        if self._services.durability == "off":
            return
        memory = self._memory
        memory.file.sync()
        if memory.is_name_unsynced:
            self._services.files.sync_dir(self._services.layout.root)
            memory.is_name_unsynced = False

    def take_commands(self) -> list[Command]:
        """Give the commands that no commit has applied yet, oldest first; they stay until one does."""
        image = self._memory.image
        if image.is_terminal:
            return []
        waiting = self._services.inboxes.read(self.run.run_id, self._posted)
        self._posted = waiting
        if not waiting:
            return []
        return [command for command in waiting.values() if command.id not in image.commands]

    def set_aside(self, command_id: str) -> None:
        """Move the file of a command that is not what it claims to be to the quarantine."""
        names = [name for name, command in self._posted.items() if command.id == command_id]
        self._services.inboxes.set_aside(self.run.run_id, names)
        self._posted = {k: v for k, v in self._posted.items() if k not in names}

    def rollback(self) -> None:
        """Reset `run` to the last committed state; nothing on disk changes."""
        memory = self._memory
        state = memory.shadow.state()
        _keep_projection(self.run.vars, state)
        restored = run_from(memory.image.header, state)
        for name in RunState.__dataclass_fields__:
            setattr(self.run, name, getattr(restored, name))

    def reusable(self, key: str) -> StepRecord | None:
        """Give an outcome that a host rewound the run behind.

        Otherwise there is none: an outcome and the state it leads to are one commit here.
        """
        rewound = rewound_range(self.run.vars)
        return None if rewound is None else self._reuse.find(key, rewound)

    def settle(self) -> None:
        """Make everything committed so far acknowledged: sync, checkpoint if due, sign the head.

        In `relaxed` only a run that came to rest is synced; one that runs survives the death
        of its process as it is.
        """
        self._require_open()
        memory = self._memory
        if memory.image.is_resting or self._services.durability == "strict":
            self._sync()
        self._forget_commands()
        self._checkpoint_if_due()
        if memory.heads is not None and memory.heads.unsigned and memory.image.is_resting:
            memory.heads.sign(memory.image.size)
        self._update_index()

    def _forget_commands(self) -> None:
        """Remove the files of applied commands, and of all when the run has ended."""
        image = self._memory.image
        has_ended = image.is_terminal
        if not self._unforgotten and not has_ended:
            return
        inboxes, run_id = self._services.inboxes, self.run.run_id
        waiting = inboxes.read(run_id)
        altered = [name for name, _ in inboxes.altered(waiting)]
        names = [name for name, c in waiting.items() if has_ended or c.id in image.commands]
        inboxes.remove(run_id, [name for name in names if name not in altered])
        if has_ended:
            inboxes.set_aside(run_id, altered)
        self._unforgotten = 0

    def index_now(self) -> None:
        """Write the row of this run in the index now."""
        self._services.index.put(RunHeader.of(self.run), self._memory.image.size, now=True)

    def _checkpoint_if_due(self) -> None:
        if self._memory.due is not None:
            self._write_checkpoint(self._memory.due)

    def _write_checkpoint(self, due: DueCheckpoint) -> None:
        memory, services, data = self._memory, self._services, due.to_bytes()
        self._sync()
        # Without sync a power cut may leave any part of the file; it then does not parse and
        # is rebuilt from the ledger, which was synced before.
        services.files.write_atomic(
            services.layout.checkpoint(self.run.run_id), data, sync=services.durability == "strict"
        )
        memory.covered, memory.checkpoint_length = due.place.size, len(data)
        memory.due = None

    def _update_index(self) -> None:
        memory = self._memory
        if memory.is_header_unindexed:
            self._services.index.put(RunHeader.of(self.run), memory.image.size)
            memory.is_header_unindexed = False

    def close(self) -> None:
        """Give the run up; without `settle` before it, only process death is survived."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._lease.is_lost:
                return
            if self._memory.is_mid_commit:
                # Interrupted between the append and what is remembered of it.
                self._memory.close()
                return
            self._update_index()
            self._on_close(self._memory)
        finally:
            self._lease.release()


def _require_bounded(variables: JsonObject, size: int) -> None:
    if size > MAX_STATE_WEIGHT and weight_of(variables) > MAX_STATE_WEIGHT:
        raise InvalidValue(
            f"the variables of the run would be more than {MAX_STATE_WEIGHT} values",
            hint="keep large data in files, and their names in the run",
            limit=MAX_STATE_WEIGHT,
        )
    if size > MAX_STATE_BYTES:
        raise InvalidValue(
            f"the variables of the run would take {size} bytes, at most {MAX_STATE_BYTES} are kept",
            hint="keep large data in files, and their names in the run",
            limit=MAX_STATE_BYTES,
        )


def _own_commit(record: StepRecord, epoch: int, beside: int) -> JsonObject | None:
    """Give the commit of a record that rides along; the status record has none."""
    if is_terminal_status(record):
        return None
    return {"epoch": epoch, BESIDE: beside} if beside else {"epoch": epoch}


def _keep_projection(before: Any, after: JsonObject) -> None:
    """Carry the traces of this process over; they are not part of the committed state."""
    runtime = before.get("_runtime") if isinstance(before, dict) else None
    if isinstance(runtime, dict) and "node_traces" in runtime and "_runtime" in after:
        after["_runtime"]["node_traces"] = runtime["node_traces"]
