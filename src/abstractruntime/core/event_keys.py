"""Wait keys: of events, `evt:<scope>:<scope id>:<name>`, and of what keeps a run from going on."""

from __future__ import annotations

GLOBAL_SCOPE_ID = "global"


def build_event_wait_key(
    *,
    scope: str,
    name: str,
    session_id: str | None = None,
    workflow_id: str | None = None,
    run_id: str | None = None,
) -> str:
    """Give the wait key that listeners and emitters of an event share.

    Raises:
        ValueError: blank name, unknown scope, or no id for the scope.
    """
    kind = (scope or "").strip().lower() or "session"
    ids = {"session": session_id, "workflow": workflow_id, "run": run_id, "global": GLOBAL_SCOPE_ID}
    if not (name or "").strip():
        raise ValueError("event name is required")
    if kind not in ids:
        raise ValueError(f"unknown event scope: {scope!r}")
    scope_id = (ids[kind] or "").strip()
    if not scope_id:
        raise ValueError(f"missing scope id for event scope {kind!r}")
    return f"evt:{kind}:{scope_id}:{name.strip()}"


def pause_wait_key(run_id: str) -> str:
    return f"pause:{run_id}"


def limit_wait_key(run_id: str) -> str:
    return f"limit:{run_id}"


def is_hold(run_id: str, wait_key: str | None) -> bool:
    """Tell whether a wait only keeps its run from going on: no answer ends it."""
    return wait_key in (pause_wait_key(run_id), limit_wait_key(run_id))
