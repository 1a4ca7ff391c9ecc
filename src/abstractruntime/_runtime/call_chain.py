"""Which run logs are open in the present chain of calls.

A handler that drives a child, or writes into another run's memory, is called from a step
of an owned run. Within one chain a run is opened once: whoever asks for it again gets the
log that is open already, and nobody may advance a run from one of its own steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from abstractruntime.errors import Busy

if TYPE_CHECKING:
    from abstractruntime.core.ports import Engine, RunLog

_OPEN: ContextVar[dict[tuple[int, str], RunLog] | None] = ContextVar("open_run_logs", default=None)


class CallChain:
    """Opens the run logs of one engine; see `core.ports.RunLog`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def driven(self, run_id: str) -> Iterator[RunLog]:
        """Own a run to advance it.

        Raises:
            Busy: someone owns it, or the caller was called from one of its steps.
        """
        if self.open_log(run_id) is not None:
            raise Busy(
                f"run {run_id!r} is being driven by the caller",
                hint="let the step end first; a run cannot advance itself",
                run_id=run_id,
            )
        with self.owned(run_id) as log:
            yield log

    @contextmanager
    def owned(self, run_id: str, *, wait_s: float = 0.0) -> Iterator[RunLog]:
        """Own a run, or share the log that this chain has open."""
        inherited = self.open_log(run_id)
        if inherited is not None:
            yield inherited
            return
        log = self._engine.open(run_id, wait_s=wait_s)
        token = _OPEN.set({**(_OPEN.get() or {}), (id(self._engine), run_id): log})
        try:
            yield log
        finally:
            _OPEN.reset(token)
            log.close()

    def open_log(self, run_id: str) -> RunLog | None:
        """Give the log of a run that this chain has open."""
        return (_OPEN.get() or {}).get((id(self._engine), run_id))
