"""The store contracts of 0.4.x: a run store, a ledger store, and optional queries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, runtime_checkable

from abstractruntime.core.models import RunState, RunStatus, StepRecord, WaitReason


class RunStore(ABC):
    """Keeps the latest state of each run; `load` gives a copy that the caller owns."""

    @abstractmethod
    def save(self, run: RunState) -> None: ...

    @abstractmethod
    def load(self, run_id: str) -> RunState | None: ...


class LedgerStore(ABC):
    """Keeps the records of each run in append order."""

    @abstractmethod
    def append(self, record: StepRecord) -> None: ...

    @abstractmethod
    def list(self, run_id: str) -> list[dict[str, Any]]: ...


@runtime_checkable
class QueryableRunStore(Protocol):
    def list_runs(
        self,
        *,
        status: RunStatus | None = None,
        wait_reason: WaitReason | None = None,
        workflow_id: str | None = None,
        limit: int = 100,
    ) -> list[RunState]:
        """Give matching runs, newest `updated_at` first."""
        ...

    def list_due_wait_until(self, *, now_iso: str, limit: int = 100) -> list[RunState]:
        """Give runs whose deadline has passed, earliest first."""
        ...

    def list_children(
        self, *, parent_run_id: str, status: RunStatus | None = None
    ) -> list[RunState]: ...


@runtime_checkable
class QueryableRunIndexStore(Protocol):
    def list_run_index(
        self,
        *,
        status: RunStatus | None = None,
        workflow_id: str | None = None,
        session_id: str | None = None,
        root_only: bool = False,
        limit: int = 100,
    ) -> list[dict[str, Any]]: ...
