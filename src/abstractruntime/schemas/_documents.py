"""Schemas of the documents that no other module owns."""

from __future__ import annotations

from typing import Any, Final

from abstractruntime._json import JsonObject
from abstractruntime.rendering._run_schema import RUN_DOCUMENT_SCHEMA

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_COUNT: Final = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Final = {"type": ["integer", "null"], "minimum": 0}
_FLAG: Final = {"type": "boolean"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_OBJECT: Final = {"type": "object"}
_SHA256: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def _object(properties: dict[str, Any], optional: dict[str, Any] | None = None) -> JsonObject:
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }


def _document(
    tag: str, title: str, properties: dict[str, Any], optional: dict[str, Any] | None = None
) -> JsonObject:
    body = _object({"format": {"const": tag}, **properties}, optional)
    return {"$schema": _DRAFT, "title": title, **body}


def _list(items: JsonObject) -> JsonObject:
    return {"type": "array", "items": items}


_DIAGNOSTIC_FIELDS: Final = {
    "code": _TEXT,
    "severity": {"enum": ["error", "warning", "info"]},
    "message": _TEXT,
    "file": _TEXT_OR_NULL,
    "pointer": _TEXT,
    "line": _COUNT_OR_NULL,
    "column": _COUNT_OR_NULL,
    "node_id": _TEXT_OR_NULL,
    "node_label": _TEXT_OR_NULL,
    "pin": _TEXT_OR_NULL,
    "notes": _TEXTS,
    "hint": _TEXT_OR_NULL,
    "docs": _TEXT,
}
DIAGNOSTIC: Final = {
    "$schema": _DRAFT,
    "title": "Diagnostic: one finding about a flow document",
    **_object(_DIAGNOSTIC_FIELDS),
}
_DIAGNOSTICS: Final = _list(_object(_DIAGNOSTIC_FIELDS))

_ERROR_BODY: Final = _object(
    {
        "code": _TEXT,
        "message": _TEXT,
        "hint": _TEXT_OR_NULL,
        "exit_code": _COUNT,
        "details": _OBJECT,
    },
    {"diagnostics": _DIAGNOSTICS},
)
ERROR: Final = _document("art-error/1", "Error document", {"error": _ERROR_BODY})

CHECK: Final = _document(
    "art-check/1",
    "Findings about flow documents",
    {
        "ok": _FLAG,
        "files": _list(
            _object(
                {
                    "file": _TEXT,
                    "flow_id": _TEXT_OR_NULL,
                    "ok": _FLAG,
                    "errors": _COUNT,
                    "warnings": _COUNT,
                    "omitted": _COUNT,
                    "diagnostics": _DIAGNOSTICS,
                }
            )
        ),
    },
)

KEYS: Final = _document(
    "art-keys/1",
    "Own and trusted keys",
    {
        "keys": _list(
            _object(
                {
                    "name": _TEXT,
                    "label": _TEXT,
                    "vkey": _TEXT,
                    "status": {"enum": ["active", "retired", "revoked", "untrusted"]},
                    "usages": _list({"enum": ["bundle", "ledger"]}),
                    "bundles": _TEXTS,
                    "not_before": _TEXT_OR_NULL,
                    "not_after": _TEXT_OR_NULL,
                    "reason": _TEXT_OR_NULL,
                    "private_key": _TEXT_OR_NULL,
                    "public_key": _TEXT_OR_NULL,
                }
            )
        )
    },
)

CONFIG: Final = _document(
    "art-config/1",
    "Settings in force",
    {
        "project": _TEXT_OR_NULL,
        "settings": _list(_object({"name": _TEXT, "value": True, "origin": _TEXT})),
    },
)

DOCTOR: Final = _document(
    "art-doctor/1",
    "What the doctor found",
    {
        "ok": _FLAG,
        "findings": _list(
            _object(
                {
                    "level": {"enum": ["ok", "note", "warning", "error"]},
                    "subject": _TEXT,
                    "message": _TEXT,
                    "hint": _TEXT_OR_NULL,
                }
            )
        ),
    },
)

EXPLAIN: Final = _document(
    "art-explain/1", "An explanation", {"topic": _TEXT, "title": _TEXT, "text": _TEXT}
)

BUNDLE: Final = _document(
    "art-bundle/1",
    "A bundle: what it holds and why it may be used",
    {
        "file": _TEXT_OR_NULL,
        "id": _TEXT,
        "version": _TEXT,
        "digest": _SHA256,
        "profile": _TEXT_OR_NULL,
        "size_bytes": _COUNT,
        "created_at": _TEXT_OR_NULL,
        "rule": {
            "enum": [
                "signed", "allowed_digest", "unsigned_allowed", "unsigned_warn", "own_work",
                "not_verified",
            ]
        },
        "signers": _TEXTS,
        "signatures": _list(
            _object(
                {
                    "member": _TEXT,
                    "state": {
                        "enum": [
                            "trusted", "unknown_key", "not_for_this_bundle", "revoked", "bad",
                            "not_verified",
                        ]
                    },
                    "signers": _TEXTS,
                    "reason": _TEXT_OR_NULL,
                }
            )
        ),
        "warnings": _TEXTS,
        "default_entrypoint": _TEXT_OR_NULL,
        "entrypoints": _list(
            _object(
                {
                    "flow_id": _TEXT,
                    "name": _TEXT_OR_NULL,
                    "description": _TEXT,
                    "interfaces": _TEXTS,
                    "input_schema": {"type": ["object", "null"]},
                }
            )
        ),
        "flows": _TEXTS,
        "requires": _object(
            {"node_types": _TEXTS, "capabilities": _TEXTS}, {"runtime": _TEXT_OR_NULL}
        ),
        "files": {
            "type": "object",
            "additionalProperties": _object({"sha256": _SHA256, "size": _COUNT}),
        },
        "metadata": _OBJECT,
    },
)  # fmt: skip

_STATUSES: Final = RUN_DOCUMENT_SCHEMA["properties"]["status"]
RUNS: Final = _document(
    "art-runs/1",
    "Runs of a store",
    {
        "runs": _list(
            _object(
                {
                    "run_id": _TEXT,
                    "workflow_id": _TEXT_OR_NULL,
                    "status": {"enum": [*_STATUSES["enum"], "damaged"]},
                    "waiting_on": _TEXT_OR_NULL,
                    "wait_key": _TEXT_OR_NULL,
                    "until": _TEXT_OR_NULL,
                    "created_at": _TEXT_OR_NULL,
                    "updated_at": _TEXT_OR_NULL,
                    "parent_run_id": _TEXT_OR_NULL,
                    "session_id": _TEXT_OR_NULL,
                    "labels": {"type": "object", "additionalProperties": _TEXT},
                }
            )
        ),
        "errors": _list(_ERROR_BODY),
    },
)

_RECORD: Final = {
    "type": "object",
    "description": "One stored record; further keys are kept as they are.",
    "properties": {
        "run_id": _TEXT,
        "step_id": _TEXT,
        "node_id": _TEXT,
        "status": {"enum": ["started", "completed", "waiting", "failed"]},
        "effect": {"type": ["object", "null"]},
        "error": _TEXT_OR_NULL,
        "started_at": _TEXT,
        "ended_at": _TEXT_OR_NULL,
        "attempt": {"type": "integer", "minimum": 1},
        "prev_hash": _TEXT_OR_NULL,
        "record_hash": _TEXT_OR_NULL,
        "seq": _COUNT,
    },
    "required": ["run_id", "step_id", "node_id", "status", "started_at"],
}
LEDGER: Final = _document(
    "art-ledger/1", "Records of a ledger", {"run_id": _TEXT, "records": _list(_RECORD)}
)

VERIFY: Final = _document(
    "art-verify/1",
    "Verdict over a ledger",
    {
        "verdict": {"enum": ["valid", "valid_unsigned", "invalid"]},
        "run_id": _TEXT_OR_NULL,
        "records": _COUNT,
        "signed_records": _COUNT,
        "unsigned_tail": _COUNT,
        "final": _FLAG,
        "signers": _TEXTS,
        "defects": _list(
            _object(
                {
                    "code": _TEXT,
                    "record": _COUNT_OR_NULL,
                    "byte_offset": _COUNT_OR_NULL,
                    "expected": True,
                    "found": True,
                },
                {"detail": _TEXT},
            )
        ),
        "defect_count": _COUNT,
        "first_bad_index": _COUNT_OR_NULL,
        "head_hash": _TEXT_OR_NULL,
        "root_hash": _TEXT,
        "origin": _TEXT_OR_NULL,
        "heads": _COUNT,
        "bytes": _COUNT,
        "torn_tail_bytes": _COUNT,
        "warnings": _TEXTS,
    },
)
VERIFY_ALL: Final = _document(
    "art-verify-all/1",
    "Verdicts over all ledgers of a store",
    {
        "ok": _FLAG,
        "ledgers": _list({k: v for k, v in VERIFY.items() if not k.startswith("$")}),
    },
)
VERIFY_HISTORY: Final = _document(
    "art-verify-history/1",
    "Verdict over an exported history",
    {
        "verdict": {"enum": ["valid", "valid_unsigned", "invalid"]},
        "root_run_id": _TEXT_OR_NULL,
        "runs": _COUNT,
        "records": _COUNT,
        "unsigned_tail": _COUNT,
        "trusted_keys": _TEXTS,
        "defects": _list(
            _object(
                {
                    "code": _TEXT,
                    "run_id": _TEXT_OR_NULL,
                    "record": _COUNT_OR_NULL,
                    "expected": True,
                    "found": True,
                }
            )
        ),
    },
)

EXPORT: Final = _document(
    "art-export/1",
    "Receipt of an export",
    {"run_id": _TEXT, "file": _TEXT, "size_bytes": _COUNT, "sha256": _SHA256},
)

_NUMBER_OR_NULL: Final = {"type": ["number", "null"], "minimum": 0}
SERVE_EVENT: Final = _document(
    "art-serve-event/1",
    "What became of one tree of runs",
    {
        "at": _TEXT,
        "event": {"enum": ["advanced", "failed", "parked"]},
        "run_id": _TEXT,
        "reason": {"enum": ["timer", "command", "child", "woken", "interrupted"]},
        "status": _TEXT_OR_NULL,
        "error": {"anyOf": [{"type": "null"}, _ERROR_BODY]},
        "retry_s": _NUMBER_OR_NULL,
    },
)
SERVE: Final = _document(
    "art-serve/1",
    "What happened while a store was served; the latest 1000 events",
    {
        "advanced": _COUNT,
        "failed": _COUNT,
        "events": _list({k: v for k, v in SERVE_EVENT.items() if not k.startswith("$")}),
    },
)

EMIT: Final = _document(
    "art-emit/1",
    "Who got an event",
    {
        "name": _TEXT,
        "scope": {"enum": ["session", "workflow", "run", "global"]},
        "wait_key": _TEXT,
        "event_id": _TEXT_OR_NULL,
        "delivered": _COUNT,
        "listeners": _list(_object({"run_id": _TEXT, "reached": _FLAG, "error": _TEXT_OR_NULL})),
        "waited_for": _TEXTS,
        "runs": RUNS["properties"]["runs"],
        "errors": _list(_ERROR_BODY),
    },
)

SNAPSHOTS: Final = _document(
    "art-snapshots/1",
    "Named copies of runs",
    {
        "snapshots": _list(
            _object(
                {
                    "snapshot_id": _TEXT,
                    "run_id": _TEXT,
                    "name": _TEXT,
                    "description": _TEXT_OR_NULL,
                    "tags": _TEXTS,
                    "status": _TEXT_OR_NULL,
                    "step_id": _TEXT_OR_NULL,
                    "created_at": _TEXT,
                }
            )
        )
    },
)

_GC_ITEM: Final = _object({"kind": _TEXT, "path": _TEXT, "size_bytes": _COUNT})
GC: Final = _document(
    "art-gc/1",
    "What garbage collection removes, or removed",
    {
        "applied": _FLAG,
        "size_bytes": _COUNT,
        "purges": _list(
            _object(
                {"run_id": _TEXT, "head_hash": _TEXT_OR_NULL, "runs": _TEXTS, "size_bytes": _COUNT}
            )
        ),
        "items": _list(_GC_ITEM),
        "kept": _list(_GC_ITEM),
    },
)

_FINDING: Final = _object(
    {
        "code": _TEXT,
        "level": {"enum": ["note", "warning", "error"]},
        "run_id": _TEXT_OR_NULL,
        "message": _TEXT,
        "hint": _TEXT_OR_NULL,
        "step": _TEXT_OR_NULL,
    }
)
REPAIR: Final = _document(
    "art-repair/1",
    "What is wrong with the files of a run, and what mends it",
    {
        "run_id": _TEXT,
        "applied": _FLAG,
        "blocked": _FLAG,
        "steps": _list(_object({"step": _TEXT, "text": _TEXT})),
        "findings": _list(_FINDING),
        "left": _list(_FINDING),
    },
)
