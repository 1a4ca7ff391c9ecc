"""Building blocks of agents: contexts, meta data, scratchpads, tool calls and reports."""

from __future__ import annotations

import locale
import os

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._coerce import as_list, filled, text_of, whole_or
from abstractruntime.nodes._pure import BareNode, PureNode
from abstractruntime.nodes._tool_lines import tool_line
from abstractruntime.nodes.base import (
    Element,
    Example,
    Pin,
    Scope,
    register,
)
from abstractruntime.nodes.keys import TEXT, older, settings
from abstractruntime.rendering import render_agent_trace_markdown

_META_SCHEMA = "abstractcode.agent.v1.meta"
_META_TEXTS = ("output_mode", "provider", "model", "sub_run_id", "finish_reason")
_META_COUNTERS = ("iterations", "tool_calls", "tool_results")
_META_TIMES = ("gen_time", "ttft_ms")
_ONE = ("string", "object")
"""What one message may be that is not in a list."""
_LOCALE_NAMES = ("LC_ALL", "LANG", "LC_CTYPE")


@register
class MakeContext(PureNode):
    type = "make_context"
    family = "reports"
    doc = (
        "Builds the context object of an agent: its task, its messages, and any further entries "
        "of `context_extra`, which `task` and `messages` override. One message that is not in a "
        "list becomes a list."
    )
    inputs = (
        Pin("task", "string", "What the agent should do."),
        Pin("messages", "array", "The conversation so far.", also=_ONE),
        Pin("context_extra", "object", "Further entries."),
    )
    outputs = (Pin("context", "object", "The context."),)
    examples = (
        Example({"task": "sum up"}, {"context": {"task": "sum up", "messages": []}}),
        Example(
            {"task": "t", "context_extra": {"k": 1, "task": "old"}},
            {"context": {"k": 1, "task": "t", "messages": []}},
        ),
    )

    def compute(self, inputs: JsonObject) -> JsonObject:
        task, messages, extra = self.arguments(inputs)
        context = dict(extra) if isinstance(extra, dict) else {}
        context.update(task=text_of(task), messages=as_list(messages))
        return {"context": context}


@register
class MakeMeta(PureNode):
    type = "make_meta"
    family = "reports"
    doc = (
        "Builds the meta data of an agent's answer. Only pins with a usable value appear: texts "
        "that are not blank, numbers for the counters, objects for `usage` and `trace` (a text "
        "as `trace` is its id). `schema` and `version` always appear. `extra` gives further "
        "entries, which the pins override."
    )
    inputs = (
        Pin("schema", "string", "Name of the format.", default=_META_SCHEMA),
        Pin("version", "number", "Version of the format.", default=1),
        Pin("output_mode", "string", "How the answer was asked for."),
        Pin("provider", "provider", "The model's provider."),
        Pin("model", "model", "The model."),
        Pin("sub_run_id", "string", "The agent's run."),
        Pin("iterations", "number", "How many turns it took."),
        Pin("tool_calls", "number", "How many tools were called."),
        Pin("tool_results", "number", "How many results came back."),
        Pin("finish_reason", "string", "Why the model stopped."),
        Pin("gen_time", "number", "Generation time."),
        Pin("ttft_ms", "number", "Time to the first token, in milliseconds."),
        Pin("usage", "object", "Token counts."),
        Pin("trace", "object", "The trace, or its id as a text.", also=("string",)),
        Pin("trace_id", "string", "The trace's id; overrides the one in `trace`."),
        Pin("warnings", "array", "Warnings, as texts.", also=("string",)),
        Pin("debug", "any", "Anything for developers."),
        Pin("extra", "object", "Further entries."),
    )
    outputs = (Pin("meta", "object", "The meta data."),)
    examples = (
        Example({}, {"meta": {"schema": _META_SCHEMA, "version": 1}}),
        Example(
            {"schema": "x.v2", "version": "2.7", "iterations": "3", "trace": "t-1", "model": " "},
            {
                "meta": {
                    "schema": "x.v2",
                    "version": 2,
                    "iterations": 3,
                    "trace": {"trace_id": "t-1"},
                }
            },
        ),
    )

    def compute(self, inputs: JsonObject) -> JsonObject:
        extra = inputs.get("extra")
        meta = dict(extra) if isinstance(extra, dict) else {}
        meta["schema"] = filled(inputs.get("schema")) or _META_SCHEMA
        meta["version"] = whole_or(inputs.get("version"), 1)
        entries = {
            **{name: _meta_text(name, inputs.get(name)) for name in _META_TEXTS},
            **{name: whole_or(inputs.get(name), None) for name in _META_COUNTERS},
            **{name: _unless_bool(inputs.get(name)) for name in _META_TIMES},
            "usage": _dict_or_none(inputs.get("usage")),
            "trace": _trace(inputs.get("trace"), filled(inputs.get("trace_id"))),
            "warnings": _warnings(inputs.get("warnings")) or None,
            "debug": inputs.get("debug"),
        }
        meta.update({name: value for name, value in entries.items() if value is not None})
        return {"meta": meta}


def _meta_text(name: str, value: JsonValue) -> str | None:
    if name in {"provider", "model"}:
        value = text_of(value)
    return filled(value) or None


def _unless_bool(value: JsonValue) -> JsonValue:
    return None if isinstance(value, bool) else value


def _dict_or_none(value: JsonValue) -> JsonObject | None:
    return dict(value) if isinstance(value, dict) else None


def _trace(value: JsonValue, trace_id: str) -> JsonObject | None:
    trace = _dict_or_none(value) or {}
    named = trace_id or filled(value)
    if named:
        trace["trace_id"] = named
    return trace if trace or isinstance(value, dict) else None


def _warnings(value: JsonValue) -> list[str]:
    # Compat: a null warning reads "None", as it always has.
    texts = (str(item).strip() for item in as_list(value))
    return [text for text in texts if text]


@register
class MakeScratchpad(PureNode):
    type = "make_scratchpad"
    family = "reports"
    doc = (
        "Builds an agent's scratchpad, as `agent_trace_report` and other readers expect it. The "
        "ids appear when they are not blank and `context_extra` when it is an object; everything "
        "else always appears, empty when missing."
    )
    inputs = (
        Pin("sub_run_id", "string", "The agent's run."),
        Pin("workflow_id", "string", "The agent's workflow."),
        Pin("task", "string", "What the agent should do."),
        Pin("messages", "array", "The conversation.", also=_ONE),
        Pin("context_extra", "object", "Further context."),
        Pin("node_traces", "object", "Traces by node."),
        Pin("steps", "array", "Steps of the agent."),
        Pin("tool_calls", "array", "Tools that were called."),
        Pin("tool_results", "array", "What they returned."),
    )
    outputs = (Pin("scratchpad", "object", "The scratchpad."),)
    examples = (
        Example(
            {"sub_run_id": "r1", "task": "t", "messages": "hi"},
            {
                "scratchpad": {
                    "sub_run_id": "r1",
                    "task": "t",
                    "messages": ["hi"],
                    "node_traces": {},
                    "steps": [],
                    "tool_calls": [],
                    "tool_results": [],
                }
            },
        ),
    )

    def compute(self, inputs: JsonObject) -> JsonObject:
        ids = {name: filled(inputs.get(name)) for name in ("sub_run_id", "workflow_id")}
        pad: JsonObject = {name: text for name, text in ids.items() if text}
        pad.update(task=text_of(inputs.get("task")), messages=as_list(inputs.get("messages")))
        extra = inputs.get("context_extra")
        if isinstance(extra, dict):
            pad["context_extra"] = extra
        pad["node_traces"] = _dict_or_none(inputs.get("node_traces")) or {}
        pad.update({n: as_list(inputs.get(n)) for n in ("steps", "tool_calls", "tool_results")})
        return {"scratchpad": pad}


@register
class SystemDatetime(PureNode):
    type = "system_datetime"
    family = "reports"
    doc = (
        "Gives the local date and time with its offset from UTC, the name of the time zone, and "
        "the language setting of the machine. The reading is kept with the run."
    )
    outputs = (
        Pin("iso", "string", "Date and time in ISO 8601."),
        Pin("timezone", "string", "Name of the time zone."),
        Pin("utc_offset_minutes", "number", "Offset from UTC in minutes."),
        Pin("locale", "string", "The language setting, such as en_GB."),
    )
    draws = True
    examples = (
        Example(
            {},
            output={
                "iso": "2026-01-02T03:04:05+00:00",
                "timezone": "UTC",
                "utc_offset_minutes": 0,
                "locale": "en_US",
            },
        ),
    )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonObject:
        now = scope.now().astimezone()
        offset = now.utcoffset()
        return {
            "iso": now.isoformat(),
            "timezone": now.tzname() or "",
            "utc_offset_minutes": 0 if offset is None else int(offset.total_seconds() // 60),
            "locale": _locale_name(),
        }


def _locale_name() -> str:
    name, _ = locale.getlocale()
    if name:
        return name
    settings = (os.environ.get(variable, "") for variable in _LOCALE_NAMES)
    return next((text.partition(".")[0] for text in settings if text), "")


@register
class ToolParameters(PureNode):
    type = "tool_parameters"
    family = "reports"
    doc = (
        "Builds a call of the tool named in `toolParametersConfig` from its declared pins. Pins "
        "with a value become arguments, null ones do not; every declared pin is given on as an "
        "output of the same name."
    )
    inputs = (Pin("*", "any", "One pin per parameter of the tool.", dynamic=True, declared=True),)
    outputs = (
        Pin("tool_call", "object", "The call: `name` and `arguments`."),
        Pin("*", "any", "The parameters, as they came in.", dynamic=True, declared=True),
    )
    data_schema = settings(
        "toolParametersConfig",
        tool={**TEXT, "description": "Name of the tool."},
        name=older(TEXT),
    )
    examples = (
        Example(
            {"path": ".", "depth": None},
            {
                "path": ".",
                "depth": None,
                "tool_call": {"name": "ls", "arguments": {"path": "."}},
            },
            {
                "toolParametersConfig": {"tool": " ls "},
                "inputs": [{"id": "path", "type": "string"}, {"id": "depth", "type": "number"}],
            },
        ),
    )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonObject:
        config = element.config("toolParametersConfig")
        record: JsonObject = {name: inputs.get(name) for name in element.input_ids}
        arguments = {name: value for name, value in record.items() if value is not None}
        name = filled(config.get("tool")) or filled(config.get("name"))
        return {**record, "tool_call": {"name": name, "arguments": arguments}}


@register
class FormatToolResults(BareNode):
    type = "format_tool_results"
    needs = ("tool_results",)
    family = "reports"
    doc = (
        "Writes tool results as lines for a prompt: `- name(first argument) [SUCCESS] : text`. "
        "The text is the error of a failed call, the `rendered` text of the output, or the output "
        "itself, at most 420 characters. Entries that are not objects are skipped."
    )
    inputs = (
        Pin(
            "tool_results",
            "array",
            "The results, or one result.",
            aliases=("results",),
            also=("object",),
        ),
    )
    outputs = (Pin("result", "string", "One line per result."),)
    examples = (
        Example(
            {
                "tool_results": [
                    {"name": "ls", "arguments": {"path": "."}, "success": True, "output": "a"}
                ]
            },
            "- ls(.) [SUCCESS] : a",
        ),
        Example(
            {"tool_results": {"name": "rm", "success": False, "error": "no"}},
            "- rm() [FAILURE] : no",
        ),
    )
    compat = "The argument shown is the first of the call; tool specifications are not consulted."

    def compute(self, inputs: JsonObject) -> str:
        entries = as_list(inputs.get("tool_results"))
        return "\n".join(tool_line(entry) for entry in entries if isinstance(entry, dict))


@register
class AgentTraceReport(BareNode):
    type = "agent_trace_report"
    needs = ("scratchpad",)
    family = "reports"
    doc = (
        "Writes the trace in an agent's scratchpad as a Markdown report: every step in the order "
        "of time with its model answer, tool calls and errors. Nothing is shortened."
    )
    inputs = (Pin("scratchpad", "object", "The scratchpad of an agent."),)
    outputs = (Pin("result", "string", "The report."),)
    examples = (
        Example({"scratchpad": None}, "# Agent Trace Report\n\n_No scratchpad provided._\n"),
    )
    compat = "A block's fence is longer than any fence inside it, so content cannot break out."

    def compute(self, inputs: JsonObject) -> str:
        return render_agent_trace_markdown(inputs.get("scratchpad"))
