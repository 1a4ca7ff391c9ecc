"""What the answer to a wait becomes before it is stored under the wait's result key."""

from __future__ import annotations

import json
from typing import Any

from abstractruntime._json import mapping
from abstractruntime.core.models import JsonObject, WaitReason, WaitState

_REPORT_CHARS = 4000
_MISSING = "Missing tool result"


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
    facts = mapping(output)
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


def results_in_call_order(details: JsonObject, payload: Any) -> Any:
    """Complete the answer to a tool wait of which some calls were settled beforehand.

    `blocked_by_index` and `pre_results_by_index` hold fixed results under the index of their
    call; the given ones fill the other places in order. An answer that is complete already,
    or is no result list, comes back as it is.
    """
    fixed = _fixed_results(details)
    total = details.get("original_call_count")
    given = payload.get("results") if isinstance(payload, dict) else None
    is_count = isinstance(total, int) and not isinstance(total, bool) and total > 0
    if not fixed or not is_count or not isinstance(given, list) or len(given) == total:
        return payload
    rest = iter(given)
    results = [
        fixed[index] if index in fixed else next(rest, None) or _missing(details, index)
        for index in range(int(total or 0))
    ]
    return {**payload, "mode": payload.get("mode") or "executed", "results": results}


def _fixed_results(details: JsonObject) -> dict[int, Any]:
    fixed: dict[int, Any] = {}
    for name in ("pre_results_by_index", "blocked_by_index"):
        by_index = details.get(name)
        for index, result in by_index.items() if isinstance(by_index, dict) else ():
            if str(index).isdigit():
                fixed[int(index)] = result
    return fixed


def _missing(details: JsonObject, index: int) -> JsonObject:
    calls = details.get("tool_calls")
    call = mapping(calls[index] if isinstance(calls, list) and index < len(calls) else None)
    return {
        "call_id": _stripped(call.get("call_id")),
        "name": _stripped(call.get("name")),
        "success": False,
        "output": None,
        "error": _MISSING,
    }


def _stripped(value: Any) -> str:
    return str(value).strip() if value is not None else ""
