"""The JSON Schema of the history bundle, version 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject

RUN_HISTORY_BUNDLE_VERSION_V1: Final = 1
HISTORY_FORMAT: Final = "art-history/1"

_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_OBJECT_OR_NULL: Final = {"type": ["object", "null"]}
_COUNT: Final = {"type": "integer", "minimum": 0}
_NUMBER_OR_NULL: Final = {"type": ["number", "null"], "minimum": 0}
_HASH_OR_NULL: Final = {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"}
_RUN_STATUS: Final = {"enum": ["running", "waiting", "completed", "failed", "cancelled"]}


def _object(
    properties: dict[str, Any], *, optional: dict[str, Any] | None = None, nullable: bool = False
) -> JsonObject:
    return {
        "type": ["object", "null"] if nullable else "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
    }


def _array(items: JsonObject) -> JsonObject:
    return {"type": "array", "items": items}


_RECORD: Final = _object(
    {
        "run_id": _TEXT,
        "step_id": _TEXT,
        "node_id": _TEXT,
        "status": {"enum": ["started", "completed", "waiting", "failed"]},
        "effect": _OBJECT_OR_NULL,
        "result": True,
        "error": _TEXT_OR_NULL,
        "started_at": _TEXT,
        "ended_at": _TEXT_OR_NULL,
        "attempt": {"type": "integer", "minimum": 1},
        "idempotency_key": _TEXT_OR_NULL,
    },
    optional={
        "actor_id": _TEXT_OR_NULL,
        "session_id": _TEXT_OR_NULL,
        "prev_hash": _TEXT_OR_NULL,
        "record_hash": _TEXT_OR_NULL,
        "signature": _TEXT_OR_NULL,
        "seq": _COUNT,
        "commit": {"type": "object"},
    },
)

_ITEM: Final = _object(
    {"cursor": {"type": "integer", "minimum": 1}, "record": _RECORD},
    optional={"line": {**_TEXT, "description": "stored text, where the record renders otherwise"}},
)

_LEDGER: Final = _object(
    {
        "run_id": _TEXT,
        "total": _COUNT,
        "cursor_start": _COUNT,
        "cursor_end": _COUNT,
        "items": _array(_ITEM),
    }
)

_RUN: Final = _object(
    {
        "run_id": _TEXT,
        "workflow_id": _TEXT,
        "status": _RUN_STATUS,
        "current_node": _TEXT,
        "created_at": _TEXT,
        "updated_at": _TEXT,
        "actor_id": _TEXT_OR_NULL,
        "session_id": _TEXT_OR_NULL,
        "parent_run_id": _TEXT_OR_NULL,
        "error": _TEXT_OR_NULL,
        "waiting": _OBJECT_OR_NULL,
    },
    optional={"output": True},
)

_SNAPSHOT: Final = _object(
    {
        "workflow_id": _TEXT_OR_NULL,
        "format": _TEXT_OR_NULL,
        "sha256": _TEXT_OR_NULL,
        "artifact_id": _TEXT_OR_NULL,
        "created_at": _TEXT_OR_NULL,
    },
    nullable=True,
)

_TIMELINE_ENTRY: Final = _object(
    {
        "run_id": _TEXT,
        "cursor": {"type": "integer", "minimum": 1},
        "node_id": _TEXT_OR_NULL,
        "status": _TEXT_OR_NULL,
        "effect_type": _TEXT_OR_NULL,
        "started_at": _TEXT_OR_NULL,
        "ended_at": _TEXT_OR_NULL,
        "duration_ms": {"type": ["number", "null"]},
    }
)

_STATS: Final = _object(
    {
        "duration_ms": _NUMBER_OR_NULL,
        "llm_calls": _COUNT,
        "tool_calls": _COUNT,
        "usage": _object({"input_tokens": _COUNT, "output_tokens": _COUNT, "total_tokens": _COUNT}),
        "tok_s": _NUMBER_OR_NULL,
    }
)

_TURN: Final = _object(
    {
        "run_id": _TEXT,
        "workflow_id": _TEXT,
        "kind": {"enum": ["chat", "scheduled", "run"]},
        "status": _RUN_STATUS,
        "created_at": _TEXT,
        "updated_at": _TEXT,
        "prompt": _TEXT_OR_NULL,
        "attachments": {"type": "array"},
        "answer": _TEXT_OR_NULL,
        "answer_meta": _OBJECT_OR_NULL,
        "stats": _STATS,
    }
)

_FACTS: Final = {
    "head_hash": _HASH_OR_NULL,
    "root_hash": _HASH_OR_NULL,
    "size": _COUNT,
    "heads": _array(_TEXT),
}

_PROVENANCE: Final = _object(
    {**_FACTS, "vkeys": _array(_TEXT)},
    optional={"runs": {"type": "object", "additionalProperties": _object(_FACTS)}},
)

HISTORY_BUNDLE_SCHEMA: Final[JsonObject] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Run history bundle",
    "description": "A run, its child runs and their ledgers, with what is needed to verify them.",
    **_object(
        {
            "version": {"const": RUN_HISTORY_BUNDLE_VERSION_V1},
            "generated_at": _TEXT,
            "root_run_id": _TEXT,
            "run": _RUN,
            "workflow_snapshot": _SNAPSHOT,
            "input_data": {"type": "object"},
            "ledgers": {"type": "object", "additionalProperties": _LEDGER},
            "timeline": _array(_TIMELINE_ENTRY),
            "session": _object({"session_id": _TEXT, "turns": _array(_TURN)}, nullable=True),
        },
        optional={"format": {"const": HISTORY_FORMAT}, "provenance": _PROVENANCE},
    ),
}
