"""The working memory that an agent edits, and its composition from a knowledge graph."""

from __future__ import annotations

import re

import jsonschema
import pytest

from abstractruntime.memory.active_memory import (
    DEFAULT_LIMITS,
    DEFAULT_PERSONA_MD,
    MEMACT_ENVELOPE_SCHEMA_V1,
    MEMORY_BLUEPRINTS_MD,
    apply_memact_envelope,
    ensure_memact_memory,
    get_memact_memory,
    render_memact_blocks,
    render_memact_system_prompt,
    strip_stamp,
    utc_now_compact_seconds,
    utc_now_iso_seconds,
)
from abstractruntime.memory.memact_composer import compose_memact_current_context_from_kg_result

LISTS = list(DEFAULT_LIMITS)
STAMPS = {"now_iso": "2026-01-02T03:04:05+00:00", "now_compact": "26/01/02 03:04:05"}


def edit(variables, **lists):
    return apply_memact_envelope(variables, envelope=lists, **STAMPS)


def texts(variables, name="current_context"):
    return [r["text"] for r in get_memact_memory(variables)[name]]


def test_stamps():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", utc_now_iso_seconds())
    assert re.fullmatch(r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d", utc_now_compact_seconds())


def test_creation():
    variables = {}

    memory = ensure_memact_memory(variables, now_iso="NOW")

    assert memory is variables["_runtime"]["active_memory"]
    assert memory == {
        "version": 1,
        "persona": DEFAULT_PERSONA_MD,
        **{name: [] for name in LISTS},
        "limits": DEFAULT_LIMITS,
        "created_at": "NOW",
        "updated_at": "NOW",
    }


def test_repair_keeps_what_is_good():
    held = {"persona": "P", "history": ["told ", "", 7, {"text": "kept", "id": "x"}], "own": 1}
    held["limits"] = {"history": 0, "references": -1, "current_tasks": True}
    variables = {"_runtime": {"active_memory": held}}

    memory = ensure_memact_memory(variables, now_iso=lambda: "NOW")

    assert memory is held
    assert (memory["persona"], memory["own"], texts(variables, "history")) == (
        "P",
        1,
        ["told", "kept"],
    )
    assert memory["history"][0]["id"].startswith("m_")
    assert memory["limits"] == {**DEFAULT_LIMITS, "history": 0}


@pytest.mark.parametrize("variables", [{}, {"_runtime": None}, {"_runtime": {"active_memory": []}}])
def test_reading_creates_nothing(variables):
    before = repr(variables)

    assert get_memact_memory(variables) is None
    assert len(render_memact_blocks(variables)) == 8
    assert repr(variables) == before


def test_records():
    variables = {}
    result = edit(variables, relationships={"added": ["Ada likes tea"], "removed": []})

    record = get_memact_memory(variables)["relationships"][0]
    assert result["applied"]["relationships"] == {"added": 1, "removed": 0}
    assert re.fullmatch(r"rel_[0-9a-f]{32}", record.pop("id"))
    assert record == {
        "text": "Ada likes tea",
        "ts": "26/01/02 03:04:05",
        "created_at": "2026-01-02T03:04:05+00:00",
    }


@pytest.mark.parametrize(
    ("added", "removed", "left"),
    [
        (["new"], [], ["new", "b", "a one"]),
        (["n1", "n2"], [], ["n1", "n2", "b", "a one"]),
        (["A  ONE", "n", "N"], [], ["n", "b", "a one"]),
        ([], ["a  One"], ["b"]),
        ([], ["- 26/01/02 03:04:05 a one"], ["b"]),
        ([], ["[26/01/02 03:04:05] B"], ["a one"]),
        (["26/01/02 03:04:05 stamped"], [], ["stamped", "b", "a one"]),
        (["a one"], ["a one"], ["a one", "b"]),
        ([" ", None, 3, {"text": "object"}], "b", ["object", "a one"]),
        (None, ["unknown", "", None], ["b", "a one"]),
    ],
    ids=["front", "block", "twice", "case", "dash", "brackets", "stamp", "again", "odd", "nothing"],
)
def test_edits(added, removed, left):
    variables = {}
    edit(variables, current_context={"added": ["b", "a one"]})

    edit(variables, current_context={"added": added, "removed": removed})

    assert texts(variables) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("26/01/02 03:04 - said", "said"),
        ("* [26/01/02 03:04:05]: said", "said"),
        ("26/01/02 03:04:05 -5 degrees", "-5 degrees"),
        ("26/01/02 is the date", "26/01/02 is the date"),
        ("-5 degrees", "-5 degrees"),
    ],
)
def test_stamps_are_stripped(text, left):
    assert strip_stamp(text) == left


def test_lists_are_trimmed_from_the_tail():
    variables = {}
    edit(variables, current_tasks={"added": [f"t{n}" for n in range(8)]})

    edit(variables, current_tasks={"added": ["new"]})

    assert texts(variables, "current_tasks") == ["new", *(f"t{n}" for n in range(7))]


def test_history_only_grows():
    variables = {}
    edit(variables, history={"added": ["met"]})

    result = edit(variables, history={"added": [], "removed": ["met"]})

    assert texts(variables, "history") == ["met"]
    assert result["applied"]["history"] == {"added": 0, "removed": 0}


@pytest.mark.parametrize("envelope", [None, [], "text"], ids=str)
def test_an_envelope_that_is_no_object_changes_nothing(envelope):
    variables = {}

    result = apply_memact_envelope(variables, envelope=envelope, **STAMPS)

    assert (result["ok"], variables) == (False, {})
    assert "not an object" in result["error"]


def test_updated_at_moves_only_with_a_change():
    variables = {}
    ensure_memact_memory(variables, now_iso="START")

    edit(variables, current_context={"removed": ["nothing"]})
    before = get_memact_memory(variables)["updated_at"]
    edit(variables, current_context={"added": ["x"]})

    assert (before, get_memact_memory(variables)["updated_at"]) == ("START", STAMPS["now_iso"])


def an_envelope(**changes):
    module = {"added": [], "removed": []}
    modules = {name: module for name in LISTS if name != "history"}
    return {"content": "", **modules, "history": {"added": []}, **changes}


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"extra": 1}, False),
        ({"history": {"added": [], "removed": []}}, False),
        ({"references": {"added": []}}, False),
        ({"references": {"added": [1], "removed": []}}, False),
        ({"content": None}, False),
    ],
    ids=str,
)
def test_envelope_schema(changes, valid):
    check = jsonschema.Draft202012Validator(MEMACT_ENVELOPE_SCHEMA_V1)

    assert check.is_valid(an_envelope(**changes)) is valid


def test_rendering():
    variables = {}
    edit(variables, references={"added": ["docs at /srv/docs"]})

    blocks = {b["component_id"]: b for b in render_memact_blocks(variables)}
    prompt = render_memact_system_prompt(variables)

    assert list(blocks) == ["memory_blueprints", "persona", *LISTS]
    assert blocks["references"]["content"] == "- 26/01/02 03:04:05 docs at /srv/docs"
    assert prompt.startswith("## MEMORY BLUEPRINTS\n")
    assert MEMORY_BLUEPRINTS_MD.strip() in prompt
    assert prompt.count("\n## ") == 7


def compose(variables, kg_result, **options):
    return compose_memact_current_context_from_kg_result(
        variables, kg_result=kg_result, stimulus="who?", **options, **STAMPS
    )


def packets(*statements):
    return {"packets": [{"statement": s} for s in statements]}


@pytest.mark.parametrize(
    ("kg_result", "options", "left"),
    [
        (packets("x", "y"), {}, ["KG: x", "KG: y", "own"]),
        (packets("x", "y"), {"max_items": 1}, ["KG: x", "own"]),
        (packets("x"), {"max_items": 0}, ["own"]),
        (packets("x"), {"marker": "FACT"}, ["FACT x", "KG: old", "own"]),
        (packets("old", "x"), {}, ["KG: old", "KG: x", "own"]),
        (packets("x", "x", " "), {}, ["KG: x", "own"]),
        ({"packets": []}, {}, ["own"]),
        ({"items": [{"subject": "a", "predicate": "b", "object": "c"}]}, {}, ["KG: a —b→ c", "own"]),
        (
            {"packets": [{"statement": "x", "span_id": "s", "writer_workflow_id": "w"}]},
            {},
            ["KG: x (span:s; wf:w)", "own"],
        ),
    ],
    ids=["packets", "bound", "none", "marker", "known", "twice", "empty", "items", "provenance"],
)  # fmt: skip
def test_composing(kg_result, options, left):
    variables = {}
    edit(variables, current_context={"added": ["KG: old", "own"]})

    result = compose(variables, kg_result, **options)

    assert (result["ok"], texts(variables)) == (True, left)


def test_what_composing_reports():
    variables = {}
    edit(variables, current_context={"added": ["kg: old"]})

    result = compose(variables, packets("x", "y"), max_items=1)

    assert result["delta"] == {"current_context": {"added": ["KG: x"], "removed": ["kg: old"]}}
    assert result["trace"] == {
        "stimulus": "who?",
        "marker": "KG:",
        "source": "packets",
        "packets": 2,
        "selected": 1,
        "dropped": 1,
    }
    assert result["active_memory"] == get_memact_memory(variables)


@pytest.mark.parametrize("kg_result", [None, "text", []], ids=str)
def test_composing_from_no_result(kg_result):
    variables = {}

    result = compose(variables, kg_result)

    assert (result["ok"], result["delta"], result["active_memory"]) == (False, {}, {})
    assert result["error"]
    assert variables == {}
