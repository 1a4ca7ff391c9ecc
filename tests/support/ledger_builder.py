"""Small ledgers written by hand: chained, numbered, with a clock of one second per record."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from hashlib import sha256

from abstractruntime._json import dump_line, dump_sorted, load_strict
from abstractruntime.core.models import RunState, RunStatus, WaitState
from abstractruntime.core.origin import RunOrigin
from abstractruntime.core.ports import RunHeader, StoredRecord
from abstractruntime.errors import NotFound

_START = datetime(2026, 1, 1, tzinfo=timezone.utc)


class LedgerBuilder:
    """Appends records; `records` holds them as a reader of the ledger sees them."""

    def __init__(self, run_id="run-1", *, classic=False):
        self.run_id = run_id
        self.classic = classic
        self.records = []
        self.ticks = 0

    def now(self):
        self.ticks += 1
        return (_START + timedelta(seconds=self.ticks)).isoformat(timespec="microseconds")

    def add(self, node_id, status, *, effect=None, result=None, error=None, commit=None, **extra):
        step_id = extra.pop("step_id", None) or f"s{len(self.records)}"
        now = self.now()
        record = {
            "run_id": self.run_id,
            "step_id": step_id,
            "node_id": node_id,
            "status": status,
            "effect": effect,
            "result": result,
            "error": error,
            "started_at": extra.pop("started_at", now),
            "ended_at": None if status == "started" else now,
            "actor_id": None,
            "session_id": None,
            "attempt": extra.pop("attempt", 1),
            "idempotency_key": extra.pop("key", None),
            "prev_hash": self.records[-1]["record_hash"] if self.records else None,
            "record_hash": None,
            "signature": None,
        }
        if not self.classic:
            record["seq"] = len(self.records)
            if not (record["idempotency_key"] or "").startswith("system:"):
                record["commit"] = {"epoch": 1, **(commit or {})}
        body = {k: v for k, v in record.items() if k not in ("record_hash", "signature")}
        record["record_hash"] = sha256(dump_sorted(body)).hexdigest()
        self.records.append(record)
        return record

    def internal(self, kind, **facts):
        return self.add("n0", "completed", result={"internal": kind, **facts})

    def effect(self, node_id, kind, payload, outcome, *, result=None, error=None, attempt=1):
        """Add STARTED and the outcome of one attempt."""
        effect = {"type": kind, "payload": payload, "result_key": f"_temp.effects.{node_id}"}
        shared = {"effect": effect, "attempt": attempt, "key": f"{node_id:0>32}"}
        begun = self.add(node_id, "started", **shared)
        return self.add(
            node_id,
            outcome,
            result=result,
            error=error,
            step_id=begun["step_id"],
            started_at=begun["started_at"],
            **shared,
        )

    def wait(self, node_id, kind, reason, wait_key, **fields):
        wait = {"reason": reason, "wait_key": wait_key, "allow_free_text": True, **fields}
        return self.effect(node_id, kind, {}, "waiting", result={"wait": wait})

    def resume(self, node_id, wait_key, payload, *, reason="user", actor=None):
        effect = {
            "type": "resume",
            "payload": {
                "wait_reason": reason,
                "wait_key": wait_key,
                "resume_to_node": "next",
                "result_key": None,
                "payload": payload,
            },
            "result_key": None,
        }
        result = {"resumed": True, **({"actor": actor} if actor else {})}
        return self.add(node_id, "completed", effect=effect, result=result)

    def complete(self, node_id, output):
        self.add(
            node_id,
            "completed",
            result={"completed": True, "output": output},
            commit={"status": "completed", "output": output},
        )
        return self.terminal("completed")

    def terminal(self, status):
        payload = {"name": "abstract.status", "scope": "session", "payload": {"text": status}}
        return self.add(
            "n9",
            "completed",
            effect={"type": "emit_event", "payload": payload, "result_key": None},
            result={"emitted": True},
            key=f"system:terminal_status:{status}",
        )

    def lines(self):
        return [dump_line(record) for record in self.records]


LABELS = {"n1": "Draft notes", "n2": "Approve release", "n4": "Publish"}

STARTED = {
    "workflow_id": "release",
    "entry_node": "n0",
    "bundle_ref": "release-approval@1.2.0",
    "bundle_digest": "sha256:" + "ab" * 32,
    "signers": ["release-key"],
    "labels": {"team": "core"},
}
ORIGIN = RunOrigin.of({"result": {"internal": "run_started", **STARTED}})


def release_ledger(run_id="run-1", *, classic=False, **stated):
    """One run with a retry, a question answered by alice, a message and a child run."""
    ledger = LedgerBuilder(run_id, classic=classic)
    if not classic:
        ledger.internal("run_started", **STARTED, **stated)
    prompt = {"prompt": "Write"}
    ledger.effect("n1", "llm_call", prompt, "failed", error="timed out")
    usage = {"prompt_tokens": 30, "completion_tokens": 12}
    answer = {"content": "Notes", "usage": usage}
    ledger.effect("n1", "llm_call", prompt, "completed", result=answer, attempt=2)
    ledger.wait("n2", "ask_user", "user", "user:R:n2", prompt="Deploy?", choices=["yes", "no"])
    ledger.resume("n2", "user:R:n2", {"response": "yes"}, actor="alice")
    said = {"message": "On its way", "level": "message"}
    ledger.effect("n3", "answer_user", said, "completed", result=said)
    child = {"sub_run_id": "child-1", "output": {"ok": True}}
    ledger.effect("n4", "start_subworkflow", {}, "completed", result=child)
    ledger.complete("n5", {"released": True})
    return ledger


def child_ledger(run_id="child-1", **stated):
    ledger = LedgerBuilder(run_id)
    ledger.internal("run_started", workflow_id="publish", entry_node="c0", **stated)
    ledger.complete("c1", {"ok": True})
    return ledger


def a_run(run_id="run-1", status="completed", **fields):
    fields = {"workflow_id": "release", "current_node": "n5", "vars": {}, **fields}
    moment = {"created_at": _START.isoformat(), "updated_at": _START.isoformat()}
    return RunState(run_id=run_id, status=RunStatus(status), **{**moment, **fields})


def a_wait(**fields):
    return WaitState.from_dict({"reason": "user", "wait_key": "user:R:n2", **fields})


class FakeEngine:
    """The read side of an engine over given runs and lines."""

    def __init__(self, runs, ledgers):
        self.runs = {run.run_id: run for run in runs}
        self.ledgers = ledgers

    def peek(self, run_id):
        if run_id not in self.runs:
            raise NotFound(f"no run '{run_id}'")
        return self.runs[run_id]

    def records(self, run_id, *, after=-1):
        for seq, line in enumerate(self.ledgers.get(run_id, [])):
            yield StoredRecord(seq, 0, line, load_strict(line))

    def find(self, query):
        return [
            _header(run)
            for run in self.runs.values()
            if (query.parent_run_id is None or run.parent_run_id == query.parent_run_id)
            and (query.session_id is None or run.session_id == query.session_id)
            and not (query.root_only and run.parent_run_id)
        ]


def _header(run):
    header = RunHeader.of(run)
    return replace(header, wait_reason=None, wait_key=None, wait_until=None, actor_id=None)
