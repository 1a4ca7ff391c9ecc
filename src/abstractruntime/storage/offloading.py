"""Stores that keep large values out of checkpoints and ledgers, as artifacts.

Rules:
1. A value above the limit is replaced by a reference; children come before parents, so the
   smallest parts that suffice are replaced.
2. Such a reference describes its artifact, `{"$artifact", "sha256", "size_bytes",
   "content_type", "run_id"}`, which tells it from one that a flow made.
3. Loading gives references. `restore` puts the values back, checked against their digest.
4. A value that cannot be offloaded is kept as it is.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar, cast

from abstractruntime.core.models import JsonObject, RunState, RunStatus, StepRecord
from abstractruntime.storage._decorating import CountingDecorator, append_stored, bind_subscribe
from abstractruntime.storage._offloaded_values import (
    EFFECT_SOURCE,
    FAILURES,
    OUTPUT_SOURCE,
    RESULT_SOURCE,
    RUN_SOURCE,
    AllowOffload,
    offload_large_values,
    restore_offloaded,
)
from abstractruntime.storage.artifacts import ArtifactStore
from abstractruntime.storage.base import (
    LedgerStore,
    QueryableRunIndexStore,
    QueryableRunStore,
    RunStore,
)

__all__ = [
    "DEFAULT_MAX_INLINE_BYTES",
    "OffloadingLedgerStore",
    "OffloadingRunStore",
    "offload_large_values",
    "restore_offloaded",
]

DEFAULT_MAX_INLINE_BYTES: Final = 262_144
_Query = TypeVar("_Query", bound=Callable[..., Any])
_LIMIT_VARIABLE: Final = "ABSTRACTRUNTIME_MAX_INLINE_BYTES"


def _default_max_inline_bytes() -> int:
    """Give the limit from the environment; the default when it is not a whole number there."""
    try:
        return int(os.environ.get(_LIMIT_VARIABLE, "").strip())
    except ValueError:
        return DEFAULT_MAX_INLINE_BYTES


class _Offloader:
    """Offloads below one root, and keeps the value when that fails."""

    def __init__(self, artifact_store: ArtifactStore, max_inline_bytes: int | None) -> None:
        self.store = artifact_store
        self._limit = _default_max_inline_bytes() if max_inline_bytes is None else max_inline_bytes
        self.last_error: Exception | None = None

    def offload(
        self,
        value: Any,
        *,
        run_id: str,
        path: str,
        source: str,
        allow: AllowOffload | None = None,
        root: bool = False,
    ) -> Any:
        if value is None:
            return None
        try:
            return offload_large_values(
                value,
                artifact_store=self.store,
                run_id=run_id,
                max_inline_bytes=self._limit,
                base_tags={"source": source},
                root_path=path,
                allow_offload=allow,
                allow_root_replace=root,
            )
        except FAILURES as error:
            self.last_error = error
            return value


def _asked_inside(query: _Query) -> _Query:
    """Give a method like that of a protocol, which asks the inner store."""

    @functools.wraps(query)
    def ask(self: OffloadingRunStore, **filters: Any) -> Any:
        method = getattr(self.inner, query.__name__, None)
        if not callable(method):
            raise NotImplementedError(f"{type(self.inner).__name__} has no {query.__name__}")
        return method(**filters)

    return cast("_Query", ask)


class OffloadingRunStore(RunStore):
    """A run store that keeps large values of ended runs as artifacts.

    Below private variables (`vars._temp.x`, not `vars._temp` itself) and in the output. What
    fails to be offloaded is saved as it is; `last_offload_error` tells why.
    """

    def __init__(
        self, inner: RunStore, *, artifact_store: ArtifactStore, max_inline_bytes: int | None = None
    ) -> None:
        self._inner = inner
        self._offloader = _Offloader(artifact_store, max_inline_bytes)

    @property
    def inner(self) -> RunStore:
        return self._inner

    @property
    def last_offload_error(self) -> Exception | None:
        return self._offloader.last_error

    def save(self, run: RunState) -> None:
        """Save a run; the caller's object keeps its large values."""
        if RunStatus(run.status).is_terminal:
            run = replace(run, vars=self._vars(run), output=self._output(run))
        self._inner.save(run)

    def load(self, run_id: str) -> RunState | None:
        """Give a run as it was saved, with references in place of large values."""
        return self._inner.load(run_id)

    def restore(self, run: RunState) -> RunState:
        """Give a loaded run with its large values put back.

        Raises:
            IntegrityError: one is missing, was changed, or belongs to another run.
        """
        store, run_id = self._offloader.store, run.run_id
        return replace(
            run,
            vars=restore_offloaded(run.vars, store, run_id=run_id),
            output=restore_offloaded(run.output, store, run_id=run_id),
        )

    def _vars(self, run: RunState) -> JsonObject:
        def is_deep(path: str, _: Any) -> bool:
            return path.count(".") >= 2

        return {
            key: self._offloader.offload(
                value, run_id=run.run_id, path=f"vars.{key}", source=RUN_SOURCE, allow=is_deep
            )
            if str(key).startswith("_")
            else value
            for key, value in run.vars.items()
        }

    def _output(self, run: RunState) -> Any:
        return self._offloader.offload(
            run.output, run_id=run.run_id, path="output", source=OUTPUT_SOURCE, root=True
        )

    list_runs = _asked_inside(QueryableRunStore.list_runs)
    list_due_wait_until = _asked_inside(QueryableRunStore.list_due_wait_until)
    list_children = _asked_inside(QueryableRunStore.list_children)
    list_run_index = _asked_inside(QueryableRunIndexStore.list_run_index)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inner, name)


class OffloadingLedgerStore(CountingDecorator):
    """A ledger store that keeps large effects and results as artifacts.

    Wrap the hash chain in it, not the other way round. What fails to be offloaded is stored
    as it is; `last_offload_error` tells why.
    """

    def __init__(
        self,
        inner: LedgerStore,
        *,
        artifact_store: ArtifactStore,
        max_inline_bytes: int | None = None,
    ) -> None:
        super().__init__(inner)
        self._offloader = _Offloader(artifact_store, max_inline_bytes)
        bind_subscribe(self, inner)

    @property
    def last_offload_error(self) -> Exception | None:
        return self._offloader.last_error

    def append(self, record: StepRecord) -> None:
        """Append a record; the caller's object keeps its large values and gets the hashes."""
        self.append_stored(record)

    def append_stored(self, record: StepRecord) -> StepRecord:
        kept = append_stored(self._inner, self.offloaded(record))
        record.prev_hash, record.record_hash = kept.prev_hash, kept.record_hash
        return kept

    def offloaded(self, record: StepRecord) -> StepRecord:
        """Give the record as it is stored; the same object when nothing in it is large."""
        run_id = record.run_id
        effect = self._offloader.offload(
            record.effect, run_id=run_id, path="ledger.effect", source=EFFECT_SOURCE
        )
        result = self._offloader.offload(
            record.result, run_id=run_id, path="ledger.result", source=RESULT_SOURCE
        )
        if effect is record.effect and result is record.result:
            return record
        return replace(record, effect=effect, result=result)

    def restore(self, record: JsonObject) -> JsonObject:
        """Give a listed record with its large values put back, for reusing its result.

        Raises:
            IntegrityError: one is missing, was changed, or belongs to another run.
        """
        store, run_id = self._offloader.store, str(record["run_id"])
        values = {
            name: restore_offloaded(record.get(name), store, run_id=run_id)
            for name in ("effect", "result")
        }
        return {**record, **values}
