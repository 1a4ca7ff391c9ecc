"""The knowledge graph: storing assertions, finding them, and putting them into working memory."""

from __future__ import annotations

import math
from collections.abc import Callable

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.core.models import format_time
from abstractruntime.memory.active_memory import render_memact_blocks, render_memact_system_prompt
from abstractruntime.memory.memact_composer import compose_memact_current_context_from_kg_result
from abstractruntime.nodes._coerce import filled, text_of, whole_or
from abstractruntime.nodes.base import (
    EffectNode,
    Element,
    Example,
    FunctionNode,
    Pin,
    PlannedEffect,
    Scope,
    register,
)

_SCOPES = ("run", "session", "global")
_SCOPE = Pin(
    "scope", "string", doc="run, session or global; run when nothing is given", choices=_SCOPES
)
_ANY_SCOPE = Pin(
    "scope",
    "string",
    doc="run, session, global or all; run when nothing is given",
    choices=(*_SCOPES, "all"),
)
_OWNER = Pin("owner_id", "string", doc="the owner of the scope, when it is not this run's own")
_LEVEL = Pin(
    "recall_level",
    "string",
    aliases=("recallLevel",),
    doc="urgent, standard or deep; sets and bounds the limits",
    choices=("urgent", "standard", "deep"),
)
_PACKED = (
    "effort",
    "packets_version",
    "packets",
    "packed_count",
    "active_memory_text",
    "estimated_tokens",
    "dropped",
    "warnings",
    "error",
)
_NAMED: JsonObject = {"subject": "ex:ada", "predicate": "schema:name", "object": "Ada"}
_STORED: JsonObject = {"ok": True, "assertion_ids": ["k1"], "count": 1}
_FACTS: JsonObject = {"ok": True, "items": [_NAMED], "count": 1}
_SAME: JsonObject = {"ok": True, "candidates": [{"id": "ex:ada", "score": 1.0}], "count": 1}


@register
class MemoryKgAssertNode(EffectNode):
    type = "memory_kg_assert"
    needs = ("assertions",)
    family = "graph"
    capability = "memory"
    doc = (
        "Stores assertions (subject, predicate, object) in the knowledge graph of the host. An assertion "
        "that is there already is not stored twice. An empty list is fine; a row without its three terms, "
        "or a predicate that the graph does not know, fails the run and stores nothing."
    )
    inputs = (
        Pin("assertions", "assertions", aliases=("triples", "items"), doc="objects, or one object"),
        _SCOPE,
        _OWNER,
        Pin("span_id", "string", doc="the note or archive that the assertions come from"),
        Pin("attributes_defaults", "object", doc="attributes for assertions that lack them"),
        Pin("allow_custom_predicates", "boolean", doc="accept predicates that start with `ex:`"),
    )
    primary_pin = "assertion_ids"
    outputs = (
        Pin("assertion_ids", "array"),
        Pin("count", "number"),
        Pin("ok", "boolean"),
        Pin("raw", "object"),
    )
    examples = (
        Example(
            {"assertions": _NAMED},
            output={"assertion_ids": ["k1"], "count": 1, "ok": True, "raw": _STORED},
            asks={"memory_kg_assert": {"assertions": [_NAMED]}},
            result=_STORED,
        ),
    )

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        given = inputs.get("assertions")
        rows = [given] if isinstance(given, dict) else given
        payload: JsonObject = {
            "assertions": [r for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []
        }
        payload |= _texts(inputs, "scope", "owner_id", "span_id")
        defaults = inputs.get("attributes_defaults")
        if isinstance(defaults, dict) and defaults:
            payload["attributes_defaults"] = defaults
        if isinstance(inputs.get("allow_custom_predicates"), bool):
            payload["allow_custom_predicates"] = inputs["allow_custom_predicates"]
        return PlannedEffect("memory_kg_assert", payload)

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        return _pins(result, "assertion_ids")


@register
class MemoryKgQueryNode(EffectNode):
    type = "memory_kg_query"
    family = "graph"
    capability = "memory"
    doc = (
        "Finds assertions in the knowledge graph: by exact terms, by time, by the meaning of a text. With "
        "a token budget, or a recall level, the best ones are also packed into `active_memory_text`. A "
        "graph that cannot answer gives `ok` false and no items; the run goes on."
    )
    inputs = (
        Pin("query_text", "string", doc="text to search by meaning"),
        Pin("subject", "string"),
        Pin("predicate", "string"),
        Pin("object", "string"),
        Pin("since", "string"),
        Pin("until", "string"),
        Pin("active_at", "string", doc="only what is valid at this moment"),
        _ANY_SCOPE,
        _OWNER,
        _LEVEL,
        Pin("min_score", "number", doc="how near the meaning must be, 0 to 1"),
        Pin("limit", "number", doc="100 when nothing is given"),
        Pin(
            "order",
            "string",
            doc="asc or desc by time; desc when nothing is given",
            choices=("asc", "desc"),
        ),
        Pin("max_input_tokens", "number", aliases=("max_in_tokens", "maxInputTokens")),
        Pin("model", "model", doc="whose tokens are counted"),
    )
    primary_pin = "items"
    outputs = (
        Pin("items", "assertions"),
        Pin("count", "number"),
        Pin("ok", "boolean"),
        Pin("packets", "array"),
        Pin("packets_version", "number"),
        Pin("packed_count", "number"),
        Pin("active_memory_text", "string"),
        Pin("estimated_tokens", "number"),
        Pin("dropped", "number"),
        Pin("effort", "object"),
        Pin("warnings", "array"),
        Pin("error", "string"),
        Pin("raw", "object"),
    )
    examples = (
        Example(
            {"subject": "ex:ada", "limit": "5"},
            output={"items": [_NAMED], "count": 1, "ok": True, "raw": _FACTS},
            asks={"memory_kg_query": {"subject": "ex:ada", "limit": 5}},
            result=_FACTS,
        ),
    )

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        names = (pin.id for pin in self.inputs)
        payload = _texts(inputs, *(n for n in names if n not in _QUERY_NUMBERS))
        for name, read in _QUERY_NUMBERS.items():
            value = read(inputs.get(name))
            payload |= {} if value is None else {name: value}
        return PlannedEffect("memory_kg_query", payload)

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        return _pins(result, "items", *_PACKED)


@register
class MemoryKgResolveNode(EffectNode):
    type = "memory_kg_resolve"
    needs = ("label",)
    family = "graph"
    capability = "memory"
    doc = (
        "Finds the entities of the knowledge graph that a name may stand for, best first. A missing label "
        "gives `ok` false and no candidates; the run goes on."
    )
    inputs = (
        Pin("label", "string", aliases=("query", "query_text")),
        Pin("expected_type", "string", aliases=("expectedType",), doc="such as schema:Person"),
        _LEVEL,
        _ANY_SCOPE,
        _OWNER,
        Pin(
            "include_semantic", "boolean", aliases=("includeSemantic",), doc="search by meaning too"
        ),
        Pin("min_score", "number", aliases=("minScore",)),
        Pin("max_candidates", "number", aliases=("maxCandidates", "limit")),
    )
    primary_pin = "candidates"
    outputs = (
        Pin("candidates", "array"),
        Pin("count", "number"),
        Pin("ok", "boolean"),
        Pin("raw", "object"),
    )
    examples = (
        Example(
            {"label": "Ada", "expected_type": "schema:Person"},
            output={"candidates": _SAME["candidates"], "count": 1, "ok": True, "raw": _SAME},
            asks={"memory_kg_resolve": {"label": "Ada", "expected_type": "schema:Person"}},
            result=_SAME,
        ),
    )

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        payload = _texts(inputs, "label", "expected_type", "recall_level", "scope", "owner_id")
        if isinstance(inputs.get("include_semantic"), bool):
            payload["include_semantic"] = inputs["include_semantic"]
        score, most = _score(inputs.get("min_score")), _whole(inputs.get("max_candidates"))
        payload |= {} if score is None else {"min_score": score}
        payload |= {} if most is None else {"max_candidates": most}
        return PlannedEffect("memory_kg_resolve", payload)

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        return _pins(result, "candidates")


# Compat: the text of 0.4.2, which flows show.
_NOT_A_RESULT = "memact_compose requires a dict kg_result (connect memory_kg_query.raw or output)"
_NOTHING: JsonObject = {
    "ok": False,
    "delta": {},
    "trace": {},
    "active_memory": {},
    "memact_blocks": [],
    "memact_system_prompt": "",
}


@register
class MemactCompose(FunctionNode):
    type = "memact_compose"
    family = "graph"
    doc = (
        "Puts the result of memory_kg_query into CURRENT CONTEXT of the run's working memory, one line per "
        "packet, in place of the lines that carry the same marker. A `kg_result` that is no object "
        "gives `ok` false and changes nothing."
    )
    inputs = (
        Pin("kg_result", "object", aliases=("raw", "result"), doc="`raw` of memory_kg_query"),
        Pin("stimulus", "string", aliases=("query_text",), doc="what the query was about"),
        Pin("marker", "string", default="KG:", doc="start of the lines that are replaced"),
        Pin("max_items", "number", doc="how many lines at most"),
    )
    outputs = (
        Pin("ok", "boolean"),
        Pin("delta", "object"),
        Pin("trace", "object"),
        Pin("active_memory", "object"),
        Pin("memact_blocks", "array"),
        Pin("memact_system_prompt", "string"),
        Pin("error", "string"),
    )
    examples = (Example({"kg_result": "no result"}, {**_NOTHING, "error": _NOT_A_RESULT}),)
    compat = "A run that ends here also says `success`, like every other function."

    def takes_bus(self, element: Element) -> bool:
        return False

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        given = inputs.get("kg_result")
        if not isinstance(given, dict):
            return {**_NOTHING, "error": _NOT_A_RESULT}
        most = whole_or(inputs.get("max_items"), None)
        now = scope.now()
        done = compose_memact_current_context_from_kg_result(
            scope.vars,
            kg_result=given,
            stimulus=text_of(inputs.get("stimulus")),
            marker=filled(inputs.get("marker")),
            max_items=most if most and most > 0 else None,
            now_iso=format_time(now),
            now_compact=now.strftime("%y/%m/%d %H:%M:%S"),
        )
        return {
            **done,
            "memact_blocks": render_memact_blocks(scope.vars),
            "memact_system_prompt": render_memact_system_prompt(scope.vars),
        }


def _texts(inputs: JsonObject, *names: str) -> JsonObject:
    found = {name: filled(inputs.get(name)) for name in names}
    return {name: text for name, text in found.items() if text}


def _whole(value: JsonValue) -> int | None:
    """Give the integer as Python reads it: the text "5.5" is none."""
    try:
        return None if isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _score(value: JsonValue) -> float | None:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _tokens(value: JsonValue) -> int | None:
    return whole_or(value, None)


_QUERY_NUMBERS: dict[str, Callable[[JsonValue], float | None]] = {
    "min_score": _score,
    "limit": _whole,
    "max_input_tokens": _tokens,
}


def _pins(result: JsonValue, rows: str, *optional: str) -> JsonObject:
    """Give the list under `rows`, how many there are, whether it worked, and the rest as it came."""
    facts = result if isinstance(result, dict) else {}
    given = facts.get(rows)
    listed = given if isinstance(given, list) else []
    count = facts.get("count")
    return {
        rows: listed,
        "count": len(listed) if count is None else count,
        "ok": facts.get("ok") is True,
        **{name: facts[name] for name in optional if name in facts},
        "raw": result,
    }
