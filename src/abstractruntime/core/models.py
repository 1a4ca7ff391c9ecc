"""The data model: runs, steps, effects and waits.

JSON form is `to_dict()`: field order is the serialised order, enums are their values.
Public shapes are those of 0.4.x; `RunState.ledger_seq`, `listening` and `used`, `StepRecord.seq`
and `commit` are new, trailing, and omitted from JSON while unset.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from abstractruntime.errors import InvalidValue

JsonObject = dict[str, Any]


class RunStatus(str, Enum):
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})


class WaitReason(str, Enum):
    EVENT = "event"
    UNTIL = "until"
    USER = "user"
    JOB = "job"
    SUBWORKFLOW = "subworkflow"


class StepStatus(str, Enum):
    STARTED = "started"
    COMPLETED = "completed"
    WAITING = "waiting"
    FAILED = "failed"


class EffectType(str, Enum):
    WAIT_EVENT = "wait_event"
    WAIT_UNTIL = "wait_until"
    ASK_USER = "ask_user"
    ANSWER_USER = "answer_user"
    EMIT_EVENT = "emit_event"
    LLM_CALL = "llm_call"
    TOOL_CALLS = "tool_calls"
    MEMORY_QUERY = "memory_query"
    MEMORY_TAG = "memory_tag"
    MEMORY_COMPACT = "memory_compact"
    MEMORY_NOTE = "memory_note"
    MEMORY_REHYDRATE = "memory_rehydrate"
    MEMORY_KG_ASSERT = "memory_kg_assert"
    MEMORY_KG_QUERY = "memory_kg_query"
    MEMORY_KG_RESOLVE = "memory_kg_resolve"
    VARS_QUERY = "vars_query"
    START_SUBWORKFLOW = "start_subworkflow"


def utc_now() -> datetime:
    """Give the current time as an aware UTC datetime."""
    return datetime.now(timezone.utc)  # noqa: TID251 - defaults of the 0.4.x dataclasses


def random_id() -> str:
    """Give a random UUID."""
    return str(uuid.uuid4())


def format_time(moment: datetime) -> str:
    """Write a moment as UTC ISO-8601 with microseconds and `+00:00`."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


_FRACTION = re.compile(r"\.[0-9]+")


def parse_moment(text: str) -> datetime:
    """Read an ISO-8601 moment; without an offset it is UTC.

    Raises:
        InvalidValue: the text is no such moment.
    """
    whole = str(text).strip().replace("Z", "+00:00")
    try:
        # Python 3.10 reads fractions of three or six digits only.
        moment = datetime.fromisoformat(_FRACTION.sub(lambda m: f"{m[0]:0<7}"[:7], whole))
    except ValueError:
        raise InvalidValue(
            f"{text!r} is not an ISO-8601 moment", hint="such as 2026-01-31T12:00:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def moment_or_none(text: Any) -> datetime | None:
    """Read a stored moment; None where 0.4.x or a host left something that is none."""
    try:
        return parse_moment(text) if text else None
    except InvalidValue:
        return None


def _now_text() -> str:
    return format_time(utc_now())


def _text(value: str) -> str:
    """Give the plain text of an enum member; hosts may also have put plain text there."""
    return value.value if isinstance(value, Enum) else value


@dataclass(frozen=True)
class Effect:
    """A node's request to the outside; `result_key` is where the result belongs in vars.

    A `result_key` is a dotted path, or a JSON pointer when it starts with `/`.
    """

    type: EffectType
    payload: JsonObject = field(default_factory=dict)
    result_key: str | None = None

    def to_dict(self) -> JsonObject:
        return {"type": _text(self.type), "payload": self.payload, "result_key": self.result_key}

    @classmethod
    def from_dict(cls, data: JsonObject) -> Effect:
        return cls(
            EffectType(data["type"]), dict(data.get("payload") or {}), data.get("result_key")
        )


@dataclass(frozen=True)
class StepPlan:
    """What a node wants next; precedence: `complete_output` > `effect` > `next_node`.

    `failed` says that the node failed and the run goes on at `next_node` all the same.
    """

    node_id: str
    effect: Effect | None = None
    next_node: str | None = None
    complete_output: JsonObject | None = None
    failed: bool = False


@dataclass
class WaitState:
    """Why a run is parked and what will wake it.

    `occurrence` numbers the effect that parked it: a question that is asked again has the
    same wait key, but another occurrence. An event wait whose `details` hold
    `{"listen": true}` is one of many for its key; see `RunState.listening`.
    """

    reason: WaitReason
    wait_key: str | None = None
    until: str | None = None
    resume_to_node: str | None = None
    result_key: str | None = None
    prompt: str | None = None
    choices: list[str] | None = None
    allow_free_text: bool = True
    details: JsonObject | None = None
    occurrence: int | None = None

    @property
    def listens(self) -> bool:
        """Whether a run that parks here is to wait for this key again and again."""
        if self.reason is not WaitReason.EVENT or not self.wait_key:
            return False
        return (self.details or {}).get("listen") is True

    def to_dict(self) -> JsonObject:
        """Give the checkpoint form, which adds the occurrence to the nine public keys."""
        data = self.public()
        if self.occurrence is not None:
            data["occurrence"] = self.occurrence
        return data

    def public(self) -> JsonObject:
        """Give the nine keys that 0.4.x knows, as they stand in records."""
        data: JsonObject = {name: getattr(self, name) for name in _PUBLIC_WAIT_FIELDS}
        return {**data, "reason": _text(self.reason)}

    @classmethod
    def from_dict(cls, data: JsonObject) -> WaitState:
        known = {name: data[name] for name in _WAIT_FIELDS if name in data}
        return cls(**{**known, "reason": WaitReason(data["reason"])})


_WAIT_FIELDS = tuple(WaitState.__dataclass_fields__)
_PUBLIC_WAIT_FIELDS = tuple(name for name in _WAIT_FIELDS if name != "occurrence")


@dataclass
class RunState:
    """One execution of a workflow; the only mutable copy belongs to its open run log.

    `listening` holds the keys of events that the run keeps waiting for: one that arrives
    while it is busy stays in its inbox until it waits for that key again. `used` is what a run
    with limits has used so far, `{steps, seconds[, failures: {node: count}]}`; it is replaced,
    never changed in place.
    """

    run_id: str
    workflow_id: str
    status: RunStatus
    current_node: str
    vars: JsonObject = field(default_factory=dict)
    waiting: WaitState | None = None
    output: JsonObject | None = None
    error: str | None = None
    created_at: str = field(default_factory=_now_text)
    updated_at: str = field(default_factory=_now_text)
    actor_id: str | None = None
    session_id: str | None = None
    parent_run_id: str | None = None
    ledger_seq: int | None = None
    listening: list[str] | None = None
    used: JsonObject | None = None

    @classmethod
    def new(
        cls,
        *,
        workflow_id: str,
        entry_node: str,
        actor_id: str | None = None,
        session_id: str | None = None,
        vars: JsonObject | None = None,  # noqa: A002 - the 0.4.x name
        parent_run_id: str | None = None,
    ) -> RunState:
        """Create a RUNNING run with a fresh id at `entry_node`."""
        return cls(
            run_id=random_id(),
            workflow_id=workflow_id,
            status=RunStatus.RUNNING,
            current_node=entry_node,
            vars=vars or {},
            actor_id=actor_id,
            session_id=session_id,
            parent_run_id=parent_run_id,
        )

    def to_dict(self) -> JsonObject:
        """Give the checkpoint form; `vars` and `output` are shared, not copied."""
        data: JsonObject = {name: getattr(self, name) for name in _RUN_FIELDS}
        data["status"] = _text(self.status)
        data["waiting"] = self.waiting.to_dict() if self.waiting else None
        if self.ledger_seq is None:
            del data["ledger_seq"]
        if not self.listening:
            del data["listening"]
        if self.used is None:
            del data["used"]
        return data

    @classmethod
    def from_dict(cls, data: JsonObject) -> RunState:
        """Read the checkpoint form; unknown keys are ignored, falsy vars become `{}`.

        Raises:
            KeyError: a required field is missing.
            ValueError: status or wait reason is unknown.
        """
        known = {name: data[name] for name in _RUN_FIELDS if name in data}
        known["status"] = RunStatus(data["status"])
        known["vars"] = data.get("vars") or {}
        known["waiting"] = WaitState.from_dict(data["waiting"]) if data.get("waiting") else None
        return cls(**known)


_RUN_FIELDS = tuple(RunState.__dataclass_fields__)


@dataclass
class StepRecord:
    """One line of the ledger: 16 public keys, then `seq` and `commit` where the store writes them."""

    run_id: str
    step_id: str
    node_id: str
    status: StepStatus
    effect: JsonObject | None = None
    result: JsonObject | None = None
    error: str | None = None
    started_at: str = field(default_factory=_now_text)
    ended_at: str | None = None
    actor_id: str | None = None
    session_id: str | None = None
    attempt: int = 1
    idempotency_key: str | None = None
    prev_hash: str | None = None
    record_hash: str | None = None
    signature: str | None = None
    seq: int | None = None
    commit: JsonObject | None = None

    @classmethod
    def start(
        cls,
        *,
        run: RunState,
        node_id: str,
        effect: Effect | None,
        attempt: int = 1,
        idempotency_key: str | None = None,
    ) -> StepRecord:
        """Open a record for one attempt; finish it with one of the `finish_` methods."""
        return cls(
            run_id=run.run_id,
            step_id=random_id(),
            node_id=node_id,
            status=StepStatus.STARTED,
            effect=effect.to_dict() if effect else None,
            actor_id=run.actor_id,
            session_id=run.session_id,
            attempt=attempt,
            idempotency_key=idempotency_key,
        )

    def finish_success(
        self, result: JsonObject | None = None, *, at: str | None = None
    ) -> StepRecord:
        self.status, self.result, self.ended_at = StepStatus.COMPLETED, result, at or _now_text()
        return self

    def finish_waiting(self, wait: WaitState, *, at: str | None = None) -> StepRecord:
        self.status, self.ended_at = StepStatus.WAITING, at or _now_text()
        self.result = {"wait": wait.public()}
        return self

    def finish_failure(self, error: str, *, at: str | None = None) -> StepRecord:
        self.status, self.error, self.ended_at = StepStatus.FAILED, error, at or _now_text()
        return self

    def to_dict(self) -> JsonObject:
        data: JsonObject = {name: getattr(self, name) for name in _RECORD_FIELDS}
        data["status"] = _text(self.status)
        if self.seq is not None:
            data["seq"] = self.seq
        if self.commit is not None:
            data["commit"] = self.commit
        return data

    @classmethod
    def from_dict(cls, data: JsonObject) -> StepRecord:
        known = {name: data[name] for name in (*_RECORD_FIELDS, "seq", "commit") if name in data}
        return cls(**{**known, "status": StepStatus(data["status"])})


_RECORD_FIELDS = tuple(n for n in StepRecord.__dataclass_fields__ if n not in ("seq", "commit"))


@dataclass
class LimitWarning:
    """A run came near, or over, one of its limits; `pct` is computed."""

    limit_type: str
    status: str
    current: int
    maximum: int
    pct: float = 0.0

    def __post_init__(self) -> None:
        self.pct = round(100 * self.current / self.maximum, 1) if self.maximum > 0 else 0.0
