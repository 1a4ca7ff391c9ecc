"""The schema of a case: what `art test` reads."""

from __future__ import annotations

from typing import Final

from abstractruntime._json import JsonObject
from abstractruntime.core.models import EffectType
from abstractruntime.errors import ExitCode
from abstractruntime.schemas.shapes import COUNT, DRAFT, TEXT, list_of, map_of, one_of

_MOCK: Final[JsonObject] = {
    "description": "What an effect comes to: its result, a failure, or an answer of a model.",
    "type": "object",
    "properties": {
        "result": {"description": "The result as it is."},
        "fail": {**TEXT, "description": "The effect fails with this text."},
        "reply": {**TEXT, "description": "A model says this."},
        "data": {"type": ["object", "array"], "description": "A model gives structured output."},
        "tool_calls": {**list_of({"type": "object"}), "description": "A model asks for tools."},
        "match": {**TEXT, "description": "Only for questions that contain this text."},
        "regex": {**TEXT, "description": "Only for questions that this expression is found in."},
    },
    "minProperties": 1,
    "additionalProperties": False,
}
_MOCKS: Final[JsonObject] = {
    "description": "One for every call, or a list with one for each call in order.",
    "if": {"type": "array"},
    "then": list_of(_MOCK),
    "else": _MOCK,
}

_STEP: Final[JsonObject] = {
    "description": "One thing that happens to the run when it rests: exactly one of the actions.",
    "type": "object",
    "properties": {
        "answer": {"description": "Answers the question: a text, or an object as `resume` takes."},
        "resume": {"description": "Ends another wait with this payload."},
        "event": {**TEXT, "minLength": 1, "description": "Emits an event of this name."},
        "advance": {
            "type": ["number", "string"],
            "description": "Moves the clock: seconds, or such as 90m, 1h30m, 2d.",
        },
        "wake": {"const": True, "description": "Moves the clock to the next deadline."},
        "cancel": {**TEXT, "description": "Cancels the run for this reason."},
        "wait_key": {**TEXT, "description": "Which wait `answer` or `resume` is for."},
        "payload": {"description": "What `event` carries."},
        "scope": one_of("session", "workflow", "run", "global"),
    },
    "additionalProperties": False,
}

_EXPECT: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "status": one_of("completed", "failed", "waiting", "cancelled"),
        "exit_code": one_of(*sorted(int(code) for code in ExitCode)),
        "output": {"description": "The whole output."},
        "output_has": {"description": "A part of the output: objects may hold more keys."},
        "error": {
            "description": "A text that the error contains, or parts of the error object.",
            "type": ["string", "object"],
        },
        "waiting": {"type": "object", "description": "Parts of the open wait."},
        "messages": {**list_of(TEXT), "description": "What the run told the person, in order."},
        "calls": map_of(COUNT, "How often effects were asked for, by type or node id."),
    },
    "minProperties": 1,
    "additionalProperties": False,
}

CASE: Final[JsonObject] = {
    "$schema": DRAFT,
    "title": "Case: one story of a flow, for art test",
    "type": "object",
    "properties": {
        "$schema": TEXT,
        "format": {"const": "art-case/1"},
        "name": {**TEXT, "description": "One sentence; default is the name of the file."},
        "flow": {**TEXT, "description": "Document to run, relative to the case."},
        "entry": {**TEXT, "description": "Id of the flow to start."},
        "clock": {**TEXT, "description": "Moment at which the run starts."},
        "input": {"type": "object", "description": "Input of the run."},
        "files": map_of(TEXT, "Files of the workspace, by path, with their text."),
        "answers": {"type": "array", "description": "Short for steps that only answer."},
        "steps": list_of(_STEP),
        "mocks": {
            "type": "object",
            "properties": {
                "nodes": map_of(_MOCKS, "By node id, or FLOW:NODE in one of several flows."),
                "effects": {
                    **map_of(_MOCKS, "By effect type, for nodes without a mock of their own."),
                    "propertyNames": one_of(*[kind.value for kind in EffectType]),
                },
                "tools": map_of(_MOCKS, "By name of the tool."),
            },
            "additionalProperties": False,
        },
        "expect": _EXPECT,
    },
    "required": ["format", "expect"],
    "additionalProperties": False,
}
