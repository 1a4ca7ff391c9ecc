"""A second engine is natural: one in memory, written from `core.ports` alone, keeps the whole contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from abstractruntime import RunState, RunStatus
from abstractruntime.core.commands import Command
from abstractruntime.core.models import StepRecord, StepStatus
from abstractruntime.core.ports import Position, RunHeader, RunQuery, StoredRecord
from abstractruntime.errors import Busy, InvalidValue, NotFound, UsageError
from abstractruntime.testing.store_contract import EngineContract


@dataclass
class Row:
    """One run: its state and its pending attempt as texts, its lines, and what was posted to it."""

    state: str
    lines: list[str] = field(default_factory=list)
    pending: str | None = None
    occurrence: int = 0
    commands: dict[str, Command] = field(default_factory=dict)
    is_owned: bool = False

    def run(self) -> RunState:
        return RunState.from_dict(json.loads(self.state))


class ToyLog:
    def __init__(self, row: Row) -> None:
        self._row, self.run = row, row.run()

    @property
    def pending(self) -> StepRecord | None:
        text = self._row.pending
        return StepRecord.from_dict(json.loads(text)) if text else None

    @property
    def ledger_bytes(self) -> int:
        return sum(len(line) + 1 for line in self._row.lines)

    def next_occurrence(self) -> int:
        return self._row.occurrence

    def commit(
        self,
        *records: StepRecord,
        barrier: Any = None,
        wrote: str | None = None,
        plan: Any = None,
        scan: bool = True,
        commands: tuple[str, ...] = (),
    ) -> Position:
        row, committed = self._row, {"plan": plan} if plan else {}
        first = len(row.lines)
        lines = [
            text({**record.to_dict(), "seq": first + number, "commit": committed})
            for number, record in enumerate(records)
        ]
        row.state = text(self.run.to_dict())  # from here on, nothing can fail
        row.lines += lines
        for command_id in commands:
            row.commands.pop(command_id, None)
        if plan:
            row.pending, row.occurrence = lines[0], plan["occ"] + 1
        elif any(record.status is not StepStatus.STARTED and record.effect for record in records):
            row.pending = None
        return Position(len(row.lines) - 1, len(row.lines) - 1)

    def take_commands(self) -> list[Command]:
        if self.run.status.is_terminal:
            self._row.commands.clear()
        return list(self._row.commands.values())

    def set_aside(self, command_id: str) -> None:
        self._row.commands.pop(command_id, None)

    def rollback(self) -> None:
        vars(self.run).update(vars(self._row.run()))

    def reusable(self, key: str) -> None:
        return None

    def reuse(self, outcome: StepRecord, **_options: Any) -> Position:
        raise UsageError("no outcome of this log can be reused")

    def settle(self) -> None: ...

    def close(self) -> None:
        self._row.is_owned = False


class ToyEngine:
    keeps_commands = True
    runs = ledgers = None

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def create(self, run: RunState, first: StepRecord) -> ToyLog:
        if run.run_id in self._rows:
            raise UsageError(f"run {run.run_id!r} exists already")
        self._rows[run.run_id] = Row(text(run.to_dict()))
        log = self.open(run.run_id)
        log.commit(first)
        return log

    def open(self, run_id: str, *, wait_s: float = 0.0) -> ToyLog:
        row = self._row(run_id)
        if row.is_owned:
            raise Busy(f"run {run_id!r} is owned")
        row.is_owned = True
        return ToyLog(row)

    def peek(self, run_id: str) -> RunState:
        return self._row(run_id).run()

    def records(self, run_id: str, *, after: int = -1) -> Iterator[StoredRecord]:
        lines = self._rows[run_id].lines if run_id in self._rows else []
        for seq, line in enumerate(lines):
            if seq > after:
                yield StoredRecord(seq, seq, line.encode(), json.loads(line))

    def recent(
        self, run_id: str, limit: int, *, most_bytes: int | None = None
    ) -> list[StoredRecord]:
        return list(self.records(run_id))[-limit:] if limit else []

    def post(self, run_id: str, command: Command, *, sender: str | None = None) -> None:
        self._row(run_id).commands.setdefault(command.id, command)

    def find(self, query: RunQuery) -> list[RunHeader]:
        headers = [RunHeader.of(row.run()) for row in self._rows.values()]
        found = [header for header in headers if self._fits(header, query)]
        found.sort(key=lambda header: header.updated_at, reverse=True)
        if query.due_at:
            found.sort(key=lambda header: header.wait_until or "")
        return found[: query.limit]

    def _row(self, run_id: str) -> Row:
        if run_id not in self._rows:
            raise NotFound(f"no run {run_id!r}", kind="run", id=run_id)
        return self._rows[run_id]

    def _fits(self, header: RunHeader, query: RunQuery) -> bool:
        names = ("status", "wait_reason", "workflow_id", "session_id", "parent_run_id")
        key, until = header.wait_key or "", header.wait_until or ""
        child = self._rows.get(key.removeprefix("subworkflow:"))
        return (
            all(getattr(query, n) in (None, getattr(header, n)) for n in names)
            and not (query.root_only and header.parent_run_id)
            and not (query.live_only and header.status.is_terminal)
            and header.run_id.startswith(query.id_prefix or "")
            and key.startswith(query.wait_key_prefix or "")
            and (not query.wait_keys or key in query.wait_keys)
            and (not query.listens_to or not {*query.listens_to}.isdisjoint(header.listening))
            and (query.due_at is None or "" < until <= query.due_at)
            and (not query.has_commands or bool(self._rows[header.run_id].commands))
            and (not query.child_ended or (child is not None and child.run().status.is_terminal))
            and (not query.due_at or header.status is RunStatus.WAITING)
        )


def text(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as cause:
        raise InvalidValue(str(cause)) from cause


class TestToyEngine(EngineContract):
    def make_engine(self):
        return ToyEngine()
