"""Schemas of the documents that no other module owns."""

from __future__ import annotations

from typing import Final

from abstractruntime._json import JsonObject
from abstractruntime.schemas.shapes import (
    COUNT,
    DRAFT,
    TEXT,
    closed_object,
    document,
    list_of,
    map_of,
    nullable,
    one_of,
    open_object,
)


def _or_null(shape: JsonObject) -> JsonObject:
    return {"anyOf": [{"type": "null"}, shape]}


def _inner(schema: JsonObject) -> JsonObject:
    """Give the schema of a document that stands within another."""
    return {name: value for name, value in schema.items() if not name.startswith("$")}


# -- flows -------------------------------------------------------------------------------------

_DIAGNOSTIC: Final = closed_object(
    "code severity message file? pointer line?:count column?:count node_id? node_label? pin?"
    " notes:texts hint? docs",
    severity=one_of("error", "warning", "info"),
)
DIAGNOSTIC: Final = {
    "$schema": DRAFT,
    "title": "Diagnostic: one finding about a flow document",
    **_DIAGNOSTIC,
}

_ERROR: Final = closed_object(
    "code message hint? exit_code:count details:object | diagnostics",
    diagnostics=list_of(_DIAGNOSTIC),
)
ERROR: Final = document("art-error/1", "Error document", error=_ERROR)

CHECK: Final = document(
    "art-check/1",
    "Findings about flow documents",
    "ok:flag passed_over:texts left_out:count",
    files=list_of(
        closed_object(
            "file flow_id? ok:flag errors:count warnings:count infos:count omitted:count",
            diagnostics=list_of(_DIAGNOSTIC),
        )
    ),
)

FMT: Final = document(
    "art-fmt/1",
    "Formatting of flow documents",
    "changed:count",
    files=list_of(
        closed_object(
            "file changed:flag written:flag | diff:texts diagnostics",
            diagnostics=list_of(_DIAGNOSTIC),
        )
    ),
)

_CHANGE: Final = closed_object(
    "kind node? label? what before after lines:texts",
    before={},
    after={},
)
DIFF: Final = document(
    "art-diff/1",
    "What changed between two flows or bundles",
    "same:flag before after",
    entrypoints=_or_null(_CHANGE),
    flows=list_of(
        closed_object(
            "flow_id",
            status=one_of("same", "changed", "added", "removed"),
            changes=list_of(_CHANGE),
        )
    ),
)

GRAPH: Final = document(
    "art-graph/1",
    "The picture of a flow or run",
    "flow_id run_id? file? title description",
    nodes=list_of(
        closed_object(
            "id title type kind outcome? times?:count",
            kind=one_of("entry", "step", "control", "pure", "dead"),
        )
    ),
    edges=list_of(closed_object("source target label data:flag")),
)

_PROBLEM: Final = closed_object("where message", expected={}, found={})
TEST: Final = document(
    "art-test/1",
    "What came of the cases of flows",
    "ok:flag passed:count failed:count",
    cases=list_of(
        closed_object("file name flow_id ok:flag updated:flag", problems=list_of(_PROBLEM)),
    ),
)

EXPLAIN: Final = document("art-explain/1", "An explanation", "topic title text")

BUNDLE: Final = document(
    "art-bundle/1",
    "A bundle: what it holds and why it may be used",
    "file? id version digest:sha256 profile? size_bytes:count created_at? rule signers:texts"
    " signatures warnings:texts default_entrypoint? entrypoints flows:texts requires files"
    " metadata:object",
    rule=one_of(
        "signed", "allowed_digest", "unsigned_allowed", "unsigned_warn", "own_work", "not_verified"
    ),
    signatures=list_of(
        closed_object(
            "member state signers:texts reason?",
            state=one_of(
                "trusted", "unknown_key", "not_for_this_bundle", "revoked", "bad", "not_verified"
            ),
        )
    ),
    entrypoints=list_of(
        closed_object("flow_id name? description interfaces:texts input_schema?:object"),
    ),
    requires=closed_object("node_types:texts capabilities:texts | runtime?"),
    files=map_of(closed_object("sha256:sha256 size:count")),
)

# -- the machine -------------------------------------------------------------------------------

KEYS: Final = document(
    "art-keys/1",
    "Own and trusted keys",
    keys=list_of(
        closed_object(
            "name label vkey status usages bundles:texts not_before? not_after? reason? since?"
            " earlier? private_key? public_key?",
            status=one_of("active", "retired", "revoked", "untrusted"),
            usages=list_of(one_of("bundle", "ledger")),
        )
    ),
)

_USE: Final = "run_id limit used:count max:count rests:flag"
LIMITS: Final = document(
    "art-limits/1",
    "What a run and everything below it uses of its limits",
    "run_id",
    limits=list_of(closed_object(_USE)),
)

CONFIG: Final = document(
    "art-config/1",
    "Settings in force",
    "project?",
    settings=list_of(closed_object("name value:any origin")),
    ignored=list_of(closed_object("file setting? value:any instead:any why hint")),
)

DOCTOR: Final = document(
    "art-doctor/1",
    "What the doctor found",
    "ok:flag",
    findings=list_of(
        closed_object(
            "level subject message hint?", level=one_of("ok", "note", "warning", "error")
        ),
    ),
)

# -- runs --------------------------------------------------------------------------------------

_STATUSES: Final = ("running", "waiting", "completed", "failed", "cancelled", "interrupted")
_OUTCOMES: Final = (
    "succeeded", "failed", "cancelled", "waiting", "running", "paused", "limited", "interrupted",
    "quarantined",
)  # fmt: skip
_WAIT: Final = open_object(
    "reason wait_key? prompt? choices?:list allow_free_text:flag until? run_id details?:object",
    reason=one_of("event", "until", "user", "job", "subworkflow"),
)
_ASKED: Final = open_object("node_id node_label")
_RAISED: Final = {
    "at_step": {
        **_ASKED,
        "description": "the step that needed the value of this node, or had to store it",
    },
    "raised": open_object("class message traceback? | artifact unread"),
    "line": {**COUNT, "description": "line of the author's code, where one is to blame"},
}
_CAUSE: Final = open_object(
    "run_id workflow_id message node_id? node_label? | at_step line raised", **_RAISED
)
_LIMIT: Final = open_object(_USE)
RUN: Final[JsonObject] = {
    "$schema": DRAFT,
    "title": "Run document",
    "description": "One run: what it is, where it stands, what it waits for, what it gave.",
    **open_object(
        "format run_id workflow_id status outcome output:any error waiting waits bundle ledger"
        " created_at updated_at parent_run_id? session_id? paused limits labels usage",
        overcome=list_of(
            open_object("message node_id? node_label? | at_step line raised", **_RAISED)
        ),
        format={"const": "art-run/1"},
        status=one_of(*_STATUSES),
        outcome={**one_of(*_OUTCOMES), "description": "what became of it, in one word"},
        error=nullable(
            open_object(
                "message node_id? node_label? record?:count causes | at_step line raised",
                causes=list_of(_CAUSE),
                **_RAISED,
            )
        ),
        waiting=nullable(_WAIT),
        waits=list_of(_WAIT),
        bundle=nullable(open_object("id? version? digest? signers:texts")),
        ledger=open_object(
            "records:count head_hash? signed_records:count bytes:count | beside_bytes:count"
        ),
        paused={"type": "boolean", "description": "rests until `art unpause`"},
        limits=list_of(_LIMIT),
        labels=map_of(TEXT),
        usage=open_object(
            "llm_calls:count tool_calls:count input_tokens:count output_tokens:count"
            " total_tokens:count"
        ),
    ),
}

_RUN_ROW: Final = closed_object(
    "run_id workflow_id? status outcome waiting_on? wait_key? until? created_at? updated_at?"
    " parent_run_id? session_id? | question? error?",
    status=one_of(*_STATUSES, "damaged", "quarantined"),
    outcome=one_of(*_OUTCOMES, "damaged"),
    labels=map_of(TEXT),
)
RUNS: Final = document(
    "art-runs/1",
    "Runs of a store; the first of `total`",
    "total:count",
    runs=list_of(_RUN_ROW),
    errors=list_of(_ERROR),
)

_RECORD: Final[JsonObject] = {
    "type": "object",
    "description": "One stored record; further keys are kept as they are.",
    **open_object(
        "run_id step_id node_id status | effect?:object error? started_at ended_at?"
        " attempt:position prev_hash? record_hash? seq:count",
        status=one_of("started", "completed", "waiting", "failed"),
    ),
    "required": ["run_id", "step_id", "node_id", "status", "started_at"],
}
LEDGER: Final = document("art-ledger/1", "Records of a ledger", "run_id", records=list_of(_RECORD))

_SCOPE: Final = one_of("session", "workflow", "run", "global")
EMIT: Final = document(
    "art-emit/1",
    "Who got an event",
    "name scope wait_key event_id? delivered:count listeners waited_for:texts",
    scope=_SCOPE,
    listeners=list_of(closed_object("run_id reached:flag error?")),
    runs=list_of(_RUN_ROW),
    errors=list_of(_ERROR),
)

SERVE_EVENT: Final = document(
    "art-serve-event/1",
    "What became of one tree of runs",
    "at event run_id reason status? outcome? error retry_s?:number",
    event=one_of("advanced", "failed", "parked"),
    reason=one_of("timer", "command", "child", "woken", "interrupted"),
    error=_or_null(_ERROR),
)
SERVE: Final = document(
    "art-serve/1",
    "What happened while a store was served; the latest 1000 events",
    "advanced:count failed:count",
    events=list_of(_inner(SERVE_EVENT)),
)

SNAPSHOTS: Final = document(
    "art-snapshots/1",
    "Named copies of runs",
    snapshots=list_of(
        closed_object(
            "snapshot_id run_id name description? tags:texts status? outcome step_id? created_at",
            outcome=one_of(*_OUTCOMES),
        ),
    ),
)

# -- evidence and care -------------------------------------------------------------------------

_VERDICT: Final = one_of("valid", "valid_unsigned", "invalid")
VERIFY: Final = document(
    "art-verify/1",
    "Verdict over a ledger",
    "verdict run_id? records:count signed_records:count unsigned_tail:count final:flag"
    " signers:texts defects defect_count:count first_bad_index?:count head_hash? root_hash"
    " origin? heads:count bytes:count torn_tail_bytes:count warnings:texts",
    verdict=_VERDICT,
    defects=list_of(
        closed_object("code record?:count byte_offset?:count expected:any found:any | detail"),
    ),
)
VERIFY_ALL: Final = document(
    "art-verify-all/1",
    "Verdicts over all ledgers of a store",
    "ok:flag",
    ledgers=list_of(_inner(VERIFY)),
)
VERIFY_HISTORY: Final = document(
    "art-verify-history/1",
    "Verdict over an exported history",
    "verdict root_run_id? runs:count records:count unsigned_tail:count trusted_keys:texts"
    " not_covered:texts outcome? failure",
    verdict=_VERDICT,
    defects=list_of(closed_object("code run_id? record?:count expected:any found:any")),
    failure=nullable(open_object("message node_id? node_label? | at_step line raised", **_RAISED)),
)

EXPORT: Final = document(
    "art-export/1", "Receipt of an export", "run_id file size_bytes:count sha256:sha256"
)

_ITEMS: Final = list_of(closed_object("kind path size_bytes:count"))
GC: Final = document(
    "art-gc/1",
    "What garbage collection removes, or removed",
    "applied:flag size_bytes:count",
    purges=list_of(closed_object("run_id head_hash? runs:texts size_bytes:count")),
    items=_ITEMS,
    kept=_ITEMS,
)

_FINDINGS: Final = list_of(
    closed_object(
        "code level run_id? message hint? step?", level=one_of("note", "warning", "error")
    )
)
REPAIR: Final = document(
    "art-repair/1",
    "What is wrong with the files of a run, and what mends it",
    "run_id applied:flag blocked:flag",
    steps=list_of(closed_object("step text")),
    findings=_FINDINGS,
    left=_FINDINGS,
)
