"""The JSON Schema of the history bundle, version 1."""

from __future__ import annotations

from typing import Final

from abstractruntime._json import JsonObject
from abstractruntime.schemas.shapes import (
    DRAFT,
    TEXT,
    list_of,
    map_of,
    nullable,
    one_of,
    open_object,
)

RUN_HISTORY_BUNDLE_VERSION_V1: Final = 1
HISTORY_FORMAT: Final = "art-history/1"

_RUN_STATUS: Final = one_of("running", "waiting", "completed", "failed", "cancelled")

_RECORD: Final = open_object(
    "run_id step_id node_id status effect?:object result:any error? started_at ended_at?"
    " attempt:position idempotency_key?"
    " | actor_id? session_id? prev_hash? record_hash? signature? seq:count commit:object",
    status=one_of("started", "completed", "waiting", "failed"),
)

_ITEM: Final = open_object(
    "cursor:position record | line",
    record=_RECORD,
    line={**TEXT, "description": "stored text, where the record renders otherwise"},
)

_LEDGER: Final = open_object(
    "run_id total:count cursor_start:count cursor_end:count", items=list_of(_ITEM)
)

_RUN: Final = open_object(
    "run_id workflow_id status current_node created_at updated_at actor_id? session_id?"
    " parent_run_id? error? waiting?:object | output:any outcome failure",
    status=_RUN_STATUS,
    failure=nullable(
        open_object("message node_id? node_label? | at_step:object line:count raised:object")
    ),
)

_TIMELINE_ENTRY: Final = open_object(
    "run_id cursor:position node_id? status? effect_type? started_at? ended_at?",
    duration_ms={"type": ["number", "null"]},
)

_STATS: Final = open_object(
    "duration_ms?:number llm_calls:count tool_calls:count usage tok_s?:number",
    usage=open_object("input_tokens:count output_tokens:count total_tokens:count"),
)

_TURN: Final = open_object(
    "run_id workflow_id kind status created_at updated_at prompt? attachments:list answer?"
    " answer_meta?:object | outcome",
    kind=one_of("chat", "scheduled", "run"),
    status=_RUN_STATUS,
    stats=_STATS,
)

_FACTS: Final = "head_hash?:sha256 root_hash?:sha256 size:count heads:texts"

HISTORY_BUNDLE_SCHEMA: Final[JsonObject] = {
    "$schema": DRAFT,
    "title": "Run history bundle",
    "description": "A run, its child runs and their ledgers, with what is needed to verify them.",
    **open_object(
        "version generated_at root_run_id run workflow_snapshot input_data:object ledgers"
        " timeline session | format provenance",
        version={"const": RUN_HISTORY_BUNDLE_VERSION_V1},
        run=_RUN,
        workflow_snapshot=nullable(
            open_object("workflow_id? format? sha256? artifact_id? created_at?"),
        ),
        ledgers=map_of(_LEDGER),
        timeline=list_of(_TIMELINE_ENTRY),
        session=nullable(open_object("session_id", turns=list_of(_TURN))),
        format={"const": HISTORY_FORMAT},
        provenance=open_object(f"{_FACTS} vkeys:texts | runs", runs=map_of(open_object(_FACTS))),
    ),
}
