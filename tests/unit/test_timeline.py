from __future__ import annotations

import re

import pytest
from ledger_builder import LABELS, ORIGIN, LedgerBuilder, a_run, a_wait, release_ledger

from abstractruntime.core.store import LedgerHead
from abstractruntime.core.usage import Usage, total_usage
from abstractruntime.rendering.run_document import (
    build_run_document,
)
from abstractruntime.rendering.timeline import Note, build_timeline
from abstractruntime.rendering.timeline_text import render_timeline


def document(state=None, **fields):
    return build_run_document(
        state=state or a_run(output={"released": True}),
        **{"ledger": LedgerHead(16, "ab" * 32, 16, 8123), "origin": ORIGIN, **fields},
    )


def test_steps_of_a_whole_run():
    timeline = build_timeline(release_ledger().records, labels=LABELS)

    assert [(s.seq, s.label, s.effect_type, s.status, len(s.attempts)) for s in timeline.steps] == [
        (1, "Draft notes", "llm_call", "completed", 2),
        (5, "Approve release", "ask_user", "completed", 1),
        (8, "n3", "answer_user", "completed", 1),
        (10, "Publish", "start_subworkflow", "completed", 1),
    ]
    assert timeline.status == "completed"
    assert timeline.final
    assert timeline.origin == ORIGIN
    assert (timeline.output, timeline.output_seq) == ('{"released":true}', 12)
    assert timeline.records == 14


def test_retry_keeps_the_failed_attempt():
    step = build_timeline(release_ledger().records).steps[0]

    assert [(a.number, a.status, a.error) for a in step.attempts] == [
        (1, "failed", "timed out"),
        (2, "completed", None),
    ]
    assert step.error is None
    assert step.attempts[0].duration_ms == 1000
    assert step.duration_ms == 3000


def test_wait_says_what_was_asked_and_who_answered():
    step = build_timeline(release_ledger().records).steps[1]

    assert (step.wait.prompt, step.wait.choices) == ("Deploy?", ("yes", "no"))
    answer = step.wait.answer
    assert (answer.actor, answer.payload, answer.seq) == ("alice", '{"response":"yes"}', 7)
    assert step.wait.duration_ms == 1000
    assert not answer.timed_out


def test_open_wait_has_no_answer():
    ledger = LedgerBuilder()
    ledger.wait("n1", "wait_event", "event", "evt:1")

    timeline = build_timeline(ledger.records)

    assert timeline.status == "waiting"
    assert timeline.steps[0].wait.answer is None
    assert timeline.steps[0].status == "waiting"


def test_answer_with_another_key_is_shown_apart():
    ledger = LedgerBuilder()
    ledger.wait("n1", "wait_event", "event", "evt:1")
    ledger.resume("n1", "evt:2", {})

    steps = build_timeline(ledger.records).steps

    assert steps[0].wait.answer is None
    assert steps[1].effect_type == "resume"


def test_deadline_is_marked_on_the_answer():
    ledger = LedgerBuilder()
    ledger.wait("n1", "ask_user", "user", "k", until="2026-01-02T00:00:00+00:00")
    ledger.resume("n1", "k", {"timed_out": True})

    assert build_timeline(ledger.records).steps[0].wait.answer.timed_out


@pytest.mark.parametrize("outcome_in_first", [True, False], ids=["same-step-id", "next-attempt"])
def test_effect_cut_off_by_a_crash_stays_one_step(outcome_in_first):
    ledger = LedgerBuilder()
    effect = {"type": "llm_call", "payload": {}, "result_key": None}
    begun = ledger.add("n1", "started", effect=effect)
    if outcome_in_first:
        ledger.internal("recovered", offset=10, bytes=3)
        ledger.add("n1", "completed", effect=effect, result={}, step_id=begun["step_id"])
    else:
        ledger.effect("n1", "llm_call", {}, "completed", result={}, attempt=2)

    timeline = build_timeline(ledger.records)

    assert [s.status for s in timeline.steps] == ["completed"]
    statuses = [a.status for a in timeline.steps[0].attempts]
    assert statuses == (["completed"] if outcome_in_first else ["interrupted", "completed"])
    assert [m.kind for m in timeline.marks] == (["recovered"] if outcome_in_first else [])


def test_same_node_visited_twice_is_two_steps():
    ledger = LedgerBuilder()
    for _ in range(2):
        ledger.effect("n1", "llm_call", {}, "completed", result={})

    assert len(build_timeline(ledger.records).steps) == 2


def test_failed_run_names_its_error():
    ledger = LedgerBuilder(classic=True)
    ledger.effect("n1", "llm_call", {}, "failed", error="no model")
    ledger.terminal("failed")

    timeline = build_timeline(ledger.records)

    assert (timeline.status, timeline.error) == ("failed", "no model")


def test_child_of_a_subworkflow_wait_is_known():
    ledger = LedgerBuilder()
    ledger.wait("n1", "start_subworkflow", "subworkflow", "k", details={"sub_run_id": "c"})
    ledger.resume("n1", "k", {"sub_run_id": "c", "output": {}}, reason="subworkflow")

    assert build_timeline(ledger.records).steps[0].children == ("c",)


@pytest.mark.parametrize(
    ("kind", "payload", "note"),
    [
        ("answer_user", {"message": "hi", "level": "warning"}, Note("warning", "hi")),
        (
            "emit_event",
            {"name": "abstract.status", "payload": {"text": "Busy"}},
            Note("abstract.status", "Busy"),
        ),
        (
            "emit_event",
            {"name": "abstract.tool_result", "payload": [1]},
            Note("abstract.tool_result", "[1]"),
        ),
        ("emit_event", {"name": "order.paid", "payload": {"text": "x"}}, None),
    ],
    ids=["answer", "status", "tool-result", "other-event"],
)
def test_notes(kind, payload, note):
    ledger = LedgerBuilder()
    ledger.effect("n1", kind, payload, "completed", result={})

    assert build_timeline(ledger.records).steps[0].note == note


def test_large_results_are_kept_as_previews():
    ledger = LedgerBuilder()
    ledger.effect("n1", "llm_call", {}, "completed", result={"content": "x" * 100_000})

    assert len(build_timeline(ledger.records).steps[0].result) == 2000


@pytest.mark.parametrize(
    "record", [{}, {"effect": 3, "result": "x", "status": 4}, {"effect": {"type": "resume"}}]
)
def test_odd_records_are_shown_not_raised(record):
    assert len(build_timeline([record]).steps) == 1


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"usage": {"input_tokens": 3, "output_tokens": 4}}, (3, 4, 7)),
        ({"token_usage": {"prompt": 3, "completion": 4, "total": 9}}, (3, 4, 9)),
        ({"tokens": {"in": 1, "out": 2}}, (1, 2, 3)),
        ({"output": {"usage": {"prompt_tokens": 5}}}, (5, 0, 5)),
        ({"usage": {"input_tokens": "3", "output_tokens": None}}, (0, 0, 0)),
        ({}, (0, 0, 0)),
    ],
    ids=["plain", "aliases", "short", "nested", "not-numbers", "none"],
)
def test_usage_reads_the_known_spellings(usage, expected):
    ledger = LedgerBuilder()
    ledger.effect("n1", "llm_call", {}, "completed", result=usage)

    assert total_usage(ledger.records) == Usage(1, 0, *expected)


def test_usage_counts_completed_records_only():
    ledger = release_ledger()
    calls = {"tool_calls": [{}, {}]}
    ledger.effect("n6", "tool_calls", calls, "failed", error="x")
    ledger.effect("n6", "tool_calls", calls, "completed", result={})

    assert total_usage(ledger.records) == Usage(1, 2, 30, 12, 42)


GOLDEN = """\
run      run-1
flow     release
outcome  succeeded
bundle   release-approval@1.2.0
         sha256:abababababababababababababababababababababababababababababababab
         signed by release-key
started  2026-01-01T00:00:00+00:00
updated  2026-01-01T00:00:00+00:00
ledger   16 records, 16 signed, 8.1 kB
labels   team=core
usage    1 LLM call, 0 tool calls, 42 tokens (30 in, 12 out)

  seq  status      step             effect             time
    1  completed   Draft notes      llm_call           3.00 s
       attempt 1 failed after 1.00 s: timed out
    5  completed   Approve release  ask_user           1.00 s
       Deploy? [yes | no]
       alice answered after 1.00 s: {"response":"yes"}
    8  completed   n3               answer_user        1.00 s
       message: On its way
   10  completed   Publish          start_subworkflow  1.00 s
       child run child-1

output   {"released": true}
"""


def test_text_of_a_whole_run():
    ledger = release_ledger()
    timeline = build_timeline(ledger.records, labels=LABELS)

    text = render_timeline(
        timeline, run_document=document(usage=total_usage(ledger.records)), width=80
    )

    assert text == GOLDEN


def test_colour_adds_nothing_but_escapes():
    timeline = build_timeline(release_ledger().records, labels=LABELS)
    plain = render_timeline(timeline, run_document=document(), width=80)
    coloured = render_timeline(timeline, run_document=document(), width=80, colour=True)

    stripped = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert coloured != plain
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()


def test_recorded_text_cannot_move_the_cursor():
    ledger = LedgerBuilder()
    ledger.wait("n1", "ask_user", "user", "k", prompt="a\x1b[2Jb\u202ec")
    ledger.resume("n1", "k", {"response": "\x9b31m"}, actor="e\x1b]0;x\x07")

    text = render_timeline(build_timeline(ledger.records), run_document=document())

    assert all(char.isprintable() or char == "\n" for char in text)
    assert "a\\x1b[2Jb\\u202ec" in text


def test_lines_fit_the_width_also_with_wide_characters():
    ledger = LedgerBuilder()
    ledger.wait("n1", "ask_user", "user", "k", prompt="確認してください " * 20)
    text = render_timeline(
        build_timeline(ledger.records, labels={"n1": "質" * 60}),
        run_document=document(origin=None),
        width=60,
    )

    cells = [sum(2 if ord(c) > 0x2FFF else 1 for c in line) for line in text.splitlines()]
    assert max(cells) <= 60


def test_open_wait_and_error_close_the_text():
    wait = a_wait(prompt="Deploy?", choices=["yes"])
    state = a_run(status="waiting", waiting=wait)
    waiting = render_timeline(
        build_timeline([]), run_document=document(state, leaf_waits=[("child", wait)])
    )
    failed = render_timeline(
        build_timeline([]), run_document=document(a_run(status="failed", error="no model"))
    )

    assert "waiting  for user, key user:R:n2, in run child\n         Deploy? [yes]\n" in waiting
    assert "no steps yet" in waiting
    assert failed.endswith("error    no model (node n5)\n")


def test_marks_stand_between_the_steps():
    ledger = LedgerBuilder()
    ledger.effect("n1", "llm_call", {}, "completed", result={})
    ledger.internal("recovered", offset=10, bytes=3)
    ledger.internal("transition")
    ledger.effect("n2", "llm_call", {}, "completed", result={})

    text = render_timeline(build_timeline(ledger.records), run_document=document())

    lines = [line.split()[:2] for line in text.splitlines()]
    at = lines.index(["2", "recovered"])
    assert [line[0] for line in lines[at - 1 : at + 2]] == ["0", "2", "4"]
    assert "transition" not in text


def test_long_runs_show_the_latest_steps():
    ledger = LedgerBuilder()
    for number in range(5):
        ledger.effect(f"n{number}", "llm_call", {}, "completed", result={})

    text = render_timeline(build_timeline(ledger.records), run_document=document(), max_steps=2)

    assert "3 earlier steps of 5 are not shown; all: --steps 5" in text
    assert "n2 " not in text
    assert "n3 " in text
