"""The JSON Schema of the run document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject

_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_COUNT: Final = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Final = {"type": ["integer", "null"], "minimum": 0}


def _closed(properties: dict[str, Any], *, nullable: bool = False) -> JsonObject:
    return {
        "type": ["object", "null"] if nullable else "object",
        "properties": properties,
        "required": list(properties),
    }


_WAIT: Final = {
    "reason": {"enum": ["event", "until", "user", "job", "subworkflow"]},
    "wait_key": _TEXT_OR_NULL,
    "prompt": _TEXT_OR_NULL,
    "choices": {"type": ["array", "null"]},
    "allow_free_text": {"type": "boolean"},
    "until": _TEXT_OR_NULL,
    "run_id": _TEXT,
    "details": {"type": ["object", "null"]},
}

_ERROR: Final = {
    "message": _TEXT,
    "node_id": _TEXT_OR_NULL,
    "node_label": _TEXT_OR_NULL,
    "record": _COUNT_OR_NULL,
}


def _error() -> JsonObject:
    schema = _closed(_ERROR, nullable=True)
    line = {**_COUNT, "description": "line of the author's code, where one is to blame"}
    return {**schema, "properties": {**_ERROR, "line": line}}


_BUNDLE: Final = {
    "id": _TEXT_OR_NULL,
    "version": _TEXT_OR_NULL,
    "digest": _TEXT_OR_NULL,
    "signers": {"type": "array", "items": _TEXT},
}

_LEDGER: Final = {
    "records": _COUNT,
    "head_hash": _TEXT_OR_NULL,
    "signed_records": _COUNT,
    "bytes": _COUNT,
}

_USAGE: Final = dict.fromkeys(
    ("llm_calls", "tool_calls", "input_tokens", "output_tokens", "total_tokens"), _COUNT
)

RUN_DOCUMENT_SCHEMA: Final[JsonObject] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Run document",
    "description": "One run: what it is, where it stands, what it waits for, what it gave.",
    **_closed(
        {
            "format": {"const": "art-run/1"},
            "run_id": _TEXT,
            "workflow_id": _TEXT,
            "status": {
                "enum": ["running", "waiting", "completed", "failed", "cancelled", "interrupted"]
            },
            "output": True,
            "error": _error(),
            "waiting": _closed(_WAIT, nullable=True),
            "waits": {"type": "array", "items": _closed(_WAIT)},
            "bundle": _closed(_BUNDLE, nullable=True),
            "ledger": _closed(_LEDGER),
            "created_at": _TEXT,
            "updated_at": _TEXT,
            "parent_run_id": _TEXT_OR_NULL,
            "session_id": _TEXT_OR_NULL,
            "paused": {"type": "boolean", "description": "rests until `art unpause`"},
            "labels": {"type": "object", "additionalProperties": _TEXT},
            "usage": _closed(_USAGE),
        }
    ),
}
