"""The effects `memory_kg_assert`, `memory_kg_query` and `memory_kg_resolve` over a graph store.

Rules:
1. Terms are trimmed and lower-cased before they are stored or compared; an object whose
   `attributes.literal` is true keeps its case.
2. Storing is all or nothing, and the id of an assertion comes from the effect's occurrence:
   an attempt that is repeated after a crash stores nothing twice.
3. A query that the store cannot answer completes with `{ok: false, error}`; wrong rows to
   store, and an unknown recall level, fail the effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from abstractruntime._json import JsonObject, mapping
from abstractruntime.core.derived_ids import item_id
from abstractruntime.core.handlers import EffectContext, Handler
from abstractruntime.core.models import Effect, EffectType, RunState
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.errors import AbstractRuntimeError, UsageError
from abstractruntime.kg._recall import Recall, listed, packed
from abstractruntime.kg._terms import (
    SCOPES,
    owner_of,
    predicate_of,
    scopes_of,
    term,
    text_of,
)
from abstractruntime.kg.port import GraphQuery, GraphStore

_OFF: Final = frozenset({"0", "false", "no", "off"})
_TIMES: Final = ("observed_at", "valid_from", "valid_until")
_SHOWN_PREDICATES: Final = 12
_LABELS: Final = (
    "schema:name",
    "skos:preflabel",
    "skos:altlabel",
    "dcterms:title",
    "dcterms:identifier",
)

RootOf = Callable[[RunState], str]


def graph_handlers(
    store: GraphStore,
    *,
    predicates: frozenset[str] | None = None,
    root_of: RootOf = lambda run: run.run_id,
) -> dict[EffectType, Handler]:
    """Give the effect handlers over a store.

    Args:
        predicates: The known predicates; any other one fails the effect, unless it starts with
            `ex:` and the effect allows such. None knows every predicate.
        root_of: The run that holds the session scope of a run without a session.
    """
    known = None if predicates is None else frozenset(p.strip().lower() for p in predicates)
    calls: dict[EffectType, Callable[[EffectContext, Effect], EffectOutcome]] = {
        EffectType.MEMORY_KG_ASSERT: _Assert(store, known, root_of),
        EffectType.MEMORY_KG_QUERY: _Query(store, root_of),
        EffectType.MEMORY_KG_RESOLVE: _Resolve(store, root_of),
    }
    return {kind: Handler(call, external=True, state_free=True) for kind, call in calls.items()}


def no_graph(ctx: EffectContext, effect: Effect) -> EffectOutcome:
    """Fail: the host has no knowledge graph."""
    return EffectOutcome.failed(
        f"node {ctx.node_id!r} asks for {effect.type.value}, and no knowledge graph is configured;"
        " give the runtime effect_handlers=graph_handlers(store), see abstractruntime.kg"
    )


# -- storing ---------------------------------------------------------------------------


class _Assert:
    def __init__(self, store: GraphStore, known: frozenset[str] | None, root_of: RootOf) -> None:
        self._store, self._known, self._root_of = store, known, root_of

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        payload = effect.payload
        rows = _rows(payload)
        if not rows:
            done: JsonObject = {"ok": True, "count": 0, "assertion_ids": [], "skipped": True}
            return EffectOutcome.completed(done)
        common = self._common(ctx, payload)
        assertions = [_assertion(row, i, common, payload) for i, row in enumerate(rows)]
        self._require_known(assertions, payload)
        fresh = self._fresh(assertions) if _wants_dedupe(payload) else assertions
        for place, assertion in enumerate(fresh):
            assertion["assertion_id"] = item_id(ctx.occurrence_id, place)
        ids = self._store.add(fresh) if fresh else []
        return EffectOutcome.completed(
            {
                "ok": True,
                "count": len(ids),
                "assertion_ids": ids,
                "count_attempted": len(assertions),
                "skipped_duplicates": len(assertions) - len(fresh),
            }
        )

    def _common(self, ctx: EffectContext, payload: JsonObject) -> JsonObject:
        scope = text_of(payload, "scope").lower() or "run"
        if scope not in SCOPES:
            raise UsageError(f"unknown scope {scope!r}", hint=f"one of {', '.join(SCOPES)}")
        provenance = {
            "span_id": text_of(payload, "span_id"),
            "writer_run_id": ctx.run.run_id,
            "writer_workflow_id": ctx.run.workflow_id,
        }
        return {
            "scope": scope,
            "owner_id": text_of(payload, "owner_id") or owner_of(ctx.run, scope, self._root_of),
            "observed_at": ctx.began_at or ctx.run.updated_at,
            "provenance": {name: value for name, value in provenance.items() if value},
        }

    def _require_known(self, assertions: list[JsonObject], payload: JsonObject) -> None:
        if self._known is None:
            return
        custom = payload.get("allow_custom_predicates", payload.get("allow_custom")) is True
        named = dict.fromkeys(a["predicate"] for a in assertions)
        unknown = [
            p for p in named if p not in self._known and not (custom and p.startswith("ex:"))
        ]
        if unknown:
            shown = ", ".join(unknown[:_SHOWN_PREDICATES])
            hint = "use a known predicate, or one that starts with ex: and allow_custom_predicates"
            raise UsageError(f"unknown predicates: {shown}", hint=hint, argument="assertions")

    def _fresh(self, assertions: list[JsonObject]) -> list[JsonObject]:
        unique: dict[GraphQuery, JsonObject] = {}
        for assertion in assertions:
            unique.setdefault(_same(assertion), assertion)
        return [assertion for same, assertion in unique.items() if not self._store.find(same)]


def _same(assertion: JsonObject) -> GraphQuery:
    """Give the query that finds an assertion which says the same."""
    names = ("subject", "predicate", "object", "scope", "owner_id")
    return GraphQuery(**{name: assertion[name] for name in names}, limit=1)


def _rows(payload: JsonObject) -> list[JsonObject]:
    given = next((payload[n] for n in ("assertions", "triples", "items") if n in payload), None)
    rows = [given] if isinstance(given, dict) else given
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(
            "assertions are missing, expected a list of objects",
            hint="each has subject, predicate and object",
            argument="assertions",
        )
    return rows


def _assertion(row: JsonObject, place: int, common: JsonObject, payload: JsonObject) -> JsonObject:
    attributes = {**mapping(payload.get("attributes_defaults")), **mapping(row.get("attributes"))}
    terms = {
        "subject": term(row.get("subject")),
        "predicate": predicate_of(row.get("predicate")),
        "object": term(row.get("object"), literal=attributes.get("literal") is True),
    }
    blank = [name for name, text in terms.items() if not text]
    if blank:
        raise UsageError(
            f"assertion {place} has no {' and no '.join(blank)}",
            hint="each assertion needs subject, predicate and object",
            argument="assertions",
        )
    optional = {name: row[name] for name in (*_TIMES, "confidence") if row.get(name) is not None}
    provenance = {**common["provenance"], **mapping(row.get("provenance"))}
    return {**common, **terms, **optional, "provenance": provenance, "attributes": attributes}


def _wants_dedupe(payload: JsonObject) -> bool:
    wanted = payload.get("dedupe", payload.get("deduplicate", True))
    return str(wanted).strip().lower() not in _OFF


# -- finding ---------------------------------------------------------------------------


class _Query:
    def __init__(self, store: GraphStore, root_of: RootOf) -> None:
        self._store, self._root_of = store, root_of

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        payload = effect.payload
        recall = Recall.of(payload)
        try:
            scopes = scopes_of(payload)
        except UsageError as problem:
            return _cannot(str(problem), "items")
        items: list[JsonObject] = []
        warnings: list[str] = []
        for scope in scopes:
            owner = text_of(payload, "owner_id") or owner_of(ctx.run, scope, self._root_of)
            try:
                items += self._store.find(recall.query(payload, scope, owner))
            except AbstractRuntimeError as problem:
                warnings.append(f"{scope}: {problem}")
        if warnings and not items:
            return _cannot("; ".join(warnings), "items")
        items = listed(items, recall, payload)
        result: JsonObject = {"ok": True, "count": len(items), "items": items}
        result |= packed(items, recall, payload)
        warnings += recall.warnings
        return EffectOutcome.completed(result | ({"warnings": warnings} if warnings else {}))


class _Resolve:
    def __init__(self, store: GraphStore, root_of: RootOf) -> None:
        self._store, self._root_of = store, root_of

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        payload = effect.payload
        label = " ".join(text_of(payload, "label", "query", "query_text").lower().split())
        if not label:
            return _cannot("label is missing, expected the name of an entity", "candidates")
        recall = Recall.of(payload)
        try:
            scopes = scopes_of(payload)
            rows = [row for scope in scopes for row in self._matches(ctx, payload, label, scope)]
        except UsageError as problem:
            return _cannot(str(problem), "candidates")
        wanted = text_of(payload, "expected_type", "expectedType", "type").lower()
        by_id: dict[tuple[str, str], JsonObject] = {}
        for row in rows:
            key = (row["subject"], row["owner_id"])
            found = by_id.setdefault(key, self._candidate(row))
            found["evidence"] = [*found["evidence"], row][:3]
        candidates = [c for c in by_id.values() if not wanted or wanted in c["types"]]
        candidates = candidates[: recall.candidates(payload)]
        return EffectOutcome.completed(
            {"ok": True, "count": len(candidates), "candidates": candidates, "raw": rows}
        )

    def _matches(
        self, ctx: EffectContext, payload: Mapping[str, Any], label: str, scope: str
    ) -> list[JsonObject]:
        owner = text_of(payload, "owner_id") or owner_of(ctx.run, scope, self._root_of)
        rows = [
            row
            for predicate in _LABELS
            for row in self._store.find(
                GraphQuery(predicate=predicate, object=label, scope=scope, owner_id=owner)
            )
        ]
        return [row for row in rows if row["subject"].startswith("ex:")]

    def _candidate(self, row: JsonObject) -> JsonObject:
        types = self._store.find(
            GraphQuery(
                subject=row["subject"],
                predicate="rdf:type",
                scope=row["scope"],
                owner_id=row["owner_id"],
            )
        )
        return {
            "id": row["subject"],
            "label": row["object"],
            "types": list(dict.fromkeys(str(t["object"]).lower() for t in types)),
            "scope": row["scope"],
            "owner_id": row["owner_id"],
            "score": 1.0,
            "evidence": [],
        }


def _cannot(error: str, rows: str) -> EffectOutcome:
    result: JsonObject = {"ok": False, "success": False, "count": 0, rows: [], "error": error}
    return EffectOutcome.completed(result)
