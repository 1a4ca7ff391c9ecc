"""The active context of a run: which spans it has, and which messages a model sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from abstractruntime._json import JsonObject, mapping
from abstractruntime._ports_system import SystemClock
from abstractruntime.core.models import RunState
from abstractruntime.core.vars import get_context
from abstractruntime.errors import NotFound
from abstractruntime.memory.archive import Archive, ArtifactReader
from abstractruntime.memory.rehydration import rehydrate, summary_texts
from abstractruntime.memory.spans import (
    Span,
    SpanFilter,
    SpanId,
    TimeRange,
    filter_spans,
    list_spans,
    resolve_span_ids,
)

__all__ = ["ActiveContextPolicy", "SpanId", "TimeRange"]

_DEFAULT_LIMIT = 1000


class RunStates(Protocol):
    """The part of a run store that memory needs."""

    def load(self, run_id: str) -> RunState | None: ...
    def save(self, run: RunState) -> None: ...


class MomentSource(Protocol):
    def now_iso(self) -> str: ...


class ActiveContextPolicy:
    """Lists, filters and rehydrates the memory of stored runs.

    Methods that take a run id load the run and raise `NotFound` (a KeyError) for an unknown
    one; their twins `..._from_run` work on a state that the caller holds.
    """

    def __init__(
        self,
        *,
        run_store: RunStates,
        artifact_store: ArtifactReader,
        clock: MomentSource | None = None,
    ) -> None:
        self._run_store = run_store
        self._artifact_store = artifact_store
        self._clock = clock or SystemClock()

    def list_memory_spans(self, run_id: str) -> list[Span]:
        """Give shallow copies of the run's spans, newest first, without evidence."""
        return self.list_memory_spans_from_run(self._load(run_id))

    @staticmethod
    def list_memory_spans_from_run(run: RunState) -> list[Span]:
        return list_spans(run.vars)

    def filter_spans(
        self,
        run_id: str,
        *,
        time_range: TimeRange | None = None,
        tags: dict[str, Any] | None = None,
        tags_mode: str = "all",
        authors: Iterable[str] | None = None,
        locations: Iterable[str] | None = None,
        query: str | None = None,
        limit: int = _DEFAULT_LIMIT,
    ) -> list[Span]:
        """Give the spans of a stored run that match; see `filter_spans_from_run`."""
        return self.filter_spans_from_run(
            self._load(run_id),
            artifact_store=self._artifact_store,
            time_range=time_range,
            tags=tags,
            tags_mode=tags_mode,
            authors=authors,
            locations=locations,
            query=query,
            limit=limit,
        )

    @staticmethod
    def filter_spans_from_run(  # noqa: PLR0913 - the 0.4.x signature
        run: RunState,
        *,
        artifact_store: ArtifactReader | None,
        time_range: TimeRange | None = None,
        tags: dict[str, Any] | None = None,
        tags_mode: str = "all",
        authors: Iterable[str] | None = None,
        locations: Iterable[str] | None = None,
        query: str | None = None,
        limit: int = _DEFAULT_LIMIT,
    ) -> list[Span]:
        """Give the spans that match every condition given, newest first.

        Args:
            run: The run whose index is searched.
            artifact_store: Where notes and tags are read.
            time_range: Spans must meet it.
            tags: `{name: value or list of values}`, compared in lower case.
            tags_mode: all, or any.
            authors: Values of `created_by`.
            locations: Values of `location`, or of the tag of that name.
            query: Text within summary, note, metadata or tags; not archived messages.
            limit: The most spans; zero none, negative all.
        """
        wanted = SpanFilter.of(
            time_range=time_range,
            tags=tags,
            tags_mode=tags_mode,
            authors=_listed(authors),
            locations=_listed(locations),
            query=query,
        )
        return filter_spans(
            list_spans(run.vars),
            wanted,
            Archive(artifact_store),
            summaries=summary_texts(_messages(run)),
            limit=limit,
        )

    def rehydrate_into_context(
        self,
        run_id: str,
        *,
        span_ids: Iterable[SpanId],
        placement: str = "after_summary",
        dedup_by: str = "message_id",
        max_messages: int | None = None,
    ) -> JsonObject:
        """Insert archived messages into a stored run, and save it if there were any."""
        run = self._load(run_id)
        result = self.rehydrate_into_context_from_run(
            run,
            span_ids=span_ids,
            placement=placement,
            dedup_by=dedup_by,
            max_messages=max_messages,
        )
        if result["inserted"]:
            run.updated_at = self._clock.now_iso()
            self._run_store.save(run)
        return result

    def rehydrate_into_context_from_run(
        self,
        run: RunState,
        *,
        span_ids: Iterable[SpanId],
        placement: str = "after_summary",
        dedup_by: str = "message_id",
        max_messages: int | None = None,
    ) -> JsonObject:
        """Insert archived messages into `run.vars.context.messages`; nothing is saved.

        Returns:
            `{inserted, skipped, artifacts: [{span_id, inserted, skipped, error, kind, preview}]}`
        """
        outcome = rehydrate(
            _messages(run),
            [span_ids] if isinstance(span_ids, str | int) else span_ids,
            list_spans(run.vars),
            Archive(self._artifact_store),
            placement=placement,
            dedup_by=dedup_by,
            max_messages=max_messages,
        )
        if outcome.inserted:
            get_context(run.vars)["messages"] = outcome.messages
        return outcome.to_dict()

    def select_active_messages_for_llm(
        self, run_id: str, *, max_history_messages: int | None = None
    ) -> list[JsonObject]:
        """Give the messages that a model sees; see `select_messages_view`."""
        return self.select_active_messages_for_llm_from_run(
            self._load(run_id), max_history_messages=max_history_messages
        )

    @staticmethod
    def select_active_messages_for_llm_from_run(
        run: RunState, *, max_history_messages: int | None = None
    ) -> list[JsonObject]:
        """Give the messages of a run within the limit given, else within that of its `_limits`."""
        limit = max_history_messages
        if limit is None:
            limit = mapping(run.vars.get("_limits")).get("max_history_messages")
        if not isinstance(limit, int) or isinstance(limit, bool):
            limit = -1
        return ActiveContextPolicy.select_messages_view(_messages(run), max_history_messages=limit)

    @staticmethod
    def select_messages_view(
        messages: Iterable[Any], *, max_history_messages: int
    ) -> list[JsonObject]:
        """Give system messages, then the last n others; zero gives none of these, negative all."""
        known = [m for m in messages if isinstance(m, dict)]
        others = [m for m in known if m.get("role") != "system"]
        first = max(0, len(others) - max_history_messages) if max_history_messages >= 0 else 0
        return [*(m for m in known if m.get("role") == "system"), *others[first:]]

    @staticmethod
    def resolve_span_ids_from_spans(span_ids: Iterable[SpanId], spans: list[Span]) -> list[str]:
        """Give artifact ids; numbers and decimal text are 1-based indexes into `spans`."""
        return resolve_span_ids(span_ids, spans)

    @staticmethod
    def summary_text_by_artifact_id_from_run(run: RunState) -> dict[str, str]:
        """Give the text of each summary in the conversation by the artifact it stands for."""
        return summary_texts(_messages(run))

    def _load(self, run_id: str) -> RunState:
        run = self._run_store.load(run_id)
        if run is None:
            raise NotFound(f"Unknown run_id: {run_id}", kind="run", id=run_id)
        return run


def _messages(run: RunState) -> list[JsonObject]:
    messages = mapping(run.vars.get("context")).get("messages")
    return [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []


def _listed(values: Iterable[str] | None) -> list[str]:
    return [values] if isinstance(values, str) else list(values or ())
