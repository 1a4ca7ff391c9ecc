"""What is said on stderr of a tree of runs while this process drives it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from abstractruntime.cli._follow import telling
from abstractruntime.cli._progress import showing_progress

if TYPE_CHECKING:
    from abstractruntime._runtime.runtime import Runtime
    from abstractruntime.cli._interrupts import StopFlag
    from abstractruntime.cli._program import Program
    from abstractruntime.cli._session import Session
    from abstractruntime.core.store import Store


@contextmanager
def watched(
    session: Session,
    engine: Store,
    runtime: Runtime,
    program: Program,
    run_id: str,
    stop: StopFlag,
    *,
    steps: bool = False,
) -> Iterator[None]:
    """Say what the runs tell the user, how far a long run is, and with `steps` all that they do."""
    labels = program.labels
    with (
        telling(session, engine, run_id, labels, steps=steps),
        showing_progress(session, runtime.clock, stop) as progress,
    ):
        if progress is not None:
            progress.watch(runtime, labels)
        yield
