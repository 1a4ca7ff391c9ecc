"""JSON text and agent reports made from values."""

import pytest

from abstractruntime.rendering import (
    JsonStringifyMode,
    render_agent_trace_markdown,
    stringify_json,
)
from abstractruntime.rendering.agent_trace_report import AgentTraceMarkdownReportConfig

TITLE = "# Agent Trace Report\n"


@pytest.mark.parametrize(
    "value,expected",
    [
        ((1, "é"), '[1, "é"]'),
        ({True: None, 2.5: 2}, '{"True": null, "2.5": 2}'),
        ({None: {3}}, '{"None": "{3}"}'),
        (float("nan"), '"nan"'),
        ("[1]", "[1]"),
    ],
    ids=repr,
)
def test_any_value_becomes_json_text(value, expected):
    assert stringify_json(value, mode=JsonStringifyMode.NONE) == expected


def test_texts_are_only_parsed_on_request():
    assert stringify_json("[1]", mode="minified", parse_strings=False) == '"[1]"'


def test_an_indent_is_bounded():
    assert len(stringify_json([1], beautify_indent=10**9)) < 100


def a_step(kind, result=None, payload=None, **fields):
    return {
        "status": "completed",
        "effect": {"type": kind, "payload": payload},
        "result": result,
        **fields,
    }


def report_of(*steps, config=None):
    return render_agent_trace_markdown({"node_id": "n", "steps": list(steps)}, config=config)


@pytest.mark.parametrize(
    "scratchpad,expected",
    [
        (None, "\n_No scratchpad provided._\n"),
        ({}, "\n_No node_traces found in scratchpad._\n"),
        ({"node_traces": {}}, "\n_No trace steps found._\n"),
        ({"node_traces": {"n": {"steps": []}}}, "\n_No trace steps found._\n"),
        ({"node_traces": {"n": 5, "m": {"steps": [5]}}}, "\n_No trace steps found._\n"),
        (
            {"sub_run_id": "r", "workflow_id": "w", "node_traces": {"n": {}}},
            "- **sub_run_id**: `r`\n- **workflow_id**: `w`\n\n_No trace steps found._\n",
        ),
    ],
)
def test_a_report_says_what_is_missing(scratchpad, expected):
    assert render_agent_trace_markdown(scratchpad) == TITLE + expected


def test_steps_are_shown_in_the_order_of_time():
    text = report_of(
        a_step("llm_call", {"model": "m", "content": "Done"}, ts="2", duration_ms=12.3456),
        a_step("tool_calls", ts="1", status="failed", error="boom"),
    )

    assert text == (
        f"{TITLE}\n## Timeline\n"
        "\n### 1. `n` \u2014 `tool_calls` (failed)\n\n**Error**\n```text\nboom\n```\n"
        "\n### 2. `n` \u2014 `llm_call` (completed)\n- **duration_ms**: 12.346\n- **model**: `m`\n"
        "- **tool_calls_requested**: none\n\n**Assistant content**\n```markdown\nDone\n```\n"
    )


def test_tool_results_are_matched_by_call_id():
    calls = [
        {"name": "ls", "call_id": "c1", "arguments": {"p": "."}},
        {"name": "rm", "call_id": "c2"},
    ]
    results = [{"call_id": "c1", "success": False, "error": "no\nway", "output": {"k": 1}}]

    text = report_of(a_step("tool_calls", {"results": results}, {"tool_calls": calls}))

    assert '#### Tool: `ls` (call_id=c1)\n\n**Arguments**\n```json\n{\n  "p": "."\n}\n```' in text
    assert "- **success**: false\n- **error**: no way\n" in text
    assert text.count("_missing tool result in trace entry_") == 1


def test_text_cannot_leave_its_block():
    content = "a\n```\n# forged\n````"

    text = report_of(a_step("llm_call", {"content": content, "model": "m`\n# forged"}))

    assert f"\n`````markdown\n{content}\n`````\n" in text
    assert "- **model**: `m' # forged`\n" in text


def test_other_effects_and_timestamps():
    config = AgentTraceMarkdownReportConfig(include_timestamps=True)

    text = report_of(a_step("ask_user", {"response": "y"}, ts="t0"), config=config)

    assert "- **ts**: `t0`" in text
    assert '**Result**\n```json\n{\n  "response": "y"\n}\n```' in text
