"""The fields of a run beside its variables: what changed in them, and how to apply it.

In a commit, a field that changed stands under its own name, `current_node` as `node`;
the first commit of a run carries all of them as `init`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject, isolate, normalise
from abstractruntime.core.models import RunState, RunStatus
from abstractruntime.storage._store.plain import dump_any

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = tuple(f for f in RunState.__dataclass_fields__ if f not in ("vars", "ledger_seq"))
_NAMES = {field: field for field in FIELDS} | {"current_node": "node"}
_IN_COMMIT = {name: field for field, name in _NAMES.items()}
_TEXTS = tuple(
    field
    for field in _NAMES
    if field not in ("status", "waiting", "output", "updated_at", "run_id", "listening", "used")
)
_STATUS_TEXTS: Mapping[Any, str] = {status: status.value for status in RunStatus}
_TERMINAL = frozenset(status.value for status in RunStatus if status.is_terminal)


def header_of(run: RunState) -> JsonObject:
    """Give the header fields of a run; shares nothing with it.

    Raises:
        InvalidValue: output or the details of its wait are not JSON.
    """
    header: JsonObject = {field: getattr(run, field) for field in _NAMES}
    header["status"] = _status_text(run)
    header["waiting"] = _isolated(run.waiting.to_dict() if run.waiting else None, "/waiting")
    header["output"] = _isolated(run.output, "/output")
    if run.listening:
        header["listening"] = list(run.listening)
    else:
        del header["listening"]
    if run.used is None:
        del header["used"]
    else:
        header["used"] = isolate(normalise(run.used, "/used"))
    return header


def changed_fields(header: Mapping[str, Any], run: RunState) -> JsonObject:
    """Give the header fields in which `run` differs from `header`, isolated.

    Raises:
        InvalidValue: output or the details of its wait are not JSON.
    """
    changed: JsonObject = {}
    status = _status_text(run)
    if status != header["status"]:
        changed["status"] = status
    for field in _TEXTS:
        value = getattr(run, field)
        if value != header[field]:
            changed[field] = value
    if run.waiting is not None or header["waiting"] is not None:
        waiting = run.waiting.to_dict() if run.waiting else None
        _note_change(changed, "waiting", header["waiting"], waiting)
    if run.output is not None or header["output"] is not None:
        _note_change(changed, "output", header["output"], run.output)
    if (run.listening or None) != header.get("listening"):
        changed["listening"] = list(run.listening or ()) or None
    # The dict is replaced whenever it changes, so another one is all there is to see.
    if run.used is not None and run.used != header.get("used"):
        changed["used"] = isolate(run.used)
    if run.updated_at != header["updated_at"]:
        changed["updated_at"] = run.updated_at
    return changed


def write_fields(changed: Mapping[str, Any], commit: JsonObject) -> None:
    """Put changed fields into a commit, under the names it uses."""
    for field, value in changed.items():
        commit[_NAMES[field]] = value


def apply_fields(header: JsonObject, commit: Mapping[str, Any]) -> None:
    """Change a header as a commit says."""
    if "init" in commit:
        header.update(commit["init"])
        return
    for name, value in commit.items():
        if name in _IN_COMMIT:
            header[_IN_COMMIT[name]] = value
    if header.get("listening", True) is None:
        # As in the header of a run that never listened.
        del header["listening"]


def is_terminal(header: Mapping[str, Any]) -> bool:
    return header.get("status") in _TERMINAL


def run_from(header: Mapping[str, Any], state: JsonObject) -> RunState:
    """Build the run that a header and variables describe."""
    return RunState.from_dict({**isolate(dict(header)), "vars": state})


def _status_text(run: RunState) -> str:
    status: Any = run.status
    return _STATUS_TEXTS.get(status) or str(status)


def _isolated(value: Any, path: str) -> Any:
    return isolate(normalise(value, path)) if value is not None else None


def _note_change(changed: JsonObject, field: str, before: Any, now: Any) -> None:
    """Compare as text: 1, 1.0 and True are equal in Python, but not in a ledger."""
    now = normalise(now, f"/{field}")
    if dump_any(now) != dump_any(before):
        changed[field] = isolate(now) if now is not None else None
