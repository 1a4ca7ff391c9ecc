"""What nodes that send events and nodes that hear them share: scopes and where they lead."""

from __future__ import annotations

from typing import Final

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes.base import Scope

SCOPES: Final = ("session", "workflow", "run", "global")


def filled_text(*values: JsonValue) -> str:
    """Give the first value that is a text with something in it, trimmed; else an empty text."""
    texts = (value.strip() for value in values if isinstance(value, str))
    return next((text for text in texts if text), "")


def scope_name(*values: JsonValue) -> str:
    """Give the first scope that is named, in lower case; one that does not exist is `session`."""
    name = filled_text(*values).lower()
    return name if name in SCOPES else "session"


def scope_address(scope_kind: str, scope: Scope) -> JsonObject:
    """Give whom a scope means for a node: the flow that it was drawn in, or the whole tree of runs."""
    if scope_kind == "workflow":
        return {"workflow_id": scope.flow_id}
    # A listener is a run of its own; the run that it and its emitters share is the root.
    return {"of_root": True} if scope_kind == "run" else {}
