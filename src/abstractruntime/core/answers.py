"""What the answer to a wait becomes before it is stored under the wait's result key."""

from __future__ import annotations

import json
from typing import Any

from abstractruntime.core._kernel.tool_calls import results_in_call_order
from abstractruntime.core.models import JsonObject, WaitReason, WaitState

_REPORT_CHARS = 4000


def stored_answer(wait: WaitState, payload: Any) -> Any:
    """Give the value that a wait stores; most store the answer as it is.

    A child that was called as a tool is stored as a tool result, and the results of a tool
    wait are put in the order of its calls.
    """
    details = wait.details or {}
    if wait.reason is WaitReason.SUBWORKFLOW and details.get("wrap_as_tool_result"):
        return payload if _is_tool_result(payload) else _wrapped_child(details, payload)
    if "original_call_count" in details:
        return results_in_call_order(details, payload)
    return payload


def tool_result(
    *, name: Any, call_id: Any, output: Any = None, error: str | None = None
) -> JsonObject:
    """Give the envelope of one executed tool call; it succeeded when there is no error."""
    result = {
        "call_id": str(call_id or "subworkflow"),
        "name": str(name or "start_subworkflow"),
        "success": error is None,
        "output": output,
        "error": error,
    }
    return {"mode": "executed", "results": [result]}


def child_as_tool_result(
    *, name: Any, call_id: Any, sub_run_id: str | None, output: Any
) -> JsonObject:
    """Give what a child came to, as the result of a tool call.

    The answer is the child's `answer`, its text, or else its output as JSON; a short
    `report` is carried along. A child that says `success: false` is a failed call.
    """
    facts = output if isinstance(output, dict) else {}
    if facts.get("success") is False:
        return tool_result(name=name, call_id=call_id, error=_failure_of(facts))
    answer = _answer_of(output)
    told: JsonObject = {"rendered": answer, "answer": answer, "sub_run_id": sub_run_id}
    report = facts.get("report")
    if isinstance(report, str) and report.strip() and len(report) <= _REPORT_CHARS:
        told["report"] = report
    return tool_result(name=name, call_id=call_id, output=told)


def _wrapped_child(details: JsonObject, payload: Any) -> JsonObject:
    is_hand_over = isinstance(payload, dict) and "output" in payload
    output = payload["output"] if is_hand_over else payload
    sub_run_id = payload.get("sub_run_id") if isinstance(payload, dict) else None
    return child_as_tool_result(
        name=details.get("tool_name"),
        call_id=details.get("call_id"),
        sub_run_id=sub_run_id or details.get("sub_run_id"),
        output=output,
    )


def _is_tool_result(payload: Any) -> bool:
    return isinstance(payload, dict) and "mode" in payload and "results" in payload


def _answer_of(output: Any) -> str:
    answer = output.get("answer") if isinstance(output, dict) else output
    if isinstance(answer, str) and answer.strip():
        return answer
    return json.dumps(output, ensure_ascii=False)


def _failure_of(output: JsonObject) -> str:
    error = output.get("error")
    return str(error) if error else "Subworkflow failed"
