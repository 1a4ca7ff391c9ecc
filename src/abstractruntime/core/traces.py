"""Node traces: what each node's effects came to, as a projection of the ledger.

They are never part of the state that is committed; whoever wants them reads records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from abstractruntime.core.models import JsonObject, StepStatus
from abstractruntime.core.records import STATUS_KEY_PREFIX

STEPS_PER_NODE = 100


def project_traces(records: Iterable[Mapping[str, Any]]) -> JsonObject:
    """Give `{node_id: {"node_id", "steps", "updated_at"}}`, the newest 100 steps of each node.

    A step is the outcome of one effect occurrence; of repeated attempts only the last counts.
    """
    traces: JsonObject = {}
    for record in records:
        kind = (record.get("effect") or {}).get("type")
        is_status = str(record.get("idempotency_key") or "").startswith(STATUS_KEY_PREFIX)
        if kind in (None, "resume") or is_status:
            continue
        trace = traces.setdefault(record["node_id"], {"node_id": record["node_id"], "steps": []})
        if record["status"] == StepStatus.STARTED:
            _drop_superseded(trace["steps"], record)
            continue
        trace["steps"] = [*trace["steps"][1 - STEPS_PER_NODE :], _step(record)]
        trace["updated_at"] = record.get("ended_at")
    return {node: trace for node, trace in traces.items() if trace["steps"]}


def _drop_superseded(steps: list[JsonObject], started: Mapping[str, Any]) -> None:
    """Forget a failed attempt when its repetition begins."""
    last = steps[-1] if steps else {}
    is_same = last.get("idempotency_key") == started.get("idempotency_key")
    if started.get("attempt", 1) > 1 and is_same and last.get("status") == StepStatus.FAILED:
        steps.pop()


def _step(record: Mapping[str, Any]) -> JsonObject:
    status = StepStatus(record["status"])
    step: JsonObject = {
        "ts": record.get("ended_at"),
        "node_id": record["node_id"],
        "status": status.value,
        "idempotency_key": record.get("idempotency_key"),
        "reused_prior_result": False,
        "effect": record["effect"],
        "duration_ms": _duration_ms(record.get("started_at"), record.get("ended_at")),
    }
    if status is StepStatus.FAILED:
        step["error"] = record.get("error")
    elif status is StepStatus.WAITING:
        step["wait"] = (record.get("result") or {}).get("wait")
    else:
        step["result"] = record.get("result")
    return step


def _duration_ms(start: Any, end: Any) -> float:
    try:
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (TypeError, ValueError):
        return 0.0
    return round(seconds * 1000, 3)
