"""Whose memory an effect works on, and how it reaches it.

Rules:
1. The base run is the executing run, or the run that `target_run_id` names; the host says
   which runs may be named.
2. Scope `run` belongs to the base run, `session` and `global` to internal runs that are
   created on first use; a base run without a session shares the memory of its tree's root.
3. The executing run changes together with the outcome of the effect. Every other run is
   owned briefly and committed before it, so what is written there carries the occurrence
   of the effect: a repeated attempt finds it and does not write again.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from abstractruntime._json import isolate, mapping
from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import JsonObject, RunState
from abstractruntime.core.vars import RUNTIME, get_runtime
from abstractruntime.effects.memory._target import TargetHost, target_run
from abstractruntime.errors import UsageError

SCOPES: Final = ("run", "session", "global")
ALL: Final = "all"

_RECEIPTS = "memory_receipts"
_KEPT_RECEIPTS = 32
# With its prefix, the id of an internal run is no longer than a run id may be.
_SAFE = re.compile(r"[A-Za-z0-9_-]{1,113}\Z")


class MemoryHost(TargetHost, Protocol):
    """What the handlers need of the runtime."""

    @property
    def artifact_store(self) -> Any: ...

    def root_run_id(self, run_id: str) -> str: ...

    def edit_owner(self, owner_id: str, workflow_id: str) -> AbstractContextManager[JsonObject]:
        """Own the internal run briefly, creating it if need be; changes to its vars are committed."""
        ...

    def edit_run(self, run_id: str) -> AbstractContextManager[RunState]:
        """Own an existing run briefly; changes to its vars and output are committed.

        Raises:
            NotFound, Busy
        """
        ...


@dataclass(frozen=True, slots=True)
class Reach:
    """The runs that one effect may touch."""

    host: MemoryHost
    ctx: EffectContext

    def base(self, payload: JsonObject) -> RunState:
        """Give the run whose memory is meant; see `target_run`."""
        return target_run(self.host, self.ctx, payload)

    def owner_id(self, base: RunState, scope: str) -> str:
        return owner_run_id(self.host, base, scope)

    def read(self, run_id: str) -> JsonObject:
        """Give the variables of a run; of one that does not exist, none."""
        if run_id == self.ctx.run.run_id:
            return self.ctx.run.vars
        found = self.host.read_owner(run_id)
        return found.vars if found else {}

    def change(self, run_id: str, do: Callable[[RunState], JsonObject]) -> JsonObject:
        """Change a run and give what `do` says of it; `do` runs once per occurrence.

        Another run keeps a receipt, which a repeated attempt finds and answers with.
        """
        if run_id == self.ctx.run.run_id:
            return do(self.ctx.run)
        with self.host.edit_run(run_id) as run:
            known = self.receipt(run)
            if known is not None:
                return known
            result = do(run)
            runtime = get_runtime(run.vars)
            kept = _receipts(run)[-_KEPT_RECEIPTS + 1 :]
            entry = {"occurrence_id": self.ctx.occurrence_id, "result": isolate(result)}
            runtime[_RECEIPTS] = [*kept, entry]
            return result

    def receipt(self, run: RunState) -> JsonObject | None:
        """Give what an earlier attempt of this effect did to a run, if one did."""
        found = (r for r in _receipts(run) if r.get("occurrence_id") == self.ctx.occurrence_id)
        entry = next(found, None)
        return isolate(entry["result"]) if entry else None

    @contextmanager
    def editing_owner(self, base: RunState, scope: str) -> Iterator[JsonObject]:
        """Own the run that holds a scope, to change its variables."""
        owner_id = self.owner_id(base, scope)
        if is_internal(base, scope):
            with self.host.edit_owner(owner_id, f"__{scope}_memory__") as owner_vars:
                yield owner_vars
            return
        if owner_id == self.ctx.run.run_id:
            yield self.ctx.run.vars
            return
        with self.host.edit_run(owner_id) as run:
            yield run.vars


def _receipts(run: RunState) -> list[JsonObject]:
    # Hazard: the run may be live and only be read here, so nothing is created in it.
    receipts = mapping(run.vars.get(RUNTIME)).get(_RECEIPTS)
    return [r for r in receipts if isinstance(r, dict)] if isinstance(receipts, list) else []


def owner_run_id(host: MemoryHost, base: RunState, scope: str) -> str:
    """Give the run whose index holds a scope."""
    if scope == "run":
        return base.run_id
    if scope == "global":
        name = os.environ.get("ABSTRACTRUNTIME_GLOBAL_MEMORY_RUN_ID", "").strip()
        return name if _SAFE.match(name) else "global_memory"
    session = _session(base)
    if not session:
        return host.root_run_id(base.run_id)
    if _SAFE.match(session):
        return f"session_memory_{session}"
    return f"session_memory_sha_{hashlib.sha256(session.encode()).hexdigest()[:32]}"


def is_internal(base: RunState, scope: str) -> bool:
    """Tell whether a scope is held by a run that exists for its memory only."""
    return scope == "global" or (scope == "session" and bool(_session(base)))


def _session(base: RunState) -> str:
    return (base.session_id or "").strip()


def read_scope(payload: JsonObject, *, with_all: bool = False) -> str:
    """Read the scope of an effect.

    Raises:
        UsageError: it is none of run, session and global, nor `all` where that is allowed.
    """
    scope = str(payload.get("scope") or "run").strip().lower()
    if scope in SCOPES or (with_all and scope == ALL):
        return scope
    choices = ", ".join((*SCOPES, ALL) if with_all else SCOPES)
    raise UsageError(f"Unknown memory scope: {scope}", hint=f"one of {choices}", argument="scope")


def required_store(host: MemoryHost, effect: str) -> Any:
    """Give the artifact store.

    Raises:
        UsageError: the runtime has none.
    """
    store = host.artifact_store
    if store is None:
        raise UsageError(
            f"{effect} requires an ArtifactStore",
            hint="give the runtime an artifact store",
            argument="artifact_store",
        )
    return store


def moment(ctx: EffectContext) -> str:
    """Give the time that an effect writes down: when its first attempt began.

    Invariant: an attempt that is repeated after a crash gives the same time, so it writes
    the same bytes, and the same bytes are one artifact.
    """
    return ctx.began_at or ctx.run.updated_at
