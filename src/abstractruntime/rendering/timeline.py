"""The timeline of a run: what happened, step by step, as its ledger tells.

Rules:
1. One pass over the records in ledger order; memory grows with steps, not with
   bytes: values are kept as previews, the record's `seq` leads to the rest.
2. Attempts of one effect are one step; a resume record answers the open wait and
   becomes part of the step that asked. A run has at most one open wait.
3. A record that fits nothing is still shown, as a step of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from abstractruntime._json import mapping
from abstractruntime.core.origin import RUN_STARTED, RunOrigin
from abstractruntime.core.record_fields import (
    effect_type,
    internal_kind,
    is_completion,
    result_object,
    terminal_status,
    text_or_none,
)
from abstractruntime.rendering._timeline_model import (
    Answer,
    Attempt,
    Mark,
    Step,
    Timeline,
    Wait,
)
from abstractruntime.rendering._timeline_steps import (
    answers,
    bare_step,
    is_retry,
    seq,
    with_answer,
    with_attempt,
    with_children,
    with_outcome,
)
from abstractruntime.rendering.notes import Note, preview

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from abstractruntime._json import JsonObject

__all__ = ["Answer", "Attempt", "Mark", "Note", "Step", "Timeline", "Wait", "build_timeline"]


def build_timeline(
    records: Iterable[Mapping[str, Any]],
    *,
    labels: Mapping[str, str] | None = None,
    outcomes: Mapping[str, str] | None = None,
) -> Timeline:
    """Give the timeline of one run.

    Args:
        records: The run's records in ledger order; read once, none is kept.
        labels: Node id to the name its author gave it; ids stand in for missing ones.
        outcomes: What became of child runs; a step whose child did not succeed did not, either.
    """
    builder = _Builder(labels or {}, outcomes or {})
    for record in records:
        builder.add(record)
    return builder.finish()


@dataclass(slots=True)
class _Builder:
    labels: Mapping[str, str]
    outcomes: Mapping[str, str]
    steps: list[Step] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    by_step_id: dict[str, int] = field(default_factory=dict)
    origin: RunOrigin = field(default_factory=RunOrigin)
    open_wait: int | None = None
    run_id: str | None = None
    status: str = "running"
    started_at: str | None = None
    ended_at: str | None = None
    output: str | None = None
    output_seq: int | None = None
    error: str | None = None
    count: int = 0
    final: bool = False
    first_seq: int = 0

    def add(self, record: Mapping[str, Any]) -> None:
        at = text_or_none(record.get("ended_at")) or text_or_none(record.get("started_at"))
        if self.count == 0:
            self.run_id = text_or_none(record.get("run_id"))
            self.started_at = text_or_none(record.get("started_at"))
            self.first_seq = seq(record) or 0
        self.count, self.ended_at = self.count + 1, at or self.ended_at
        self.final = terminal_status(record) is not None
        self._handler(record)(record)
        self._take_commit(mapping(record.get("commit")))

    def _handler(self, record: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], None]:
        if self.final:
            return self._add_terminal
        if internal_kind(record) is not None:
            return self._add_internal
        if is_completion(record):
            return self._add_completion
        return self._add_resume if effect_type(record) == "resume" else self._add_effect

    def _take_commit(self, commit: JsonObject) -> None:
        self.status = text_or_none(commit.get("status")) or self.status
        self.error = text_or_none(commit.get("error")) or self.error

    def _add_terminal(self, record: Mapping[str, Any]) -> None:
        self.status = terminal_status(record) or self.status

    def _add_internal(self, record: Mapping[str, Any]) -> None:
        kind = internal_kind(record)
        facts = {k: v for k, v in result_object(record).items() if k != "internal"}
        if kind == RUN_STARTED:
            self.origin = RunOrigin.of(record)
        elif kind is not None and kind != "transition":
            at = text_or_none(record.get("started_at"))
            self.marks.append(Mark(seq(record), kind, at, preview(facts)))

    def _add_completion(self, record: Mapping[str, Any]) -> None:
        self.status = "completed"
        self.output = preview(result_object(record).get("output"))
        self.output_seq = seq(record)

    def _add_resume(self, record: Mapping[str, Any]) -> None:
        self.status = "running"
        index, self.open_wait = self.open_wait, None
        wait = None if index is None else self.steps[index].wait
        if index is None or wait is None or not answers(record, wait):
            self._append(bare_step(record, self.labels))
            return
        self.steps[index] = with_answer(self.steps[index], wait, record)

    def _add_effect(self, record: Mapping[str, Any]) -> None:
        index = self._index_of(record)
        if index is None:
            index = self._append(bare_step(record, self.labels))
        else:
            self.steps[index] = with_attempt(self.steps[index], record)
        self._remember(record, index)
        self.steps[index] = with_outcome(self.steps[index], record)
        self.status = "running"
        if self.steps[index].status == "waiting":
            self.status = "waiting"
            self.open_wait = index

    def _index_of(self, record: Mapping[str, Any]) -> int | None:
        known = self.by_step_id.get(text_or_none(record.get("step_id")) or "")
        if known is not None:
            return known
        return len(self.steps) - 1 if self.steps and is_retry(self.steps[-1], record) else None

    def _append(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _remember(self, record: Mapping[str, Any], index: int) -> None:
        step_id = text_or_none(record.get("step_id"))
        if step_id is not None:
            self.by_step_id[step_id] = index

    def _last_error(self) -> str | None:
        if self.status != "failed":
            return self.error
        return self.error or (self.steps[-1].error if self.steps else None)

    def finish(self) -> Timeline:
        return Timeline(
            run_id=self.run_id,
            status=self.status,
            origin=self.origin,
            started_at=self.started_at,
            ended_at=self.ended_at,
            steps=tuple(with_children(step, self.outcomes) for step in self.steps),
            marks=tuple(self.marks),
            output=self.output,
            output_seq=self.output_seq,
            error=self._last_error(),
            records=self.count,
            final=self.final,
            first_seq=self.first_seq,
        )
