"""A host for memory handlers without a store, and short ways to call them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, EffectType, RunState, RunStatus
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.testing.clocks import FakeClock


def a_run(run_id: str = "r", **fields: Any) -> RunState:
    fields = {"updated_at": "2026-01-01T00:00:00.000000+00:00", **fields}
    return RunState(run_id, "flow", RunStatus.RUNNING, "n", fields.pop("vars", {}), **fields)


def message(number: int, role: str = "user", **metadata: Any) -> dict[str, Any]:
    return {
        "role": role,
        "content": f"m{number}",
        "timestamp": f"2026-01-01T00:{number:02}:00+00:00",
        "metadata": {"message_id": f"id{number}", **metadata},
    }


class FakeHost:
    """Runs in a dictionary; `edits` tells which were changed through the host."""

    def __init__(
        self, *runs: RunState, summary: Any = None, strangers: tuple[str, ...] = ()
    ) -> None:
        self.runs = {run.run_id: run for run in runs}
        self.artifact_store: Any = InMemoryArtifactStore()
        self.chat_summarizer: Any = self if summary is not None else None
        self.summary = summary
        self.asked: list[dict[str, Any]] = []
        self.strangers = strangers
        self.edits: list[str] = []
        self.child: Any = None
        self.children: list[dict[str, Any]] = []

    def root_run_id(self, run_id: str) -> str:
        parent = self.runs[run_id].parent_run_id
        return self.root_run_id(parent) if parent else run_id

    def may_reach(self, from_run: RunState, target_run_id: str) -> bool:
        return target_run_id not in self.strangers

    def read_owner(self, owner_id: str) -> RunState | None:
        run = self.runs.get(owner_id)
        return RunState.from_dict(_copy(run.to_dict())) if run else None

    @contextmanager
    def edit_owner(self, owner_id: str, workflow_id: str) -> Iterator[Any]:
        if owner_id not in self.runs:
            self.runs[owner_id] = RunState(owner_id, workflow_id, RunStatus.COMPLETED, "done", {})
        self.edits.append(owner_id)
        yield self.runs[owner_id].vars

    @contextmanager
    def edit_run(self, run_id: str) -> Iterator[RunState]:
        self.edits.append(run_id)
        yield self.runs[run_id]

    def summarize_chat_history(self, **asked: Any) -> Any:
        self.asked.append(asked)
        return self.summary

    def ensure_child(self, **asked: Any) -> Any:
        self.children.append(asked)
        self.child.run_id = asked["run_id"]
        return self.child

    def drive_child(self, run_id: str) -> Any:
        return self.child

    def has_workflow(self, workflow_id: str) -> bool:
        return True


def _copy(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value))


def call(
    handler: Any, run: RunState, *, occurrence: str = "o1", attempt: int = 1, **payload: Any
) -> Any:
    """Perform one effect and give its result."""
    ctx = EffectContext(run, run.current_node, "next", occurrence, attempt, FakeClock())
    outcome = handler(ctx, Effect(EffectType.MEMORY_NOTE, payload))
    assert outcome.status == "completed", outcome
    return outcome.result


def answer(result: Any) -> Any:
    """Give the one tool result of an envelope."""
    assert result["mode"] == "executed"
    (only,) = result["results"]
    return only
