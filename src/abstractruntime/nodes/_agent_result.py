"""What an agent's run came to, and how its turn joins the conversation."""

from __future__ import annotations

from dataclasses import dataclass, field

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._agent_trace import tool_activity
from abstractruntime.nodes._settings import object_messages, text
from abstractruntime.nodes.llm import compact_json

MAX_OBSERVATIONS = 20
MAX_OBSERVATION_CHARS = 2000
_NO_ANSWER = "the agent's run gave no answer"


@dataclass(frozen=True, slots=True)
class ChildAnswer:
    """The answer of an agent's run, read from what its host handed over."""

    sub_run_id: str | None
    success: bool
    answer: str = ""
    error: str | None = None
    status: str | None = None
    output: JsonObject = field(default_factory=dict)
    node_traces: JsonObject = field(default_factory=dict)

    @classmethod
    def of(cls, handed: JsonValue) -> ChildAnswer:
        if not isinstance(handed, dict):
            return cls(None, success=False, error=_NO_ANSWER, status="failed")
        given = handed.get("output")
        output = given if isinstance(given, dict) else {"answer": given}
        failed = next((p for p in (output, handed) if p.get("success") is False), None)
        error = None
        if failed is not None:
            error = text(failed.get("error") or handed.get("error")) or _NO_ANSWER
        cancelled = output.get("cancelled") or handed.get("cancelled")
        traces = handed.get("node_traces")
        return cls(
            sub_run_id=handed.get("sub_run_id"),
            success=failed is None,
            answer=_as_text(output.get("answer")),
            error=error,
            status=None if failed is None else "cancelled" if cancelled else "failed",
            output=output,
            node_traces=traces if isinstance(traces, dict) else {},
        )

    @property
    def response(self) -> str:
        return self.answer or self.error or ""

    @property
    def messages(self) -> list[JsonObject]:
        return object_messages(self.output.get("messages"))

    def facts(self) -> JsonObject:
        """Give what the meta pin tells about the run."""
        iterations = self.output.get("iterations")
        is_count = isinstance(iterations, int | float) and not isinstance(iterations, bool)
        found = {
            "sub_run_id": self.sub_run_id,
            "iterations": int(iterations) if is_count and iterations is not None else None,
            "stop_reason": self.output.get("stop_reason"),
            "status": self.status,
            "error": self.error,
        }
        return {name: value for name, value in found.items() if value is not None}


def add_turn(variables: JsonObject, node_id: str, task: str, child: ChildAnswer) -> None:
    """Append task, tool observations and answer to the run's conversation, once per agent run."""
    context = variables.get("context")
    if not isinstance(context, dict):
        context = variables["context"] = {}
    messages = context.get("messages")
    if not isinstance(messages, list):
        messages = context["messages"] = []
    known = {_message_id(m) for m in object_messages(messages)}
    for message in _turn(node_id, task, child):
        if message["metadata"]["message_id"] not in known:
            messages.append(message)


def _turn(node_id: str, task: str, child: ChildAnswer) -> list[JsonObject]:
    def message(role: str, content: str, part: str, kind: str = "agent_turn") -> JsonObject:
        metadata = {
            "kind": kind,
            "node_id": node_id,
            "message_id": f"agent:{child.sub_run_id}:{node_id}:{part}",
            "sub_run_id": child.sub_run_id,
        }
        return {"role": role, "content": content, "metadata": metadata}

    told = _observations(child.node_traces)
    seen = [
        message("assistant", content, f"tool:{n}", "tool_observation")
        for n, content in enumerate(told[:MAX_OBSERVATIONS], 1)
    ]
    if len(told) > MAX_OBSERVATIONS:
        note = f"[{len(told) - MAX_OBSERVATIONS} more tool observations left out]"
        seen.append(message("assistant", note, "tools_left_out", "tool_observation"))
    question, answer = task.strip(), child.answer.strip()
    asked = [message("user", question, "task")] if question else []
    answered = [message("assistant", answer, "answer")] if answer else []
    return [*asked, *seen, *answered]


def _observations(traces: JsonObject) -> list[str]:
    calls, results = tool_activity(traces)
    arguments = {call.get("call_id"): call.get("arguments") for call in calls}
    return [_observation(result, arguments.get(result.get("call_id"))) for result in results]


def _observation(result: JsonObject, arguments: JsonValue) -> str:
    told = _as_text(result.get("output"))
    if result.get("success") is False:
        told = f"Error: {text(result.get('error')) or told}"
    line = f"[{text(result.get('name')) or 'tool'}]: args={compact_json(arguments or {})}\n{told}"
    return line[:MAX_OBSERVATION_CHARS]


def _as_text(value: JsonValue) -> str:
    return compact_json(value) if isinstance(value, dict | list) else text(value)


def _message_id(message: JsonObject) -> JsonValue:
    metadata = message.get("metadata")
    return metadata.get("message_id") if isinstance(metadata, dict) else None
