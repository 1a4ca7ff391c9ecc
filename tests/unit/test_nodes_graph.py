from __future__ import annotations

import pytest
from flow_builder import START, end, flow, node, run
from memory_host import a_run
from node_scope import evaluate, pins, plan

from abstractruntime import EffectType, Runtime, WorkflowRegistry
from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.testing import FakeClock, StubGraph
from abstractruntime.visualflow_compiler import compile_visualflow

ROW = {"subject": "ex:a", "predicate": "ex:knows", "object": "ex:b"}


@pytest.mark.parametrize(
    ("inputs", "payload"),
    [
        ({}, {"assertions": []}),
        ({"assertions": ROW}, {"assertions": [ROW]}),
        ({"assertions": [ROW, 5, "x"]}, {"assertions": [ROW]}),
        (
            {
                "assertions": [ROW],
                "scope": " session ",
                "owner_id": "me",
                "span_id": "sp",
                "attributes_defaults": {},
                "allow_custom_predicates": "yes",
            },
            {"assertions": [ROW], "scope": "session", "owner_id": "me", "span_id": "sp"},
        ),
        (
            {"attributes_defaults": {"a": 1}, "allow_custom_predicates": True},
            {"assertions": [], "attributes_defaults": {"a": 1}, "allow_custom_predicates": True},
        ),
    ],
)
def test_assert_payload(inputs, payload):
    assert plan("memory_kg_assert", inputs) == payload


@pytest.mark.parametrize(
    ("inputs", "payload"),
    [
        ({}, {}),
        ({"subject": " ", "scope": "all"}, {"scope": "all"}),
        ({"limit": "5.5", "min_score": "0.4"}, {"min_score": 0.4}),
        ({"limit": "5", "max_input_tokens": "800.9"}, {"limit": 5, "max_input_tokens": 800}),
        ({"limit": True, "min_score": "high"}, {}),
    ],
)
def test_query_payload(inputs, payload):
    assert plan("memory_kg_query", inputs) == payload


@pytest.mark.parametrize(
    ("inputs", "payload"),
    [
        ({"label": " Ada "}, {"label": "Ada"}),
        (
            {"label": "x", "include_semantic": False, "min_score": 1, "max_candidates": "3"},
            {"label": "x", "include_semantic": False, "min_score": 1.0, "max_candidates": 3},
        ),
        ({"include_semantic": "no"}, {}),
    ],
)
def test_resolve_payload(inputs, payload):
    assert plan("memory_kg_resolve", inputs) == payload


def test_packing_pins_are_there_only_when_the_result_has_them():
    bare = {"ok": True, "count": 1, "items": [ROW]}
    packed = {**bare, "active_memory_text": "t", "packed_count": 1}

    assert pins("memory_kg_query", bare) == {**bare, "raw": bare}
    assert pins("memory_kg_query", packed) == {**packed, "raw": packed}
    assert pins("memory_kg_resolve", None) == {
        "candidates": [],
        "count": 0,
        "ok": False,
        "raw": None,
    }


# -- memact_compose ----------------------------------------------------------------------


def test_compose_writes_lines_into_working_memory():
    variables = {}

    record = evaluate("memact_compose", {"kg_result": {"items": [ROW]}}, variables)

    (line,) = variables["_runtime"]["active_memory"]["current_context"]
    assert line["text"] == "KG: ex:a —ex:knows→ ex:b"
    assert record["ok"] is True
    assert "ex:knows" in record["memact_system_prompt"]


@pytest.mark.parametrize("given", [{}, {"kg_result": "x"}, {"kg_result": None}])
def test_compose_of_no_result_changes_nothing(given):
    variables = {}

    record = evaluate("memact_compose", given, variables)

    assert (record["ok"], record["delta"], variables) == (False, {}, {})
    assert "memory_kg_query.raw" in record["error"]


# -- effects over a graph ----------------------------------------------------------------


def ask(graph, kind, owner=None, **payload):
    effect = EffectType(f"memory_kg_{kind}")
    ctx = EffectContext(owner or a_run(session_id="s"), "n", None, "o1", 1, FakeClock())
    return graph.handlers()[effect].call(ctx, Effect(effect, payload))


def result(*args, **payload):
    outcome = ask(*args, **payload)
    assert outcome.status == "completed", outcome
    return outcome.result


def test_what_is_asserted_is_found_in_its_scope_only():
    graph = StubGraph()

    done = result(graph, "assert", assertions=[ROW, ROW], scope="session")

    assert (done["ok"], done["count"], done["skipped_duplicates"]) == (True, 1, 1)
    for scope, count in (("session", 1), ("run", 0), ("all", 1)):
        assert result(graph, "query", subject="EX:A", scope=scope)["count"] == count


def test_a_repeated_attempt_stores_nothing_twice():
    graph = StubGraph()

    first = result(graph, "assert", assertions=[ROW], dedupe=False)
    again = result(graph, "assert", assertions=[ROW], dedupe=False)

    assert first["assertion_ids"] == again["assertion_ids"]
    assert len(graph.assertions) == 1


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({}, "assertions are missing"),
        ({"assertions": "x"}, "assertions are missing"),
        ({"assertions": [{**ROW, "object": " "}]}, "assertion 0 has no object"),
        ({"assertions": [{**ROW, "predicate": "made:up"}]}, "unknown predicates: made:up"),
        ({"assertions": [ROW]}, "unknown predicates: ex:knows"),
    ],
)
def test_wrong_rows_store_nothing(payload, words):
    from abstractruntime.errors import UsageError

    graph = StubGraph(predicates=frozenset({"schema:name"}))

    with pytest.raises(UsageError, match=words):
        ask(graph, "assert", **payload)
    assert graph.assertions == []


def test_empty_list_is_a_no_op():
    assert result(StubGraph(), "assert", assertions=[]) == {
        "ok": True,
        "count": 0,
        "assertion_ids": [],
        "skipped": True,
    }


def test_custom_predicates_and_aliases():
    graph = StubGraph(predicates=frozenset({"dcterms:hasPart"}))
    row = {"subject": "ex:The  House", "predicate": "schema:hasPart", "object": "ex:b"}

    result(graph, "assert", assertions=[row, ROW], allow_custom_predicates=True)

    assert [(a["subject"], a["predicate"]) for a in graph.assertions] == [
        ("ex:the-house", "dcterms:haspart"),
        ("ex:a", "ex:knows"),
    ]


def test_unknown_scope_is_an_answer_not_a_failure():
    found = result(StubGraph(), "query", scope="planet")

    assert (found["ok"], found["items"]) == (False, [])
    assert "planet" in found["error"]


def test_recall_level_bounds_and_packs():
    graph = StubGraph([ROW])

    found = result(graph, "query", scope="all", recall_level="urgent", limit=99)

    assert found["effort"]["applied"]["limit"] == 40
    assert found["packed_count"] == 1
    assert "ex:a —ex:knows→ ex:b" in found["active_memory_text"]
    assert any("limit 99 -> 40" in warning for warning in found["warnings"])


def test_text_is_scored_and_sorted():
    rows = [{**ROW, "object": "red house"}, {**ROW, "object": "red door"}]

    found = result(StubGraph(rows), "query", scope="global", query_text="red door")

    scores = [item["attributes"]["_retrieval"]["score"] for item in found["items"]]
    assert (found["items"][0]["object"], scores) == ("red door", [1.0, 0.5])


def test_resolve_finds_entities_by_their_names():
    rows = [
        {"subject": "ex:ada", "predicate": "schema:name", "object": "Ada Lovelace"},
        {"subject": "ex:ada", "predicate": "rdf:type", "object": "schema:Person"},
        {"subject": "ex:ship", "predicate": "schema:name", "object": "ada lovelace"},
    ]
    graph = StubGraph(rows)

    found = result(
        graph, "resolve", label="ada  LOVELACE", scope="global", expected_type="schema:Person"
    )

    assert [(c["id"], c["score"]) for c in found["candidates"]] == [("ex:ada", 1.0)]
    assert result(graph, "resolve", label="ada lovelace", scope="global")["count"] == 2
    assert result(graph, "resolve")["ok"] is False


FLOW = flow(
    START,
    node("a", "memory_kg_assert", "exec-in assertions scope", "exec-out count"),
    node("q", "memory_kg_query", "exec-in subject scope", "exec-out items ok raw"),
    node("m", "memact_compose", "exec-in kg_result", "exec-out ok memact_blocks"),
    end("n", "ok"),
    edges="s > a; a > q; q > m; m > e; a.count > e.n; q.raw > m.kg_result; m.ok > e.ok",
)
for item in FLOW["nodes"]:
    item["data"].setdefault("pinDefaults", {}).update(
        {"a": {"assertions": [ROW]}, "q": {"subject": "ex:a"}}.get(item["id"], {})
    )


@pytest.mark.parametrize("configured", [True, False])
def test_flow_over_a_graph(configured):
    registry = WorkflowRegistry()
    spec = compile_visualflow(FLOW)
    registry.register(spec)
    runtime = Runtime(
        run_store=InMemoryRunStore(),
        ledger_store=InMemoryLedgerStore(),
        workflow_registry=registry,
        effect_handlers=StubGraph().handlers() if configured else None,
    )

    state = runtime.tick(workflow=spec, run_id=runtime.start(workflow=spec))

    if configured:
        assert state.output == {"n": 1, "ok": True, "success": True}
    else:
        assert "no knowledge graph is configured" in state.error
        assert "graph_handlers" in state.error


def test_terminal_compose_ends_the_run():
    compose = node("m", "memact_compose", "exec-in kg_result", "exec-out ok")

    assert run(flow(START, compose, edges="s > m"))["ok"] is False
