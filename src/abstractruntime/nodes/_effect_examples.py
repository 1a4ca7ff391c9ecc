"""Examples of the node types that ask for effects."""

from __future__ import annotations

from typing import Final

from abstractruntime.nodes.base import Example

EFFECT_EXAMPLES: Final[dict[str, tuple[Example, ...]]] = {
    "ask_user": (
        Example(
            {"prompt": "Publish?", "choices": ["yes", "no"]},
            output={"prompt": "Publish?", "choices": ["yes", "no"], "response": "yes"},
            asks={
                "ask_user": {
                    "prompt": "Publish?",
                    "choices": ["yes", "no"],
                    "allow_free_text": True,
                }
            },
            result={"response": "yes"},
        ),
    ),
    "answer_user": (
        Example(
            {"message": "done"},
            output={"message": "done", "level": "message"},
            asks={"answer_user": {"message": "done", "level": "message"}},
            result={"message": "done", "level": "message"},
        ),
    ),
    "wait_until": (
        Example(
            {"duration": 5},
            output={"until": "2026-01-02T03:09:05+00:00", "ready": True},
            data={"effectConfig": {"durationType": "minutes"}},
            asks={"wait_until": {"until": "2026-01-02T03:09:05.000000+00:00"}},
            result={"until": "2026-01-02T03:09:05+00:00", "ready": True},
        ),
    ),
    "wait_event": (
        Example(
            {"event_key": "evt:session:s1:paid"},
            output={"event_key": "evt:session:s1:paid", "event_data": {"amount": 3}},
            asks={"wait_event": {"wait_key": "evt:session:s1:paid", "allow_free_text": True}},
            result={"amount": 3},
        ),
    ),
    "emit_event": (
        Example(
            {"name": "paid", "payload": 3},
            output={"delivered": 1, "delivered_to": ["run-2"], "name": "paid", "scope": "session"},
            asks={
                "emit_event": {
                    "scope": "session",
                    "name": "paid",
                    "payload": {"value": 3},
                    "max_steps": 0,
                }
            },
            result={"delivered": 1, "delivered_to": ["run-2"], "name": "paid", "scope": "session"},
        ),
    ),
    "on_event": (
        Example(
            {},
            output={
                "event": {"event_id": "e1", "name": "paid", "payload": {"value": 3}},
                "payload": {"value": 3},
                "event_id": "e1",
                "name": "paid",
            },
            data={"eventConfig": {"name": "paid", "scope": "session"}},
            asks={"wait_event": {"scope": "session", "name": "paid", "details": {"listen": True}}},
            result={"event_id": "e1", "name": "paid", "payload": {"value": 3}},
        ),
    ),
    "on_schedule": (
        Example(
            {"schedule": "10m"},
            output={
                "scheduled_for": "2026-01-02T03:14:05.000000+00:00",
                "recurrent": True,
                "timestamp": "2026-01-02T03:14:05+00:00",
            },
            asks={"wait_until": {"until": "2026-01-02T03:14:05.000000+00:00"}},
            result={"timestamp": "2026-01-02T03:14:05+00:00"},
        ),
    ),
    "tool_calls": (
        Example(
            {"tool_calls": [{"name": "add", "arguments": {"a": 1}}], "allowed_tools": ["add"]},
            output={
                "results": [{"name": "add", "success": True, "output": 2, "error": None}],
                "success": True,
                "raw": {
                    "mode": "executed",
                    "results": [{"name": "add", "success": True, "output": 2, "error": None}],
                },
            },
            asks={
                "tool_calls": {
                    "tool_calls": [{"name": "add", "arguments": {"a": 1}}],
                    "allowed_tools": ["add"],
                }
            },
            result={
                "mode": "executed",
                "results": [{"name": "add", "success": True, "output": 2, "error": None}],
            },
        ),
    ),
    "call_tool": (
        Example(
            {"tool_call": {"name": "add", "arguments": {"a": 1}}, "allowed_tools": ["add"]},
            output={
                "result": 2,
                "success": True,
                "raw": {
                    "mode": "executed",
                    "results": [{"name": "add", "success": True, "output": 2, "error": None}],
                },
            },
            asks={
                "tool_calls": {
                    "tool_calls": [{"name": "add", "arguments": {"a": 1}}],
                    "allowed_tools": ["add"],
                }
            },
            result={
                "mode": "executed",
                "results": [{"name": "add", "success": True, "output": 2, "error": None}],
            },
        ),
        Example(
            {"tool_call": {"name": "rm"}, "allowed_tools": []},
            output={
                "result": "Tool 'rm' is not allowed",
                "success": False,
                "raw": {
                    "mode": "executed",
                    "results": [
                        {
                            "name": "rm",
                            "success": False,
                            "output": None,
                            "error": "Tool 'rm' is not allowed",
                        }
                    ],
                },
            },
            asks={"tool_calls": {"tool_calls": [{"name": "rm"}], "allowed_tools": []}},
            result={
                "mode": "executed",
                "results": [
                    {
                        "name": "rm",
                        "success": False,
                        "output": None,
                        "error": "Tool 'rm' is not allowed",
                    }
                ],
            },
        ),
    ),
    "memory_note": (
        Example(
            {"content": "likes tea", "tags": {"topic": "taste"}},
            output={
                "note_id": "n1",
                "raw": {
                    "mode": "executed",
                    "results": [
                        {
                            "success": True,
                            "output": "Stored memory_note span_id=n1",
                            "meta": {"span_id": "n1"},
                        }
                    ],
                },
            },
            asks={"memory_note": {"note": "likes tea", "tags": {"topic": "taste"}}},
            result={
                "mode": "executed",
                "results": [
                    {
                        "success": True,
                        "output": "Stored memory_note span_id=n1",
                        "meta": {"span_id": "n1"},
                    }
                ],
            },
        ),
    ),
    "memory_query": (
        Example(
            {"query": "tea"},
            output={
                "results": [{"span_id": "n1"}],
                "rendered": "likes tea",
                "span_ids": ["n1"],
                "raw": {
                    "mode": "executed",
                    "results": [
                        {
                            "success": True,
                            "output": "likes tea",
                            "meta": {"matches": [{"span_id": "n1"}], "span_ids": ["n1"]},
                        }
                    ],
                },
            },
            asks={"memory_query": {"query": "tea", "limit_spans": 10, "return": "both"}},
            result={
                "mode": "executed",
                "results": [
                    {
                        "success": True,
                        "output": "likes tea",
                        "meta": {"matches": [{"span_id": "n1"}], "span_ids": ["n1"]},
                    }
                ],
            },
        ),
    ),
    "memory_tag": (
        Example(
            {"span_id": "n1", "tags": {"topic": "taste"}},
            output={
                "success": True,
                "rendered": "tagged n1",
                "results": [{"success": True, "output": "tagged n1"}],
                "raw": {"mode": "executed", "results": [{"success": True, "output": "tagged n1"}]},
            },
            asks={"memory_tag": {"span_id": "n1", "tags": {"topic": "taste"}}},
            result={"mode": "executed", "results": [{"success": True, "output": "tagged n1"}]},
        ),
    ),
    "memory_compact": (
        Example(
            {"preserve_recent": 0, "focus": "decisions"},
            output={
                "span_id": "a1",
                "raw": {
                    "mode": "executed",
                    "results": [
                        {"success": True, "output": "compacted", "meta": {"span_id": "a1"}}
                    ],
                },
            },
            asks={"memory_compact": {"preserve_recent": 0, "focus": "decisions"}},
            result={
                "mode": "executed",
                "results": [{"success": True, "output": "compacted", "meta": {"span_id": "a1"}}],
            },
        ),
    ),
    "memory_rehydrate": (
        Example(
            {"span_ids": "a1", "max_messages": 20},
            output={
                "inserted": 4,
                "skipped": 1,
                "artifacts": ["a1"],
                "raw": {"inserted": 4, "skipped": 1, "artifacts": ["a1"]},
            },
            asks={
                "memory_rehydrate": {
                    "span_ids": ["a1"],
                    "placement": "after_summary",
                    "max_messages": 20,
                }
            },
            result={"inserted": 4, "skipped": 1, "artifacts": ["a1"]},
        ),
    ),
    "memory_kg_assert": (
        Example(
            {"assertions": {"subject": "ex:ada", "predicate": "schema:name", "object": "Ada"}},
            output={
                "assertion_ids": ["k1"],
                "count": 1,
                "ok": True,
                "raw": {"ok": True, "assertion_ids": ["k1"], "count": 1},
            },
            asks={
                "memory_kg_assert": {
                    "assertions": [
                        {"subject": "ex:ada", "predicate": "schema:name", "object": "Ada"}
                    ]
                }
            },
            result={"ok": True, "assertion_ids": ["k1"], "count": 1},
        ),
    ),
    "memory_kg_query": (
        Example(
            {"subject": "ex:ada", "limit": "5"},
            output={
                "items": [{"subject": "ex:ada", "predicate": "schema:name", "object": "Ada"}],
                "count": 1,
                "ok": True,
                "raw": {
                    "ok": True,
                    "items": [{"subject": "ex:ada", "predicate": "schema:name", "object": "Ada"}],
                    "count": 1,
                },
            },
            asks={"memory_kg_query": {"subject": "ex:ada", "limit": 5}},
            result={
                "ok": True,
                "items": [{"subject": "ex:ada", "predicate": "schema:name", "object": "Ada"}],
                "count": 1,
            },
        ),
    ),
    "memory_kg_resolve": (
        Example(
            {"label": "Ada", "expected_type": "schema:Person"},
            output={
                "candidates": [{"id": "ex:ada", "score": 1.0}],
                "count": 1,
                "ok": True,
                "raw": {"ok": True, "candidates": [{"id": "ex:ada", "score": 1.0}], "count": 1},
            },
            asks={"memory_kg_resolve": {"label": "Ada", "expected_type": "schema:Person"}},
            result={"ok": True, "candidates": [{"id": "ex:ada", "score": 1.0}], "count": 1},
        ),
    ),
    "subflow": (
        Example(
            {"topic": "tea"},
            output={
                "report": "green",
                "success": True,
                "sub_run_id": "run-2",
                "output": {"report": "green", "success": True},
                "child_output": {"report": "green", "success": True},
            },
            data={
                "subflowId": "research",
                "inputs": [{"id": "topic", "type": "string"}],
                "outputs": [{"id": "report", "type": "string"}],
            },
            asks={
                "start_subworkflow": {
                    "workflow_id": "research",
                    "vars": {"topic": "tea"},
                    "async": True,
                    "wait": True,
                }
            },
            result={"sub_run_id": "run-2", "output": {"report": "green", "success": True}},
        ),
    ),
    "llm_call": (
        Example(
            {"prompt": "Say hi.", "provider": "p", "model": "m"},
            output={
                "response": "Hi.",
                "success": True,
                "data": None,
                "tool_calls": [],
                "meta": {
                    "schema": "abstractflow.llm_call.v1.meta",
                    "version": 1,
                    "output_mode": "unstructured",
                    "tool_calls": 0,
                    "usage": {"total_tokens": 5},
                },
                "result": {"content": "Hi.", "usage": {"total_tokens": 5}},
                "raw": {"content": "Hi.", "usage": {"total_tokens": 5}},
                "gen_time": None,
                "ttft_ms": None,
            },
            asks={
                "llm_call": {
                    "prompt": "Say hi.",
                    "system_prompt": "",
                    "tools": [],
                    "params": {"temperature": 0.7},
                    "provider": "p",
                    "model": "m",
                    "include_context": False,
                }
            },
            result={"content": "Hi.", "usage": {"total_tokens": 5}},
        ),
    ),
    "agent": (
        Example(
            {"prompt": "Find tea.", "provider": "p", "model": "m", "tools": ["search"]},
            output={
                "response": "Green tea.",
                "success": True,
                "data": None,
                "meta": {
                    "schema": "abstractcode.agent.v1.meta",
                    "version": 1,
                    "provider": "p",
                    "model": "m",
                    "tool_calls": 0,
                    "tool_results": 0,
                },
                "scratchpad": {
                    "task": "Find tea.",
                    "messages": [],
                    "node_traces": {},
                    "steps": [],
                    "tool_calls": [],
                    "tool_results": [],
                },
                "tool_calls": [],
                "tool_results": [],
                "result": {
                    "response": "Green tea.",
                    "success": True,
                    "task": "Find tea.",
                    "provider": "p",
                    "model": "m",
                },
            },
            asks={
                "start_subworkflow": {
                    "workflow_id": "visual_react_agent_flow-1_node-1",
                    "vars": {
                        "context": {"task": "Find tea.", "messages": []},
                        "scratchpad": {"iteration": 0, "max_iterations": 25},
                        "_runtime": {
                            "inbox": [],
                            "provider": "p",
                            "model": "m",
                            "allowed_tools": ["search"],
                        },
                        "_temp": {},
                        "_limits": {
                            "max_iterations": 25,
                            "current_iteration": 0,
                            "max_tokens": 32768,
                            "max_output_tokens": None,
                            "max_input_tokens": None,
                            "estimated_tokens_used": 0,
                            "max_history_messages": -1,
                            "warn_iterations_pct": 80,
                            "warn_tokens_pct": 80,
                        },
                    },
                    "async": True,
                    "wait": True,
                    "include_traces": True,
                    "on_child_failure": "continue",
                }
            },
            result={
                "response": "Green tea.",
                "success": True,
                "task": "Find tea.",
                "provider": "p",
                "model": "m",
            },
        ),
    ),
}
