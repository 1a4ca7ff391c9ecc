"""The steps of an agent as a Markdown report."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from abstractruntime._json import JsonObject, JsonValue, mapping
from abstractruntime.rendering.json_stringify import JsonStringifyMode, stringify_json

_TITLE: Final = "# Agent Trace Report"
_BACKTICKS = re.compile(r"`{3,}")


@dataclass(frozen=True, slots=True)
class AgentTraceMarkdownReportConfig:
    """What a report shows; `json_mode` is the layout of its JSON blocks."""

    include_timestamps: bool = False
    json_mode: JsonStringifyMode = JsonStringifyMode.BEAUTIFY


@dataclass(frozen=True, slots=True)
class _Report:
    """One rendering: the configuration and the lines so far."""

    config: AgentTraceMarkdownReportConfig
    lines: list[str]

    def bullet(self, name: str, value: str) -> None:
        self.lines.append(f"- **{name}**: {value}")

    def heading(self, text: str) -> None:
        self.lines.extend(["", text])

    def block(self, title: str, language: str, text: str) -> None:
        """Add a fenced block whose fence is longer than any inside the text."""
        inner = max((len(run) for run in _BACKTICKS.findall(text)), default=2)
        fence = "`" * (inner + 1)
        self.lines.extend(["", f"**{title}**", f"{fence}{language}", text, fence])

    def value_block(self, title: str, value: JsonValue) -> None:
        if isinstance(value, str):
            self.block(title, "text", value)
        else:
            self.block(title, "json", self.json(value))

    def json(self, value: JsonValue) -> str:
        return stringify_json(value, mode=self.config.json_mode, parse_strings=False)


def render_agent_trace_markdown(
    scratchpad: Any, *, config: AgentTraceMarkdownReportConfig | None = None
) -> str:
    """Give the report of an agent's `scratchpad`, complete and in the order of time.

    A single `{node_id, steps}` trace is accepted in its place. Text from the trace
    cannot break out of its block. The report ends with one newline.
    """
    report = _Report(config or AgentTraceMarkdownReportConfig(), [_TITLE])
    if not isinstance(scratchpad, dict):
        return f"{_TITLE}\n\n_No scratchpad provided._\n"
    for name in ("sub_run_id", "workflow_id"):
        if isinstance(value := scratchpad.get(name), str) and value.strip():
            report.bullet(name, _code(value.strip()))
    _write_timeline(report, _traces(scratchpad))
    return "\n".join(report.lines).rstrip() + "\n"


def _traces(scratchpad: JsonObject) -> JsonObject | None:
    traces = scratchpad.get("node_traces")
    if isinstance(traces, dict):
        return traces
    if isinstance(scratchpad.get("steps"), list) and scratchpad.get("node_id"):
        return {str(scratchpad["node_id"]): scratchpad}
    return None


def _write_timeline(report: _Report, traces: JsonObject | None) -> None:
    if traces is None:
        report.heading("_No node_traces found in scratchpad._")
        return
    steps = sorted(_steps(traces), key=lambda pair: str(pair[1].get("ts") or ""))
    if not steps:
        report.heading("_No trace steps found._")
        return
    report.heading("## Timeline")
    for number, (node, step) in enumerate(steps, 1):
        _write_step(report, number, node, step)


def _steps(traces: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for name, trace in traces.items():
        steps = trace.get("steps") if isinstance(trace, dict) else None
        for step in steps if isinstance(steps, list) else ():
            if isinstance(step, dict):
                yield str(trace.get("node_id") or name), step


def _write_step(report: _Report, number: int, node: str, step: JsonObject) -> None:
    effect = mapping(step.get("effect"))
    kind = str(effect.get("type") or "unknown")
    status = str(step.get("status") or "unknown")
    report.heading(f"### {number}. {_code(node)} \u2014 {_code(kind)} ({status})")
    if report.config.include_timestamps and step.get("ts"):
        report.bullet("ts", _code(str(step["ts"])))
    duration = step.get("duration_ms")
    if isinstance(duration, int | float) and not isinstance(duration, bool):
        report.bullet("duration_ms", f"{float(duration):.3f}")
    if status == "failed":
        report.block("Error", "text", str(step.get("error") or "unknown error"))
        return
    _WRITERS.get(kind, _write_result)(report, mapping(effect.get("payload")), step.get("result"))


def _write_llm_call(report: _Report, _payload: JsonObject, result: JsonValue) -> None:
    answer = mapping(result)
    for name in ("model", "finish_reason"):
        if isinstance(value := answer.get(name), str) and value.strip():
            report.bullet(name, _code(value.strip()))
    calls = [call for call in _list(answer.get("tool_calls")) if isinstance(call, dict)]
    names = ", ".join(_code(_tool_name(call)) for call in calls)
    report.bullet("tool_calls_requested", names or "none")
    content = answer.get("content")
    if isinstance(content, str) and content.strip():
        report.block("Assistant content", "markdown", content.strip())
    elif content is not None and not isinstance(content, str):
        report.block("Assistant content", "json", report.json(content))


def _write_tool_calls(report: _Report, payload: JsonObject, result: JsonValue) -> None:
    results = [item for item in _list(mapping(result).get("results")) if isinstance(item, dict)]
    by_id = {str(item["call_id"]): item for item in results if item.get("call_id")}
    for call in _list(payload.get("tool_calls")):
        if isinstance(call, dict):
            call_id = str(call.get("call_id") or "")
            _write_tool_call(report, call, call_id, by_id.get(call_id))


def _write_tool_call(
    report: _Report, call: JsonObject, call_id: str, result: JsonObject | None
) -> None:
    suffix = f" (call_id={_plain(call_id)})" if call_id else ""
    report.heading(f"#### Tool: {_code(_tool_name(call))}{suffix}")
    report.block("Arguments", "json", report.json(call.get("arguments")))
    report.lines.append("")
    if result is None:
        report.lines.append("_missing tool result in trace entry_")
        return
    success = result.get("success")
    report.bullet("success", str(success).lower() if isinstance(success, bool) else "unknown")
    if result.get("error") is not None:
        report.bullet("error", _plain(str(result["error"])))
    report.value_block("Output", result.get("output"))


def _write_result(report: _Report, _payload: JsonObject, result: JsonValue) -> None:
    if result is not None:
        report.block("Result", "json", report.json(result))


_WRITERS: Final[Mapping[str, Callable[[_Report, JsonObject, JsonValue], None]]] = MappingProxyType(
    {"llm_call": _write_llm_call, "tool_calls": _write_tool_calls}
)


def _tool_name(call: JsonObject) -> str:
    return str(call.get("name") or "tool")


def _plain(text: str) -> str:
    return " ".join(text.split())


def _code(text: str) -> str:
    """Give inline code that its own text cannot end."""
    return f"`{_plain(text).replace('`', chr(39))}`"


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
