"""The reading side of the runtime: states, records, traces, evidence and limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from abstractruntime._json import isolate, mapping
from abstractruntime.core.limits import limit_status, limit_warnings
from abstractruntime.core.models import JsonObject, LimitWarning, RunState
from abstractruntime.core.traces import project_traces
from abstractruntime.core.vars import RUNTIME, ensure_limits
from abstractruntime.errors import NotFound

if TYPE_CHECKING:
    from abstractruntime.core.ports import Engine


def with_large_values(engine: Engine, run: RunState) -> RunState:
    """Give a run that was read with what its store had moved into artifacts put back.

    Raises:
        IntegrityError: an artifact is missing, or was changed.
    """
    restore = getattr(engine.runs, "restore", None)
    restored: RunState = restore(run) if callable(restore) else run
    return restored


class RuntimeReads:
    """Everything a runtime tells without owning a run."""

    _engine: Engine
    _ledger_store: Any
    _artifact_store: Any

    def get_state(self, run_id: str) -> RunState:
        """Read a run; the copy is the caller's.

        Raises:
            NotFound: also a KeyError.
        """
        return self._engine.peek(run_id)

    def get_ledger(self, run_id: str) -> list[dict[str, Any]]:
        """Give all records of a run; an unknown run has none."""
        try:
            return [stored.record for stored in self._engine.records(run_id)]
        except NotFound:
            return []

    def subscribe_ledger(
        self, callback: Callable[[dict[str, Any]], None], *, run_id: str | None = None
    ) -> Callable[[], None]:
        """Call `callback` with each record after it was written; gives the function that stops it.

        Raises:
            RuntimeError: the ledger store has no `subscribe`.
        """
        subscribe = getattr(self._ledger_store, "subscribe", None)
        if not callable(subscribe):
            raise RuntimeError(  # noqa: TRY004 - the 0.4.x type
                f"{type(self._ledger_store).__name__} cannot be subscribed to;"
                " wrap it in ObservableLedgerStore"
            )
        stop: Callable[[], None] = subscribe(callback, run_id=run_id)
        return stop

    # -- traces ------------------------------------------------------------------

    def get_node_traces(self, run_id: str) -> JsonObject:
        """Give what the effects of each node came to, from the ledger; the newest 100 per node.

        Raises:
            NotFound: also a KeyError.
        """
        self._engine.peek(run_id)
        traces = project_traces(stored.record for stored in self._engine.records(run_id))
        own: JsonObject = isolate(traces)
        return own

    def get_node_trace(self, run_id: str, node_id: str) -> JsonObject:
        """Give the trace of one node; a node without effects has no steps."""
        trace: JsonObject = self.get_node_traces(run_id).get(
            node_id, {"node_id": node_id, "steps": []}
        )
        return trace

    # -- evidence ----------------------------------------------------------------

    def list_evidence(self, run_id: str) -> list[JsonObject]:
        """Give the index entries of what tools brought in, oldest first.

        Raises:
            NotFound: also a KeyError.
        """
        spans = mapping(self._engine.peek(run_id).vars.get(RUNTIME)).get("memory_spans")
        return [
            isolate(span)
            for span in (spans if isinstance(spans, list) else [])
            if isinstance(span, dict) and span.get("kind") == "evidence"
        ]

    def load_evidence(self, evidence_id: str) -> JsonObject | None:
        """Load the stored evidence; None when nothing of that id is evidence.

        Raises:
            RuntimeError: the runtime has no artifact store.
        """
        if self._artifact_store is None:
            raise RuntimeError("evidence lies in artifacts, and this runtime has no artifact store")
        payload = self._artifact_store.load_json(evidence_id)
        return payload if isinstance(payload, dict) else None

    # -- limits ------------------------------------------------------------------

    def get_limit_status(self, run_id: str) -> JsonObject:
        """Give `{iterations, tokens, history}` with what is used of each.

        Raises:
            NotFound: also a KeyError.
        """
        return limit_status(ensure_limits(self._engine.peek(run_id).vars))

    def check_limits(self, run: RunState) -> list[LimitWarning]:
        """Give a warning for each limit that a run came near to or passed."""
        return limit_warnings(ensure_limits(run.vars))
