"""Which run an effect means, and whether it may: the executing one, or its `target_run_id`."""

from __future__ import annotations

from typing import Protocol

from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import JsonObject, RunState
from abstractruntime.errors import NotFound, Refused


class TargetHost(Protocol):
    """What reading another run needs of the runtime."""

    def read_owner(self, owner_id: str) -> RunState | None:
        """Read a run that someone else may own; None when there is none."""
        ...

    def may_reach(self, from_run: RunState, target_run_id: str) -> bool:
        """Tell whether effects of a run may read and change another: same tree, or same session."""
        ...


def target_run(host: TargetHost, ctx: EffectContext, payload: JsonObject) -> RunState:
    """Give the run that is meant; another run than the executing one is a copy.

    Raises:
        NotFound: `target_run_id` names no run.
        Refused: it names a run of another tree and session.
    """
    target = str(payload.get("target_run_id") or "").strip()
    run = ctx.run
    if not target or target == run.run_id:
        return run
    found = host.read_owner(target)
    if found is None:
        raise NotFound(f"Unknown target_run_id: {target}", kind="run", id=target)
    if not host.may_reach(run, target):
        raise Refused(
            f"run {target!r} is out of reach of run {run.run_id!r}",
            hint="name a run of the same tree or session",
            run_id=target,
        )
    return found
