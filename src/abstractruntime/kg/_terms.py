"""Terms, predicates and scopes as they are stored and compared."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from abstractruntime.core.models import RunState
from abstractruntime.errors import UsageError

SCOPES: Final = ("run", "session", "global")
_ALL: Final = "all"
_SAFE: Final = re.compile(r"[A-Za-z0-9_-]{1,113}\Z")
_ENTITY: Final = "ex:"
_ALIASES: Final = {
    "schema:description": "dcterms:description",
    "schema:creator": "dcterms:creator",
    "schema:awareness": "schema:knowsabout",
    "schema:hasparent": "dcterms:ispartof",
    "schema:ispartof": "dcterms:ispartof",
    "dcterms:is_part_of": "dcterms:ispartof",
    "schema:hasmember": "dcterms:haspart",
    "schema:haspart": "dcterms:haspart",
    "dcterms:has_part": "dcterms:haspart",
    "schema:recognizedas": "skos:closematch",
    "schema:hasmemorysource": "dcterms:references",
}


def text_of(payload: Mapping[str, Any], *names: str) -> str:
    """Give the first non-blank text under these names, stripped, or an empty text."""
    texts = (str(payload.get(name) or "").strip() for name in names)
    return next((text for text in texts if text), "")


def term(value: Any, *, literal: bool = False) -> str:
    """Give the stored form of a term: trimmed, lower case unless literal; `ex:` names as a slug."""
    text = "" if value is None else str(value).strip()
    if literal:
        return text
    text = text.lower()
    if not text.startswith(_ENTITY):
        return text
    slug = re.sub(r"[^a-z0-9]+", "-", text[len(_ENTITY) :]).strip("-")
    return f"{_ENTITY}{slug}" if slug else text


def predicate_of(value: Any) -> str:
    """Give the stored form of a predicate, older spellings replaced."""
    text = "" if value is None else str(value).strip().lower()
    return _ALIASES.get(text, text)


def scopes_of(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the scopes that a query searches.

    Raises:
        UsageError: there is no such scope.
    """
    scope = text_of(payload, "scope").lower() or "run"
    if scope == _ALL:
        return SCOPES
    if scope not in SCOPES:
        raise UsageError(f"unknown scope {scope!r}", hint=f"one of {', '.join((*SCOPES, _ALL))}")
    return (scope,)


def owner_of(run: RunState, scope: str, root_of: Callable[[RunState], str]) -> str:
    """Give who owns a scope, seen from a run."""
    if scope == "run":
        return run.run_id
    if scope == "global":
        name = os.environ.get("ABSTRACTRUNTIME_GLOBAL_MEMORY_RUN_ID", "").strip()
        return name if _SAFE.match(name) else "global_memory"
    session = (run.session_id or "").strip()
    return f"session_memory_{session}" if session else root_of(run)


def whole(payload: Mapping[str, Any], *names: str) -> int | None:
    """Give the first whole number under these names; bools and other texts do not count."""
    for name in names:
        value = payload.get(name)
        if value is None or isinstance(value, bool):
            continue
        try:
            return int(value)
        except (TypeError, ValueError, OverflowError):
            continue
    return None
