"""The values of a timeline: steps, attempts, waits, answers, notes and marks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from abstractruntime.core.record_fields import elapsed_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abstractruntime.core.origin import RunOrigin
    from abstractruntime.rendering.notes import Note


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of an effect; `interrupted` means it began and has no recorded outcome."""

    number: int
    status: str
    started_at: str | None
    ended_at: str | None
    error: str | None

    @property
    def duration_ms(self) -> float | None:
        return elapsed_ms(self.started_at, self.ended_at)


@dataclass(frozen=True, slots=True)
class Answer:
    """What ended a wait: a person's payload, an event, a timer or a child run."""

    seq: int | None
    actor: str | None
    at: str | None
    payload: str
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """A question to the world, and its answer once there is one."""

    reason: str
    wait_key: str | None
    prompt: str | None
    choices: tuple[str, ...]
    allow_free_text: bool
    until: str | None
    since: str | None
    answer: Answer | None = None

    @property
    def duration_ms(self) -> float | None:
        return elapsed_ms(self.since, self.answer.at) if self.answer else None


@dataclass(frozen=True, slots=True)
class Step:
    """One visit of a node that asked for an effect."""

    seq: int | None
    step_id: str | None
    node_id: str
    label: str
    effect_type: str | None
    status: str
    attempts: tuple[Attempt, ...]
    wait: Wait | None = None
    children: tuple[str, ...] = ()
    child_outcomes: Mapping[str, str] = field(default_factory=dict)
    note: Note | None = None
    result: str | None = None
    error: str | None = None

    @property
    def started_at(self) -> str | None:
        return self.attempts[0].started_at

    @property
    def ended_at(self) -> str | None:
        return self.attempts[-1].ended_at

    @property
    def duration_ms(self) -> float | None:
        """Give the time from the first attempt to the outcome; waiting is not part of it."""
        return elapsed_ms(self.started_at, self.ended_at)


@dataclass(frozen=True, slots=True)
class Mark:
    """A remark of the store or host between steps: `control`, `recovered`, `imported`."""

    seq: int | None
    kind: str
    at: str | None
    facts: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """One run as its ledger tells it; `status` is `running` while nothing else is recorded.

    `first_seq` is the record that it begins with; what lies before was not looked at.
    """

    run_id: str | None
    status: str
    origin: RunOrigin
    started_at: str | None
    ended_at: str | None
    steps: tuple[Step, ...]
    marks: tuple[Mark, ...]
    output: str | None
    output_seq: int | None
    error: str | None
    records: int
    final: bool
    first_seq: int = 0

    @property
    def duration_ms(self) -> float | None:
        return elapsed_ms(self.started_at, self.ended_at)
