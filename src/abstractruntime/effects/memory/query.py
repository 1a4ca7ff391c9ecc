"""`memory_query`: finds spans by text, tags, people, places and time, newest first.

Rules:
1. Spans that are named are given as named. Otherwise what matches by its facts comes
   first, then what contains the words in its archived messages, then what is connected;
   the answer lists all of it newest first.
2. Every owner of a scope is searched by itself, with the same limits; scope `all` lists run,
   session and global memory in this order, each span once.
3. A recall level bounds every number, and what it cuts is told in `warnings` and in the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, JsonObject, RunState
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.effects.memory._owners import (
    ALL,
    SCOPES,
    MemoryHost,
    Reach,
    read_scope,
    required_store,
)
from abstractruntime.effects.memory._payload import first_given, tool_result, whole_number
from abstractruntime.effects.memory._render import render_spans
from abstractruntime.effects.waits import truthy
from abstractruntime.errors import UsageError
from abstractruntime.memory.archive import Archive
from abstractruntime.memory.recall_levels import RecallBudget, parse_recall_level, policy_for
from abstractruntime.memory.rehydration import summary_texts
from abstractruntime.memory.spans import (
    CONNECT_BY,
    Span,
    SpanFilter,
    TimeRange,
    connected_spans,
    describe_span,
    filter_spans,
    list_spans,
    resolve_span_ids,
    span_id_of,
    spans_with_message,
)

_MODES = frozenset({"rendered", "meta", "both"})


class MemoryQuery:
    """Handler of `memory_query`."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        """Give the spans as text, as `meta {matches, span_ids}`, or as both."""
        payload = effect.payload
        archive = Archive(required_store(self._host, "memory_query"))
        scope = read_scope(payload, with_all=True)
        level = parse_recall_level(payload.get("recall_level"))
        budget = RecallBudget(level) if level else None
        request = _Request.of(payload, budget)
        reach = Reach(self._host, ctx)
        if request.named is not None and scope == ALL:
            _refuse_places(request.named)
        memories = _memories(reach, reach.base(payload), scope)
        spans = _distinct([span for m in memories for span in request.select(m, archive)])
        summaries = {k: v for memory in memories for k, v in memory.summaries.items()}

        mode = str(first_given(payload, "return", "return_mode") or "rendered").strip().lower()
        mode = mode if mode in _MODES else "rendered"
        text = ""
        if mode != "meta":
            text = _warned(budget) + render_spans(
                spans, archive, summaries, max_messages=request.max_messages
            )
        meta = _meta(spans, budget) if mode != "rendered" else None
        return tool_result(payload, text, name="recall_memory", meta=meta)


@dataclass(frozen=True, slots=True)
class _Memory:
    """What one owner remembers: its spans, newest first, and the summaries in its messages."""

    spans: list[Span]
    summaries: dict[str, str]


def _memories(reach: Reach, base: RunState, scope: str) -> list[_Memory]:
    scopes = SCOPES if scope == ALL else (scope,)
    owners = dict.fromkeys(reach.owner_id(base, one) for one in scopes)
    return [_memory(base.vars if o == base.run_id else reach.read(o)) for o in owners]


def _memory(owner_vars: JsonObject) -> _Memory:
    context = owner_vars.get("context")
    messages = context.get("messages") if isinstance(context, dict) else None
    texts = summary_texts(messages if isinstance(messages, list) else [])
    return _Memory(list_spans(owner_vars), texts)


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked for, after the recall level has had its say."""

    named: list[Any] | None
    wanted: SpanFilter
    limit: int
    deep: bool
    deep_spans: int
    deep_messages: int
    connected: bool
    hops: int
    connect_by: tuple[str, ...]
    max_messages: int

    @classmethod
    def of(cls, payload: JsonObject, budget: RecallBudget | None) -> _Request:
        wanted = _filter(payload)
        named = _named(payload)
        numbers = _free(payload, wanted) if budget is None else _bounded(payload, wanted, budget)
        if named is not None and budget is not None:
            bounds = policy_for(budget.level).span
            count = budget.at_most(
                "span_ids", len(named), default=len(named), maximum=bounds.limit_spans_max
            )
            named = named[:count]
        return cls(named=named, wanted=wanted, connect_by=_connect_by(payload), **numbers)

    def select(self, memory: _Memory, archive: Archive) -> list[Span]:
        """Choose from the memory of one owner."""
        spans = memory.spans
        if self.named is not None:
            by_id = {span_id_of(span): span for span in spans}
            return [by_id[i] for i in resolve_span_ids(self.named, spans) if i in by_id]
        chosen = filter_spans(
            spans, self.wanted, archive, summaries=memory.summaries, limit=self.limit
        )
        if self.deep:
            chosen = self._with_deep(chosen, memory, archive)
        if self.connected and chosen:
            limit = len(spans) if self.limit < 0 else self.limit
            chosen = connected_spans(
                chosen, spans, archive, hops=self.hops, connect_by=self.connect_by, limit=limit
            )
        ids = {span_id_of(span) for span in chosen}
        return [span for span in spans if span_id_of(span) in ids]

    def _with_deep(self, chosen: list[Span], memory: _Memory, archive: Archive) -> list[Span]:
        if 0 <= self.limit <= len(chosen):
            return chosen
        ids = {span_id_of(span) for span in chosen}
        candidates = filter_spans(memory.spans, self.wanted.without_query(), archive)
        found = spans_with_message(
            [span for span in candidates if span_id_of(span) not in ids],
            self.wanted.query,
            archive,
            max_spans=self.deep_spans,
            max_messages=self.deep_messages,
        )
        both = [*chosen, *found]
        return both if self.limit < 0 else both[: self.limit]


def _filter(payload: JsonObject) -> SpanFilter:
    tags = payload.get("tags")
    tags = {k: v for k, v in tags.items() if k != "kind"} if isinstance(tags, dict) else None
    since, until = (str(payload.get(name) or "").strip() for name in ("since", "until"))
    return SpanFilter.of(
        time_range=TimeRange(start=since or None, end=until or None),
        tags=tags,
        tags_mode=first_given(payload, "tags_mode", "tagsMode", "tag_mode") or "all",
        authors=_filled(payload, "authors", "usernames", "users"),
        locations=_filled(payload, "locations", "location"),
        query=payload.get("query"),
    )


def _filled(payload: JsonObject, *names: str) -> Any:
    return next((payload[name] for name in names if payload.get(name)), None)


def _named(payload: JsonObject) -> list[Any] | None:
    """Give the spans that are asked for by id or place; None when nothing is, and all are searched."""
    given = first_given(payload, "span_ids", "span_id")
    if given is None or given in ("", []):
        return None
    return given if isinstance(given, list) else [given]


def _refuse_places(named: list[Any]) -> None:
    for item in named:
        if isinstance(item, int) or (isinstance(item, str) and item.strip().isdecimal()):
            raise UsageError(
                f"span_id {item!r} is a place in one list, and scope all has several",
                hint="give the span's id, or one scope",
                argument="span_ids",
            )


def _connect_by(payload: JsonObject) -> tuple[str, ...]:
    given = payload.get("connect_by")
    if given is None:
        return CONNECT_BY
    names = given if isinstance(given, list) else [given]
    return tuple(name for name in (str(n).strip() for n in names) if name)


def _free(payload: JsonObject, wanted: SpanFilter) -> dict[str, Any]:
    """Read the numbers of a request without a recall level."""
    deep = payload.get("deep")
    return {
        "limit": whole_number(payload, "limit_spans", 5),
        "deep": bool(wanted.query) if deep is None else truthy(deep),
        "deep_spans": whole_number(payload, "deep_limit_spans", 50),
        "deep_messages": whole_number(payload, "deep_limit_messages_per_span", 400),
        "connected": truthy(payload.get("connected")),
        "hops": whole_number(payload, "neighbor_hops", 1),
        "max_messages": whole_number(payload, "max_messages", -1),
    }


def _bounded(payload: JsonObject, wanted: SpanFilter, budget: RecallBudget) -> dict[str, Any]:
    """Read the numbers of a request within a recall level."""
    bounds = policy_for(budget.level).span

    def at_most(name: str, default: int, maximum: int) -> int:
        asked = whole_number(payload, name, default)
        return budget.at_most(name, asked, default=default, maximum=maximum)

    deep = payload.get("deep")
    by_default = bool(wanted.query) and bounds.deep_allowed
    asked = by_default if deep is None else truthy(deep)
    most_deep, most_messages = bounds.deep_limit_spans_max, bounds.deep_limit_messages_per_span_max
    hops = bounds.neighbor_hops_max
    return {
        "limit": at_most("limit_spans", bounds.limit_spans_default, bounds.limit_spans_max),
        "deep": budget.allow("deep", asked=asked, allowed=bounds.deep_allowed),
        "deep_spans": at_most("deep_limit_spans", most_deep, most_deep),
        "deep_messages": at_most("deep_limit_messages_per_span", most_messages, most_messages),
        "connected": budget.allow(
            "connected", asked=truthy(payload.get("connected")), allowed=bounds.connected_allowed
        ),
        "hops": at_most("neighbor_hops", min(1, hops), hops),
        "max_messages": at_most(
            "max_messages", bounds.max_messages_default, bounds.max_messages_max
        ),
    }


def _distinct(spans: list[Span]) -> list[Span]:
    return list({span_id_of(span): span for span in reversed(spans)}.values())[::-1]


def _meta(spans: list[Span], budget: RecallBudget | None) -> JsonObject:
    meta: JsonObject = {
        "matches": [_match(span) for span in spans],
        "span_ids": [span_id_of(span) for span in spans],
    }
    if budget is not None:
        meta |= {"effort": budget.effort(), "warnings": list(budget.warnings)}
    return meta


def _match(span: Span) -> JsonObject:
    # Compat: 0.4.x also tells that a note stands for no messages.
    count = span.get("message_count")
    return {**describe_span(span), **({"message_count": count} if count is not None else {})}


def _warned(budget: RecallBudget | None) -> str:
    if budget is None or not budget.warnings:
        return ""
    return "\n".join(["[recall warnings]", *(f"- {w}" for w in budget.warnings), "", ""])
