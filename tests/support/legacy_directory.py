"""Directories as version 0.4.x wrote them, built with plain JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

T = "2025-01-01T00:00:{:02d}.000000+00:00"
QUESTION = {
    "reason": "user",
    "wait_key": "user:r1:ask",
    "until": None,
    "resume_to_node": "end",
    "result_key": "answer",
    "prompt": "ok?",
    "choices": None,
    "allow_free_text": True,
    "details": None,
}


def checkpoint(
    run_id: str = "r1", status: str = "running", node: str = "ask", **fields: Any
) -> Any:
    """Give the checkpoint of a run, in the key order of 0.4.x."""
    return {
        "run_id": run_id,
        "workflow_id": "flow",
        "status": status,
        "current_node": node,
        "vars": {"seen": [1]},
        "waiting": None,
        "output": None,
        "error": None,
        "created_at": T.format(0),
        "updated_at": T.format(10),
        "actor_id": None,
        "session_id": None,
        "parent_run_id": None,
        **fields,
    }


def record(run_id: str = "r1", status: str = "completed", node: str = "call", **fields: Any) -> Any:
    """Give one ledger record, in the key order of 0.4.x."""
    return {
        "run_id": run_id,
        "step_id": "s1",
        "node_id": node,
        "status": status,
        "effect": {"type": "llm_call", "payload": {"prompt": "x"}, "result_key": "r"},
        "result": {"text": "hi"} if status == "completed" else None,
        "error": None,
        "started_at": T.format(5),
        "ended_at": T.format(6),
        "actor_id": None,
        "session_id": None,
        "attempt": 1,
        "idempotency_key": "k1",
        "prev_hash": None,
        "record_hash": None,
        "signature": None,
        **fields,
    }


def status_record(run_id: str = "r1", status: str = "completed") -> Any:
    key = f"system:terminal_status:{status}"
    return record(run_id, node="end", idempotency_key=key, effect=None)


def chained(records: list[Any]) -> list[Any]:
    """Give the records with the hash chain of 0.4.x."""
    head = None
    for item in records:
        item["prev_hash"] = head
        body = {k: v for k, v in item.items() if k not in ("record_hash", "signature")}
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        head = item["record_hash"] = hashlib.sha256(text.encode()).hexdigest()
    return records


def checkpoint_bytes(run: Any) -> bytes:
    return json.dumps(run, ensure_ascii=False, indent=2).encode()


def ledger_bytes(records: list[Any]) -> bytes:
    return b"".join(json.dumps(item, ensure_ascii=False).encode() + b"\n" for item in records)


def write_run(root: Path, run: Any, records: list[Any] | None = None, *, tail: bytes = b"") -> None:
    """Write one run; `records` None leaves the ledger out."""
    root.mkdir(parents=True, exist_ok=True)
    (root / f"run_{run['run_id']}.json").write_bytes(checkpoint_bytes(run))
    if records is not None:
        path = root / f"ledger_{run['run_id']}.jsonl"
        path.write_bytes(ledger_bytes(records) + tail)


def waiting_run(run_id: str = "r1", **fields: Any) -> Any:
    return checkpoint(run_id, "waiting", waiting={**QUESTION, **fields})
