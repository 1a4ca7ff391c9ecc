"""Reusing outcomes of effects behind which a host put its run back.

A host may give a finished run an earlier state and go on from there; the effects that
were completed since are then not repeated. In a directory store this is the only case in
which an outcome is taken from an earlier record.

Rules:
1. `vars._runtime.rewound` says which records may be reused: those between two ordinals.
2. A record is found by its payload key, first in first out, and reused once: the record of
   the reuse names it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from abstractruntime.core.models import RunState, StepRecord, StepStatus
from abstractruntime.core.vars import RUNTIME
from abstractruntime.storage._store.record_lines import is_status_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from abstractruntime._json import JsonObject

REUSE = "reuse"
_MARK = "rewound"


class Rewound(NamedTuple):
    """The ordinals between which records may be reused, both excluded."""

    after: int
    before: int


def mark_rewound(run: RunState, rewound: Rewound) -> None:
    """Note in the variables of a run which records may be reused."""
    runtime = run.vars.get(RUNTIME)
    if not isinstance(runtime, dict):
        runtime = run.vars[RUNTIME] = {}
    runtime[_MARK] = rewound._asdict()


def rewound_range(variables: JsonObject) -> Rewound | None:
    """Give which records may be reused; None in a run that nobody put back."""
    runtime = variables.get(RUNTIME)
    mark = runtime.get(_MARK) if type(runtime) is dict else None
    if type(mark) is not dict:
        return None
    after, before = mark.get("after"), mark.get("before")
    return Rewound(after, before) if type(after) is int and type(before) is int else None


class Reuse:
    """The reusable outcomes of one owned run; its records are read at the first question."""

    __slots__ = ("_queues", "_read")

    def __init__(self, read: Callable[[], Iterable[JsonObject]]) -> None:
        self._read = read
        self._queues: dict[str, deque[StepRecord]] | None = None

    def find(self, key: str, rewound: Rewound) -> StepRecord | None:
        """Give the oldest outcome of this key that was not reused yet."""
        if self._queues is None:
            self._queues = _index(self._read(), rewound)
        queue = self._queues.get(key)
        return queue.popleft() if queue else None


def _index(records: Iterable[JsonObject], rewound: Rewound) -> dict[str, deque[StepRecord]]:
    candidates: dict[int, StepRecord] = {}
    for seq, data in enumerate(records):
        if rewound.after < seq < rewound.before:
            if _is_outcome(data):
                candidates[seq] = StepRecord.from_dict({**data, "seq": seq})
        elif seq > rewound.before:
            candidates.pop(_reused_seq(data), None)
    queues: dict[str, deque[StepRecord]] = {}
    for record in candidates.values():
        queues.setdefault(str(record.idempotency_key), deque()).append(record)
    return queues


def _is_outcome(data: JsonObject) -> bool:
    is_completed = data["status"] == StepStatus.COMPLETED and bool(data.get("idempotency_key"))
    return is_completed and not is_status_record(data)


def _reused_seq(data: JsonObject) -> int:
    result = data.get("result")
    if data.get("effect") is None and isinstance(result, dict) and result.get("action") == REUSE:
        return int(result["of"])
    return -1
