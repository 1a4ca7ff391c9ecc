"""Schemas of what the tools for authors read and print."""

from __future__ import annotations

from typing import Final

from abstractruntime._json import JsonObject
from abstractruntime.core.models import EffectType
from abstractruntime.errors import ExitCode
from abstractruntime.schemas._documents import (
    _COUNT,
    _FLAG,
    _TEXT,
    _TEXT_OR_NULL,
    _TEXTS,
    _document,
    _list,
    _object,
)

_ANY: Final[JsonObject] = {}
_COUNT_OR_NULL: Final = {"type": ["integer", "null"], "minimum": 0}

FMT: Final = _document(
    "art-fmt/1",
    "Formatting of flow documents",
    {
        "changed": _COUNT,
        "files": _list(
            _object({"file": _TEXT, "changed": _FLAG, "written": _FLAG}, {"diff": _TEXTS})
        ),
    },
)

_CHANGE: Final = _object(
    {
        "kind": _TEXT,
        "node": _TEXT_OR_NULL,
        "label": _TEXT_OR_NULL,
        "what": _TEXT,
        "before": _ANY,
        "after": _ANY,
        "lines": _TEXTS,
    }
)
DIFF: Final = _document(
    "art-diff/1",
    "What changed between two flows or bundles",
    {
        "same": _FLAG,
        "before": _TEXT,
        "after": _TEXT,
        "entrypoints": {"anyOf": [{"type": "null"}, _CHANGE]},
        "flows": _list(
            _object(
                {
                    "flow_id": _TEXT,
                    "status": {"enum": ["same", "changed", "added", "removed"]},
                    "changes": _list(_CHANGE),
                }
            )
        ),
    },
)

GRAPH: Final = _document(
    "art-graph/1",
    "The picture of a flow or run",
    {
        "flow_id": _TEXT,
        "run_id": _TEXT_OR_NULL,
        "file": _TEXT_OR_NULL,
        "title": _TEXT,
        "description": _TEXT,
        "nodes": _list(
            _object(
                {
                    "id": _TEXT,
                    "title": _TEXT,
                    "type": _TEXT,
                    "kind": {"enum": ["entry", "step", "control", "pure", "dead"]},
                    "outcome": _TEXT_OR_NULL,
                    "times": _COUNT_OR_NULL,
                }
            )
        ),
        "edges": _list(_object({"source": _TEXT, "target": _TEXT, "label": _TEXT, "data": _FLAG})),
    },
)

_PROBLEM: Final = _object({"where": _TEXT, "message": _TEXT, "expected": _ANY, "found": _ANY})
TEST: Final = _document(
    "art-test/1",
    "What came of the cases of flows",
    {
        "ok": _FLAG,
        "passed": _COUNT,
        "failed": _COUNT,
        "cases": _list(
            _object(
                {
                    "file": _TEXT,
                    "name": _TEXT,
                    "flow_id": _TEXT,
                    "ok": _FLAG,
                    "updated": _FLAG,
                    "problems": _list(_PROBLEM),
                }
            )
        ),
    },
)


# -- cases -----------------------------------------------------------------------------------

_MOCK: Final[JsonObject] = {
    "description": "What an effect comes to: its result, a failure, or an answer of a model.",
    "type": "object",
    "properties": {
        "result": {"description": "The result as it is."},
        "fail": {**_TEXT, "description": "The effect fails with this text."},
        "reply": {**_TEXT, "description": "A model says this."},
        "data": {"type": ["object", "array"], "description": "A model gives structured output."},
        "tool_calls": {**_list({"type": "object"}), "description": "A model asks for tools."},
        "match": {**_TEXT, "description": "Only for questions that contain this text."},
        "regex": {**_TEXT, "description": "Only for questions that this expression is found in."},
    },
    "minProperties": 1,
    "additionalProperties": False,
}
_MOCKS: Final[JsonObject] = {
    "description": "One for every call, or a list with one for each call in order.",
    "if": {"type": "array"},
    "then": _list(_MOCK),
    "else": _MOCK,
}


def _map(values: JsonObject, description: str) -> JsonObject:
    return {"type": "object", "additionalProperties": values, "description": description}


_STEP: Final[JsonObject] = {
    "description": "One thing that happens to the run when it rests: exactly one of the actions.",
    "type": "object",
    "properties": {
        "answer": {"description": "Answers the question: a text, or an object as `resume` takes."},
        "resume": {"description": "Ends another wait with this payload."},
        "event": {**_TEXT, "minLength": 1, "description": "Emits an event of this name."},
        "advance": {
            "type": ["number", "string"],
            "description": "Moves the clock: seconds, or such as 90m, 1h30m, 2d.",
        },
        "wake": {"const": True, "description": "Moves the clock to the next deadline."},
        "cancel": {**_TEXT, "description": "Cancels the run for this reason."},
        "wait_key": {**_TEXT, "description": "Which wait `answer` or `resume` is for."},
        "payload": {"description": "What `event` carries."},
        "scope": {"enum": ["session", "workflow", "run", "global"]},
    },
    "additionalProperties": False,
}

_EXPECT: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "status": {"enum": ["completed", "failed", "waiting", "cancelled"]},
        "exit_code": {"enum": sorted(int(code) for code in ExitCode)},
        "output": {"description": "The whole output."},
        "output_has": {"description": "A part of the output: objects may hold more keys."},
        "error": {
            "description": "A text that the error contains, or parts of the error object.",
            "type": ["string", "object"],
        },
        "waiting": {"type": "object", "description": "Parts of the open wait."},
        "messages": {**_TEXTS, "description": "What the run told the person, in order."},
        "calls": _map(_COUNT, "How often effects were asked for, by type or node id."),
    },
    "minProperties": 1,
    "additionalProperties": False,
}

CASE: Final[JsonObject] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Case: one story of a flow, for art test",
    "type": "object",
    "properties": {
        "$schema": _TEXT,
        "format": {"const": "art-case/1"},
        "name": {**_TEXT, "description": "One sentence; default is the name of the file."},
        "flow": {**_TEXT, "description": "Document to run, relative to the case."},
        "entry": {**_TEXT, "description": "Id of the flow to start."},
        "clock": {**_TEXT, "description": "Moment at which the run starts."},
        "input": {"type": "object", "description": "Input of the run."},
        "files": _map(_TEXT, "Files of the workspace, by path, with their text."),
        "answers": {"type": "array", "description": "Short for steps that only answer."},
        "steps": _list(_STEP),
        "mocks": {
            "type": "object",
            "properties": {
                "nodes": _map(_MOCKS, "By node id, or FLOW:NODE in one of several flows."),
                "effects": {
                    **_map(_MOCKS, "By effect type, for nodes without a mock of their own."),
                    "propertyNames": {"enum": [kind.value for kind in EffectType]},
                },
                "tools": _map(_MOCKS, "By name of the tool."),
            },
            "additionalProperties": False,
        },
        "expect": _EXPECT,
    },
    "required": ["format", "expect"],
    "additionalProperties": False,
}
