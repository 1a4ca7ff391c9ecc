"""What started a run: the facts that its first record keeps, written and read here only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from abstractruntime._json import mapping
from abstractruntime.core.models import JsonObject, RunState, StepRecord
from abstractruntime.core.record_fields import internal_kind, result_object
from abstractruntime.core.records import RecordFactory

RUN_STARTED: Final = "run_started"
TRUST_CODE: Final = "trust_code"


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """Where a run comes from; what nobody stated is empty.

    Attributes:
        bundle_ref: `id@version` of the bundle.
        bundle_digest: The bundle that the run, and every run below it, needs to go on.
        signers: Who vouched for the bundle.
        store_origin: The name of the store in its signed heads.
        overrides: What the person who started it lifted, such as `trust_code`.
        sandbox: What confines its code; None when it has none.
        grants: The capabilities it was given.
        workspace: The directory whose files it may touch.
        once: The start key that stands for it.
        keep_listeners: Whether its listeners live on when it has ended.
        settings: What was in force that loosens or tightens, by name: `{value, origin}`.
        signed_by: The verifier key of the host that signs its heads from the first record on.
        seal: By whose configuration it was started; only that one can tell.
    """

    workflow_id: str | None = None
    entry_node: str | None = None
    bundle_ref: str | None = None
    bundle_digest: str | None = None
    signers: tuple[str, ...] = ()
    inputs_sha256: str | None = None
    store_origin: str | None = None
    runtime_version: str | None = None
    overrides: tuple[str, ...] = ()
    sandbox: JsonObject | None = None
    grants: tuple[str, ...] = ()
    workspace: str | None = None
    actor: str | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    once: str | None = None
    keep_listeners: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    signed_by: str | None = None
    seal: str | None = None

    @property
    def trusts_code(self) -> bool:
        """Whether its code runs unconfined."""
        return TRUST_CODE in self.overrides

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> RunOrigin:
        """Read the first record of a ledger; foreign and older ones state nothing, or less."""
        if internal_kind(record) != RUN_STARTED:
            return cls()
        found = result_object(record)
        return cls(**{name: read(found.get(name)) for name, read in _READERS.items()})

    def facts(self) -> JsonObject:
        """Give what the first record keeps.

        A run of a bundle also states that it has no signers, grants or sandbox; what few runs
        have is left out of the others.
        """
        is_full = self.bundle_digest is not None
        return {
            name: _plain(value)
            for name in _READERS
            if (value := getattr(self, name)) or (is_full and name not in _RARE)
        }


def first_record(
    records: RecordFactory, run: RunState, stated: RunOrigin | Mapping[str, Any] | None = None
) -> StepRecord:
    """Give the first record of a run, with what is stated of where it comes from."""
    facts = stated.facts() if isinstance(stated, RunOrigin) else stated or {}
    own = {"workflow_id": run.workflow_id, "entry_node": run.current_node}
    return records.internal(run, RUN_STARTED, **{**own, **facts})


def state_signer(first: StepRecord, vkey: str) -> None:
    """State in the first record of a run who signs its heads, unless that is said already."""
    if isinstance(first.result, dict):
        first.result.setdefault("signed_by", vkey)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else ()
    return tuple(item for item in items if isinstance(item, str))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    item.name: _text for item in fields(RunOrigin)
} | {
    "signers": _texts,
    "overrides": _texts,
    "grants": _texts,
    "sandbox": lambda value: value if isinstance(value, dict) else None,
    "labels": mapping,
    "settings": mapping,
    "keep_listeners": lambda value: value is True,
}
# `entry_node` is what `first_record` states of every run.
_RARE: Final = frozenset(
    {"entry_node", "workspace", "once", "keep_listeners", "settings", "signed_by", "seal"}
)
